//! Reads the intervals out of one Parquet file of a membership feature.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, DictionaryArray, PrimitiveArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit, TimestampMillisecondType};
use neartime_engine::{FeatureTable, Role};
use neartime_model::{ContentOrder, FeatureVersion, Generation};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use crate::config::Side;
use crate::error::{AirError, Cause};
use crate::runs::Run;
use crate::udb::{Dictionary, Entry, Kind, Lanes, Origin, keys};

/// Rows decoded at a time.
const BATCH_ROWS: usize = 16 << 10;

const MIN: &str = "min_ts";
const MAX: &str = "max_ts";

/// Reads files of one feature; remembers the numbers of names from file to file.
#[derive(Debug)]
pub(crate) struct IntervalReader<'a> {
    dictionary: &'a Dictionary,
    lanes: Vec<LaneNumbers>,
    keys: Vec<String>,
    item: String,
}

/// The numbers of one lane's names, as far as they have been met.
#[derive(Debug)]
struct LaneNumbers {
    lane: u8,
    kind: Kind,
    items: HashMap<Box<str>, u32>,
    origins: HashMap<Vec<Option<String>>, u32>,
    /// The numbers of the values of the present batch's item dictionary.
    of_batch: Vec<Option<u32>>,
    /// A row of the present batch, and its origin.
    last_origin: Option<(usize, u32)>,
}

/// The columns of one batch.
struct Columns<'a> {
    users: &'a StringArray,
    other_keys: Vec<&'a StringArray>,
    items: &'a DictionaryArray<Int32Type>,
    min: &'a PrimitiveArray<TimestampMillisecondType>,
    max: &'a PrimitiveArray<TimestampMillisecondType>,
}

impl<'a> IntervalReader<'a> {
    /// A reader for the files of `table`, which is a feature of `lanes`.
    pub(crate) fn new(table: &FeatureTable, lanes: &Lanes, dictionary: &'a Dictionary) -> Self {
        let item = table.output.columns().iter().find(|column| column.role == Role::Item);
        let of_table = lanes.iter().filter(|(_, lane)| lane.member.table.name == table.name);
        let numbers = of_table.map(|(number, lane)| LaneNumbers {
            lane: number,
            kind: if lane.side == Side::Segment { Kind::Segment } else { Kind::Site },
            items: HashMap::new(),
            origins: HashMap::new(),
            of_batch: Vec::new(),
            last_origin: None,
        });
        Self {
            dictionary,
            lanes: numbers.collect(),
            keys: keys(table).map(str::to_owned).collect(),
            item: item.expect("the configuration was checked to name memberships").name.to_string(),
        }
    }

    /// Reads the file of this `path`: `each` gets a user's id and entries, as often as the file changes users.
    pub(crate) fn read(
        &mut self,
        path: &str,
        file: File,
        mut each: impl FnMut(&[u8], &[Entry]) -> Result<(), AirError>,
    ) -> Result<ContentOrder, AirError> {
        let damaged = |source: Cause| AirError::DamagedFeature { path: path.to_owned(), source };
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new().with_skip_arrow_metadata(true))
            .map_err(|error| damaged(error.into()))?;
        let order = order_of(&metadata).map_err(&damaged)?;
        let mask = ProjectionMask::columns(metadata.parquet_schema(), self.wanted());
        let schema = self.schema(metadata.schema());
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(Arc::new(schema));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
            .map_err(|error| damaged(error.into()))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        let mut entries = Vec::new();
        for batch in batches.map_err(|error| damaged(error.into()))? {
            let batch = batch.map_err(|error| damaged(error.into()))?;
            self.batch(&batch, &mut entries, &mut each, &damaged)?;
        }
        Ok(order)
    }

    /// Reads only what the footer of the file of this `path` says.
    pub(crate) fn order(path: &str, file: &File) -> Result<ContentOrder, AirError> {
        let damaged = |source: Cause| AirError::DamagedFeature { path: path.to_owned(), source };
        let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new().with_skip_arrow_metadata(true))
            .map_err(|error| damaged(error.into()))?;
        order_of(&metadata).map_err(damaged)
    }

    fn wanted(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str).chain([self.item.as_str(), MIN, MAX])
    }

    /// The file's columns, items as a dictionary: few differ, and each is looked up once for many rows.
    fn schema(&self, found: &Schema) -> Schema {
        let dictionary = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
        let fields = found.fields().iter().map(|field| {
            let of_item = *field.name() == self.item && *field.data_type() == DataType::Utf8;
            let data_type = if of_item { &dictionary } else { field.data_type() };
            Field::new(field.name(), data_type.clone(), field.is_nullable())
        });
        Schema::new(fields.collect::<Vec<_>>())
    }

    fn batch(
        &mut self,
        batch: &RecordBatch,
        entries: &mut Vec<Entry>,
        each: &mut impl FnMut(&[u8], &[Entry]) -> Result<(), AirError>,
        damaged: &impl Fn(Cause) -> AirError,
    ) -> Result<(), AirError> {
        let columns = self.columns(batch).map_err(damaged)?;
        columns.check().map_err(|reason| damaged(reason.into()))?;
        let names: &StringArray = columns.items.values().as_string();
        self.lanes.iter_mut().for_each(|lane| {
            lane.of_batch.clear();
            lane.of_batch.resize(names.len(), None);
            lane.last_origin = None;
        });
        let (item_keys, min, max) = (columns.items.keys().values(), columns.min.values(), columns.max.values());
        let (offsets, ids) = (columns.users.value_offsets(), columns.users.value_data());
        let id = |row: usize| &ids[offsets[row] as usize..offsets[row + 1] as usize];
        let rows = batch.num_rows();
        let mut from = 0;
        while from < rows {
            let user = id(from);
            let mut to = from + 1;
            while to < rows && same_id(id(to), user) {
                to += 1;
            }
            entries.clear();
            for lane in &mut self.lanes {
                for row in from..to {
                    let origin = lane.origin(&columns, row, self.dictionary);
                    let item = lane.item(item_keys[row] as usize, names, self.dictionary);
                    entries.push(Entry { origin, item, run: Run { first_ms: min[row], last_ms: max[row] } });
                }
            }
            each(user, entries)?;
            from = to;
        }
        Ok(())
    }

    fn columns<'b>(&self, batch: &'b RecordBatch) -> Result<Columns<'b>, Cause> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("it has no column `{name}`"));
        let text = |name: &String| -> Result<&'b StringArray, Cause> {
            let column = column(name)?;
            let of_type = || format!("its column `{name}` is {}, not text", column.data_type()).into();
            column.as_string_opt().ok_or_else(of_type)
        };
        let time = |name: &str| -> Result<&'b PrimitiveArray<TimestampMillisecondType>, Cause> {
            let column = column(name)?;
            let of_type = || format!("its column `{name}` is {}, not TIMESTAMP_MILLIS", column.data_type()).into();
            match column.data_type() {
                DataType::Timestamp(TimeUnit::Millisecond, _) => column.as_primitive_opt().ok_or_else(of_type),
                _ => Err(of_type()),
            }
        };
        let items = column(&self.item)?;
        Ok(Columns {
            users: text(&self.keys[0])?,
            other_keys: self.keys[1..].iter().map(text).collect::<Result<_, _>>()?,
            items: items
                .as_dictionary_opt()
                .ok_or_else(|| format!("its column `{}` is {}, not text", self.item, items.data_type()))?,
            min: time(MIN)?,
            max: time(MAX)?,
        })
    }
}

