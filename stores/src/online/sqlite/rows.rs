//! Rows between Arrow and SQLite.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Builder, Int64Array, Int64Builder, StringBuilder,
};
use datafusion::arrow::compute::{cast, filter_record_batch, is_not_null};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use neartime_engine::{FeatureTable, OnlineLayout, OutputColumn, Role};
use neartime_model::Fence;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Row};

use crate::offline::column_as;
use crate::{PartitionFile, StoreError};

/// Rows of one batch that a read gives.
pub(super) const READ_ROWS: usize = 1024;

/// Rows (or keys to delete) of one file, ready to be bound row by row.
#[derive(Debug)]
pub(super) struct BoundRows<'a> {
    file: &'a PartitionFile,
    columns: Vec<Bound>,
    rows: usize,
    write_ts: WriteTs,
    expires_at_ms: Option<i64>,
    deleted: bool,
}

/// One bound column, in the order of the table's primary key and values.
#[derive(Debug)]
enum Bound {
    Chunk,
    Path,
    Text(ArrayRef),
    Integer(Int64Array),
    Float(ArrayRef),
    Null,
}

#[derive(Debug)]
enum WriteTs {
    Fence(i64),
    Event(Int64Array),
}

impl<'a> BoundRows<'a> {
    /// Rows to write. Those without an entity (or, where the event time counts, without that) are left out.
    pub(super) fn upserts(file: &'a PartitionFile, fence: Fence, rows: &RecordBatch) -> Result<Self, StoreError> {
        let table = &*file.table;
        let mut keep = vec![table.output.entity().as_str()];
        let event = match table.online {
            OnlineLayout::PerChunk => None,
            OnlineLayout::Latest => Some(event_column(table)?),
        };
        keep.extend(event.map(|column| column.name.as_str()));
        let rows = with_all(rows, &keep)?;
        let write_ts = match event {
            Some(column) => WriteTs::Event(event_micros(&rows, column)?),
            None => WriteTs::Fence(fence.0),
        };
        Self::new(file, &rows, write_ts, false)
    }

    /// Row keys to delete.
    pub(super) fn tombstones(file: &'a PartitionFile, fence: Fence, keys: &RecordBatch) -> Result<Self, StoreError> {
        let keys = with_all(keys, &[file.table.output.entity().as_str()])?;
        Self::new(file, &keys, WriteTs::Fence(fence.0), true)
    }

    fn new(file: &'a PartitionFile, rows: &RecordBatch, write_ts: WriteTs, deleted: bool) -> Result<Self, StoreError> {
        let table = &*file.table;
        let mut columns = Vec::new();
        for column in table.output.columns() {
            let tombstone = deleted && matches!(column.role, Role::Value(_));
            columns.push(if tombstone { Bound::Null } else { bound(rows, column)? });
        }
        if table.online == OnlineLayout::PerChunk {
            columns.splice(1..1, [Bound::Chunk, Bound::Path]);
        }
        let expires_at_ms = table.retention.map(|retention| (file.chunk.end() + retention).as_millis());
        Ok(Self { file, columns, rows: rows.num_rows(), write_ts, expires_at_ms, deleted })
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Arguments for `rows` rows from `from` on, in the order of [`super::statements::Statements::bound`].
    pub(super) fn arguments(&self, from: usize, rows: usize) -> Result<SqliteArguments, StoreError> {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(rows * (self.columns.len() + 3), 0);
        let path: Arc<str> = Arc::from(self.file.file_path.as_str());
        for row in from..from + rows {
            self.bind(&mut arguments, row, &path)
                .map_err(|error| StoreError::failed("binding a row for the online store", error))?;
        }
        Ok(arguments)
    }

    fn bind(
        &self,
        arguments: &mut SqliteArguments,
        row: usize,
        path: &Arc<str>,
    ) -> Result<(), sqlx::error::BoxDynError> {
        for column in &self.columns {
            match column {
                Bound::Chunk => arguments.add(self.file.chunk.start().as_millis())?,
                Bound::Path => arguments.add(Arc::clone(path))?,
                // A null key is `''`: a primary key has no nulls, and no key is empty.
                Bound::Text(text) if text.is_null(row) => arguments.add("")?,
                Bound::Text(text) => arguments.add(text.as_string::<i32>().value(row))?,
                Bound::Integer(numbers) => arguments.add(numbers.is_valid(row).then(|| numbers.value(row)))?,
                Bound::Float(numbers) => {
                    let numbers = numbers.as_primitive::<Float64Type>();
                    arguments.add(numbers.is_valid(row).then(|| numbers.value(row)))?;
                }
                Bound::Null => arguments.add(None::<i64>)?,
            }
        }
        let write_ts = match &self.write_ts {
            WriteTs::Fence(fence) => *fence,
            WriteTs::Event(micros) => micros.value(row),
        };
        arguments.add(write_ts)?;
        arguments.add(i64::from(self.deleted))?;
        arguments.add(self.expires_at_ms)
    }
}

fn bound(rows: &RecordBatch, column: &OutputColumn) -> Result<Bound, StoreError> {
    let array = named(rows, column.name.as_str())?;
    Ok(match (&column.role, &column.data_type) {
        (Role::Value(_), DataType::Float64) => Bound::Float(column_as(array, &DataType::Float64)?),
        (Role::Value(_), DataType::Int64 | DataType::Timestamp(..)) => Bound::Integer(integers(array)?),
        _ => Bound::Text(column_as(array, &DataType::Utf8)?),
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
    columns: Vec<Builder>,
    rows: usize,
}

enum Builder {
    Text(StringBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
}

impl BatchBuilder {
    pub(super) fn new(schema: SchemaRef) -> Self {
        let builder = |data_type: &DataType| match data_type {
            DataType::Float64 => Builder::Float(Float64Builder::new()),
            DataType::Int64 | DataType::Timestamp(..) => Builder::Integer(Int64Builder::new()),
            _ => Builder::Text(StringBuilder::new()),
        };
        let columns = schema.fields().iter().map(|field| builder(field.data_type())).collect();
        Self { schema, columns, rows: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= READ_ROWS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(super) fn push(&mut self, row: &SqliteRow) -> Result<(), sqlx::Error> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            match column {
                // Unchecked: SQLite types values, not columns, and TIMESTAMP holds integers.
                Builder::Text(text) => {
                    let value: Option<&str> = row.try_get_unchecked(index)?;
                    text.append_option(value.filter(|value| !value.is_empty()));
                }
                Builder::Integer(numbers) => numbers.append_option(row.try_get_unchecked(index)?),
                Builder::Float(numbers) => numbers.append_option(row.try_get_unchecked(index)?),
            }
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
                Builder::Text(text) => Arc::new(text.finish()),
                Builder::Integer(numbers) => Arc::new(numbers.finish()),
                Builder::Float(numbers) => Arc::new(numbers.finish()),
            };
            cast(&array, field.data_type()).map_err(error)
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(error)
    }
}
