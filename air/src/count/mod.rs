//! Counting: the numbers, and the plan that finds them bucket by bucket.

mod counts;
mod exec;

pub(crate) use counts::{Change, Counts, GroupsOf};
pub(crate) use exec::{Bucketed, Measure, count_all};
