//! How the SQL databases of neartime are opened: what is the same for the task table, the online store and the report.

#![warn(missing_docs)]

#[cfg(feature = "postgres")]
pub mod postgres;
pub mod sqlite;
