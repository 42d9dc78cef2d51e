//! Rows of one file on their way to an online table and back: what is the same for every backend.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Float64Builder, Int64Array, Int64Builder, StringArray,
    StringBuilder,
};
use datafusion::arrow::compute::{cast, filter_record_batch, is_not_null};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use neartime_engine::{FeatureTable, OnlineLayout, OutputColumn, Role};
use neartime_model::{Fence, FilePath};

use crate::offline::column_as;
use crate::{PartitionFile, StoreError};

/// The columns that say where a row of a chunk comes from.
pub(super) const DATA_CHUNK: &str = "data_chunk";
pub(super) const FILE_PATH: &str = "file_path";

/// The columns of an online table's primary key: entity, chunk and path (not where only the latest is kept), other
/// keys, item.
pub(super) fn primary_key(table: &FeatureTable) -> Vec<&str> {
    let mut keys: Vec<&str> = table.output.row_key().map(|column| column.name.as_str()).collect();
    if table.online == OnlineLayout::PerChunk {
        keys.splice(1..1, [DATA_CHUNK, FILE_PATH]);
    }
    keys
}

/// One cell that is bound to a statement.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    /// A null value. Keys are never null.
    Null,
    /// A key or an item, `''` for a null key; a path.
    Text(&'a str),
    /// A whole number, or an instant in epoch milliseconds.
    Integer(i64),
    Float(f64),
}

/// Rows (or keys to delete) of one file, ready to be bound cell by cell.
#[derive(Debug)]
pub(super) struct OnlineRows {
    file_path: FilePath,
    /// In the order of the table's primary key and values.
    columns: Vec<Values>,
    rows: usize,
    written_at: WrittenAt,
}

#[derive(Debug)]
enum Values {
    Chunk(i64),
    Path,
    Text(StringArray),
    Integer(Int64Array),
    Float(Float64Array),
    Null,
}

#[derive(Debug)]
enum WrittenAt {
    Fence(i64),
    Event(Int64Array),
}

impl OnlineRows {
    /// Rows to write. Those without an entity (or, where the event time counts, without that) are left out.
    pub(super) fn upserts(file: &PartitionFile, fence: Fence, rows: &RecordBatch) -> Result<Self, StoreError> {
        let table = &*file.table;
        let mut keep = vec![table.output.entity().as_str()];
        let event = match table.online {
            OnlineLayout::PerChunk => None,
            OnlineLayout::Latest => Some(event_column(table)?),
        };
        keep.extend(event.map(|column| column.name.as_str()));
        let rows = with_all(rows, &keep)?;
        let written_at = match event {
            Some(column) => WrittenAt::Event(event_micros(&rows, column)?),
            None => WrittenAt::Fence(fence.0),
        };
        Self::new(file, &rows, written_at, false)
    }

    /// Row keys to delete; their values are null.
    pub(super) fn tombstones(file: &PartitionFile, fence: Fence, keys: &RecordBatch) -> Result<Self, StoreError> {
        if file.table.online == OnlineLayout::Latest {
            let name = &file.table.name;
            return Err(StoreError::broken_rule(format!("rows of `{name}` are never deleted: rebuild it")));
        }
        let keys = with_all(keys, &[file.table.output.entity().as_str()])?;
        Self::new(file, &keys, WrittenAt::Fence(fence.0), true)
    }

    fn new(
        file: &PartitionFile,
        rows: &RecordBatch,
        written_at: WrittenAt,
        only_keys: bool,
    ) -> Result<Self, StoreError> {
        let table = &*file.table;
        let mut columns = Vec::new();
        for column in table.output.columns() {
            let absent = only_keys && matches!(column.role, Role::Value(_));
            columns.push(if absent { Values::Null } else { values(rows, column)? });
        }
        if table.online == OnlineLayout::PerChunk {
            columns.splice(1..1, [Values::Chunk(file.chunk.start().as_millis()), Values::Path]);
        }
        Ok(Self { file_path: file.file_path.clone(), columns, rows: rows.num_rows(), written_at })
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// The entity of a row, which is never null.
    #[cfg(feature = "cassandra")]
    pub(super) fn entity(&self, row: usize) -> &str {
        match self.columns.first() {
            Some(Values::Text(entities)) => entities.value(row),
            _ => "",
        }
    }

    /// The cells of a row: those of the primary key, then the values.
    pub(super) fn cells(&self, row: usize) -> impl ExactSizeIterator<Item = Cell<'_>> {
        self.columns.iter().map(move |column| self.cell(column, row))
    }

    fn cell<'a>(&'a self, column: &'a Values, row: usize) -> Cell<'a> {
        match column {
            Values::Chunk(start_ms) => Cell::Integer(*start_ms),
            Values::Path => Cell::Text(self.file_path.as_str()),
            // A null key is `''`: a primary key has no nulls, and no key is empty.
            Values::Text(text) if text.is_null(row) => Cell::Text(""),
            Values::Text(text) => Cell::Text(text.value(row)),
            Values::Integer(numbers) if numbers.is_valid(row) => Cell::Integer(numbers.value(row)),
            Values::Float(numbers) if numbers.is_valid(row) => Cell::Float(numbers.value(row)),
            Values::Integer(_) | Values::Float(_) | Values::Null => Cell::Null,
        }
    }

