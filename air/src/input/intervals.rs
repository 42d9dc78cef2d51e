//! Reads the intervals out of one Parquet file of a membership feature.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, AsArray, ByteView, DictionaryArray, MAX_INLINE_VIEW_LEN, PrimitiveArray, RecordBatch, StringArray,
    StringViewArray,
};
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit, TimestampMillisecondType};
use neartime_engine::{FeatureTable, Role};
use neartime_model::{ContentOrder, FeatureVersion, Generation};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use crate::config::Side;
use crate::error::{AirError, Cause};
use crate::merge::{Block, User, compare};
use crate::runs::Run;
use crate::udb::{Dictionary, Entry, Kind, Lanes, Origin, keys};

/// Rows decoded at a time: with those of many other files they should stay near the processor.
const BATCH_ROWS: usize = 8 << 10;

const MIN: &str = "min_ts";
const MAX: &str = "max_ts";

/// What is read of the files of one feature.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    /// Number and side's kind of each lane that the feature is on.
    lanes: Vec<(u8, Kind)>,
    keys: Vec<String>,
    item: String,
}

/// Reads one file, whose rows are in order of their users.
pub(crate) struct IntervalReader {
    path: String,
    columns: Arc<Columns>,
    dictionary: Arc<Dictionary>,
    batches: ParquetRecordBatchReader,
    lanes: Vec<LaneNumbers>,
    /// The last batch's item names, whose numbers the lanes have.
    names: Option<StringArray>,
    last_user: Vec<u8>,
}

/// The numbers of one lane's names, as far as they have been met.
#[derive(Debug)]
struct LaneNumbers {
    lane: u8,
    kind: Kind,
    known: HashMap<Box<str>, u32>,
    origins: HashMap<Vec<Option<String>>, u32>,
    /// The numbers of the values of the present batch's item dictionary.
    items: Vec<u32>,
    /// The origins of the present batch's rows; one for all if there are no other keys.
    row_origins: Vec<u32>,
}

/// The ids of a batch's rows, wherever they lie.
struct Ids<'a> {
    views: &'a [u128],
    /// Short ids are parts of the views themselves, which come first.
    bytes: Vec<Buffer>,
}

/// The columns of one batch.
struct Batch<'a> {
    users: &'a StringViewArray,
    other_keys: Vec<&'a StringArray>,
    items: &'a DictionaryArray<Int32Type>,
    min: &'a PrimitiveArray<TimestampMillisecondType>,
    max: &'a PrimitiveArray<TimestampMillisecondType>,
}

impl Columns {
    /// Those of a feature of `lanes`.
    pub(crate) fn new(table: &FeatureTable, lanes: &Lanes) -> Self {
        let item = table.output.columns().iter().find(|column| column.role == Role::Item);
        let of_table = lanes.iter().filter(|(_, lane)| lane.member.table.name == table.name);
        let kind = |side: Side| if side == Side::Segment { Kind::Segment } else { Kind::Site };
        Self {
            lanes: of_table.map(|(number, lane)| (number, kind(lane.side))).collect(),
            keys: keys(table).map(str::to_owned).collect(),
            item: item.expect("the configuration was checked to name memberships").name.to_string(),
        }
    }

    fn wanted(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str).chain([self.item.as_str(), MIN, MAX])
    }

    /// The file's columns: ids where they lie in the file's pages; items as a dictionary, since few differ, and each is
    /// looked up once for many rows.
    fn schema(&self, found: &Schema) -> Schema {
        let dictionary = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
        let fields = found.fields().iter().map(|field| {
            let data_type = match field.data_type() {
                DataType::Utf8 if *field.name() == self.item => &dictionary,
                DataType::Utf8 if *field.name() == self.keys[0] => &DataType::Utf8View,
                data_type => data_type,
            };
            Field::new(field.name(), data_type.clone(), field.is_nullable())
        });
        Schema::new(fields.collect::<Vec<_>>())
    }

    fn of<'b>(&self, batch: &'b RecordBatch) -> Result<Batch<'b>, Cause> {
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
        let (users, items) = (column(&self.keys[0])?, column(&self.item)?);
        Ok(Batch {
            users: users
                .as_string_view_opt()
                .ok_or_else(|| format!("its column `{}` is {}, not text", self.keys[0], users.data_type()))?,
            other_keys: self.keys[1..].iter().map(text).collect::<Result<_, _>>()?,
            items: items
                .as_dictionary_opt()
                .ok_or_else(|| format!("its column `{}` is {}, not text", self.item, items.data_type()))?,
            min: time(MIN)?,
            max: time(MAX)?,
        })
    }
}

