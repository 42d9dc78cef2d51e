//! Records of a stream that are several in one.

mod aggregate;

use bytes::Bytes;

use crate::types::HashKeyRange;

/// The records in one that a shard takes, with their numbers; `None` if it is a plain record.
pub fn unpacked(data: &[u8], first: u128, last: u128) -> Option<Vec<(u64, Vec<u8>)>> {
    let range = HashKeyRange { starting_hash_key: first.to_string(), ending_hash_key: last.to_string() };
    let range = aggregate::HashRange::of(&range).expect("two numbers");
    match aggregate::unpack(Bytes::copy_from_slice(data), &range) {
        aggregate::Unpacked::Plain(plain) => {
            assert_eq!(plain, data);
            None
        }
        aggregate::Unpacked::Many(many) => Some(many.into_iter().map(|(at, data)| (at, data.to_vec())).collect()),
    }
}
