//! Reading one shard.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{ChildShard, Record as Raw, ShardIteratorType};
use bytes::Bytes;
use neartime_ingest::channel::{
    ChannelError, Gap, Page, Place, Position, Record, SequenceNumber, Shard, ShardId, ShardReader,
};
use neartime_model::{Instant, Span};
use tokio::time::Instant as Monotonic;

use super::KinesisStream;
use super::aggregate::{HashRange, Unpacked, unpack};
use crate::said::Said;

/// A shard takes five requests a second, from all readers together.
const PACE: Duration = Duration::from_millis(200);
/// How often the list of shards is looked into while a shard gives nothing, should its server never say that it ended.
const END_ASKED: Duration = Duration::from_secs(10);
/// How often an iterator is renewed within one call.
const MAX_RENEWALS: u32 = 3;

/// A shard being read.
pub(super) struct Reader {
    stream: KinesisStream,
    shard: ShardId,
    range: HashRange,
    /// Where a new iterator begins.
    start: Start,
    iterator: Option<String>,
    /// A checkpoint of which it is not known yet whether the stream still has it.
    unproven: Option<Checkpoint>,
    /// The shard's end was reached.
    children: Option<Vec<Shard>>,
    asked_at: Option<Monotonic>,
    end_asked_at: Option<Monotonic>,
}

#[derive(Clone)]
struct Checkpoint {
    place: Place,
    caught_up_at: Option<Instant>,
    /// The stream refuses its number: those of the stream's records cannot be compared with it.
    foreign: bool,
}

#[derive(Clone, Debug)]
enum Start {
    Oldest,
    At(Instant),
    /// With the record of this number itself.
    With(SequenceNumber),
    After(SequenceNumber),
}

impl Reader {
    pub(super) fn new(stream: KinesisStream, shard: ShardId, range: HashRange, from: &Position) -> Self {
        let (start, unproven) = match from {
            Position::Oldest => (Start::Oldest, None),
            // The present instant, and not the tip: an iterator that is renewed before the first record comes would
            // skip what came meanwhile.
            Position::Newest => (Start::At(stream.0.clock.now()), None),
            Position::At(at) => (Start::At(*at), None),
            // From the checkpoint's own record, not after it: that it comes proves that none is missing.
            Position::After { place, caught_up_at } => (
                Start::With(place.sequence.clone()),
                Some(Checkpoint { place: place.clone(), caught_up_at: *caught_up_at, foreign: false }),
            ),
        };
        Self {
            stream,
            shard,
            range,
            start,
            iterator: None,
            unproven,
            children: None,
            asked_at: None,
            end_asked_at: None,
        }
    }

    /// Gets the first iterator, so that what is wrong with stream or position shows at once.
    pub(super) async fn begin(&mut self) -> Result<(), ChannelError> {
        self.renew().await
    }