impl IntervalReader {
    /// Begins to read the file of this `path`. Also tells what its footer says.
    pub(crate) fn open(
        path: &str,
        file: File,
        columns: &Arc<Columns>,
        dictionary: &Arc<Dictionary>,
    ) -> Result<(Self, ContentOrder), AirError> {
        let damaged = |source: Cause| AirError::DamagedFeature { path: path.to_owned(), source };
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new().with_skip_arrow_metadata(true))
            .map_err(|error| damaged(error.into()))?;
        let order = order_of(&metadata).map_err(&damaged)?;
        let mask = ProjectionMask::columns(metadata.parquet_schema(), columns.wanted());
        let schema = columns.schema(metadata.schema());
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(Arc::new(schema));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
            .map_err(|error| damaged(error.into()))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        let lane = |&(lane, kind): &(u8, Kind)| LaneNumbers {
            lane,
            kind,
            known: HashMap::new(),
            origins: HashMap::new(),
            items: Vec::new(),
            row_origins: Vec::new(),
        };
        let reader = Self {
            path: path.to_owned(),
            columns: Arc::clone(columns),
            dictionary: Arc::clone(dictionary),
            batches: batches.map_err(|error| damaged(error.into()))?,
            lanes: columns.lanes.iter().map(lane).collect(),
            names: None,
            last_user: Vec::new(),
        };
        Ok((reader, order))
    }

    /// The next users.
    pub(crate) fn next(&mut self) -> Result<Option<Block>, AirError> {
        while let Some(batch) = self.batches.next() {
            let block = batch.map_err(Cause::from).and_then(|batch| self.block(&batch));
            let block = block.map_err(|source| AirError::DamagedFeature { path: self.path.clone(), source })?;
            if block.is_some() {
                return Ok(block);
            }
        }
        Ok(None)
    }

    fn block(&mut self, batch: &RecordBatch) -> Result<Option<Block>, Cause> {
        let columns = Arc::clone(&self.columns);
        let batch = columns.of(batch)?;
        batch.check()?;
        self.number(&batch);
        let (ids, entries) = (Ids::new(batch.users), self.entries(&batch));
        let users = self.users(&ids, batch.users.len())?;
        Ok(Block::new(ids.bytes, users, entries))
    }

    /// Brings rows that follow each other with the same id together.
    fn users(&mut self, ids: &Ids<'_>, rows: usize) -> Result<Vec<User>, Cause> {
        let mut users = vec![User::default(); rows];
        let (mut last, mut found) = (self.last_user.as_slice(), 0);
        for row in 0..rows {
            let user = ids.user(row);
            let id = user.id(&ids.bytes);
            let order = compare(last, id);
            if order == Ordering::Greater {
                return Err("its rows are not in order of their users".into());
            }
            // No branch: whether the user is a new one is a toss-up for the processor. The first one may have begun in
            // the block before.
            found += usize::from(order == Ordering::Less || row == 0);
            users[found - 1] = User { entries_end: ((row + 1) * self.lanes.len()) as u32, ..user };
            last = id;
        }
        self.last_user = last.to_vec();
        users.truncate(found);
        Ok(users)
    }

    fn entries(&self, batch: &Batch<'_>) -> Vec<Entry> {
        let (keys, first, last) = (batch.items.keys().values(), batch.min.values(), batch.max.values());
        let runs = first.iter().zip(last).map(|(&first_ms, &last_ms)| Run { first_ms, last_ms });
        let mut entries = Vec::with_capacity(keys.len() * self.lanes.len());
        match self.lanes.as_slice() {
            // One row, or rows without other keys.
            [LaneNumbers { items, row_origins, .. }] if row_origins.len() == 1 => {
                let (origin, items) = (row_origins[0], keys.iter().map(|&key| items[key as usize]));
                entries.extend(items.zip(runs).map(|(item, run)| Entry { origin, item, run }));
            }
            lanes => {
                for (row, (&key, run)) in keys.iter().zip(runs).enumerate() {
                    entries.extend(lanes.iter().map(|lane| {
                        let origin = lane.row_origins[row.min(lane.row_origins.len() - 1)];
                        Entry { origin, item: lane.items[key as usize], run }
                    }));
                }
            }
        }
        entries
    }

    /// Finds the numbers of a batch's names.
    fn number(&mut self, batch: &Batch<'_>) {
        let names: &StringArray = batch.items.values().as_string();
        // Batches of one row group share their dictionary.
        let same = |last: &StringArray| std::ptr::eq(last.value_offsets(), names.value_offsets());
        let is_new = !self.names.as_ref().is_some_and(same);
        for lane in &mut self.lanes {
            if is_new {
                lane.number_items(names, &self.dictionary);
            }
            lane.number_origins(batch, &self.dictionary);
        }
        self.names = Some(names.clone());
    }
}

