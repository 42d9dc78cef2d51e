//! What a report is made of and under which rules: the checked form of the `[air]` table.

use std::path::PathBuf;
use std::sync::Arc;

use neartime_engine::{FeatureTable, Role};
use neartime_model::Span;

use crate::error::AirError;
use crate::runs::Alive;
use crate::suppress::Thresholds;

/// The smallest `min_overlap` that hides anything; below it, only 0 (for tests) is allowed.
pub const LEAST_MIN_OVERLAP: u32 = 50;

/// The `[air]` table of the configuration, with its features resolved.
#[derive(Clone, Debug)]
pub struct AirConfig {
    /// The membership features that say who is in which segment; at least one.
    pub segments: Vec<Membership>,
    /// The membership features that say who came to which site; at least one.
    pub sites: Vec<Membership>,
    /// A CSV file `id,group,name`; without it all segments form one group, `all`.
    pub groups: Option<PathBuf>,
    /// A CSV file `id,name`.
    pub site_names: Option<PathBuf>,
    /// Whether a user counts only if the segment came before the site.
    pub order: Order,
    /// What is too small to be shown.
    pub thresholds: Thresholds,
}

/// One membership feature as one side of the report sees it: the user is its entity, its other keys are folded.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The feature.
    pub table: Arc<FeatureTable>,
    /// How long its memberships live.
    pub alive: Alive,
    /// How far behind its chunk's start a row may lie; `None` if nothing is known of that.
    pub max_behind: Option<Span>,
}

/// The order in time that makes a user of segment and site count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The first time in the segment is strictly before the first visit to the site.
    #[default]
    Before,
    /// Any order, for segments that are taken from the visits themselves.
    Any,
}

impl AirConfig {
    /// Checks what can be checked without reading anything.
    pub fn check(&self) -> Result<(), AirError> {
        let overlap = self.thresholds.min_overlap;
        if (1..LEAST_MIN_OVERLAP).contains(&overlap) {
            return Err(AirError::Invalid(format!(
                "air: min_overlap = {overlap} protects nobody: take {LEAST_MIN_OVERLAP} or more"
            )));
        }
        for (side, members) in [("segments", &self.segments), ("sites", &self.sites)] {
            if members.is_empty() {
                return Err(AirError::Invalid(format!("air: `{side}` names no feature")));
            }
            for (at, member) in members.iter().enumerate() {
                let name = &member.table.name;
                if !is_membership(&member.table) {
                    let engine = member.table.engine;
                    return Err(AirError::Invalid(format!(
                        "air: `{side}` names `{name}`, whose engine is {engine}: take a segment_membership feature"
                    )));
                }
                if members[..at].iter().any(|other| other.table.name == *name) {
                    return Err(AirError::Invalid(format!("air: `{side}` names `{name}` twice")));
                }
            }
        }
        Ok(())
    }

    /// Both sides' features, segments first.
    pub(crate) fn members(&self) -> impl Iterator<Item = (Side, &Membership)> {
        let segments = self.segments.iter().map(|member| (Side::Segment, member));
        segments.chain(self.sites.iter().map(|member| (Side::Site, member)))
    }
}

impl std::str::FromStr for Order {
    type Err = AirError;
    fn from_str(text: &str) -> Result<Self, AirError> {
        match text {
            "before" => Ok(Self::Before),
            "any" => Ok(Self::Any),
            _ => Err(AirError::Invalid(format!("air: order = `{text}`: take before or any"))),
        }
    }
}

/// The two sides of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    Segment,
    Site,
}

/// Whether it has an item, and when each was seen first and last.
fn is_membership(table: &FeatureTable) -> bool {
    let columns = table.output.columns();
    let has = |name: &str| columns.iter().any(|column| column.name.as_str() == name);
    columns.iter().any(|column| column.role == Role::Item) && has("min_ts") && has("max_ts")
}
