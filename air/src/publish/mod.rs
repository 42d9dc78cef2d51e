//! Where reports are published and read back.

mod patience;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;

use std::fmt;

use async_trait::async_trait;
use futures::stream::BoxStream;
use neartime_model::{Fence, Instant};

#[cfg(feature = "postgres")]
pub use postgres::PgPublisher;
pub use sqlite::SqlitePublisher;

use crate::error::AirError;
use crate::report::{Report, Row};

/// A relational database that holds the live report as the table `air_report`.
///
/// Readers see the old report or the new one: never none, half of one, or rows of both.
#[async_trait]
pub trait Publisher: Send + Sync + fmt::Debug {
    /// Stages the report, checks it, and swaps it in, unless one with a newer fence is live.
    async fn publish(&self, report: &Report) -> Result<(), AirError>;

    /// Tells which report is live; `None` before the first.
    async fn live(&self) -> Result<Option<LiveReport>, AirError>;

    /// Reads rows of the live report, all of one report.
    fn show(&self, query: &ShowQuery) -> BoxStream<'static, Result<Row<String>, AirError>>;
}

/// The fence that ends a stage's name: stages of runs that died are told by it.
fn fence_of(table: &str) -> Option<Fence> {
    table.rsplit('_').next()?.parse().ok().map(Fence)
}

/// The report that is live, as the table `air_reports` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveReport {
    /// The fence of its run.
    pub fence: Fence,
    /// Chunks that end at or before this instant are counted.
    pub as_of: Instant,
    /// How many rows it has.
    pub row_count: u64,
    /// How many of them are suppressed.
    pub suppressed: u64,
    /// From how many files of the features store it was counted; they stand in `air_report_inputs`.
    pub input_files: u64,
    /// When it was swapped in, by the database's clock.
    pub published_at: Instant,
}

/// Which rows to show, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShowQuery {
    /// Only this site, by id or name.
    pub site: Option<String>,
    /// Only this group.
    pub group: Option<String>,
    /// Only rows with so many users of the segment on the site; leaves suppressed rows out.
    pub min_users: Option<u32>,
    /// By what; default: site, group, and the highest index first.
    pub sort: Option<Sort>,
    /// At most so many rows.
    pub limit: Option<u32>,
}

/// What rows are sorted by, the highest first, nulls last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// `index_value`.
    Index,
    /// `segment_site_users`.
    Users,
    /// `z_score`.
    Z,
}

impl Sort {
    /// `index`, `users` or `z`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Users => "users",
            Self::Z => "z",
        }
    }
}
