use neartime_model::{ChunkWidth, Classify as _, ErrorKind};

use super::bench::{Bench, feature, source};
use crate::{ColumnDeclaration, FeatureDeclaration, TasksError};

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, TasksError>, words: &[&str]) {
    let error = result.expect_err("it contradicts what is stored");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` in: {error}");
    }
}

pub(super) async fn a_changed_source_is_refused_once_it_has_tasks(bench: Bench) {
    let mut wide = source("events");
    wide.width = ChunkWidth::HOUR;
    let mut moved = source("events");
    moved.layout = "%Y/%m/%d/%H.gz".into();
    bench.db.declare_sources(&[wide.clone()]).await.unwrap();
    let bench = bench.declared().await;
    bench.chunks(&["2018-08-01T10:40:00Z"]).await;
    assert_refused(bench.db.declare_sources(&[wide.clone()]).await, &["`events`", "10m", "1h"]);
    assert_refused(bench.db.check(&[wide], &[]).await, &["10m"]);
    assert_refused(bench.db.declare_sources(&[source("more"), moved]).await, &["layout", "%H%M*", "%d/%H.gz"]);
    bench.db.declare_sources(&[source("events")]).await.unwrap();
}

pub(super) async fn a_changed_feature_is_refused(bench: Bench) {
    let bench = bench.declared().await;
    let change = |version: u32, change: fn(&mut FeatureDeclaration)| {
        let mut changed = feature("a", version);
        change(&mut changed);
        [changed]
    };
    let definition = change(1, |feature| feature.definition = "select id, 'x'".into());
    assert_refused(bench.db.declare_features(&definition).await, &["`a`", "select id, country", "version to 2"]);
    const BEFORE: &str = "source = \"events\"\nwhere = \"true\"\nselect.id = \"user\"\nselect.at = \"ts\"\n";
    const AFTER: &str = "source = \"events\"\nwhere = \"bot\"\nselect.id = \"user\"\nselect.country = \"cc\"\n";
    let of_lines = change(3, |feature| feature.definition = BEFORE.into());
    bench.db.declare_features(&of_lines).await.unwrap();
    let of_lines = change(3, |feature| feature.definition = AFTER.into());
    let differing =
        "(where was \"true\", now \"bot\"; select.at was \"ts\", now it is gone; select.country is new: \"cc\")";
    assert_refused(bench.db.check(&[], &of_lines).await, &[differing, "version to 4"]);
    let keys = change(2, |feature| feature.keys = vec!["id".into()]);
    assert_refused(bench.db.declare_features(&keys).await, &["keys", "new name"]);
    let engine = change(2, |feature| feature.engine = "rollup".into());
    assert_refused(bench.db.declare_features(&engine).await, &["count", "rollup", "new name"]);
    // Under a new version too: the rows of both sources would count.
    let source = change(2, |feature| feature.source = "others".parse().unwrap());
    assert_refused(bench.db.declare_features(&source).await, &["`events`", "`others`", "new name"]);
    let kind = change(2, |feature| feature.columns[2].data_type = "float".into());
    assert_refused(bench.db.declare_features(&kind).await, &["actions_count", "int", "float"]);
    assert_refused(bench.db.check(&[], &kind).await, &["actions_count"]);
    let more = change(1, |feature| {
        feature.columns.push(ColumnDeclaration { name: "more".into(), data_type: "int".into() });
    });
    assert_refused(bench.db.declare_features(&more).await, &["columns", "version to 2"]);
    // One that is refused keeps the others out too.
    let both = [feature("fine", 1), engine[0].clone()];
    assert_refused(bench.db.declare_features(&both).await, &["`a`"]);
    assert!(bench.db.features().await.unwrap().iter().all(|known| known.name.as_str() != "fine"));
}

pub(super) async fn a_feature_may_grow_and_be_older(bench: Bench) {
    let bench = bench.declared().await;
    let first_seen_at = Bench::START;
    let mut grown = feature("a", 2);
    grown.definition = "select other".into();
    grown.columns.push(ColumnDeclaration { name: "more".into(), data_type: "int".into() });
    bench.db.check(&[], &[grown.clone()]).await.unwrap();
    bench.clock.advance(super::bench::LEASE);
    let known = bench.db.declare_features(&[grown]).await.unwrap();
    assert_eq!((known[0].version.0, known[0].newest.0), (2, 2));
    assert_eq!(known[0].first_seen_at, first_seen_at + super::bench::LEASE);
    let declared = bench.db.declared_columns().await.unwrap();
    let of_a: Vec<usize> =
        declared.iter().filter(|(name, _)| name.as_str() == "a").map(|(_, columns)| columns.len()).collect();
    let old = feature("a", 1).columns.len();
    assert_eq!(of_a, [old + 1, old], "newest first");
    let known = bench.db.declare_features(&[feature("a", 1)]).await.unwrap();
    assert_eq!((known[0].version.0, known[0].newest.0), (1, 2));
    assert_eq!(known[0].first_seen_at, first_seen_at);
    // Code that cannot be compared vouches with its version.
    let mut rust = feature("b", 1);
    rust.definition = String::new();
    bench.db.declare_features(&[rust]).await.unwrap();
}
