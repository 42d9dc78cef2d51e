use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{JoinType, cast, col, lit};
use datafusion::prelude::{coalesce, now};
use neartime_model::{ChunkWidth, SourceName, chain};

use super::*;
use crate::engines::instant_type;
use crate::trial::{events, run, text, times};
use crate::{Count, clean_str};

type Preprocess = fn(DataFrame) -> Result<DataFrame>;

#[derive(Debug)]
struct Tried {
    name: &'static str,
    version: u32,
    preprocess: Preprocess,
}

fn tried(preprocess: Preprocess) -> Tried {
    Tried { name: "tried", version: 1, preprocess }
}

impl Feature for Tried {
    fn name(&self) -> &str {
        self.name
    }
    fn version(&self) -> u32 {
        self.version
    }
    fn source(&self) -> &str {
        "horizontals"
    }
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Count::by(["id"]))
    }
    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        (self.preprocess)(events)
    }
}

fn table() -> EventsTable {
    let text = |name| Field::new(name, DataType::Utf8View, true);
    let time = |name| Field::new(name, instant_type(), true);
    let fields = vec![text("event_name"), text("user_id"), text("brand"), time("timestamp"), time("data_chunk")];
    EventsTable {
        source: SourceName::new("horizontals").unwrap(),
        schema: Arc::new(Schema::new(fields)),
        event_time: "timestamp".to_owned(),
        width: ChunkWidth::TEN_MINUTES,
    }
}

fn compiled(preprocess: Preprocess) -> Result<CompiledFeature, Refused> {
    compile(Arc::new(tried(preprocess)), &table())
}

fn refusal(preprocess: Preprocess) -> String {
    chain(&compiled(preprocess).unwrap_err())
}

fn id() -> Expr {
    clean_str(col("user_id")).alias("id")
}

#[test]
fn only_what_the_plan_uses_is_wanted() {
    let compiled = compiled(|events| {
        let named = events.filter(col("event_name").in_list(vec![lit("a"), lit("b")], false))?;
        named.filter(clean_str(col("brand")).is_not_null())?.select([id(), col("timestamp")])
    });
    let wanted = compiled.unwrap().wanted().clone();
    assert_eq!(wanted.columns, ["event_name", "user_id", "brand", "timestamp"]);
    let rows = wanted.rows.unwrap();
    let shown: Vec<String> = rows.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(shown[0].contains("event_name") && !shown[0].contains("?table?"), "{shown:?}");
}

#[test]
fn a_condition_is_wanted_as_it_stands() {
    let compiled =
        compiled(|events| events.filter(col("event_name").eq(lit("post_success")))?.select([id(), col("timestamp")]));
    let expected = col("event_name").eq(lit(datafusion::scalar::ScalarValue::Utf8View(Some("post_success".into()))));
    assert_eq!(compiled.unwrap().wanted().rows, Some(vec![expected]));
}

#[test]
fn without_a_condition_every_row_is_wanted() {
    let wanted = compiled(|events| events.select([id(), col("timestamp")])).unwrap().wanted().clone();
    assert_eq!((wanted.columns, wanted.rows), (vec!["user_id".to_owned(), "timestamp".to_owned()], None));
}

#[tokio::test]
async fn a_condition_that_is_never_true_reads_everything_and_gives_nothing() {
    let feature = compiled(|events| events.filter(lit(1).eq(lit(2)))?.select([id(), col("timestamp")])).unwrap();
    assert_eq!(feature.wanted().rows, Some(vec![lit(false)]));
    let (rows, counts) = run(&feature, vec![events([("user_id", text(["a", "b"]))])]).await;
    assert_eq!((rows.num_rows(), counts.rows_in()), (0, 2));
}

