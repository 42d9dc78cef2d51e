//! One user's intervals as bytes: the form in which they are kept in snapshots and for recent chunks.
//!
//! `id length, id, number of entries, entries`, numbers as varints. An entry is a tag and four numbers: `origin, item,
//! first − base, last − first`; two bits of the tag say how many bytes each of them takes (see [`WIDTHS`]), so that one
//! is read or written without looking at each byte. The base is an instant near the data that the file names once, so
//! that times take few bytes.

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

/// The bytes that each number of an entry may take.
const WIDTHS: [[u8; 4]; 4] = [[0, 1, 2, 4], [1, 2, 3, 4], [3, 4, 5, 8], [0, 3, 4, 8]];

/// A tag and four numbers at their widest.
const ENTRY_BYTES: usize = 1 + 4 + 4 + 8 + 8;

/// By number and bits that must be kept: the code of the bytes that it takes.
const CODES: [[u8; 66]; 4] = codes();

/// By tag: the bytes of each number, and of the entry.
const LENGTHS: [[u8; 5]; 256] = lengths();

/// By length: the bytes of a word that belong to a number.
const MASKS: [u64; 9] =
    [0, 0xFF, 0xFFFF, 0xFF_FFFF, 0xFFFF_FFFF, 0xFF_FFFF_FFFF, u64::MAX >> 16, u64::MAX >> 8, u64::MAX];

const fn codes() -> [[u8; 66]; 4] {
    let mut all = [[0; 66]; 4];
    let mut at = 0;
    while at < 4 {
        let mut bits = 0;
        while bits < 66 {
            let mut code = 0;
            while code < 3 && bits > WIDTHS[at][code] as usize * 8 {
                code += 1;
            }
            all[at][bits] = code as u8;
            bits += 1;
        }
        at += 1;
    }
    all
}

const fn lengths() -> [[u8; 5]; 256] {
    let mut all = [[0; 5]; 256];
    let mut tag = 0;
    while tag < 256 {
        let (mut at, mut sum) = (0, 1);
        while at < 4 {
            let width = WIDTHS[at][tag >> (2 * at) & 3];
            all[tag][at] = width;
            sum += width;
            at += 1;
        }
        all[tag][4] = sum;
        tag += 1;
    }
    all
}

/// Appends a user's record.
pub(crate) fn write_record(out: &mut Vec<u8>, id: &[u8], entries: &[Entry], base_ms: i64) {
    write_number(out, id.len() as u64);
    out.extend_from_slice(id);
    write_number(out, entries.len() as u64);
    let mut end = out.len();
    // Each number is stored as eight bytes; the next one begins where it is to end.
    out.resize(end + entries.len() * ENTRY_BYTES + 8, 0);
    for entry in entries {
        let room = out[end..].first_chunk_mut().expect("there is room for all entries at their widest");
        end += write_entry(room, entry, base_ms);
    }
    out.truncate(end);
}

/// Writes an entry; returns how many bytes it takes.
fn write_entry(out: &mut [u8; ENTRY_BYTES], entry: &Entry, base_ms: i64) -> usize {
    // Wrapping, as the reader does: any two instants survive, however far apart.
    let begins = entry.run.first_ms.wrapping_sub(base_ms);
    let lasts = entry.run.last_ms.wrapping_sub(entry.run.first_ms) as u64;
    let numbers = [u64::from(entry.origin), u64::from(entry.item), begins as u64, lasts];
    // Bits that must be kept; of a signed number one more than its value takes.
    let bits = |number: u64| 64 - number.leading_zeros();
    let wanted = [bits(numbers[0]), bits(numbers[1]), bits((begins ^ (begins >> 63)) as u64) + 1, bits(lasts)];
    let code = |field: usize| usize::from(CODES[field][wanted[field] as usize]);
    let tag = code(0) | code(1) << 2 | code(2) << 4 | code(3) << 6;
    let lengths = LENGTHS[tag].map(usize::from);
    out[0] = tag as u8;
    let mut at = 1;
    for (number, length) in numbers.into_iter().zip(lengths) {
        out[at..at + 8].copy_from_slice(&number.to_le_bytes());
        at += length;
    }
    lengths[4]
}

/// Takes the record at the front of `bytes`: appends its entries, returns the user's id.
pub(crate) fn read_record<'a>(
    bytes: &mut &'a [u8],
    base_ms: i64,
    entries: &mut Vec<Entry>,
) -> Result<&'a [u8], Garbled> {
    let id = read_id(bytes)?;
    read_entries(bytes, base_ms, entries)?;
    Ok(id)
}

