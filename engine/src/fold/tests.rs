//! Folding in memory against the plan, on random rows; what is handed over where memory does not suffice.

use std::collections::BTreeMap;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, StringViewArray};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use neartime_model::OutputName;

use super::*;
use crate::{OutputColumn, Role};

fn output() -> OutputSchema {
    let column = |name: &str, data_type, role| OutputColumn { name: OutputName::new(name).unwrap(), data_type, role };
    OutputSchema::new(vec![
        column("id", DataType::Utf8, Role::Entity),
        column("country", DataType::Utf8, Role::Key),
        column("total", DataType::Int64, Role::Value(Aggregate::Sum)),
        column("first", DataType::Int64, Role::Value(Aggregate::Min)),
        column("last", DataType::Int64, Role::Value(Aggregate::Max)),
    ])
}

type Row = (Option<String>, Option<String>, Option<i64>);
type Key = (Option<String>, Option<String>);

fn batch(rows: &[Row]) -> RecordBatch {
    let id: StringViewArray = rows.iter().map(|(id, ..)| id.as_deref()).collect();
    let country: StringViewArray = rows.iter().map(|(_, country, _)| country.as_deref()).collect();
    let number: ArrayRef = Arc::new(rows.iter().map(|(.., number)| *number).collect::<Int64Array>());
    let columns = [Arc::new(id) as ArrayRef, Arc::new(country), Arc::clone(&number), Arc::clone(&number), number];
    let names = ["id", "country", "total", "first", "last"];
    RecordBatch::try_from_iter_with_nullable(names.into_iter().zip(columns).map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn random_rows(seed: u64, count: usize) -> Vec<Row> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let text = |rng: &mut fastrand::Rng| match rng.u8(..8) {
        0 => None,
        1 => Some(String::new()),
        2 => Some("\0".to_owned()),
        3 => Some("nul\0ab".to_owned()),
        4 => Some("ü".repeat(rng.usize(..9))),
        _ => Some(format!("user-{:x}", rng.u16(..400))),
    };
    (0..count)
        .map(|_| (text(&mut rng), text(&mut rng), rng.bool().then(|| rng.i64(-9..9) * (i64::MAX / 100))))
        .collect()
}

/// What comes of the rows by the definition.
type Expected = BTreeMap<Key, Option<(i128, i64, i64)>>;

fn expected(rows: &[Row]) -> Expected {
    let mut groups = Expected::new();
    for (id, country, number) in rows {
        let group = groups.entry((id.clone(), country.clone())).or_default();
        if let Some(number) = *number {
            let (sum, first, last) = group.unwrap_or((0, number, number));
            *group = Some((sum + i128::from(number), first.min(number), last.max(number)));
        }
    }
    groups
}

fn stream(rows: &[Row], size: usize) -> SendableRecordBatchStream {
    let batches: Vec<_> = rows.chunks(size).map(|rows| Ok(batch(rows))).collect();
    Box::pin(RecordBatchStreamAdapter::new(batch(&[]).schema(), stream::iter(batches)))
}

fn context(bytes: usize) -> Arc<TaskContext> {
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes))).build_arc();
    Arc::new(TaskContext::default().with_runtime(runtime.unwrap()))
}

async fn all(rows: SendableRecordBatchStream) -> RecordBatch {
    let schema = rows.schema();
    concat_batches(&schema, &rows.try_collect::<Vec<_>>().await.unwrap()).unwrap()
}

/// The rows of a batch, keys as text.
fn rows_of(batch: &RecordBatch) -> Vec<(Key, [Option<i64>; 3])> {
    let text = |at: usize, row: usize| {
        let column = batch.column(at).as_string::<i32>();
        column.iter().nth(row).flatten().map(str::to_owned)
    };
    let number = |at: usize, row: usize| batch.column(at).as_primitive::<Int64Type>().iter().nth(row).flatten();
    (0..batch.num_rows())
        .map(|row| ((text(0, row), text(1, row)), [number(2, row), number(3, row), number(4, row)]))
        .collect()
}

#[tokio::test]
async fn groups_are_those_of_the_definition_sorted_by_key() {
    for (seed, size) in [(1, 7), (2, 100), (3, 5_000)] {
        let rows = random_rows(seed, 3_000);
        let Folded::Sorted(folded) = in_memory(stream(&rows, size), &output(), &context(64 << 20)).await.unwrap()
        else {
            panic!("memory sufficed");
        };
        let expected: Vec<_> = expected(&rows)
            .into_iter()
            .map(|(key, group)| {
                let (sum, first, last) = group.map_or((None, None, None), |(sum, first, last)| {
                    (Some(i64::try_from(sum).unwrap()), Some(first), Some(last))
                });
                (key, [sum, first, last])
            })
            .collect();
        assert_eq!(rows_of(&all(folded).await), expected, "seed {seed}");
    }
}

#[tokio::test]
async fn what_is_handed_over_folds_to_the_same() {
    let mut rows = random_rows(4, 4_000);
    // A sum beyond 64 bits that comes back: only the whole must fit.
    let big = |number| (Some("big".to_owned()), None, Some(number));
    rows.splice(0..0, [i64::MAX, i64::MAX, 7].map(big));
    rows.extend([-i64::MAX, -i64::MAX].map(big));
    let Folded::Unfinished(parts) = in_memory(stream(&rows, 500), &output(), &context(100 << 10)).await.unwrap() else {
        panic!("memory did not suffice");
    };
    let parts = rows_of(&all(parts).await);
    let mut found = Expected::new();
    for (key, [sum, first, last]) in parts {
        let group = found.entry(key).or_default();
        let (mut total, mut least, mut most) = group.unwrap_or((0, i64::MAX, i64::MIN));
        total += i128::from(sum.unwrap_or(0));
        least = least.min(first.unwrap_or(i64::MAX));
        most = most.max(last.unwrap_or(i64::MIN));
        if sum.is_some() || group.is_some() {
            *group = Some((total, least, most));
        }
    }
    assert_eq!(found, expected(&rows));
}

#[tokio::test]
async fn a_sum_that_does_not_fit_is_an_error() {
    let rows = [i64::MAX, 1].map(|number| (Some("id".to_owned()), None, Some(number)));
    let Folded::Sorted(folded) = in_memory(stream(&rows, 10), &output(), &context(64 << 20)).await.unwrap() else {
        panic!("memory sufficed");
    };
    let error = folded.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains("integer overflow: the sum 9223372036854775808"), "{error}");
}

#[tokio::test]
async fn keys_that_begin_alike_come_out_sorted() {
    let mut rows: Vec<Row> =
        (0..500).rev().map(|at| (Some(format!("a-long-beginning-{at}")), None, Some(at))).collect();
    rows.push((None, None, Some(0)));
    rows.push((Some("a-long-beginning-".to_owned()), None, Some(0)));
    let Folded::Sorted(folded) = in_memory(stream(&rows, 100), &output(), &context(64 << 20)).await.unwrap() else {
        panic!("memory sufficed");
    };
    let found: Vec<_> = rows_of(&all(folded).await).into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, expected(&rows).into_keys().collect::<Vec<_>>());
}