#[test]
fn a_source_without_the_columns_turns_the_feature_off() {
    let refused = compiled(|events| {
        let events = events.filter(col("event_type").eq(lit(7)))?;
        events.select([clean_str(col("device_id")).alias("id"), col("timestamp")])
    });
    let Err(Refused::Off { missing, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(missing, &["event_type", "device_id"]);
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("source `horizontals` has no column `event_type`, `device_id`"), "{text}");
}

#[test]
fn a_misspelt_column_of_its_own_is_no_missing_column() {
    let text = refusal(|events| events.select([id(), col("timestamp")])?.filter(col("idd").is_not_null()));
    assert!(text.contains("cannot run over source `horizontals`") && text.contains("idd"), "{text}");
}

#[test]
fn events_that_are_used_twice_are_refused() {
    let joined = refusal(|events| {
        let first = events.clone().select([id(), col("timestamp")])?;
        let second = events.select([clean_str(col("user_id")).alias("other")])?;
        first.join(second, JoinType::Inner, &["id"], &["other"], None)?.select([col("id"), col("timestamp")])
    });
    let united = refusal(|events| {
        let rows = events.select([id(), col("timestamp")])?;
        rows.clone().union(rows)
    });
    for text in [joined, united] {
        assert!(text.contains("uses its events 2 times (a self-join or a union)"), "{text}");
    }
}

#[test]
fn a_clock_in_a_feature_is_refused() {
    let text = refusal(|events| events.filter(col("timestamp").lt(now()))?.select([id(), col("timestamp")]));
    assert!(text.contains("`now` gives other values each time"), "{text}");
}

#[test]
fn what_the_engine_does_not_ask_for_is_refused_with_both_schemas() {
    let text = refusal(|events| events.select([id()]));
    assert!(text.contains("`timestamp` is missing: the engine `count` asks for (id text, int or bool"), "{text}");
    assert!(text.contains("the feature yields (id Utf8View)"), "{text}");
}

#[test]
fn names_and_versions_are_checked() {
    let preprocess: Preprocess = |events| events.select([id(), col("timestamp")]);
    let text = |feature: Tried| chain(&compile(Arc::new(feature), &table()).unwrap_err());
    assert!(text(Tried { name: "Tried", ..tried(preprocess) }).contains("must match [a-z_][a-z0-9_]*"));
    assert!(text(Tried { version: 0, ..tried(preprocess) }).contains("versions begin at 1"));
}

#[test]
fn a_feature_may_aggregate_before_its_engine() {
    let feature = compiled(|events| {
        let counted = events.aggregate(vec![id(), col("timestamp")], vec![count(lit(1)).alias("weight")])?;
        counted.select([col("id"), col("timestamp"), col("weight")])
    });
    assert_eq!(feature.unwrap().table().output.columns()[1].data_type, DataType::Int64);
}

#[test]
fn the_table_tells_a_store_everything() {
    let feature = compiled(|events| events.select([id(), col("timestamp")])).unwrap();
    let table = feature.table();
    let shown = format!("{} {} {} {} {}", table.name, table.version, table.engine, table.source, table.width);
    assert_eq!(shown, "tried 1 count horizontals 10m");
    assert_eq!(table.output.entity().as_str(), "id");
}

#[tokio::test]
async fn the_event_time_is_known_by_its_role() {
    let preprocess: Preprocess = |events| {
        let time = crate::event_time(&events)?.alias("timestamp");
        events.select([id(), time])
    };
    let batch = events([("user_id", text(["a"])), ("seen", times(["2018-08-01"]))]);
    let table = EventsTable { schema: batch.schema(), event_time: "seen".to_owned(), ..table() };
    let feature = compile(Arc::new(tried(preprocess)), &table).unwrap();
    assert_eq!(run(&feature, vec![batch]).await.0.num_rows(), 1);
}

#[test]
fn it_is_known_whether_times_are_those_of_the_events() {
    let kept: [Preprocess; 5] = [
        |events| events.select([id(), col("timestamp")]),
        |events| events.filter(col("timestamp").is_not_null())?.select([id(), col("data_chunk").alias("timestamp")]),
        |events| {
            let renamed = events.select([id(), col("timestamp").alias("at")])?.filter(col("id").is_not_null())?;
            renamed.select([col("at").alias("timestamp"), col("id")])
        },
        |events| events.select([id(), col("timestamp")])?.distinct()?.sort(vec![col("id").sort(true, false)]),
        |events| {
            let counted = events.aggregate(vec![id(), col("timestamp")], vec![count(lit(1)).alias("weight")])?;
            counted.select([col("id"), col("timestamp"), col("weight")])
        },
    ];
    for (at, preprocess) in kept.into_iter().enumerate() {
        assert!(compiled(preprocess).unwrap().keeps_event_time(), "{at}");
    }
    let own: [Preprocess; 3] = [
        |events| events.select([id(), cast(col("brand"), instant_type()).alias("timestamp")]),
        |events| events.select([id(), coalesce(vec![col("timestamp"), col("data_chunk")]).alias("timestamp")]),
        |events| {
            let moved = col("timestamp") - lit(ScalarValue::new_interval_dt(40, 0));
            events.with_column("timestamp", moved)?.select([id(), col("timestamp")])
        },
    ];
    for (at, preprocess) in own.into_iter().enumerate() {
        assert!(!compiled(preprocess).unwrap().keeps_event_time(), "{at}");
    }
}