    async fn renew(&mut self) -> Result<(), ChannelError> {
        let stream = &self.stream.0;
        let request = stream.client.get_shard_iterator().shard_id(self.shard.as_str());
        let request = request.set_stream_name(stream.plain_name()).set_stream_arn(stream.arn());
        let request = match &self.start {
            Start::Oldest => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Start::At(at) => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(at.as_millis())),
            Start::With(number) => request
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(number.as_str()),
            Start::After(number) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(number.as_str()),
        };
        match request.send().await.map_err(Said::of) {
            Ok(answer) => {
                self.iterator = answer.shard_iterator;
                Ok(())
            }
            // The stream does not know the checkpoint: it is too old, or of an earlier stream of the same name.
            Err(said) if said.code == "InvalidArgumentException" && matches!(self.start, Start::With(_)) => {
                tracing::debug!(stream = self.stream.0.name, shard = %self.shard, %said, "checkpoint unknown");
                self.start = Start::Oldest;
                if let Some(checkpoint) = &mut self.unproven {
                    checkpoint.foreign = true;
                }
                Box::pin(self.renew()).await
            }
            Err(said) => Err(self.failed("kinesis:GetShardIterator", said)),
        }
    }

    async fn ask(&mut self) -> Result<GetRecordsOutput, ChannelError> {
        for _ in 0..MAX_RENEWALS {
            if self.iterator.is_none() {
                self.renew().await?;
            }
            if let Some(asked_at) = self.asked_at {
                tokio::time::sleep_until(asked_at + PACE).await;
            }
            self.asked_at = Some(Monotonic::now());
            let request = self.stream.0.client.get_records().set_stream_arn(self.stream.0.arn());
            let request = request.set_shard_iterator(self.iterator.clone());
            match request.send().await.map_err(Said::of) {
                Ok(answer) => return Ok(answer),
                Err(said) if said.code == "ExpiredIteratorException" => self.iterator = None,
                Err(said) => return Err(self.failed("kinesis:GetRecords", said)),
            }
        }
        Err(ChannelError::Unavailable {
            doing: format!("read the shard `{}` of the stream `{}`", self.shard, self.stream.0.name),
            reason: format!("{MAX_RENEWALS} new iterators in a row had expired already"),
            source: "are the clocks of this machine and the stream right?".into(),
        })
    }

    async fn page(&mut self, answer: GetRecordsOutput) -> Result<Page, ChannelError> {
        let now = self.stream.0.clock.now();
        let behind = answer.millis_behind_latest.map(|millis| Span::from_micros(millis.saturating_mul(1_000)));
        let mut page = Page { behind, caught_up_at: behind.map(|behind| now - behind), ..Page::default() };
        let raw = answer.records.into_iter().filter_map(|record| numbered(record, now));
        let raw: Vec<(SequenceNumber, Instant, Bytes)> = raw.collect();
        let ended = answer.next_shard_iterator.is_none();
        page.gap = self.prove(&raw, behind, ended, now).await?;
        for (sequence, arrived_at, data) in raw {
            self.take(&mut page, &sequence, arrived_at, data);
            page.end = Some(Place { sequence, sub_sequence: None });
        }
        // Only now: a page that failed half way is asked for again.
        if let Some(end) = &page.end {
            self.start = Start::After(end.sequence.clone());
            self.unproven = None;
        }
        self.iterator = answer.next_shard_iterator;
        if ended {
            self.children = Some(answer.child_shards.unwrap_or_default().into_iter().map(child).collect());
        } else if page.end.is_none() && behind == Some(Span::ZERO) {
            self.look_for_end().await?;
        }
        page.children = self.children.clone();
        Ok(page)
    }

    /// Asks the list of shards whether this one was closed and is read to its last record: moto gives iterators for
    /// ever. At Amazon's no record has the number that a shard ends with.
    async fn look_for_end(&mut self) -> Result<(), ChannelError> {
        if self.end_asked_at.is_some_and(|at| at.elapsed() < END_ASKED) {
            return Ok(());
        }
        let listed = self.stream.list().await?;
        self.end_asked_at = Some(Monotonic::now());
        let ends = listed.iter().find(|listed| listed.shard.id == self.shard).and_then(|listed| listed.ends.as_ref());
        let at_end = ends.is_some_and(|ends| match &self.start {
            Start::With(read) | Start::After(read) => ends <= read,
            Start::Oldest | Start::At(_) => ends.as_str() == "0",
        });
        if at_end {
            let shards = listed.into_iter().map(|listed| listed.shard);
            self.children = Some(shards.filter(|shard| shard.parents.contains(&self.shard)).collect());
        }
        Ok(())
    }

    /// Adds what a record holds to the page, but for what the checkpoint says is done.
    fn take(&self, page: &mut Page, sequence: &SequenceNumber, arrived_at: Instant, data: Bytes) {
        let done = self.unproven.as_ref().filter(|checkpoint| !checkpoint.foreign).map(|checkpoint| &checkpoint.place);
        let records = match unpack(data, &self.range) {
            Unpacked::Plain(data) => vec![(None, data)],
            Unpacked::Many(records) => records.into_iter().map(|(index, data)| (Some(index), data)).collect(),
        };
        let records = records.into_iter().map(|(sub_sequence, data)| {
            let place = Place { sequence: sequence.clone(), sub_sequence };
            Record { place, arrived_at, data }
        });
        page.records.extend(records.filter(|record| done.is_none_or(|done| record.place > *done)));
    }

    /// Whether records may be missing between the checkpoint and what the stream still has.
    ///
    /// None are if the checkpoint's own record is still there, or if everything younger than the stream's retention
    /// had been read.
    async fn prove(
        &mut self,
        raw: &[(SequenceNumber, Instant, Bytes)],
        behind: Option<Span>,
        ended: bool,
        now: Instant,
    ) -> Result<Option<Gap>, ChannelError> {
        let Some(Checkpoint { place, caught_up_at, foreign }) = self.unproven.clone() else { return Ok(None) };
        let first = raw.first();
        if !foreign && first.is_some_and(|(sequence, ..)| *sequence <= place.sequence) {
            return Ok(None);
        }
        // An empty page before the tip tells nothing.
        if first.is_none() && !ended && behind != Some(Span::ZERO) {
            return Ok(None);
        }
        let kept_since = now - self.stream.retention().await?;
        self.unproven = None;
        if !foreign && caught_up_at.is_some_and(|at| kept_since < at) {
            return Ok(None);
        }
        let until = first.map(|(sequence, ..)| Place { sequence: sequence.clone(), sub_sequence: None });
        let until_at = first.map_or(now, |(_, arrived_at, _)| *arrived_at);
        Ok(Some(Gap { after: place, after_at: caught_up_at, until, until_at }))
    }

    fn failed(&self, action: &str, said: Said) -> ChannelError {
        if said.code == "ResourceNotFoundException" {
            return ChannelError::Unavailable {
                doing: format!("read the shard `{}` of the stream `{}`", self.shard, self.stream.0.name),
                reason: "the stream or the shard is not there any more".to_owned(),
                source: Box::new(said),
            };
        }
        self.stream.failed("read", action, said)
    }
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self) -> Result<Page, ChannelError> {
        if let Some(children) = &self.children {
            return Ok(Page { behind: Some(Span::ZERO), children: Some(children.clone()), ..Page::default() });
        }
        let answer = self.ask().await?;
        self.page(answer).await
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("stream", &self.stream).field("shard", &self.shard).finish_non_exhaustive()
    }
}

/// A record of the stream; one without a proper number cannot be come back to, and there is none.
fn numbered(record: Raw, now: Instant) -> Option<(SequenceNumber, Instant, Bytes)> {
    let Some(sequence) = SequenceNumber::parse(&record.sequence_number) else {
        tracing::error!(number = record.sequence_number, "a record of the stream has no number and is left out");
        return None;
    };
    let at = record.approximate_arrival_timestamp.and_then(|at| at.to_millis().ok());
    Some((sequence, at.map_or(now, Instant::from_millis), Bytes::from(record.data.into_inner())))
}

fn child(shard: ChildShard) -> Shard {
    let parents = shard.parent_shards.into_iter().map(ShardId::new).collect();
    Shard { id: ShardId::new(shard.shard_id), parents }
}
