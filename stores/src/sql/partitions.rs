//! Which files a query needs, found without listing what its filters rule out.
//!
//! Folders are listed level by level, many at once, down to the day, or deeper as far as the filters name finer
//! columns; what lies below is listed flat. At each level the filters on partition columns and on `data_chunk` drop
//! the folders that cannot hold a wanted chunk, and at the end each file's chunk is tested exactly.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use futures::{StreamExt, TryStreamExt, stream};
use neartime_engine::FeatureTable;
use neartime_model::{Chunk, ChunkWidth, Instant, Partition, PartitionColumn, Span};
use object_store::path::Path;

use crate::FeaturesStore;
use crate::offline::{ListedFile, list_files};

/// Folders listed at the same time.
const LISTINGS: usize = 32;

/// The name of the column that a file's path gives besides the partition columns.
const DATA_CHUNK: &str = "data_chunk";

/// The columns that a file's path gives: the partition columns as text, then `data_chunk`.
pub(super) fn path_fields(width: ChunkWidth) -> Vec<FieldRef> {
    let text = |column: &PartitionColumn| Arc::new(Field::new(column.name(), DataType::Utf8View, false));
    let chunk = Field::new(DATA_CHUNK, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false);
    PartitionColumn::of_width(width).iter().map(text).chain([Arc::new(chunk)]).collect()
}

/// The values of [`path_fields`] for the files of a chunk.
pub(super) fn path_values(chunk: Chunk) -> Result<Vec<ScalarValue>> {
    let partition = Partition::of(chunk).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let text = partition.values().map(|(_, value)| ScalarValue::Utf8View(Some(value.to_owned())));
    Ok(text.chain([instant(chunk.start())]).collect())
}

fn instant(at: Instant) -> ScalarValue {
    ScalarValue::TimestampMillisecond(Some(at.as_millis()), Some("UTC".into()))
}

