//! What a feature's author writes.

use std::fmt;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::prelude::DataFrame;
use neartime_model::Span;

use crate::Engine;

/// One feature: which source it reads, how its events are cleaned and filtered, and the engine that it feeds.
pub trait Feature: Send + Sync + fmt::Debug {
    /// The feature's name, `[a-z_][a-z0-9_]*`: its folder, its SQL table and its online table.
    fn name(&self) -> &str;

    /// Raised by the author whenever the same events would give other rows.
    fn version(&self) -> u32 {
        1
    }

    /// The name of the source whose events it reads.
    fn source(&self) -> &str;

    /// The engine that its cleaned events feed.
    fn engine(&self) -> Arc<dyn Engine>;

    /// Cleans and filters `events` (the source's columns, its captures, and `data_chunk`) and selects exactly the
    /// columns that the engine asks for.
    ///
    /// `col("name")` folds names to lower case and takes dots for tables; `ident("userId")` takes them as they are.
    /// Conversions, arithmetic and DataFusion's functions give null, and are counted, where they would fail on a row;
    /// functions of the author's own are called as they are, and their errors fail the run.
    ///
    /// Where `timestamp` is not the [`event_time`](crate::event_time) or `data_chunk` as it is, nothing is known of how
    /// far it lies from the chunk: the report keeps all that a membership of such times ever was.
    fn preprocess(&self, events: DataFrame) -> Result<DataFrame>;

    /// How long its rows stay in the online store after the end of their chunk; `None` is for ever.
    fn retention(&self) -> Option<Span> {
        None
    }

    /// What must not change under an unchanged version, as text (a feature from the configuration shows its SQL).
    /// A Rust feature's code cannot be compared: it vouches with its version alone.
    fn definition(&self) -> String {
        String::new()
    }
}
