//! Lanes: the features of the configuration as the user database sees them.
//!
//! A lane is one feature on one side. Lanes of one side that live equally long form a class, within which the
//! intervals of a (user, item) are joined, whichever feature and other keys they came from.

use neartime_engine::FeatureTable;
use neartime_model::Span;

use super::hash::stable_hash;
use crate::config::{AirConfig, Membership, Side};
use crate::runs::Life;

/// Raised when stored files change their form: older ones are then made again.
const FORMAT: u32 = 5;

/// All lanes and classes of a configuration; a lane's or class's number is its place here.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    classes: Vec<Class>,
}

/// One feature on one side.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) side: Side,
    pub(crate) member: Membership,
    /// Number of its class.
    pub(crate) class: u8,
}

/// What lives equally long on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) side: Side,
    pub(crate) life: Life,
    /// The largest of its lanes: how far behind its chunk's start a row may lie; `None` if that is not known of all.
    pub(crate) max_behind: Option<Span>,
}

impl Lanes {
    pub(crate) fn new(config: &AirConfig) -> Self {
        let (mut lanes, mut classes) = (Vec::new(), Vec::<Class>::new());
        for (side, member) in config.members() {
            let life = Life::from(member.alive);
            let class = classes.iter().position(|class| class.side == side && class.life == life);
            let class = class.unwrap_or_else(|| {
                classes.push(Class { side, life, max_behind: member.max_behind });
                classes.len() - 1
            });
            let both = classes[class].max_behind.zip(member.max_behind);
            classes[class].max_behind = both.map(|(left, right)| left.max(right));
            let class = u8::try_from(class).expect("a configuration has a handful of features");
            lanes.push(Lane { side, member: member.clone(), class });
        }
        Self { lanes, classes }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &Lane)> {
        (0_u8..).zip(&self.lanes)
    }

    pub(crate) fn lane(&self, number: u8) -> Option<&Lane> {
        self.lanes.get(usize::from(number))
    }

    pub(crate) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// What stored files depend on. Files made under another fingerprint say nothing about this configuration.
    pub(crate) fn fingerprint(&self) -> String {
        let mut text = format!("form {FORMAT}");
        for lane in &self.lanes {
            let Membership { table, alive, max_behind } = &lane.member;
            let keys: Vec<&str> = keys(table).collect();
            let (name, width) = (&table.name, table.width);
            let behind = max_behind.map_or_else(|| "any".to_owned(), |behind| behind.to_string());
            text.push_str(&format!("\n{:?} {name} {width} {alive} {behind} {}", lane.side, keys.join(",")));
        }
        format!("{:016x}", stable_hash(text.as_bytes()))
    }
}

/// The names of a membership's keys, entity first, without its item.
pub(crate) fn keys(table: &FeatureTable) -> impl Iterator<Item = &str> {
    use neartime_engine::Role::{Entity, Key};
    let keys = table.output.columns().iter().filter(|column| matches!(column.role, Entity | Key));
    keys.map(|column| column.name.as_str())
}