/// Whether an expression can be decided by a file's path alone, the same way each time.
pub(super) fn is_of_path(expr: &Expr, width: ChunkWidth) -> bool {
    let fields = path_fields(width);
    let known = |column: &Column| fields.iter().any(|field| *field.name() == column.name);
    let columns = expr.column_refs();
    let mut decidable = !columns.is_empty() && columns.into_iter().all(known);
    let walk = expr.apply(|part| {
        decidable &= match part {
            Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Immutable,
            Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::ScalarVariable(..)
            | Expr::Placeholder(_) => false,
            _ => true,
        };
        Ok(if decidable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    decidable && walk.is_ok()
}

/// The part of a query's filters that paths decide.
#[derive(Debug)]
pub(super) struct PathFilter {
    width: ChunkWidth,
    schema: SchemaRef,
    conjuncts: Vec<Conjunct>,
}

#[derive(Debug)]
struct Conjunct {
    expr: Arc<dyn PhysicalExpr>,
    /// The columns it needs, as places in [`path_fields`].
    columns: HashSet<usize>,
    /// The same as a question to ranges of values; `None` if it cannot be put so.
    ranges: Option<PruningPredicate>,
}

impl PathFilter {
    /// Takes those of `filters` (a conjunction) that paths decide.
    pub(super) fn new(filters: &[Expr], width: ChunkWidth, state: &dyn Session) -> Result<Self> {
        let schema: SchemaRef = Arc::new(Schema::new(path_fields(width)));
        let df_schema = DFSchema::try_from(Arc::clone(&schema))?;
        let of_path = filters.iter().flat_map(split_conjunction).filter(|filter| is_of_path(filter, width));
        let conjuncts = of_path.map(|filter| {
            let columns = filter.column_refs().into_iter().map(|column| schema.index_of(&column.name));
            let columns = columns.collect::<std::result::Result<_, _>>()?;
            let expr = state.create_physical_expr(filter.clone(), &df_schema)?;
            let ranges =
                PruningPredicateBuilder::new().with_file_schema(Arc::clone(&schema)).try_build(Arc::clone(&expr)).ok();
            Ok(Conjunct { expr, columns, ranges })
        });
        Ok(Self { width, conjuncts: conjuncts.collect::<Result<_>>()?, schema })
    }

    /// How many levels of folders are worth listing one by one.
    fn depth(&self) -> usize {
        const DAY: usize = 3;
        let levels = PartitionColumn::of_width(self.width).len();
        let finest = self.conjuncts.iter().flat_map(|conjunct| &conjunct.columns).filter(|column| **column < levels);
        finest.map(|column| column + 1).max().unwrap_or(0).max(DAY).min(levels)
    }

    /// Which folders may hold a wanted chunk. All are of one level.
    fn may_hold(&self, folders: &[Folder]) -> Result<Vec<bool>> {
        let Some(first) = folders.first() else { return Ok(Vec::new()) };
        let known = first.values.len();
        let mut keep = vec![true; folders.len()];
        for conjunct in &self.conjuncts {
            let verdicts = if conjunct.columns.iter().all(|column| *column < known) {
                let rows = folders.iter().map(|folder| folder.row(&self.schema)).collect::<Result<Vec<_>>>()?;
                self.evaluate(conjunct, &rows)?
            } else if let Some(ranges) = &conjunct.ranges {
                // Where ranges decide nothing, the exact test of each file's chunk still does.
                ranges
                    .prune(&FolderStatistics { folders, schema: &self.schema })
                    .unwrap_or_else(|_| vec![true; folders.len()])
            } else {
                continue;
            };
            keep.iter_mut().zip(verdicts).for_each(|(keep, verdict)| *keep &= verdict);
        }
        Ok(keep)
    }

    /// Which chunks are wanted.
    fn holds(&self, chunks: &[Chunk]) -> Result<Vec<bool>> {
        let mut keep = vec![true; chunks.len()];
        if self.conjuncts.is_empty() || chunks.is_empty() {
            return Ok(keep);
        }
        let rows = chunks.iter().map(|chunk| path_values(*chunk)).collect::<Result<Vec<_>>>()?;
        for conjunct in &self.conjuncts {
            let verdicts = self.evaluate(conjunct, &rows)?;
            keep.iter_mut().zip(verdicts).for_each(|(keep, verdict)| *keep &= verdict);
        }
        Ok(keep)
    }

    fn evaluate(&self, conjunct: &Conjunct, rows: &[Vec<ScalarValue>]) -> Result<Vec<bool>> {
        let column = |index: usize| -> Result<ArrayRef> {
            if conjunct.columns.contains(&index) {
                ScalarValue::iter_to_array(rows.iter().map(|row| row[index].clone()))
            } else {
                Ok(new_null_array(self.schema.field(index).data_type(), rows.len()))
            }
        };
        let columns = (0..self.schema.fields().len()).map(column).collect::<Result<Vec<_>>>()?;
        // Columns that the expression does not look at are null here, whatever the schema says.
        let nullable = self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let verdicts = conjunct.expr.evaluate(&batch)?.into_array(rows.len())?;
        let verdicts: &BooleanArray = verdicts.as_boolean();
        Ok((0..verdicts.len()).map(|row| verdicts.is_valid(row) && verdicts.value(row)).collect())
    }
}

/// Lists the files of a table that pass the filter, by path.
pub(super) async fn list_wanted(
    store: &FeaturesStore,
    table: &FeatureTable,
    filter: &PathFilter,
) -> Result<Vec<ListedFile>> {
    let folder = store.folder(table).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let mut folders = vec![Folder { path: folder.clone(), values: Vec::new(), starts: None }];
    for column in &PartitionColumn::of_width(table.width)[..filter.depth()] {
        let listings = folders.into_iter().map(|folder| async move {
            let listed = store.objects().list_with_delimiter(Some(&folder.path)).await?;
            let below = listed.common_prefixes.into_iter().filter_map(|path| folder.below(path, *column));
            Ok::<_, object_store::Error>(below.collect::<Vec<_>>())
        });
        let listed: Vec<Vec<Folder>> = stream::iter(listings).buffer_unordered(LISTINGS).try_collect().await?;
        let mut below: Vec<Folder> = listed.into_iter().flatten().collect();
        let mut keep = filter.may_hold(&below)?.into_iter();
        below.retain(|_| keep.next().unwrap_or(true));
        folders = below;
    }
    let listings = folders.into_iter().map(|prefix| {
        list_files(&**store.objects(), folder.clone(), table.width, &prefix.path).try_collect::<Vec<_>>()
    });
    let listed: Vec<Vec<ListedFile>> = stream::iter(listings).buffer_unordered(LISTINGS).try_collect().await?;
    let mut files: Vec<ListedFile> = listed.into_iter().flatten().collect();
    let mut keep = filter.holds(&files.iter().map(|file| file.chunk).collect::<Vec<_>>())?.into_iter();
    files.retain(|_| keep.next().unwrap_or(true));
    files.sort_by(|left, right| left.meta.location.cmp(&right.meta.location));
    Ok(files)
}

/// A partition folder: the values of its path so far, and the time that it covers.
#[derive(Clone, Debug)]
struct Folder {
    path: Path,
    values: Vec<String>,
    /// Start of the first chunk and of the last that it may hold; `None` for the feature's own folder.
    starts: Option<(Instant, Instant)>,
}

impl Folder {
    /// The folder `<column>=<value>` at `path` below this one; `None` if it is none.
    fn below(&self, path: Path, column: PartitionColumn) -> Option<Self> {
        let name = path.filename()?.to_owned();
        let value = name.strip_prefix(column.name())?.strip_prefix('=')?;
        let mut values = self.values.clone();
        values.push(value.to_owned());
        let starts = Some(covered(&values, column)?);
        Some(Self { path, values, starts })
    }

    /// The values of [`path_fields`], null where they are not known yet.
    fn row(&self, schema: &Schema) -> Result<Vec<ScalarValue>> {
        let value = |(index, field): (usize, &FieldRef)| match self.values.get(index) {
            Some(value) => Ok(ScalarValue::Utf8View(Some(value.clone()))),
            None => ScalarValue::try_from(field.data_type()),
        };
        schema.fields().iter().enumerate().map(value).collect()
    }
}

/// The first instant and the last minute of what a folder with these values covers, `column` being its finest.
fn covered(values: &[String], column: PartitionColumn) -> Option<(Instant, Instant)> {
    let number = |index: usize| values.get(index).map_or(Some(None), |text| text.parse::<u32>().ok().map(Some));
    let year: i32 = values.first()?.parse().ok()?;
    let (month, day) = (number(1)?, number(2)?);
    let minutes = number(3)?.unwrap_or(0).checked_mul(60)?.checked_add(number(4)?.unwrap_or(0))?;
    let start = Instant::from_ymd(year, month.unwrap_or(1), day.unwrap_or(1))? + Span::from_mins(i64::from(minutes));
    let end = match column {
        PartitionColumn::Year => Instant::from_ymd(year.checked_add(1)?, 1, 1)?,
        PartitionColumn::Month if month == Some(12) => Instant::from_ymd(year.checked_add(1)?, 1, 1)?,
        PartitionColumn::Month => Instant::from_ymd(year, month? + 1, 1)?,
        PartitionColumn::Day => start + Span::from_days(1),
        PartitionColumn::Hour => start + Span::from_mins(60),
        PartitionColumn::TenMins | PartitionColumn::Minute => start + Span::from_mins(1),
    };
    // Chunks are whole minutes.
    Some((start, end - Span::from_mins(1)))
}

/// Folders as containers of rows whose values lie in ranges.
struct FolderStatistics<'a> {
    folders: &'a [Folder],
    schema: &'a Schema,
}

impl FolderStatistics<'_> {
    fn values(&self, column: &Column, bound: fn((Instant, Instant)) -> Instant) -> Option<ArrayRef> {
        if column.name == DATA_CHUNK {
            let bounds = self.folders.iter().map(|folder| folder.starts.map(bound).map(instant));
            return ScalarValue::iter_to_array(bounds.collect::<Option<Vec<_>>>()?).ok();
        }
        let index = self.schema.index_of(&column.name).ok()?;
        let values = self.folders.iter().map(|folder| folder.values.get(index));
        let values = values.map(|value| value.map(|value| ScalarValue::Utf8View(Some(value.clone()))));
        ScalarValue::iter_to_array(values.collect::<Option<Vec<_>>>()?).ok()
    }
}

impl PruningStatistics for FolderStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |(first, _)| first)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |(_, last)| last)
    }

    fn num_containers(&self) -> usize {
        self.folders.len()
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
