//! Counting: the numbers, and the plan that finds them in parts.

mod counts;
mod exec;

pub(crate) use counts::{Change, Counts, GroupsOf};
pub(crate) use exec::{Measure, Users, count_all};
