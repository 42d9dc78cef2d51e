//! Records that a producer packed into one: the Kinesis Producer Library's aggregates.
//!
//! Four bytes of magic, a protobuf message, and the MD5 of the message. What does not have all three is a record like
//! any other that happens to begin so, and is passed on as it is.

use aws_sdk_kinesis::types::HashKeyRange;
use bytes::Bytes;
use md5::{Digest, Md5};
use prost::Message;

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const MD5_BYTES: usize = 16;

/// `AggregatedRecord` of the library's `messages.proto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Aggregate {
    #[prost(string, repeated, tag = "1")]
    pub(super) partition_keys: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) explicit_hash_keys: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub(super) records: Vec<Packed>,
}

/// One of its records; keys by index.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Packed {
    #[prost(uint64, required, tag = "1")]
    pub(super) partition_key: u64,
    #[prost(uint64, optional, tag = "2")]
    pub(super) explicit_hash_key: Option<u64>,
    #[prost(bytes = "bytes", required, tag = "3")]
    pub(super) data: Bytes,
}

/// The hashes of the keys that a shard takes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HashRange {
    first: u128,
    last: u128,
}

impl HashRange {
    pub(super) const ALL: Self = Self { first: 0, last: u128::MAX };

    pub(super) fn of(range: &HashKeyRange) -> Option<Self> {
        Some(Self { first: range.starting_hash_key.parse().ok()?, last: range.ending_hash_key.parse().ok()? })
    }

    fn holds(&self, hash: u128) -> bool {
        self.first <= hash && hash <= self.last
    }
}

/// What a record of the stream holds.
pub(super) enum Unpacked {
    /// Itself.
    Plain(Bytes),
    /// Records with their numbers in the aggregate.
    Many(Vec<(u64, Bytes)>),
}

/// Takes an aggregate apart.
///
/// Left out are records whose key belongs to another shard: an aggregate made before a split and taken after it holds
/// some, and the library sends those again to where they belong.
pub(super) fn unpack(data: Bytes, range: &HashRange) -> Unpacked {
    let Some(aggregate) = read(&data) else { return Unpacked::Plain(data) };
    let records = (0..)
        .zip(&aggregate.records)
        .filter(|(_, record)| aggregate.hash_of(record).is_none_or(|hash| range.holds(hash)));
    Unpacked::Many(records.map(|(index, record)| (index, record.data.clone())).collect())
}

fn read(data: &Bytes) -> Option<Aggregate> {
    let message_bytes = data.len().checked_sub(MAGIC.len() + MD5_BYTES)?;
    if !data.starts_with(&MAGIC) {
        return None;
    }
    let message = data.slice(MAGIC.len()..MAGIC.len() + message_bytes);
    if Md5::digest(&message)[..] != data[MAGIC.len() + message_bytes..] {
        return None;
    }
    Aggregate::decode(message).ok()
}

impl Aggregate {
    /// The hash that decides on a record's shard; `None` where the aggregate does not tell.
    fn hash_of(&self, record: &Packed) -> Option<u128> {
        let at = |keys: &'_ Vec<String>, index: u64| keys.get(usize::try_from(index).ok()?).cloned();
        if let Some(explicit) = record.explicit_hash_key.and_then(|index| at(&self.explicit_hash_keys, index)) {
            return explicit.parse().ok();
        }
        let key = at(&self.partition_keys, record.partition_key)?;
        Some(u128::from_be_bytes(Md5::digest(key.as_bytes()).into()))
    }
}

#[cfg(test)]
pub(super) fn pack(aggregate: &Aggregate) -> Vec<u8> {
    frame(&aggregate.encode_to_vec())
}

/// The magic before a message, and its MD5 behind.
#[cfg(test)]
pub(super) fn frame(message: &[u8]) -> Vec<u8> {
    [&MAGIC[..], message, &Md5::digest(message)[..]].concat()
}
