//! What every online store must do: one suite, run against each of them.
//!
//! Two writes of one row at one timestamp are never compared here unless they are the same: which of them stays is each
//! store's own affair, and nothing in neartime writes such.

mod publish;
mod tables;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use neartime_engine::{FeatureTable, OnlineLayout};
use neartime_model::{FeatureName, Instant, ManualClock, Span};

pub(super) use self::publish::*;
pub(super) use self::tables::*;
use crate::OnlineStore;
use crate::testing::{TestRow, batch, table};

/// When the tests take place.
pub(super) const AT: &str = "2018-08-01T10:40:00Z";

/// Where an offline store lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Directory,
    Bucket,
}

/// A store to be tested, and what belongs to it.
pub(super) struct Backend {
    pub(super) store: Arc<dyn OnlineStore>,
    pub(super) clock: Arc<ManualClock>,
    /// Keeps the tables of tests apart that share a server.
    pub(super) suffix: String,
    /// Whether the store's own time passes only with the real one.
    pub(super) lives_in_real_time: bool,
    /// Where the offline store of a test lies.
    pub(super) offline: Place,
    /// Dropped after the test.
    pub(super) _guard: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Backend {
    /// The clock that every backend starts with.
    pub(super) fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::new(AT.parse().unwrap()))
    }

    /// A table of this test's own, already there.
    async fn table(&self, name: &str, layout: OnlineLayout) -> FeatureTable {
        let table = self.missing_table(name, layout);
        self.store.ensure(&table).await.unwrap();
        table
    }

    /// A table of this test's own that was not made.
    fn missing_table(&self, name: &str, layout: OnlineLayout) -> FeatureTable {
        let name = FeatureName::new(format!("{name}{}", self.suffix)).unwrap();
        FeatureTable { name, ..table("any", layout) }
    }

    /// Lets time pass, for clock and store.
    async fn pass(&self, span: Span) {
        self.clock.advance(span);
        if self.lives_in_real_time {
            tokio::time::sleep(span.to_std()).await;
        }
    }

    fn set_clock(&self, at: Instant) {
        self.clock.set(at);
    }
}

fn keys(table: &FeatureTable, rows: &[TestRow]) -> RecordBatch {
    batch(table, rows).project(&[0, 1]).unwrap()
}

/// Makes the tests of the suite for a backend: `open` is an async function that gives one, or `None` if there is no
/// server to test against.
macro_rules! online_contract {
    ($open:path) => {
        $crate::online::contract::online_contract!($open:
            a_crash_at_any_step_loses_no_delete,
            a_folded_lookup_over_many_rows,
            a_lookup_folds_chunks_and_paths_and_adds_ratios,
            a_new_version_adds_measures_and_nothing_else,
            a_table_that_is_not_there_has_no_rows_and_truncate_takes_all,
            many_rows_come_back_in_batches,
            per_chunk_rows_are_last_writer_wins,
            processes_make_a_table_at_once,
            random_crashes_and_zombies_end_in_the_last_file,
            retention_counts_from_the_end_of_the_chunk,
            rows_without_an_entity_are_not_written,
            the_latest_row_is_the_one_of_the_latest_event,
            the_latest_time_falls_only_by_a_rebuild,
            windows_are_half_open_by_chunk,
        );
    };
    ($open:path: $($test:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $test() {
                if let Some(backend) = $open().await {
                    $crate::online::contract::$test(&backend).await;
                }
            }
        )+
    };
}
pub(super) use online_contract;
