//! The Audience Index Report: how much more, or less, of each segment visits each site than one would expect.
//!
//! ```text
//! features store ─► user database (runs of time, by user) ─► four exact counts ─► index ─► suppression ─► air_report
//! ```
//!
//! [`Air::run`] does all of it as of an instant. What it left behind lets the next run count only the users that
//! something happened to.
//!
//! # The rules
//!
//! - Only chunks that end at or before the instant count.
//! - A user is in a segment, or on a site, while the last run of times seen there is alive; where that run began is the
//!   user's first time there (`runs`).
//! - A cell is a site p, a group g of segments, and a segment s of the group (`names`). Its four counts are users: |s| are
//!   in the segment and |S_g| in any of the group; |s∩p| and |S_g∩p| are those of them who are on the site, too, and
//!   whose first time in the segment (in any one of the group) was strictly before that on the site ([`Order::Before`];
//!   [`Order::Any`] drops this). A report has the cells with |s| and |S_g∩p| above zero (`count`).
//! - The index is 100 · (|s∩p| / |S_g∩p|) / (|s| / |S_g|), with a z score and an interval (`index`). Which cells are
//!   significant is tested over all that are shown (`discovery`).
//! - Small cells are hidden, small sites wholly, and so is another cell of the group wherever the only hidden one could be
//!   worked out from the rest (`suppress`).
//!
//! What else was chosen, and could be otherwise, is in `docs/decisions/0011-report-rules-that-were-chosen.md`.
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
