//! Shards of streams: one row each, leased and fenced.

use async_trait::async_trait;
use neartime_model::{Fence, Instant, Span};
use serde_json::{Value, json};
use sqlx::FromRow;

use super::fault::{Step, damaged};
use super::records::{count, instant, source_name, stored, stored_text, text_list};
use super::session::{Call, Statement, statement};
use super::{Tasks, Write};
use crate::{
    Checkpoint, InitialPosition, Position, ReadFrom, Registered, Registration, Result, ShardClaim, ShardDeclaration,
    ShardId, ShardLease, ShardRequest, ShardRow, StreamId, Streams, TasksError,
};

const SHARDS_KNOWN: Statement = statement!("shards_known");
const SHARDS_DECLARE: Statement = statement!("shards_declare");
const SHARDS_FORGET: Statement = statement!("shards_forget");
const SHARDS_LIST: Statement = statement!("shards_list");
const SHARD_CLAIM_FREE: Statement = statement!("shard_claim_free");
const SHARD_CLAIM_RICHEST: Statement = statement!("shard_claim_richest");
const SHARD_CLAIM_TAKE: Statement = statement!("shard_claim_take");
const SHARD_CHECKPOINT: Statement = statement!("shard_checkpoint");
const SHARD_FINISH: Statement = statement!("shard_finish");
const SHARD_FINISHED: Statement = statement!("shard_finished");
const SHARD_RELEASE: Statement = statement!("shard_release");

/// A statement whose first four parameters say which claim on which shard.
pub(super) fn of_shard(statement: Statement, lease: &ShardLease) -> Call {
    statement
        .bind(lease.stream.source.as_str())
        .bind(lease.stream.stream.clone())
        .bind(lease.shard.0.clone())
        .bind(lease.fence.0)
}

/// A statement on a shard found none that is claimed under this fence.
fn kept(found: bool, lease: &ShardLease) -> Step<()> {
    let (stream, shard) = (lease.stream.clone(), lease.shard.clone());
    if found { Ok(()) } else { Err(TasksError::ShardLeaseLost { stream, shard }.into()) }
}

#[async_trait]
impl Streams for Tasks {
    async fn declare_shards(
        &self,
        stream: &StreamId,
        shards: &[ShardDeclaration],
        initial: InitialPosition,
    ) -> Result<Vec<ShardId>> {
        self.again("declare a stream's shards", || self.try_declare_shards(stream, shards, initial)).await
    }

    async fn claim_shard(&self, request: &ShardRequest) -> Result<Option<ShardClaim>> {
        self.once("claim a shard", || self.try_claim_shard(request)).await
    }

    async fn checkpoint(
        &self,
        lease: &ShardLease,
        checkpoint: &Checkpoint,
        registration: Option<&Registration>,
    ) -> Result<Registered> {
        self.again("write a checkpoint", || self.try_checkpoint(lease, checkpoint, registration)).await
    }

    async fn finish_shard(&self, lease: &ShardLease, registration: Option<&Registration>) -> Result<Registered> {
        self.again("finish a shard", || self.try_finish_shard(lease, registration)).await
    }

    async fn release_shard(&self, lease: &ShardLease) -> Result<()> {
        let release = async || {
            let mut write = self.write().await?;
            kept(of_shard(SHARD_RELEASE, lease).any(write.conn()).await?, lease)?;
            write.commit().await
        };
        self.once("release a shard", release).await
    }

    async fn forget_shards(&self, stream: &StreamId, present: &[ShardId], listed_at: Instant) -> Result<Vec<ShardRow>> {
        let forget = async || {
            let mut write = self.write().await?;
            let query = SHARDS_FORGET.bind(stream.source.as_str()).bind(stream.stream.as_str());
            let query = query.bind(text_list(present.iter().map(|shard| shard.0.as_str())));
            let gone: Vec<ShardRecord> = query.bind(listed_at.as_micros()).all(write.conn()).await?;
            write.commit().await?;
            gone.into_iter().map(ShardRecord::decode).collect::<Step<Vec<_>>>()
        };
        self.once("forget a stream's shards", forget).await
    }

