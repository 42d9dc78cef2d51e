//! The engines against a recomputation in plain maps, and merges of parts against the whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Float64Type, Int64Type, TimestampMillisecondType};
use datafusion::error::Result;
use datafusion::prelude::DataFrame;
use proptest::prelude::*;

use crate::trial::{events, floats, ints, lists, run, table_of, text};
use crate::{
    Aggregate, CompiledFeature, Count, Engine, Feature, LastActionTime, Rollup, SegmentMembership, compile,
    merge_batches,
};

/// A feature that passes its events on.
#[derive(Debug)]
struct Plain(Arc<dyn Engine>);

impl Feature for Plain {
    fn name(&self) -> &str {
        "plain"
    }
    fn source(&self) -> &str {
        "rows"
    }
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.0)
    }
    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        Ok(events)
    }
}

#[derive(Clone, Debug)]
struct Row {
    id: Option<String>,
    brand: Option<String>,
    items: Option<Vec<Option<String>>>,
    millis: i64,
    int: Option<i64>,
    float: Option<f64>,
}

fn row() -> impl Strategy<Value = Row> {
    let word = || prop::option::of(prop::sample::select(vec!["", "a", "b", "A", "ü", "a very long identifier"]));
    let word = move || word().prop_map(|word| word.map(ToOwned::to_owned));
    let items = prop::option::of(prop::collection::vec(word(), 0..4));
    // Quarters, whose sums are never rounded: a sum of rounded sums may differ in the last bit from that of the whole.
    let float = prop::option::of((-1_000_000..1_000_000_i64).prop_map(|quarters| quarters as f64 / 4.0));
    let int = prop::option::of(-100..100_i64);
    (word(), word(), items, -3_000..3_000_i64, int, float).prop_map(|(id, brand, items, millis, int, float)| Row {
        id,
        brand,
        items,
        millis,
        int,
        float,
    })
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() }
}

fn times_of(rows: &[Row]) -> ArrayRef {
    let millis: datafusion::arrow::array::TimestampMillisecondArray = rows.iter().map(|row| Some(row.millis)).collect();
    Arc::new(millis.with_timezone("UTC"))
}

fn keys_of(rows: &[Row]) -> [(&'static str, ArrayRef); 2] {
    [
        ("id", text(rows.iter().map(|row| row.id.as_deref()))),
        ("brand", text(rows.iter().map(|row| row.brand.as_deref()))),
    ]
}

fn non_empty(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

type Key = (Option<String>, Option<String>);

/// The whole in one run, and the merge of the runs over its parts, which have to agree.
fn computed(engine: Arc<dyn Engine>, events: &RecordBatch, parts: usize) -> RecordBatch {
    let feature: Arc<dyn Feature> = Arc::new(Plain(engine));
    let table = table_of(feature.as_ref(), events, "timestamp");
    let feature: CompiledFeature = compile(feature, &table).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let whole = run(&feature, vec![events.clone()]).await.0;
        let mut outputs = Vec::new();
        let size = events.num_rows().div_ceil(parts).max(1);
        for start in (0..events.num_rows()).step_by(size) {
            let part = events.slice(start, size.min(events.num_rows() - start));
            outputs.push(run(&feature, vec![part]).await.0);
        }
        outputs.reverse();
        let merged = merge_batches(feature.engine().as_ref(), &feature.table().output, outputs).await.unwrap();
        assert_eq!(merged, whole, "merging parts is computing the whole");
        whole
    })
}

fn text_at(rows: &RecordBatch, column: usize, row: usize) -> Option<String> {
    let column = rows.column(column).as_string::<i32>();
    column.is_valid(row).then(|| column.value(row).to_owned())
}

