//! Kinesis: a stream of records in shards.

mod aggregate;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use neartime_ingest::channel::{ChannelError, EventStream, Position, SequenceNumber, Shard, ShardId, ShardReader};
use neartime_model::{Clock, Span};

use crate::said::Said;
use aggregate::HashRange;
use reader::Reader;

/// Begins the name of a stream that may be another account's.
const ARN: &str = "arn:";

/// A stream: by its name one of the connection's account and region, by its ARN any.
#[derive(Clone)]
pub struct KinesisStream(Arc<Inner>);

struct Inner {
    client: Client,
    name: String,
    clock: Arc<dyn Clock>,
    /// Which hashes belong to which shard: they never change.
    ranges: Mutex<HashMap<ShardId, HashRange>>,
}

impl Inner {
    fn plain_name(&self) -> Option<String> {
        (!self.name.starts_with(ARN)).then(|| self.name.clone())
    }

    fn arn(&self) -> Option<String> {
        self.name.starts_with(ARN).then(|| self.name.clone())
    }
}

/// A shard as it is listed.
struct Listed {
    shard: Shard,
    /// The number that its records end before (or with, on some servers); `None` while it is open.
    ends: Option<SequenceNumber>,
}

impl KinesisStream {
    pub(crate) fn new(client: Client, name: &str, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { client, name: name.to_owned(), clock, ranges: Mutex::default() }))
    }

    /// Asks whether the stream is there and may be read; gives how long it keeps records.
    pub async fn retention(&self) -> Result<Span, ChannelError> {
        let request = self.0.client.describe_stream_summary();
        let request = request.set_stream_name(self.0.plain_name()).set_stream_arn(self.0.arn());
        let answer = request.send().await;
        let answer =
            answer.map_err(|error| self.failed("ask for", "kinesis:DescribeStreamSummary", Said::of(error)))?;
        let hours = answer.stream_description_summary.map_or(24, |summary| summary.retention_period_hours);
        Ok(Span::from_mins(i64::from(hours) * 60))
    }

    fn failed(&self, verb: &str, action: &str, said: Said) -> ChannelError {
        let doing = format!("{verb} the stream `{}`", self.0.name);
        let missing = format!("there is no stream `{}` in this account and region", self.0.name);
        said.into_channel_error(doing, action, &format!("the stream `{}`", self.0.name), &missing)
    }

    async fn list(&self) -> Result<Vec<Listed>, ChannelError> {
        let mut shards = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self.0.client.list_shards();
            let request = match &token {
                // A token stands for the stream too; both together are refused.
                Some(token) => request.next_token(token),
                None => request.set_stream_name(self.0.plain_name()).set_stream_arn(self.0.arn()),
            };
            let page = request.send().await;
            let page =
                page.map_err(|error| self.failed("list the shards of", "kinesis:ListShards", Said::of(error)))?;
            for shard in page.shards.unwrap_or_default() {
                let id = ShardId::new(shard.shard_id);
                if let Some(range) = shard.hash_key_range.as_ref().and_then(HashRange::of) {
                    self.0.ranges.lock().expect("no holder panics").insert(id.clone(), range);
                }
                let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id];
                let parents = parents.into_iter().flatten().map(ShardId::new).collect();
                let ends = shard.sequence_number_range.and_then(|range| range.ending_sequence_number);
                let ends = ends.and_then(|number| SequenceNumber::parse(&number));
                shards.push(Listed { shard: Shard { id, parents }, ends });
            }
            match page.next_token {
                Some(next) => token = Some(next),
                None => return Ok(shards),
            }
        }
    }

    async fn range_of(&self, shard: &ShardId) -> Result<HashRange, ChannelError> {
        let known = |inner: &Inner| inner.ranges.lock().expect("no holder panics").get(shard).copied();
        if let Some(range) = known(&self.0) {
            return Ok(range);
        }
        self.shards().await?;
        // A shard that is listed no more can only be read to its end, where whatever is in it belongs to it.
        Ok(known(&self.0).unwrap_or(HashRange::ALL))
    }
}

#[async_trait]
impl EventStream for KinesisStream {
    fn name(&self) -> &str {
        &self.0.name
    }

    async fn shards(&self) -> Result<Vec<Shard>, ChannelError> {
        Ok(self.list().await?.into_iter().map(|listed| listed.shard).collect())
    }

    async fn open(&self, shard: &ShardId, from: &Position) -> Result<Box<dyn ShardReader>, ChannelError> {
        let range = self.range_of(shard).await?;
        let mut reader = Reader::new(self.clone(), shard.clone(), range, from);
        reader.begin().await?;
        Ok(Box::new(reader))
    }
}

impl fmt::Debug for KinesisStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KinesisStream").field(&self.0.name).finish()
    }
}
