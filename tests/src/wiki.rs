//! Four features of the source `edits`, as Rust structs: the twins of the `[[feature]]` tables of the wikiticker tests.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::prelude::{DataFrame, ident};
use neartime_engine::{Count, Engine, Feature, LastActionTime, Rollup, SegmentMembership};

/// All of them.
pub fn all() -> Vec<Arc<dyn Feature>> {
    vec![Arc::new(EditCount), Arc::new(EditLast), Arc::new(EditPages), Arc::new(EditSums)]
}

/// How often each user edited.
#[derive(Debug)]
pub struct EditCount;

impl Feature for EditCount {
    fn name(&self) -> &str {
        "edit_count"
    }
    fn source(&self) -> &str {
        "edits"
    }
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Count::by(["id"]))
    }
    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        events.select([ident("user").alias("id"), ident("time").alias("timestamp")])
    }
}

/// When each user edited last.
#[derive(Debug)]
pub struct EditLast;

impl Feature for EditLast {
    fn name(&self) -> &str {
        "edit_last"
    }
    fn source(&self) -> &str {
        "edits"
    }
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(LastActionTime::by(["id"]))
    }
    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        events.select([ident("user").alias("id"), ident("time").alias("timestamp")])
    }
}

/// Which pages each user edited, first and last.
#[derive(Debug)]
pub struct EditPages;

impl Feature for EditPages {
    fn name(&self) -> &str {
        "edit_pages"
    }
    fn source(&self) -> &str {
        "edits"
    }
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(SegmentMembership::by(["id"]))
    }
    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        events.select([ident("user").alias("id"), ident("page").alias("item"), ident("time").alias("timestamp")])
    }
}

/// How much each user added and deleted.
#[derive(Debug)]
pub struct EditSums;

impl Feature for EditSums {
    fn name(&self) -> &str {
        "edit_sums"
    }
    fn source(&self) -> &str {
        "edits"
    }
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Rollup::by(["id"]))
    }
    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        events.select([ident("user").alias("id"), ident("added"), ident("deleted"), ident("delta")])
    }
}
