//! A hash that stored files may depend on: it is the same on every machine and in every release.
//!
//! It checks what was written, and finds users in memory; that two users are the same is always decided by comparing
//! their ids.

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const STEPS: [u64; 2] = [0xA076_1D64_78BD_642F, 0xE703_7ED1_A0B4_28DB];

/// Hashes `bytes` to 64 well-mixed bits (a folded multiplication for each 16 bytes).
pub(crate) fn stable_hash(bytes: &[u8]) -> u64 {
    let mut state = SEED ^ (bytes.len() as u64).wrapping_mul(STEPS[0]);
    let mut chunks = bytes.chunks_exact(16);
    for chunk in &mut chunks {
        state = fold(word(&chunk[..8]) ^ STEPS[0] ^ state, word(&chunk[8..]) ^ STEPS[1]);
    }
    let rest = chunks.remainder();
    let (low, high) = rest.split_at(rest.len().min(8));
    state = fold(word(low) ^ STEPS[1] ^ state, word(high) ^ STEPS[0]);
    fold(state ^ STEPS[0], SEED)
}

/// What is kept beside few bytes to tell whether they are what was written.
pub(crate) fn check(bytes: &[u8]) -> u32 {
    stable_hash(bytes) as u32
}

/// Little-endian, whatever the machine; missing bytes are zero.
fn word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(whole) => u64::from_le_bytes(*whole),
        None => bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_files_depend_on_these_values() {
        let hashes = ["", "a", "1016015", "0123456789abcdef", "0123456789abcdef0"].map(|id| stable_hash(id.as_bytes()));
        assert_eq!(hashes, PINNED);
    }

    const PINNED: [u64; 5] = [
        16_702_780_873_530_769_925,
        13_168_813_627_802_696_891,
        2_347_361_087_424_794_898,
        16_964_231_987_931_199_342,
        2_762_675_214_279_570_325,
    ];
}
