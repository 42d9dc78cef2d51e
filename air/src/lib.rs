//! The Audience Index Report: how much more, or less, of each segment visits each site than one would expect.
//!
//! ```text
//! features store ─► user database (runs of time, by user) ─► four exact counts ─► index ─► suppression ─► air_report
//! ```
//!
//! [`Air::run`] does all of it as of an instant. What it left behind lets the next run count only the users that
//! something happened to. DESIGN section 6 says what is counted; each module here is one sentence of it.
//!
//! **Invariants:** counts are exact, whatever the order and the grouping of files; a report of an older run never
//! replaces that of a newer one; everything but the features store and the published tables can be made again.

mod air;
mod bar;
mod config;
mod count;
mod discovery;
mod durable;
mod error;
mod index;
mod input;
mod merge;
mod names;
mod progress;
mod publish;
mod refresh;
mod report;
mod runs;
mod state;
mod suppress;
#[cfg(test)]
mod tests;
mod udb;

pub use air::Air;
pub use bar::{Bar, Tone};
pub use config::{AirConfig, LEAST_MIN_OVERLAP, Membership, Order};
pub use error::AirError;
pub use index::{CellCounts, Measures, p_value};
pub use input::FeaturesPlace;
pub use names::{Groups, SiteNames, read_groups, read_site_names};
pub use progress::{Progress, Stage};
#[cfg(feature = "postgres")]
pub use publish::PgPublisher;
pub use publish::{LiveReport, Publisher, ShowQuery, Sort, SqlitePublisher};
pub use refresh::{Effort, Work};
pub use report::{Report, ReportInput, Row};
pub use runs::Alive;
pub use suppress::Thresholds;
pub use udb::{UdbPlace, UdbTable};