fn keys_at(rows: &RecordBatch, row: usize) -> Key {
    (text_at(rows, 0, row), text_at(rows, 1, row))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn last_action_time_is_the_latest(rows in prop::collection::vec(row(), 1..60), parts in 1..5_usize) {
        let mut expected: BTreeMap<Key, i64> = BTreeMap::new();
        for row in rows.iter().filter(|row| non_empty(&row.id).is_some()) {
            let latest = expected.entry((non_empty(&row.id), non_empty(&row.brand))).or_insert(i64::MIN);
            *latest = (*latest).max((row.millis as f64 / 1_000.0).floor() as i64);
        }
        let events = events(keys_of(&rows).into_iter().chain([("timestamp", times_of(&rows))]));
        let found = computed(Arc::new(LastActionTime::by(["id", "brand"])), &events, parts);
        let seconds = found.column(2).as_primitive::<Int64Type>();
        let found: Vec<_> = (0..found.num_rows()).map(|row| (keys_at(&found, row), seconds.value(row))).collect();
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn count_is_the_number_of_rows_or_the_sum_of_weights(rows in prop::collection::vec(row(), 1..60), parts in 1..5_usize) {
        let mut expected: BTreeMap<Key, (i64, Option<i64>)> = BTreeMap::new();
        for row in rows.iter().filter(|row| non_empty(&row.id).is_some()) {
            let (count, weight) = expected.entry((non_empty(&row.id), non_empty(&row.brand))).or_default();
            *count += 1;
            *weight = row.int.map_or(*weight, |int| Some(weight.unwrap_or(0) + int));
        }
        let columns = || keys_of(&rows).into_iter().chain([("timestamp", times_of(&rows))]);
        let counted = computed(Arc::new(Count::by(["id", "brand"])), &events(columns()), parts);
        let weighted = columns().chain([("weight", ints(rows.iter().map(|row| row.int)))]);
        let weighted = computed(Arc::new(Count::by(["id", "brand"])), &events(weighted), parts);
        let (counts, weights) = (counted.column(2).as_primitive::<Int64Type>(), weighted.column(2).as_primitive::<Int64Type>());
        let found: Vec<_> = counts.iter().zip(weights).enumerate()
            .map(|(row, (count, weight))| (keys_at(&counted, row), (count.unwrap(), weight))).collect();
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn membership_is_the_first_and_the_last_time(rows in prop::collection::vec(row(), 1..60), parts in 1..5_usize) {
        let mut expected: BTreeMap<(Key, String), (i64, i64)> = BTreeMap::new();
        for row in rows.iter().filter(|row| non_empty(&row.id).is_some()) {
            for item in row.items.iter().flatten().filter_map(non_empty) {
                let key = ((non_empty(&row.id), non_empty(&row.brand)), item);
                let (first, last) = expected.entry(key).or_insert((row.millis, row.millis));
                (*first, *last) = ((*first).min(row.millis), (*last).max(row.millis));
            }
        }
        let items = lists(rows.iter().map(|row| row.items.as_ref().map(|items| items.iter().map(|item| item.as_deref()))));
        let events = events(keys_of(&rows).into_iter().chain([("item", items), ("timestamp", times_of(&rows))]));
        let found = computed(Arc::new(SegmentMembership::by(["id", "brand"])), &events, parts);
        let time = |column: usize, row: usize| found.column(column).as_primitive::<TimestampMillisecondType>().value(row);
        let found: Vec<_> = (0..found.num_rows())
            .map(|row| ((keys_at(&found, row), text_at(&found, 2, row).unwrap()), (time(3, row), time(4, row)))).collect();
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn rollup_sums_what_is_there(rows in prop::collection::vec(row(), 1..60), parts in 1..5_usize) {
        let mut groups: BTreeMap<Key, Vec<&Row>> = BTreeMap::new();
        for row in &rows {
            groups.entry((non_empty(&row.id), non_empty(&row.brand))).or_default().push(row);
        }
        let measures = [
            ("total", ints(rows.iter().map(|row| row.int))),
            ("low", ints(rows.iter().map(|row| row.int))),
            ("high", floats(rows.iter().map(|row| row.float))),
            ("spend", floats(rows.iter().map(|row| row.float))),
        ];
        let engine = Rollup::by(["id", "brand"]).aggregated("low", Aggregate::Min).aggregated("high", Aggregate::Max);
        let found = computed(Arc::new(engine), &events(keys_of(&rows).into_iter().chain(measures)), parts);
        prop_assert_eq!(found.num_rows(), groups.len());
        let int = |column: usize| found.column(column).as_primitive::<Int64Type>();
        let float = |column: usize| found.column(column).as_primitive::<Float64Type>();
        for (at, (key, rows)) in groups.into_iter().enumerate() {
            prop_assert_eq!(keys_at(&found, at), key);
            let ints: Vec<i64> = rows.iter().filter_map(|row| row.int).collect();
            let floats: Vec<f64> = rows.iter().filter_map(|row| row.float).collect();
            let total = (!ints.is_empty()).then(|| ints.iter().sum::<i64>());
            prop_assert_eq!(int(2).iter().nth(at).unwrap(), total);
            prop_assert_eq!(int(3).iter().nth(at).unwrap(), ints.iter().min().copied());
            prop_assert_eq!(float(4).iter().nth(at).unwrap(), floats.iter().copied().reduce(f64::max));
            let spend = (!floats.is_empty()).then(|| floats.iter().sum::<f64>());
            prop_assert_eq!(float(5).iter().nth(at).unwrap(), spend);
            prop_assert_eq!(int(6).value(at), rows.len() as i64);
        }
    }
}
