//! Numbers of users at (row, column), modulo 2³².

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::udb::Living;

/// Up to so many cells are kept as an array (64 MB); above, only those that are not zero.
const DENSE_CELLS: usize = 16 << 20;

/// Numbers at (row, column), most of them zero.
#[derive(Clone, Debug)]
pub(crate) enum Cells {
    Dense(Dense),
    Sparse { columns: usize, cells: HashMap<u64, u32, BuildHasherDefault<MixHasher>> },
}

/// Cells of an array. What is added goes into few bytes at first, which stay near the processor.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    columns: usize,
    cells: Vec<u32>,
    /// To be added to the cells.
    small: Vec<u8>,
    /// By row: how many users were added to the small ones.
    users: Vec<u8>,
}

/// Whether a user's part is added or taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Add = 1,
    Take = -1,
}

impl Change {
    pub(super) fn apply(self, count: &mut u32) {
        *count = count.wrapping_add(self as i32 as u32);
    }
}

impl Cells {
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        match rows.checked_mul(columns) {
            Some(cells) if cells <= DENSE_CELLS => {
                Self::Dense(Dense { columns, cells: vec![0; cells], small: vec![0; cells], users: vec![0; rows] })
            }
            _ => Self::Sparse { columns, cells: HashMap::default() },
        }
    }

    /// Adds or takes a user at the cells of a row whose first time is before `before_ms`.
    pub(super) fn change_row(&mut self, row: u32, change: Change, firsts: &[Living], before_ms: i64) {
        if let (Self::Dense(dense), Change::Add) = (&mut *self, change) {
            return dense.add_user(row as usize, firsts, before_ms);
        }
        let counts = firsts.iter().filter(|(_, first_ms)| *first_ms < before_ms);
        counts.for_each(|&(column, _)| self.add(row, column, change as i32 as u32));
    }

    /// Adds to one cell.
    pub(crate) fn add(&mut self, row: u32, column: u32, users: u32) {
        let cell = match self {
            Self::Dense(dense) => &mut dense.cells[row as usize * dense.columns + column as usize],
            Self::Sparse { columns, cells } => {
                cells.entry(u64::from(row) * *columns as u64 + u64::from(column)).or_default()
            }
        };
        *cell = cell.wrapping_add(users);
    }

    pub(crate) fn get(&self, row: u32, column: u32) -> u32 {
        match self {
            Self::Dense(dense) => dense.get(row as usize * dense.columns + column as usize),
            Self::Sparse { columns, cells } => {
                cells.get(&(u64::from(row) * *columns as u64 + u64::from(column))).copied().unwrap_or(0)
            }
        }
    }

    /// Hands over every cell that is not zero, as row, column, number.
    pub(crate) fn each(&self, mut each: impl FnMut(u32, u32, u32)) {
        match self {
            Self::Dense(dense) => {
                let mut at = 0;
                for row in 0..dense.users.len() as u32 {
                    for column in 0..dense.columns as u32 {
                        let users = dense.get(at);
                        if users != 0 {
                            each(row, column, users);
                        }
                        at += 1;
                    }
                }
            }
            Self::Sparse { columns, cells } => {
                let columns = *columns as u64;
                for (&cell, &users) in cells.iter().filter(|(_, users)| **users != 0) {
                    each((cell / columns) as u32, (cell % columns) as u32, users);
                }
            }
        }
    }
}

impl Dense {
    fn add_user(&mut self, row: usize, firsts: &[Living], before_ms: i64) {
        if self.users[row] == u8::MAX {
            self.empty_row(row);
        }
        self.users[row] += 1;
        let small = &mut self.small[row * self.columns..][..self.columns];
        for &(column, first_ms) in firsts {
            // No branch: whether a visit came first is a toss-up for the processor.
            let cell = &mut small[column as usize];
            *cell = cell.wrapping_add(u8::from(first_ms < before_ms));
        }
    }

    fn empty_row(&mut self, row: usize) {
        let cells = row * self.columns..(row + 1) * self.columns;
        for (cell, small) in self.cells[cells.clone()].iter_mut().zip(&mut self.small[cells]) {
            *cell = cell.wrapping_add(u32::from(std::mem::take(small)));
        }
        self.users[row] = 0;
    }

    /// The numbers of each row in turn.
    pub(super) fn rows(&self) -> impl Iterator<Item = Vec<u32>> {
        let row = |row: usize| {
            let cells = row * self.columns..(row + 1) * self.columns;
            let both = self.cells[cells.clone()].iter().zip(&self.small[cells]);
            both.map(|(cell, small)| cell.wrapping_add(u32::from(*small))).collect()
        };
        // Without columns there are no rows worth the name.
        (0..self.cells.len() / self.columns.max(1)).map(row)
    }

    /// The cells of each row in turn, of which nothing was counted yet.
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u32]> {
        self.cells.chunks_exact_mut(self.columns.max(1))
    }

    fn get(&self, at: usize) -> u32 {
        self.cells[at].wrapping_add(u32::from(self.small[at]))
    }
}

/// Mixes the number of a cell; the standard hasher is made against attackers, who do not choose these numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ mixed >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_cells_of_many_are_kept_sparsely() {
        let mut cells = Cells::new(1 << 20, 1 << 20);
        assert!(matches!(cells, Cells::Sparse { .. }));
        cells.change_row(77, Change::Add, &[(5, 8), (1 << 19, 8), (6, 9)], 9);
        assert_eq!((cells.get(77, 5), cells.get(77, 1 << 19), cells.get(77, 6)), (1, 1, 0));
    }

    #[test]
    fn many_users_of_a_row_are_all_counted() {
        let mut cells = Cells::new(3, 4);
        for user in 0..1_000 {
            cells.change_row(1, Change::Add, &[(0, 1), (3, user % 2)], 1);
        }
        cells.change_row(1, Change::Take, &[(3, 0)], 1);
        let mut all = Vec::new();
        cells.each(|row, column, users| all.push((row, column, users)));
        assert_eq!(all, [(1, 3, 499)]);
        assert_eq!(cells.get(1, 3), 499);
    }
}
