//! Which sources can be filled from a stream, and how their files are named.

use std::fmt::Write as _;
use std::sync::Arc;

use neartime_model::{Classify, ErrorKind, Instant, SourceName};

use crate::channel::{Place, ShardId};
use crate::layout::FormatError;
use crate::source::{self, Format, Header, Source};

/// The capture that holds the shard.
const SHARD: &str = "shard";
/// The capture that holds the first and last record.
const SEQUENCE: &str = "sequence";
/// What fills a `*` of the layout.
const FREE: &str = "events";
/// Begins the names of Kinesis' shards.
const KINESIS_PREFIX: &str = "shardId-";

/// A source that can be filled from a stream of events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reservoir {
    source: Arc<Source>,
    /// Whether the layout names the shard before the sequence.
    shard_first: bool,
}

/// A source that cannot be filled from a stream, with what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("source `{source_name}` cannot be filled from a stream of events: {problem}")]
pub struct InvalidReservoir {
    source_name: SourceName,
    problem: String,
}

impl Classify for InvalidReservoir {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Reservoir {
    /// Checks that every record has a place in the source: it lies in a bucket, its layout has `{shard}` and
    /// `{sequence}` after the last time directive and no other captures, and its files need no header line.
    pub fn new(source: Arc<Source>) -> Result<Self, InvalidReservoir> {
        let problem = |problem: String| InvalidReservoir { source_name: source.name.clone(), problem };
        if source.location.as_directory().is_some() {
            return Err(problem("its location is a directory; take a bucket".to_owned()));
        }
        if matches!(&source.format, Format::Delimited(delimited) if *delimited.header() == Header::FirstLine) {
            return Err(problem(
                "its files begin with a line of names, which a stream does not have; list the names in header"
                    .to_owned(),
            ));
        }
        let layout = &source.layout;
        let captures: Vec<&str> = source::captures(layout).collect();
        let shard_first = match captures[..] {
            [SHARD, SEQUENCE] => true,
            [SEQUENCE, SHARD] => false,
            _ => {
                return Err(problem(format!(
                    "its layout `{layout}` must capture {{shard}} and {{sequence}}, each once, and nothing else"
                )));
            }
        };
        if !layout.captures_follow_time() {
            return Err(problem(format!(
                "in its layout `{layout}` {{shard}} and {{sequence}} must stand after the last time directive"
            )));
        }
        let reservoir = Self { source: Arc::clone(&source), shard_first };
        let place: Place = "49590338271490256608559692538361571095921575989136588898:7".parse().expect("a place");
        let tried = reservoir.key(&ShardId::new("shardId-000000000001"), Instant::EPOCH, &place, &place);
        tried.map_err(|error| {
            problem(format!("{error}; put something between {{shard}} and {{sequence}}, as {{shard}}-{{sequence}}.gz"))
        })?;
        Ok(reservoir)
    }

    /// The source.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The time that the name of a file tells which holds a record that arrived at `at`.
    pub(super) fn told_time(&self, at: Instant) -> Instant {
        let finest = self.source.layout.finest().as_micros();
        Instant::from_micros(at.as_micros().div_euclid(finest) * finest)
    }

    /// The key of the file with these records.
    pub(super) fn key(&self, shard: &ShardId, at: Instant, first: &Place, last: &Place) -> Result<String, FormatError> {
        let shard = shard_text(shard);
        let sequence = format!("{}_{}", place_text(first), place_text(last));
        let captures = if self.shard_first { [shard.as_str(), &sequence] } else { [sequence.as_str(), &shard] };
        self.source.layout.format_key(&captures, at, FREE)
    }
}

/// A shard's name in letters and digits: `000000000001` for `shardId-000000000001`.
fn shard_text(shard: &ShardId) -> String {
    let name = shard.as_str();
    let mut text = String::new();
    for byte in name.strip_prefix(KINESIS_PREFIX).unwrap_or(name).bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            byte => write!(text, "~{byte:02X}").expect("writing to a String cannot fail"),
        }
    }
    text
}

fn place_text(place: &Place) -> String {
    match place.sub_sequence {
        None => place.sequence.to_string(),
        Some(sub) => format!("{}.{sub}", place.sequence),
    }
}