    async fn shards(&self) -> Result<Vec<ShardRow>> {
        let list = async || {
            let rows: Vec<ShardRecord> = SHARDS_LIST.call().all(self.read().await?.session()).await?;
            rows.into_iter().map(ShardRecord::decode).collect::<Step<Vec<_>>>()
        };
        self.again("list the shards", list).await
    }
}

impl Tasks {
    async fn try_declare_shards(
        &self,
        stream: &StreamId,
        shards: &[ShardDeclaration],
        initial: InitialPosition,
    ) -> Step<Vec<ShardId>> {
        let mut write = self.write().await?;
        let (source, name) = (stream.source.as_str(), stream.stream.as_str());
        let (known,): (bool,) = SHARDS_KNOWN.bind(source).bind(name).one(write.conn()).await?;
        let start_at = if known { None } else { start_of(initial, write.now) };
        let query = SHARDS_DECLARE.bind(source).bind(name).bind(declared(shards));
        let query = query.bind(start_at.map(Instant::as_micros)).bind(write.now_micros());
        let new: Vec<(String,)> = query.all(write.conn()).await?;
        write.commit().await?;
        Ok(new.into_iter().map(|(shard,)| ShardId(shard)).collect())
    }

    async fn try_claim_shard(&self, request: &ShardRequest) -> Step<Option<ShardClaim>> {
        let mut write = self.write().await?;
        let claim = match write.take_free_shard(request).await? {
            Some(claim) => Some(claim),
            None => write.take_shard_from_the_richest(request).await?,
        };
        write.commit().await?;
        Ok(claim)
    }

    async fn try_checkpoint(
        &self,
        lease: &ShardLease,
        checkpoint: &Checkpoint,
        registration: Option<&Registration>,
    ) -> Step<Registered> {
        let mut write = self.write().await?;
        let position = checkpoint.position.as_ref();
        let query = of_shard(SHARD_CHECKPOINT, lease)
            .bind(position.map(|position| position.sequence.clone()))
            .bind(position.and_then(|position| position.sub_sequence).map(stored))
            .bind(checkpoint.behind.map(Span::as_micros))
            .bind(write.now_micros());
        kept(query.any(write.conn()).await?, lease)?;
        let registered = write.register_some(registration).await?;
        write.commit().await?;
        Ok(registered)
    }

    async fn try_finish_shard(&self, lease: &ShardLease, registration: Option<&Registration>) -> Step<Registered> {
        let mut write = self.write().await?;
        let query = of_shard(SHARD_FINISH, lease).bind(write.now_micros());
        if !query.any(write.conn()).await? {
            kept(of_shard(SHARD_FINISHED, lease).any(write.conn()).await?, lease)?;
        }
        let registered = write.register_some(registration).await?;
        write.commit().await?;
        Ok(registered)
    }
}

impl Write {
    async fn register_some(&mut self, registration: Option<&Registration>) -> Step<Registered> {
        match registration {
            Some(registration) => self.register(registration).await,
            None => Ok(Registered::default()),
        }
    }

    async fn take_free_shard(&mut self, request: &ShardRequest) -> Step<Option<ShardClaim>> {
        let query = SHARD_CLAIM_FREE
            .bind(request.stream.source.as_str())
            .bind(request.stream.stream.as_str())
            .bind(self.now_micros())
            .bind((self.now + request.lease).as_micros())
            .bind(stored_text(&request.worker))
            .bind(i64::from(request.max_shards));
        let row: Option<ClaimRecord> = query.optional(self.conn()).await?;
        row.map(|row| row.decode(request, None)).transpose()
    }