impl fmt::Debug for IntervalReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntervalReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<'a> Ids<'a> {
    fn new(users: &'a StringViewArray) -> Self {
        let views = std::iter::once(users.views().inner().clone());
        Self { views: users.views(), bytes: views.chain(users.data_buffers().iter().cloned()).collect() }
    }

    /// Where the id of a row lies.
    fn user(&self, row: usize) -> User {
        let view = ByteView::from(self.views[row]);
        let (bytes, id_begin) = if view.length <= MAX_INLINE_VIEW_LEN {
            (0, row as u32 * 16 + 4)
        } else {
            (view.buffer_index + 1, view.offset)
        };
        User { bytes, id_begin, id_len: view.length, entries_end: 0 }
    }
}

impl Batch<'_> {
    fn check(&self) -> Result<(), &'static str> {
        if self.users.null_count() + self.items.null_count() + self.min.null_count() + self.max.null_count() > 0 {
            return Err("a row lacks its user, item or times");
        }
        // Counting looks at many at once; the first one would be looked for one by one.
        if self.min.values().iter().zip(self.max.values()).filter(|(min, max)| min > max).count() > 0 {
            return Err("a row ends before it begins");
        }
        Ok(())
    }
}

impl LaneNumbers {
    fn number_items(&mut self, names: &StringArray, dictionary: &Dictionary) {
        let Self { kind, known, items, .. } = self;
        items.clear();
        items.extend(names.iter().map(|name| {
            let name = name.unwrap_or_default();
            match known.get(name) {
                Some(&number) => number,
                None => {
                    let number = dictionary.number(*kind, name.as_bytes());
                    known.insert(name.into(), number);
                    number
                }
            }
        }));
    }

    /// Most rows have the same keys as the one before, or no other keys at all.
    fn number_origins(&mut self, batch: &Batch<'_>, dictionary: &Dictionary) {
        self.row_origins.clear();
        let rows = if batch.other_keys.is_empty() { batch.users.len().min(1) } else { batch.users.len() };
        for row in 0..rows {
            let origin = match self.row_origins.last() {
                Some(&last) if batch.other_keys.iter().all(|column| same(column, row - 1, row)) => last,
                _ => self.origin(batch, row, dictionary),
            };
            self.row_origins.push(origin);
        }
    }

    fn origin(&mut self, batch: &Batch<'_>, row: usize, dictionary: &Dictionary) -> u32 {
        let value = |column: &&StringArray| column.is_valid(row).then(|| column.value(row).to_owned());
        let keys: Vec<Option<String>> = batch.other_keys.iter().map(value).collect();
        if let Some(&number) = self.origins.get(&keys) {
            return number;
        }
        let origin = Origin { lane: self.lane, keys };
        let number = dictionary.origin(&origin);
        self.origins.insert(origin.keys, number);
        number
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
