//! Counting: the numbers, and the plan that finds them in parts.

mod cells;
mod counts;
mod exec;
mod stored;

pub(crate) use counts::{Counts, GroupsOf};
#[cfg(test)]
pub(crate) use exec::Measure;
pub(crate) use exec::{Users, count_all};