/// Takes only the id from the front of `bytes`: [`skip_entries`] or [`read_entries`] take the rest of the record.
pub(crate) fn read_id<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Garbled> {
    let length = usize::try_from(read_number(bytes)?).map_err(|_| Garbled)?;
    let (id, rest) = bytes.split_at_checked(length).ok_or(Garbled)?;
    *bytes = rest;
    Ok(id)
}

/// Takes the entries behind an id and appends them.
pub(crate) fn read_entries(bytes: &mut &[u8], base_ms: i64, entries: &mut Vec<Entry>) -> Result<(), Garbled> {
    for _ in 0..read_number(bytes)? {
        entries.push(read_entry(bytes, base_ms)?);
    }
    Ok(())
}

/// Passes over the entries behind an id.
pub(crate) fn skip_entries(bytes: &mut &[u8]) -> Result<(), Garbled> {
    for _ in 0..read_number(bytes)? {
        let tag = *bytes.first().ok_or(Garbled)?;
        *bytes = bytes.get(usize::from(LENGTHS[usize::from(tag)][4])..).ok_or(Garbled)?;
    }
    Ok(())
}

fn read_entry(bytes: &mut &[u8], base_ms: i64) -> Result<Entry, Garbled> {
    // Each number is read as eight bytes, and what does not belong to it is cut off. Few entries stand at the very end.
    let mut padded = [0; ENTRY_BYTES];
    let window: &[u8; ENTRY_BYTES] = match bytes.first_chunk() {
        Some(window) => window,
        None => {
            padded[..bytes.len()].copy_from_slice(bytes);
            &padded
        }
    };
    let [origin_len, item_len, begins_len, lasts_len, whole] = LENGTHS[usize::from(window[0])].map(usize::from);
    let word = |at: usize| u64::from_le_bytes(window[at..at + 8].try_into().expect("eight bytes"));
    let origin = word(1) & MASKS[origin_len];
    let item = word(1 + origin_len) & MASKS[item_len];
    let cut = 64 - 8 * begins_len;
    let begins = ((word(1 + origin_len + item_len) << cut) as i64) >> cut;
    let lasts = word(1 + origin_len + item_len + begins_len) & MASKS[lasts_len];
    *bytes = bytes.get(whole..).ok_or(Garbled)?;
    let first_ms = base_ms.wrapping_add(begins);
    let run = Run { first_ms, last_ms: first_ms.wrapping_add(lasts as i64) };
    Ok(Entry { origin: origin as u32, item: item as u32, run })
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

    /// Numbers of every length.
    fn entry() -> impl Strategy<Value = Entry> {
        let numbers = (any::<u32>(), any::<u32>(), any::<i64>(), any::<i64>());
        let shifts = (0_u32..32, 0_u32..32, 0_u32..64, 0_u32..64);
        (numbers, shifts).prop_map(|((origin, item, first, last), shifts)| Entry {
            origin: origin >> shifts.0,
            item: item >> shifts.1,
            run: Run { first_ms: first >> shifts.2, last_ms: last >> shifts.3 },
        })
    }

    proptest! {
        #[test]
        fn records_read_back(id: Vec<u8>, entries in prop::collection::vec(entry(), 0..9), base: i64, near: bool, cut in 0_usize..99) {
            let base = if near { base % 1_000 } else { base };
            let mut bytes = Vec::new();
            write_record(&mut bytes, &id, &entries, base);
            write_record(&mut bytes, b"next", &[], base);
            let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
            prop_assert_eq!(read_record(&mut rest, base, &mut found), Ok(id.as_slice()));
            prop_assert_eq!(found, entries);
            let mut skipped = bytes.as_slice();
            prop_assert_eq!(read_id(&mut skipped), Ok(id.as_slice()));
            prop_assert_eq!(skip_entries(&mut skipped), Ok(()));
            prop_assert_eq!(skipped, rest);
            prop_assert_eq!(read_record(&mut rest, base, &mut Vec::new()), Ok(b"next".as_slice()));
            prop_assert!(rest.is_empty());
            let whole = bytes.len() - 6;
            let mut cut_off = &bytes[..cut.min(whole - 1)];
            prop_assert_eq!(read_record(&mut cut_off, base, &mut Vec::new()), Err(Garbled));
        }
    }
}
