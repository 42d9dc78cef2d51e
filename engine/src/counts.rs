//! What happened to the rows of one run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a row gave no output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Dropped {
    /// A key was longer than 1 KiB.
    KeyTooLong,
    /// The entity was null or empty (never in a rollup).
    NullEntity,
    /// There was no time.
    NullTimestamp,
    /// An item was null or empty, or a list of items had none.
    NullItem,
    /// An item was longer than 1 KiB.
    ItemTooLong,
}

/// Why a value became null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Null {
    /// A conversion failed.
    Conversion,
    /// A division or a remainder by zero.
    DivisionByZero,
    /// An integer, decimal or time did not fit its type.
    Overflow,
    /// A function refused its arguments.
    Function,
    /// A measure was not a number (NaN).
    NotANumber,
}

const DROPS: [(Dropped, &str); 5] = [
    (Dropped::KeyTooLong, "key_too_long"),
    (Dropped::NullEntity, "null_entity"),
    (Dropped::NullTimestamp, "null_timestamp"),
    (Dropped::NullItem, "null_item"),
    (Dropped::ItemTooLong, "item_too_long"),
];

const NULLS: [(Null, &str); 5] = [
    (Null::Conversion, "failed_conversion"),
    (Null::DivisionByZero, "division_by_zero"),
    (Null::Overflow, "overflow"),
    (Null::Function, "failed_function"),
    (Null::NotANumber, "not_a_number"),
];

/// The counts of one run, final once its rows were read to the end.
#[derive(Debug, Default)]
pub struct Counts {
    rows_in: AtomicU64,
    rows_after_preprocess: AtomicU64,
    rows_out: AtomicU64,
    drops: [AtomicU64; DROPS.len()],
    nulls: [AtomicU64; NULLS.len()],
}

impl Counts {
    /// Events that the run read.
    pub fn rows_in(&self) -> u64 {
        self.rows_in.load(Ordering::Relaxed)
    }

    /// Rows that `preprocess` left of them.
    pub fn rows_after_preprocess(&self) -> u64 {
        self.rows_after_preprocess.load(Ordering::Relaxed)
    }

    /// Rows of the feature.
    pub fn rows_out(&self) -> u64 {
        self.rows_out.load(Ordering::Relaxed)
    }

    /// Rows after preprocess (items, for a membership) that gave no output, by reason; reasons that never occurred are
    /// left out. The names are fixed: `key_too_long`, `null_entity`, `null_timestamp`, `null_item`, `item_too_long`.
    pub fn dropped(&self) -> BTreeMap<&'static str, u64> {
        present(&DROPS, &self.drops)
    }

    /// Values that became null because their expression could not be evaluated, by reason; reasons that never occurred
    /// are left out. The names are fixed: `failed_conversion`, `division_by_zero`, `overflow`, `failed_function`,
    /// `not_a_number`.
    pub fn nulls(&self) -> BTreeMap<&'static str, u64> {
        present(&NULLS, &self.nulls)
    }

    pub(crate) fn add_in(&self, rows: usize) {
        add(&self.rows_in, rows);
    }

    pub(crate) fn add_after_preprocess(&self, rows: usize) {
        add(&self.rows_after_preprocess, rows);
    }

    pub(crate) fn add_out(&self, rows: usize) {
        add(&self.rows_out, rows);
    }

    pub(crate) fn add_dropped(&self, reason: Dropped, rows: usize) {
        add(&self.drops[reason as usize], rows);
    }

    pub(crate) fn add_null(&self, reason: Null, values: usize) {
        add(&self.nulls[reason as usize], values);
    }
}

fn add(counter: &AtomicU64, rows: usize) {
    if rows > 0 {
        counter.fetch_add(rows as u64, Ordering::Relaxed);
    }
}

fn present<R>(names: &[(R, &'static str)], counters: &[AtomicU64]) -> BTreeMap<&'static str, u64> {
    let named = names.iter().zip(counters).map(|((_, name), counter)| (*name, counter.load(Ordering::Relaxed)));
    named.filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_keep_their_names() {
        let counts = Counts::default();
        DROPS.iter().for_each(|(reason, _)| counts.add_dropped(*reason, 1 + *reason as usize));
        NULLS.iter().for_each(|(reason, _)| counts.add_null(*reason, 1 + *reason as usize));
        let dropped = DROPS.iter().map(|(reason, name)| (*name, 1 + *reason as u64)).collect();
        let nulls = NULLS.iter().map(|(reason, name)| (*name, 1 + *reason as u64)).collect();
        assert_eq!((counts.dropped(), counts.nulls()), (dropped, nulls));
    }
}