    /// The timestamp that a row is written at: the fence, or its event time in microseconds.
    pub(super) fn write_ts(&self, row: usize) -> i64 {
        match &self.written_at {
            WrittenAt::Fence(fence) => *fence,
            WrittenAt::Event(micros) => micros.value(row),
        }
    }
}

fn values(rows: &RecordBatch, column: &OutputColumn) -> Result<Values, StoreError> {
    let array = named(rows, column.name.as_str())?;
    Ok(match (&column.role, &column.data_type) {
        (Role::Value(_), DataType::Float64) => {
            Values::Float(column_as(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        }
        (Role::Value(_), DataType::Int64 | DataType::Timestamp(..)) => Values::Integer(integers(array)?),
        _ => Values::Text(column_as(array, &DataType::Utf8)?.as_string::<i32>().clone()),
    })
}

fn named<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, StoreError> {
    rows.column_by_name(name).ok_or_else(|| StoreError::broken_rule(format!("the rows have no column `{name}`")))
}

/// Integers as they are, timestamps as epoch milliseconds.
fn integers(array: &ArrayRef) -> Result<Int64Array, StoreError> {
    let array = match array.data_type() {
        DataType::Timestamp(_, zone) => column_as(array, &DataType::Timestamp(TimeUnit::Millisecond, zone.clone()))?,
        _ => Arc::clone(array),
    };
    Ok(column_as(&array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// The rows in which none of these columns is null.
fn with_all(rows: &RecordBatch, names: &[&str]) -> Result<RecordBatch, StoreError> {
    let error = |error| StoreError::failed("leaving out rows without a key", error);
    let mut kept = rows.clone();
    for name in names {
        let column = named(&kept, name)?;
        if column.null_count() > 0 {
            let valid: BooleanArray = is_not_null(column).map_err(error)?;
            kept = filter_record_batch(&kept, &valid).map_err(error)?;
        }
    }
    Ok(kept)
}

/// The column that says when: the first value.
fn event_column(table: &FeatureTable) -> Result<&OutputColumn, StoreError> {
    let column = table.output.values().next();
    column.ok_or_else(|| StoreError::broken_rule(format!("`{}` keeps the latest row but has no time", table.name)))
}

/// Event times in microseconds; an integer column holds seconds.
fn event_micros(rows: &RecordBatch, column: &OutputColumn) -> Result<Int64Array, StoreError> {
    let scale = if matches!(column.data_type, DataType::Timestamp(..)) { 1_000 } else { 1_000_000 };
    let times = integers(named(rows, column.name.as_str())?)?;
    Ok(times.unary(|time: i64| time.saturating_mul(scale)))
}

/// Collects rows that were read into batches of the table's output.
pub(super) struct BatchBuilder {
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    rows: usize,
}

/// Cells of one column that were read.
pub(super) enum ColumnBuilder {
    /// `''` is null.
    Text(StringBuilder),
    /// Whole numbers, and instants in epoch milliseconds.
    Integer(Int64Builder),
    Float(Float64Builder),
}

impl BatchBuilder {
    pub(super) fn new(schema: SchemaRef) -> Self {
        let builder = |data_type: &DataType| match data_type {
            DataType::Float64 => ColumnBuilder::Float(Float64Builder::new()),
            DataType::Int64 | DataType::Timestamp(..) => ColumnBuilder::Integer(Int64Builder::new()),
            _ => ColumnBuilder::Text(StringBuilder::new()),
        };
        let columns = schema.fields().iter().map(|field| builder(field.data_type())).collect();
        Self { schema, columns, rows: 0 }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row: `read` appends one cell to the builder of each column in turn.
    pub(super) fn push<E>(
        &mut self,
        mut read: impl FnMut(usize, &mut ColumnBuilder) -> Result<(), E>,
    ) -> Result<(), E> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            read(index, column)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// The rows pushed so far; begins anew.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, StoreError> {
        self.rows = 0;
        let error = |error| StoreError::failed("reading rows of the online store", error);
        let columns = self.columns.iter_mut().zip(self.schema.fields()).map(|(column, field)| {
            let array: ArrayRef = match column {
                ColumnBuilder::Text(text) => Arc::new(text.finish()),
                ColumnBuilder::Integer(numbers) => Arc::new(numbers.finish()),
                ColumnBuilder::Float(numbers) => Arc::new(numbers.finish()),
            };
            cast(&array, field.data_type()).map_err(error)
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(error)
    }
}

impl ColumnBuilder {
    pub(super) fn append_text(text: &mut StringBuilder, value: Option<&str>) {
        text.append_option(value.filter(|value| !value.is_empty()));
    }
}
