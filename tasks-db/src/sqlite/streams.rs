//! Shards of streams: one row each, leased and fenced.

use async_trait::async_trait;
use neartime_model::{Fence, Instant, Span};
use serde_json::{Value, json};
use sqlx::FromRow;

use super::fault::{Step, damaged, doing};
use super::records::{count, instant, source_name, stored, stored_text, text_list};
use super::{SqliteTasks, Write};
use crate::{
    Checkpoint, InitialPosition, Position, ReadFrom, Registered, Registration, Result, ShardClaim, ShardDeclaration,
    ShardId, ShardLease, ShardRequest, ShardRow, StreamId, Streams, TasksError,
};

const SHARDS_KNOWN: &str = include_str!("../../queries/sqlite/shards_known.sql");
const SHARDS_DECLARE: &str = include_str!("../../queries/sqlite/shards_declare.sql");
const SHARDS_FORGET: &str = include_str!("../../queries/sqlite/shards_forget.sql");
const SHARDS_LIST: &str = include_str!("../../queries/sqlite/shards_list.sql");
const SHARD_CLAIM_FREE: &str = include_str!("../../queries/sqlite/shard_claim_free.sql");
const SHARD_CLAIM_RICHEST: &str = include_str!("../../queries/sqlite/shard_claim_richest.sql");
const SHARD_CLAIM_TAKE: &str = include_str!("../../queries/sqlite/shard_claim_take.sql");
const SHARD_CHECKPOINT: &str = include_str!("../../queries/sqlite/shard_checkpoint.sql");
const SHARD_FINISH: &str = include_str!("../../queries/sqlite/shard_finish.sql");
const SHARD_FINISHED: &str = include_str!("../../queries/sqlite/shard_finished.sql");
const SHARD_RELEASE: &str = include_str!("../../queries/sqlite/shard_release.sql");

type Query = sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

/// A statement whose first four parameters say which claim on which shard.
pub(super) fn of_shard(statement: &'static str, lease: &ShardLease) -> Query {
    sqlx::query(statement)
        .bind(lease.stream.source.as_str().to_owned())
        .bind(lease.stream.stream.clone())
        .bind(lease.shard.0.clone())
        .bind(lease.fence.0)
}

fn lost(lease: &ShardLease) -> TasksError {
    TasksError::ShardLeaseLost { stream: lease.stream.clone(), shard: lease.shard.clone() }
}

#[async_trait]
impl Streams for SqliteTasks {
    async fn declare_shards(
        &self,
        stream: &StreamId,
        shards: &[ShardDeclaration],
        initial: InitialPosition,
    ) -> Result<Vec<ShardId>> {
        self.try_declare_shards(stream, shards, initial).await.map_err(doing("declare a stream's shards"))
    }

    async fn claim_shard(&self, request: &ShardRequest) -> Result<Option<ShardClaim>> {
        self.try_claim_shard(request).await.map_err(doing("claim a shard"))
    }

    async fn checkpoint(
        &self,
        lease: &ShardLease,
        checkpoint: &Checkpoint,
        registration: Option<&Registration>,
    ) -> Result<Registered> {
        self.try_checkpoint(lease, checkpoint, registration).await.map_err(doing("write a checkpoint"))
    }

    async fn finish_shard(&self, lease: &ShardLease, registration: Option<&Registration>) -> Result<Registered> {
        self.try_finish_shard(lease, registration).await.map_err(doing("finish a shard"))
    }

    async fn release_shard(&self, lease: &ShardLease) -> Result<()> {
        let release = async {
            let mut write = self.write().await?;
            let kept = of_shard(SHARD_RELEASE, lease).fetch_optional(write.conn()).await?;
            kept.ok_or_else(|| lost(lease))?;
            write.commit().await
        };
        release.await.map_err(doing("release a shard"))
    }

    async fn forget_shards(&self, stream: &StreamId, present: &[ShardId], listed_at: Instant) -> Result<Vec<ShardRow>> {
        let forget = async {
            let mut write = self.write().await?;
            let query = sqlx::query_as(SHARDS_FORGET).bind(stream.source.as_str()).bind(&stream.stream);
            let query = query.bind(text_list(present.iter().map(|shard| shard.0.as_str())));
            let gone: Vec<ShardRecord> = query.bind(listed_at.as_micros()).fetch_all(write.conn()).await?;
            write.commit().await?;
            gone.into_iter().map(ShardRecord::decode).collect::<Step<Vec<_>>>()
        };
        forget.await.map_err(doing("forget a stream's shards"))
    }

