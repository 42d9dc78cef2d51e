//! Merging the rows of one lookup without a query plan.
//!
//! A lookup has few rows and a client that waits: to plan the engine's merge costs more than the merge. What is merged
//! here is what the plan would give, row for row; float sums, whose exact rounding is the plan's own affair, are left
//! to it.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, UInt32Array};
use datafusion::arrow::compute::{cast, concat_batches, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use neartime_engine::{Aggregate, OutputSchema, Role};

use crate::offline::compare_rows;

/// Merges rows (columns as in `output`) into one for each row key, sorted by it. `None` if a plan must do it.
///
/// # Errors
/// An overflow of a sum.
pub(super) fn fold(output: &OutputSchema, batches: &[RecordBatch]) -> Result<Option<RecordBatch>, ArrowError> {
    let whole = |data_type: &DataType| matches!(data_type, DataType::Int64 | DataType::Timestamp(..));
    if !output.values().all(|column| whole(&column.data_type)) {
        return Ok(None);
    }
    let schema = output.arrow();
    let rows = concat_batches(&schema, batches)?;
    let keys = output.row_key().count();
    let texts: Vec<&StringArray> = rows.columns()[..keys].iter().map(|column| column.as_string::<i32>()).collect();
    let compare = |left: u32, right: u32| compare_rows(&texts, left as usize, right as usize);
    let count = u32::try_from(rows.num_rows()).map_err(|_| ArrowError::ComputeError("too many rows".to_owned()))?;
    let mut sorted: Vec<u32> = (0..count).collect();
    sorted.sort_unstable_by(|left, right| compare(*left, *right));
    let groups: Vec<&[u32]> = sorted.chunk_by(|left, right| compare(*left, *right) == Ordering::Equal).collect();
    if groups.len() == rows.num_rows() {
        let order = UInt32Array::from(sorted);
        return Ok(Some(take_record_batch(&rows, &order)?));
    }
    let first = groups.iter().map(|group| group[0]);
    let first = UInt32Array::from_iter_values(first);
    let mut columns = take_record_batch(&rows.project(&(0..keys).collect::<Vec<_>>())?, &first)?.columns().to_vec();
    for (column, values) in output.columns().iter().zip(rows.columns()).skip(keys) {
        let Role::Value(aggregate) = column.role else { continue };
        columns.push(cast(&folded(aggregate, values, &groups)?, &column.data_type)?);
    }
    RecordBatch::try_new(schema, columns).map(Some)
}

/// One value for each group of rows; nulls count for nothing, and nothing but nulls is null.
fn folded(aggregate: Aggregate, values: &ArrayRef, groups: &[&[u32]]) -> Result<ArrayRef, ArrowError> {
    let values = cast(values, &DataType::Int64)?;
    let values = values.as_primitive::<Int64Type>();
    let merge = |left: i64, right: i64| match aggregate {
        Aggregate::Sum => left.checked_add(right).ok_or_else(|| {
            ArrowError::ArithmeticOverflow(format!("the sum of {left} and {right} does not fit 64 bits"))
        }),
        Aggregate::Min => Ok(left.min(right)),
        Aggregate::Max => Ok(left.max(right)),
    };
    let fold = |group: &&[u32]| {
        let mut merged = None;
        for value in group.iter().filter_map(|row| value(values, *row as usize)) {
            merged = Some(merged.map_or(Ok(value), |merged| merge(merged, value))?);
        }
        Ok(merged)
    };
    let merged: Int64Array = groups.iter().map(fold).collect::<Result<Vec<Option<i64>>, ArrowError>>()?.into();
    Ok(Arc::new(merged))
}

fn value(values: &Int64Array, row: usize) -> Option<i64> {
    values.is_valid(row).then(|| values.value(row))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::TimestampMillisecondArray;
    use datafusion::arrow::datatypes::TimeUnit;
    use neartime_engine::{Engine, LastActionTime, OutputColumn, SegmentMembership, merge_batches};

    use super::*;
    use crate::testing::column;

    fn random_rows(random: &mut fastrand::Rng, output: &OutputSchema, rows: usize) -> RecordBatch {
        let columns = output.columns().iter().map(|column| -> ArrayRef {
            let texts = [None, Some("a"), Some("\u{e9}"), Some("b")];
            match (&column.data_type, column.role) {
                (DataType::Utf8, Role::Item) => {
                    Arc::new((0..rows).map(|_| texts[random.usize(1..4)]).collect::<StringArray>())
                }
                (DataType::Utf8, _) => Arc::new((0..rows).map(|_| texts[random.usize(0..4)]).collect::<StringArray>()),
                (DataType::Timestamp(..), _) => {
                    let times = (0..rows).map(|_| random.bool().then(|| random.i64(-9..9)));
                    Arc::new(times.collect::<TimestampMillisecondArray>().with_timezone("UTC"))
                }
                _ => Arc::new((0..rows).map(|_| random.bool().then(|| random.i64(-9..9))).collect::<Int64Array>()),
            }
        });
        let columns = columns.collect();
        RecordBatch::try_new(output.arrow(), columns).unwrap()
    }

    #[tokio::test]
    async fn it_gives_what_the_engines_plan_gives() {
        let instant = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let keys = || vec![column("id", DataType::Utf8, Role::Entity), column("country", DataType::Utf8, Role::Key)];
        let value = |name, data_type, aggregate| column(name, data_type, Role::Value(aggregate));
        let with = |more: Vec<OutputColumn>| OutputSchema::new(keys().into_iter().chain(more).collect());
        let latest: Box<dyn Engine> = Box::new(LastActionTime::by(["id", "country"]));
        let membership: Box<dyn Engine> = Box::new(SegmentMembership::by(["id", "country"]));
        let cases = [
            (latest, with(vec![value("last_action_timestamp", DataType::Int64, Aggregate::Max)])),
            (
                membership,
                with(vec![
                    column("item", DataType::Utf8, Role::Item),
                    value("min_ts", instant.clone(), Aggregate::Min),
                    value("max_ts", instant, Aggregate::Max),
                ]),
            ),
        ];
        for (engine, output) in &cases {
            for seed in 0..20 {
                let mut random = fastrand::Rng::with_seed(seed);
                let batches: Vec<_> = (0..3).map(|_| random.usize(0..20)).collect::<Vec<_>>();
                let batches: Vec<_> = batches.into_iter().map(|rows| random_rows(&mut random, output, rows)).collect();
                let planned = merge_batches(&**engine, output, batches.clone()).await.unwrap();
                assert_eq!(fold(output, &batches).unwrap().unwrap(), planned, "{} {seed}", engine.name());
            }
        }
    }

    #[test]
    fn an_overflow_is_an_error_and_floats_are_left_to_the_plan() {
        let output = |data_type| {
            let value = column("n", data_type, Role::Value(Aggregate::Sum));
            OutputSchema::new(vec![column("id", DataType::Utf8, Role::Entity), value])
        };
        let whole = output(DataType::Int64);
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["a", "a"]));
        let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
        let rows = RecordBatch::try_new(whole.arrow(), vec![ids, values]).unwrap();
        assert!(matches!(fold(&whole, &[rows]), Err(ArrowError::ArithmeticOverflow(_))));
        assert!(fold(&output(DataType::Float64), &[]).unwrap().is_none());
    }
}
