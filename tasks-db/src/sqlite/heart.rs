//! Heartbeats on a connection of their own.

use async_trait::async_trait;
use neartime_model::{Instant, Span};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::fault::{Step, doing};
use super::streams::of_shard;
use super::{DbClock, now};
use crate::{CronLease, Heart, HeartSource, Lease, Result, ShardLease, TasksError};

const HEARTBEAT: &str = include_str!("../../queries/sqlite/heartbeat.sql");
const SHARD_HEARTBEAT: &str = include_str!("../../queries/sqlite/shard_heartbeat.sql");
const CRON_HEARTBEAT: &str = include_str!("../../queries/sqlite/cron_heartbeat.sql");

/// Opens hearts.
pub(super) struct SqliteHearts {
    connect: SqliteConnectOptions,
    clock: DbClock,
}

impl SqliteHearts {
    pub(super) fn new(connect: SqliteConnectOptions, clock: DbClock) -> Self {
        Self { connect, clock }
    }
}

#[async_trait]
impl HeartSource for SqliteHearts {
    async fn open(&self) -> Result<Box<dyn Heart>> {
        let open = async { Ok(self.connect.connect().await?) };
        let conn = open.await.map_err(doing("open a connection for heartbeats"))?;
        Ok(Box::new(SqliteHeart { conn, clock: self.clock.clone() }))
    }
}

struct SqliteHeart {
    conn: SqliteConnection,
    clock: DbClock,
}

impl SqliteHeart {
    /// One transaction for all leases: each commit waits for the disk.
    async fn try_beat(&mut self, leases: &[Lease], extend: Span) -> Step<Vec<Lease>> {
        let mut tx = self.conn.begin_with("BEGIN IMMEDIATE").await?;
        let until = now(&self.clock, &mut tx).await? + extend;
        let mut lost = Vec::new();
        for lease in leases {
            let kept = sqlx::query(HEARTBEAT).bind(lease.task.0).bind(lease.fence.0).bind(until.as_micros());
            if kept.fetch_optional(&mut *tx).await?.is_none() {
                lost.push(*lease);
            }
        }
        tx.commit().await?;
        Ok(lost)
    }

    async fn try_beat_shards(&mut self, leases: &[ShardLease], extend: Span) -> Step<Vec<ShardLease>> {
        let mut tx = self.conn.begin_with("BEGIN IMMEDIATE").await?;
        let until = now(&self.clock, &mut tx).await? + extend;
        let mut lost = Vec::new();
        for lease in leases {
            let kept = of_shard(SHARD_HEARTBEAT, lease).bind(until.as_micros());
            if kept.fetch_optional(&mut *tx).await?.is_none() {
                lost.push(lease.clone());
            }
        }
        tx.commit().await?;
        Ok(lost)
    }

    async fn try_beat_cron(&mut self, lease: &CronLease, extend: Span) -> Step<()> {
        let mut tx = self.conn.begin_with("BEGIN IMMEDIATE").await?;
        let until: Instant = now(&self.clock, &mut tx).await? + extend;
        let kept = sqlx::query(CRON_HEARTBEAT).bind(&lease.name).bind(lease.fence.0).bind(until.as_micros());
        if kept.fetch_optional(&mut *tx).await?.is_none() {
            return Err(TasksError::CronLeaseLost { name: lease.name.clone() }.into());
        }
        Ok(tx.commit().await?)
    }
}

#[async_trait]
impl Heart for SqliteHeart {
    async fn beat(&mut self, leases: &[Lease], extend: Span) -> Result<Vec<Lease>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        self.try_beat(leases, extend).await.map_err(doing("send a heartbeat"))
    }

    async fn beat_shards(&mut self, leases: &[ShardLease], extend: Span) -> Result<Vec<ShardLease>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        self.try_beat_shards(leases, extend).await.map_err(doing("send a heartbeat for shards"))
    }

    async fn beat_cron(&mut self, lease: &CronLease, extend: Span) -> Result<()> {
        self.try_beat_cron(lease, extend).await.map_err(doing("send a cron job's heartbeat"))
    }
}