    async fn shards(&self) -> Result<Vec<ShardRow>> {
        let list = async {
            let rows: Vec<ShardRecord> = sqlx::query_as(SHARDS_LIST).fetch_all(&self.readers).await?;
            rows.into_iter().map(ShardRecord::decode).collect::<Step<Vec<_>>>()
        };
        list.await.map_err(doing("list the shards"))
    }
}

impl SqliteTasks {
    async fn try_declare_shards(
        &self,
        stream: &StreamId,
        shards: &[ShardDeclaration],
        initial: InitialPosition,
    ) -> Step<Vec<ShardId>> {
        let mut write = self.write().await?;
        let (source, name) = (stream.source.as_str(), stream.stream.as_str());
        let known = sqlx::query_scalar(SHARDS_KNOWN).bind(source).bind(name).fetch_one(write.conn()).await?;
        let start_at = if known { None } else { start_of(initial, write.now) };
        let query = sqlx::query_scalar(SHARDS_DECLARE).bind(source).bind(name).bind(declared(shards));
        let query = query.bind(start_at.map(Instant::as_micros)).bind(write.now_micros());
        let new: Vec<String> = query.fetch_all(write.conn()).await?;
        write.commit().await?;
        Ok(new.into_iter().map(ShardId).collect())
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
        query.fetch_optional(write.conn()).await?.ok_or_else(|| lost(lease))?;
        let registered = write.register_some(registration).await?;
        write.commit().await?;
        Ok(registered)
    }

    async fn try_finish_shard(&self, lease: &ShardLease, registration: Option<&Registration>) -> Step<Registered> {
        let mut write = self.write().await?;
        let query = of_shard(SHARD_FINISH, lease).bind(write.now_micros());
        if query.fetch_optional(write.conn()).await?.is_none() {
            let before = of_shard(SHARD_FINISHED, lease).fetch_optional(write.conn()).await?;
            before.ok_or_else(|| lost(lease))?;
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
        let query = sqlx::query_as(SHARD_CLAIM_FREE)
            .bind(request.stream.source.as_str())
            .bind(&request.stream.stream)
            .bind(self.now_micros())
            .bind((self.now + request.lease).as_micros())
            .bind(stored_text(&request.worker))
            .bind(i64::from(request.max_shards));
        let row: Option<ClaimRecord> = query.fetch_optional(self.conn()).await?;
        row.map(|row| row.decode(request, None)).transpose()
    }

    async fn take_shard_from_the_richest(&mut self, request: &ShardRequest) -> Step<Option<ShardClaim>> {
        let (source, stream) = (request.stream.source.as_str(), &request.stream.stream);
        let worker = stored_text(&request.worker);
        let query = sqlx::query_as(SHARD_CLAIM_RICHEST).bind(source).bind(stream).bind(self.now_micros());
        let query = query.bind(&worker).bind(i64::from(request.max_shards));
        let Some((richest, shard)) = query.fetch_optional(self.conn()).await? else { return Ok(None) };
        let (richest, shard): (String, String) = (richest, shard);
        let query = sqlx::query_as(SHARD_CLAIM_TAKE)
            .bind(source)
            .bind(stream)
            .bind(shard)
            .bind(self.now_micros())
            .bind((self.now + request.lease).as_micros())
            .bind(worker);
        let row: ClaimRecord = query.fetch_one(self.conn()).await?;
        row.decode(request, Some(richest)).map(Some)
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
    lease: i64,
}

impl ClaimRecord {
    fn decode(self, request: &ShardRequest, taken_from: Option<String>) -> Step<ShardClaim> {
        let (stream, shard) = (request.stream.clone(), ShardId(self.shard));
        Ok(ShardClaim {
            lease: ShardLease { stream, shard, fence: Fence(self.fence) },
            from: read_from(self.start_at, self.sequence, self.sub_sequence)?,
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