impl Columns<'_> {
    fn check(&self) -> Result<(), &'static str> {
        if self.users.null_count() + self.items.null_count() + self.min.null_count() + self.max.null_count() > 0 {
            return Err("a row lacks its user, item or times");
        }
        if self.min.values().iter().zip(self.max.values()).any(|(min, max)| min > max) {
            return Err("a row ends before it begins");
        }
        Ok(())
    }
}

impl LaneNumbers {
    fn item(&mut self, of_batch: usize, names: &StringArray, dictionary: &Dictionary) -> u32 {
        if let Some(number) = self.of_batch[of_batch] {
            return number;
        }
        let name = names.value(of_batch);
        let number = match self.items.get(name) {
            Some(&number) => number,
            None => {
                let number = dictionary.number(self.kind, name.as_bytes());
                self.items.insert(name.into(), number);
                number
            }
        };
        self.of_batch[of_batch] = Some(number);
        number
    }

    /// Most rows have the same keys as the one before, or no other keys at all.
    fn origin(&mut self, columns: &Columns<'_>, row: usize, dictionary: &Dictionary) -> u32 {
        let value = |column: &&StringArray, row: usize| column.is_valid(row).then(|| column.value(row).to_owned());
        if let Some((last_row, origin)) = self.last_origin
            && columns.other_keys.iter().all(|column| same(column, last_row, row))
        {
            self.last_origin = Some((row, origin));
            return origin;
        }
        let keys: Vec<Option<String>> = columns.other_keys.iter().map(|column| value(column, row)).collect();
        let number = match self.origins.get(&keys) {
            Some(&number) => number,
            None => {
                let origin = Origin { lane: self.lane, keys };
                let number = dictionary.origin(&origin);
                self.origins.insert(origin.keys, number);
                number
            }
        };
        self.last_origin = Some((row, number));
        number
    }
}

/// Whether two ids are equal; those of usual lengths are compared word by word, which is quicker than a call.
fn same_id(left: &[u8], right: &[u8]) -> bool {
    let length = left.len();
    if length != right.len() {
        return false;
    }
    match (left.first_chunk::<8>(), left.last_chunk::<8>(), right.first_chunk::<8>(), right.last_chunk::<8>()) {
        (Some(a), Some(b), Some(c), Some(d)) if length <= 16 => b == d && a == c,
        _ => left == right,
    }
}

fn same(column: &StringArray, left: usize, right: usize) -> bool {
    match (column.is_valid(left), column.is_valid(right)) {
        (true, true) => column.value(left) == column.value(right),
        (left, right) => left == right,
    }
}

/// Version and generation, as the features store writes them into the footer.
fn order_of(metadata: &ArrowReaderMetadata) -> Result<ContentOrder, Cause> {
    let pairs = metadata.metadata().file_metadata().key_value_metadata();
    let number = |key: &str| {
        let pair = pairs.into_iter().flatten().find(|pair| pair.key == key);
        let text = pair.and_then(|pair| pair.value.as_deref());
        text.and_then(|text| text.parse::<i64>().ok()).ok_or_else(|| format!("its footer has no number `{key}`"))
    };
    let version = u32::try_from(number("neartime.version")?)?;
    let generation = Generation(number("neartime.generation")?);
    Ok(ContentOrder { version: FeatureVersion(version), generation })
}
