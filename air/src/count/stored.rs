//! Counts as bytes.
//!
//! Sizes, then rows of numbers that each take as many bytes as the largest of their row: half a million numbers are
//! read and written without looking at each byte. Cells that are kept sparsely are triples.

use super::cells::Cells;
use super::counts::Counts;
use crate::udb::{Garbled, read_number, write_number};

/// Row, column and number of a cell that is kept sparsely.
const TRIPLE_BYTES: usize = 12;

impl Counts {
    /// Appends all numbers.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.sizes().iter().for_each(|&size| write_number(out, size as u64));
        [&self.segment_users, &self.group_users, &self.site_users].iter().for_each(|list| write_row(out, list));
        [&self.segment_site, &self.group_site].iter().for_each(|cells| write_cells(out, cells));
    }

    /// Takes all numbers from the front of `bytes`.
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, Garbled> {
        let [segments, sites, groups] =
            [read_number(bytes)?, read_number(bytes)?, read_number(bytes)?].map(|size| size as usize);
        let mut counts = Self::new(segments, sites, groups);
        for list in [&mut counts.segment_users, &mut counts.group_users, &mut counts.site_users] {
            read_row(bytes, list)?;
        }
        [&mut counts.segment_site, &mut counts.group_site]
            .into_iter()
            .try_for_each(|cells| read_cells(bytes, cells))?;
        Ok(counts)
    }
}

fn write_cells(out: &mut Vec<u8>, cells: &Cells) {
    match cells {
        Cells::Dense(dense) => dense.rows().for_each(|row| write_row(out, &row)),
        Cells::Sparse { cells: all, .. } => {
            write_number(out, all.values().filter(|users| **users != 0).count() as u64);
            cells.each(|row, column, users| {
                [row, column, users].iter().for_each(|number| out.extend(number.to_le_bytes()));
            });
        }
    }
}

/// Cells of the same sizes are kept in the same way.
fn read_cells(bytes: &mut &[u8], cells: &mut Cells) -> Result<(), Garbled> {
    if let Cells::Dense(dense) = cells {
        return dense.rows_mut().try_for_each(|row| read_row(bytes, row));
    }
    for _ in 0..read_number(bytes)? {
        let triple = take(bytes, TRIPLE_BYTES)?;
        let [row, column, users] =
            [0, 4, 8].map(|at| u32::from_le_bytes(triple[at..at + 4].try_into().expect("four bytes")));
        cells.add(row, column, users);
    }
    Ok(())
}

fn write_row(out: &mut Vec<u8>, row: &[u32]) {
    let width: usize = match row.iter().copied().max().unwrap_or(0) {
        0 => 0,
        1..=0xFF => 1,
        0x100..=0xFFFF => 2,
        _ => 4,
    };
    out.push(width as u8);
    match width {
        0 => {}
        1 => out.extend(row.iter().map(|&number| number as u8)),
        2 => out.extend(row.iter().flat_map(|&number| (number as u16).to_le_bytes())),
        _ => out.extend(row.iter().flat_map(|number| number.to_le_bytes())),
    }
}

fn read_row(bytes: &mut &[u8], row: &mut [u32]) -> Result<(), Garbled> {
    let width = usize::from(take(bytes, 1)?[0]);
    let stored = take(bytes, row.len().checked_mul(width).ok_or(Garbled)?)?;
    match width {
        0 => {}
        1 => row.iter_mut().zip(stored).for_each(|(number, &byte)| *number = u32::from(byte)),
        2 => {
            let numbers = stored.as_chunks::<2>().0;
            row.iter_mut().zip(numbers).for_each(|(number, &two)| *number = u32::from(u16::from_le_bytes(two)));
        }
        4 => {
            let numbers = stored.as_chunks::<4>().0;
            row.iter_mut().zip(numbers).for_each(|(number, &four)| *number = u32::from_le_bytes(four));
        }
        _ => return Err(Garbled),
    }
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Garbled> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Garbled)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Measure;

    #[test]
    fn numbers_of_every_width_read_back() {
        // The second has more cells than are kept as an array.
        for (segments, sites) in [(7, 5), (1 << 13, 1 << 12)] {
            let mut counts = Counts::new(segments, sites, 2);
            for (row, users) in [(0, 1), (1, 255), (2, 256), (3, 65_536), (4, u32::MAX)] {
                counts.add(Measure::SegmentSite, row, 3, users);
                counts.add(Measure::GroupSite, row, 1, users);
                counts.add(Measure::SiteUsers, row, 0, users);
            }
            let mut bytes = Vec::new();
            counts.write(&mut bytes);
            let mut rest = bytes.as_slice();
            let found = Counts::read(&mut rest).unwrap();
            assert!(rest.is_empty());
            let numbers = |counts: &Counts| {
                let mut all = Vec::new();
                counts.each(|measure, row, column, users| all.push((measure as u8, row, column, users)));
                all.sort_unstable();
                (counts.sizes(), all)
            };
            assert_eq!(numbers(&found), numbers(&counts));
            for kept in [0, 3, bytes.len() / 2, bytes.len() - 1] {
                assert!(Counts::read(&mut &bytes[..kept]).is_err(), "{kept} bytes");
            }
        }
    }
}
