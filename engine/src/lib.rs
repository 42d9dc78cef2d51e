//! Features and engines: how a source's events become a feature's rows.
//!
//! A [`Feature`] cleans and filters the events of one source and exposes the columns that its [`Engine`] asks for; the
//! engine groups and aggregates them, and knows how the results of many chunks merge into one. Both are DataFusion
//! plans. [`compile`] checks that they fit; [`CompiledFeature::compute`] runs them over the events of one chunk:
//!
//! 1. `preprocess`, rewritten so that no expression fails on a row (`attempt`);
//! 2. the key guard: keys to text, a row for each item, rows without a place dropped and counted (`guard`);
//! 3. the engine: each event as the output of a chunk of its own, then one fold (`fold`), the same that merges chunks:
//!    in memory, and by a DataFusion plan that can spill where memory does not suffice;
//! 4. sorted by row key.
//!
//! **Invariant:** the rows are the same, bit for bit, however the events are ordered and cut into batches.
//!
//! Nothing here reads files or writes stores.

#![warn(missing_docs)]

mod attempt;
mod compile;
mod compute;
mod counts;
mod engine;
mod engines;
mod events;
mod expression;
mod feature;
mod fold;
mod functions;
mod guard;
mod keys;
mod merge;
mod planner;
mod ratios;
mod refused;
mod sql_feature;
mod table;
#[cfg(test)]
mod testing;
mod times;
pub mod trial;
mod wanted;

pub use compile::{CompiledFeature, compile};
pub use compute::Computed;
pub use counts::Counts;
pub use engine::{Engine, InputColumn, InputKind, SchemaMismatch};
pub use engines::{Count, LastActionTime, Rollup, SegmentMembership};
pub use events::{EventsTable, event_time};
pub use feature::Feature;
pub use functions::{
    clean_str, clean_str_udf, epoch_seconds, epoch_seconds_udf, exact_sum, exact_sum_udaf, ratio, ratio_udf,
    register_functions,
};
pub use keys::Keys;
pub use merge::merge_batches;
pub use ratios::{InvalidRatio, Ratios};
pub use refused::Refused;
pub use sql_feature::{InvalidSqlFeature, SqlFeature, SqlFeatureSpec};
pub use table::{Aggregate, FeatureTable, OnlineLayout, OutputColumn, OutputSchema, Ratio, Role};
pub use wanted::Wanted;