    async fn take_shard_from_the_richest(&mut self, request: &ShardRequest) -> Step<Option<ShardClaim>> {
        let (source, stream) = (request.stream.source.as_str(), request.stream.stream.as_str());
        let worker = stored_text(&request.worker);
        let query = SHARD_CLAIM_RICHEST.bind(source).bind(stream).bind(self.now_micros());
        let query = query.bind(worker.as_str()).bind(i64::from(request.max_shards));
        let found: Option<(String, String)> = query.optional(self.conn()).await?;
        let Some((richest, shard)) = found else { return Ok(None) };
        let query = SHARD_CLAIM_TAKE
            .bind(source)
            .bind(stream)
            .bind(shard)
            .bind(self.now_micros())
            .bind((self.now + request.lease).as_micros())
            .bind(worker)
            .bind(richest.as_str());
        let row: Option<ClaimRecord> = query.optional(self.conn()).await?;
        row.map(|row| row.decode(request, Some(richest))).transpose()
    }
}

fn start_of(initial: InitialPosition, now: Instant) -> Option<Instant> {
    match initial {
        InitialPosition::Horizon => None,
        InitialPosition::Latest => Some(now),
        InitialPosition::At(instant) => Some(instant),
    }
}

/// Shards as a statement takes them.
fn declared(shards: &[ShardDeclaration]) -> String {
    let shards = shards.iter().map(|shard| {
        let parents: Vec<&str> = shard.parents.iter().map(|parent| parent.0.as_str()).collect();
        json!([shard.shard.0, parents])
    });
    Value::Array(shards.collect()).to_string()
}

fn read_from(start_at: Option<i64>, sequence: Option<String>, sub_sequence: Option<i64>) -> Step<ReadFrom> {
    Ok(match (sequence, instant(start_at)) {
        (Some(sequence), _) => {
            ReadFrom::After(Position { sequence, sub_sequence: sub_sequence.map(count).transpose()? })
        }
        (None, Some(start)) => ReadFrom::At(start),
        (None, None) => ReadFrom::Horizon,
    })
}

#[derive(FromRow)]
struct ClaimRecord {
    shard: String,
    fence: i64,
    start_at: Option<i64>,
    sequence: Option<String>,
    sub_sequence: Option<i64>,
    caught_up_at: Option<i64>,
    lease: i64,
}

impl ClaimRecord {
    fn decode(self, request: &ShardRequest, taken_from: Option<String>) -> Step<ShardClaim> {
        let (stream, shard) = (request.stream.clone(), ShardId(self.shard));
        Ok(ShardClaim {
            lease: ShardLease { stream, shard, fence: Fence(self.fence) },
            from: read_from(self.start_at, self.sequence, self.sub_sequence)?,
            caught_up_at: instant(self.caught_up_at),
            taken_from,
            lease_until: Instant::from_micros(self.lease),
        })
    }
}

#[derive(FromRow)]
struct ShardRecord {
    source: String,
    stream: String,
    shard: String,
    parents: String,
    start_at: Option<i64>,
    sequence: Option<String>,
    sub_sequence: Option<i64>,
    lease: Option<i64>,
    worker: Option<String>,
    behind: Option<i64>,
    checkpoint_at: Option<i64>,
    finished_at: Option<i64>,
}

impl ShardRecord {
    fn decode(self) -> Step<ShardRow> {
        let parents: Vec<String> = serde_json::from_str(&self.parents).map_err(damaged)?;
        Ok(ShardRow {
            stream: StreamId { source: source_name(&self.source)?, stream: self.stream },
            shard: ShardId(self.shard),
            parents: parents.into_iter().map(ShardId).collect(),
            from: read_from(self.start_at, self.sequence, self.sub_sequence)?,
            worker: self.worker,
            lease: instant(self.lease),
            behind: self.behind.map(Span::from_micros),
            checkpoint_at: instant(self.checkpoint_at),
            finished_at: instant(self.finished_at),
        })
    }
}
