//! Counting: the numbers, and the plan that finds them in parts.

mod cells;
mod counts;
mod exec;

pub(crate) use counts::{Counts, GroupsOf};
pub(crate) use exec::{Measure, Users, count_all};
