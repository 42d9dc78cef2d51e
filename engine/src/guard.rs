//! The key guard: what stands between a feature's `preprocess` and its engine.
//!
//! It brings columns to the engine's types (keys to text), turns empty keys into null, gives each item of a list its
//! own row, and drops, counted by reason, the rows that no engine may see.

mod columns;

pub(crate) use self::columns::text;

use std::future::ready;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, GenericListArray, OffsetSizeTrait, RecordBatch, StringViewArray,
    UInt32Array,
};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{and, filter, is_not_null, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{TryStreamExt, stream};

use crate::counts::Dropped;
use crate::engines::instant_type;
use crate::{Counts, Engine, InputColumn, InputKind, SchemaMismatch};

/// Longest key (and item), in bytes of text.
const MAX_KEY_BYTES: usize = 1024;

/// Aimed at for the rows that the lists of one batch become.
const MAX_ITEMS: usize = 32_768;

/// How the rows of one feature are guarded.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    columns: Vec<GuardedColumn>,
    schema: SchemaRef,
    keeps_null_entity: bool,
}

#[derive(Clone, Debug)]
struct GuardedColumn {
    /// Where `preprocess` has it.
    at: usize,
    kind: InputKind,
}

impl Guard {
    /// Checks what `preprocess` yields against what the engine asks for.
    pub(crate) fn new(engine: &dyn Engine, found: &Schema) -> Result<Self, SchemaMismatch> {
        let mismatch = |reason: String| SchemaMismatch::new(engine, reason, found);
        let asked = engine.input();
        check_names(engine, &asked).map_err(mismatch)?;
        let mut columns = Vec::new();
        let mut fields = Vec::new();
        let mut guard = |at: usize, name: &str, kind: InputKind| {
            let from = found.field(at).data_type();
            let to = guarded_type(kind, from).ok_or_else(|| {
                mismatch(format!("`{name}` is {from}, not {kind}: cast it, or select another column"))
            })?;
            columns.push(GuardedColumn { at, kind });
            fields.push(Field::new(name, to, kind != InputKind::Item));
            Ok(())
        };
        for column in &asked {
            match found.index_of(&column.name) {
                Ok(at) => guard(at, &column.name, column.kind)?,
                Err(_) if column.optional => {}
                Err(_) => return Err(mismatch(format!("`{}` is missing", column.name))),
            }
        }
        for (at, field) in found.fields().iter().enumerate() {
            let first = found.index_of(field.name()).is_ok_and(|first| first == at);
            match asked.iter().any(|column| column.name == *field.name()) {
                _ if !first => return Err(mismatch(format!("`{}` is selected twice", field.name()))),
                true => {}
                false if engine.takes_measures() => guard(at, field.name(), InputKind::Number)?,
                false => return Err(mismatch(format!("`{}` is neither a key nor the engine's own", field.name()))),
            }
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { columns, schema, keeps_null_entity: engine.keeps_null_entity() })
    }

