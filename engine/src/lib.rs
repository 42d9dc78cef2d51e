//! Features and engines: how a source's events become a feature's rows.
//!
//! A [`Feature`] cleans and filters the events of one source and exposes the columns that its [`Engine`] asks for; the
//! engine groups and aggregates them, and knows how the results of many chunks merge into one. Both are DataFusion
//! plans. Nothing here reads files or writes stores.

#![warn(missing_docs)]

mod engine;
mod feature;
mod table;

pub use engine::{Engine, InputColumn, InputKind, SchemaMismatch};
pub use feature::Feature;
pub use table::{Aggregate, FeatureTable, OnlineLayout, OutputColumn, OutputSchema, Ratio, Role};
