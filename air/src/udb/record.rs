//! One user's intervals as bytes: the form in which they are spooled, kept in snapshots and kept for recent chunks.
//!
//! `id length, id, number of entries, entries`; an entry is `origin, item, base − first (zigzag), last − first`, all
//! as varints. The base is an instant near the data that the file names once, so that times take few bytes.

use crate::runs::Run;

/// What cannot be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbled;

/// A run of time of one item, from one origin: a feature on one side, and the values of its other keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Number of the origin in the dictionary.
    pub(crate) origin: u32,
    /// Number of the item in its side's dictionary.
    pub(crate) item: u32,
    /// When.
    pub(crate) run: Run,
}

/// Appends a user's record.
pub(crate) fn write_record(out: &mut Vec<u8>, id: &[u8], entries: &[Entry], base_ms: i64) {
    write_number(out, id.len() as u64);
    out.extend_from_slice(id);
    write_number(out, entries.len() as u64);
    for entry in entries {
        write_number(out, u64::from(entry.origin));
        write_number(out, u64::from(entry.item));
        // Wrapping, as the reader does: any two instants survive, however far apart.
        let before = base_ms.wrapping_sub(entry.run.first_ms);
        write_number(out, (before.wrapping_shl(1) ^ (before >> 63)) as u64);
        write_number(out, entry.run.last_ms.wrapping_sub(entry.run.first_ms) as u64);
    }
}

/// Takes the record at the front of `bytes`: appends its entries, returns the user's id.
pub(crate) fn read_record<'a>(
    bytes: &mut &'a [u8],
    base_ms: i64,
    entries: &mut Vec<Entry>,
) -> Result<&'a [u8], Garbled> {
    let length = usize::try_from(read_number(bytes)?).map_err(|_| Garbled)?;
    let (id, rest) = bytes.split_at_checked(length).ok_or(Garbled)?;
    *bytes = rest;
    for _ in 0..read_number(bytes)? {
        let origin = u32::try_from(read_number(bytes)?).map_err(|_| Garbled)?;
        let item = u32::try_from(read_number(bytes)?).map_err(|_| Garbled)?;
        let zigzag = read_number(bytes)?;
        let before = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        let first_ms = base_ms.wrapping_sub(before);
        let last_ms = first_ms.wrapping_add(read_number(bytes)? as i64);
        entries.push(Entry { origin, item, run: Run { first_ms, last_ms } });
    }
    Ok(id)
}

/// Appends seven bits a byte, lowest first.
pub(crate) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the front of `bytes`.
pub(crate) fn read_number(bytes: &mut &[u8]) -> Result<u64, Garbled> {
    // Most numbers are small.
    if let Some((&byte, rest)) = bytes.split_first()
        && byte < 0x80
    {
        *bytes = rest;
        return Ok(u64::from(byte));
    }
    let mut number = 0;
    for (at, &byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7F) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Ok(number);
        }
    }
    Err(Garbled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        (any::<u32>(), any::<u32>(), any::<i64>(), any::<i64>()).prop_map(|(origin, item, first_ms, last_ms)| Entry {
            origin,
            item,
            run: Run { first_ms, last_ms },
        })
    }

    proptest! {
        #[test]
        fn records_read_back(id: Vec<u8>, entries in prop::collection::vec(entry(), 0..9), base: i64, cut in 0_usize..99) {
            let mut bytes = Vec::new();
            write_record(&mut bytes, &id, &entries, base);
            write_record(&mut bytes, b"next", &[], base);
            let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
            prop_assert_eq!(read_record(&mut rest, base, &mut found), Ok(id.as_slice()));
            prop_assert_eq!(found, entries);
            prop_assert_eq!(read_record(&mut rest, base, &mut Vec::new()), Ok(b"next".as_slice()));
            prop_assert!(rest.is_empty());
            let whole = bytes.len() - 6;
            let mut cut_off = &bytes[..cut.min(whole - 1)];
            prop_assert_eq!(read_record(&mut cut_off, base, &mut Vec::new()), Err(Garbled));
        }
    }
}