    /// The schema that the engine sees.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Guards a stream of what `preprocess` yields.
    pub(crate) fn stream(&self, rows: SendableRecordBatchStream, counts: &Arc<Counts>) -> SendableRecordBatchStream {
        let (guard, counts) = (Arc::new(self.clone()), Arc::clone(counts));
        let cut = Arc::clone(&guard);
        let pieces = rows.map_ok(move |batch| stream::iter(cut.pieces(&batch).into_iter().map(Ok))).try_flatten();
        let guarded = pieces.and_then(move |piece| ready(guard.batch(&piece, &counts)));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), guarded))
    }

    /// Cuts a batch where its lists hold so many items that their rows would be a batch too large.
    fn pieces(&self, rows: &RecordBatch) -> Vec<RecordBatch> {
        let item = self.columns.iter().find(|column| column.kind == InputKind::Item);
        let items = item.map_or(0, |item| columns::items(rows.column(item.at)));
        let pieces = items.div_ceil(MAX_ITEMS).clamp(1, rows.num_rows().max(1));
        let size = rows.num_rows().div_ceil(pieces).max(1);
        let piece = |start| rows.slice(start, size.min(rows.num_rows() - start));
        (0..rows.num_rows()).step_by(size).map(piece).collect()
    }

    fn batch(&self, rows: &RecordBatch, counts: &Counts) -> Result<RecordBatch> {
        counts.add_after_preprocess(rows.num_rows());
        let mut columns = Vec::with_capacity(self.columns.len());
        let mut keep = Keep::default();
        for (position, column) in self.columns.iter().enumerate() {
            let array = rows.column(column.at);
            columns.push(match column.kind {
                InputKind::Key => {
                    let keys = columns::text(array)?;
                    keep.only(fitting(&keys), Dropped::KeyTooLong, counts)?;
                    let keys: ArrayRef = Arc::new(columns::empty_to_null(keys)?);
                    if position == 0 && !self.keeps_null_entity {
                        keep.only(present(&keys)?, Dropped::NullEntity, counts)?;
                    }
                    keys
                }
                InputKind::Timestamp => {
                    let times = columns::instants(array)?;
                    keep.only(present(&times)?, Dropped::NullTimestamp, counts)?;
                    times
                }
                InputKind::Number => columns::number(array, self.schema.field(position).data_type(), counts)?,
                // Items are looked at when it is known which rows stay.
                InputKind::Item => Arc::clone(array),
            });
        }
        let columns = keep.of(columns)?;
        let columns = match self.columns.iter().position(|column| column.kind == InputKind::Item) {
            Some(item) => explode(columns, item, counts)?,
            None => columns,
        };
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// Which rows stay; all of them at first.
#[derive(Default)]
struct Keep(Option<BooleanArray>);

impl Keep {
    /// Keeps only the rows that are `valid` (all, if that is `None`); those that this takes out are counted.
    fn only(&mut self, valid: Option<BooleanArray>, reason: Dropped, counts: &Counts) -> Result<()> {
        let Some(valid) = valid else {
            return Ok(());
        };
        let (before, narrowed) = match self.0.take() {
            None => (valid.len(), valid),
            Some(kept) => (kept.true_count(), and(&kept, &valid)?),
        };
        counts.add_dropped(reason, before - narrowed.true_count());
        self.0 = Some(narrowed);
        Ok(())
    }

    fn of(self, columns: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
        match self.0 {
            Some(keep) => columns.iter().map(|column| Ok(filter(column, &keep)?)).collect(),
            None => Ok(columns),
        }
    }
}

/// A feature has a key, and a name is a key or one of the engine's own, once.
fn check_names(engine: &dyn Engine, asked: &[InputColumn]) -> Result<(), String> {
    if engine.keys().is_empty() {
        return Err("a feature has at least one key".to_owned());
    }
    let is_again = |at: &usize| asked[..*at].iter().any(|column| column.name == asked[*at].name);
    match (1..asked.len()).find(is_again) {
        Some(at) => Err(format!("`{}` cannot be a key twice, or beside the engine's own", asked[at].name)),
        None => Ok(()),
    }
}

/// What the engine sees of a column of type `from`; `None` if it cannot be of this kind.
fn guarded_type(kind: InputKind, from: &DataType) -> Option<DataType> {
    let is_text = |data_type: &DataType| data_type.is_string() || data_type.is_null();
    let text = DataType::Utf8View;
    match (kind, from) {
        (InputKind::Key | InputKind::Item, DataType::Dictionary(_, values)) if is_text(values) => Some(text),
        (InputKind::Key | InputKind::Item, from) if is_text(from) => Some(text),
        (InputKind::Key, from) if from.is_integer() || *from == DataType::Boolean => Some(text),
        (InputKind::Item, DataType::List(item) | DataType::LargeList(item)) if is_text(item.data_type()) => Some(text),
        (InputKind::Timestamp, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Null) => {
            Some(instant_type())
        }
        (InputKind::Number, from) if from.is_integer() => Some(DataType::Int64),
        (InputKind::Number, from) if from.is_numeric() || from.is_null() => Some(DataType::Float64),
        _ => None,
    }
}

/// Which texts are short enough; `None` if all are.
fn fitting(texts: &StringViewArray) -> Option<BooleanArray> {
    let fits = |length: u32| length as usize <= MAX_KEY_BYTES;
    // The length of a null is zero or that of what it hides.
    let fit = || {
        BooleanBuffer::from_iter(texts.lengths().enumerate().map(|(row, length)| texts.is_null(row) || fits(length)))
    };
    (!texts.lengths().all(fits)).then(|| BooleanArray::new(fit(), None))
}

/// Which values are not null; `None` if none is.
fn present(values: &dyn Array) -> Result<Option<BooleanArray>> {
    Ok((values.null_count() > 0).then(|| is_not_null(values)).transpose()?)
}

/// Gives each item a row; null, empty and too long ones have none.
fn explode(mut columns: Vec<ArrayRef>, item: usize, counts: &Counts) -> Result<Vec<ArrayRef>> {
    let (items, origin) = match columns[item].data_type() {
        DataType::List(_) => each_item(columns[item].as_list::<i32>(), counts)?,
        DataType::LargeList(_) => each_item(columns[item].as_list::<i64>(), counts)?,
        _ => (columns::text(&columns[item])?, None),
    };
    let mut keep = Keep::default();
    keep.only(fitting(&items), Dropped::ItemTooLong, counts)?;
    let items: ArrayRef = Arc::new(columns::empty_to_null(items)?);
    keep.only(present(&items)?, Dropped::NullItem, counts)?;
    for (at, column) in columns.iter_mut().enumerate() {
        if at == item {
            *column = Arc::clone(&items);
        } else if let Some(origin) = &origin {
            *column = take(column, origin, None)?;
        }
    }
    keep.of(columns)
}

/// The items of all lists, and for each the row that it came from.
fn each_item<O: OffsetSizeTrait>(
    lists: &GenericListArray<O>,
    counts: &Counts,
) -> Result<(StringViewArray, Option<UInt32Array>)> {
    let (items, origin, without) = columns::list_items(lists)?;
    counts.add_dropped(Dropped::NullItem, without);
    Ok((items, Some(origin)))
}

#[cfg(test)]
mod tests;
