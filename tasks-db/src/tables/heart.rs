//! Heartbeats on a connection of their own.

use async_trait::async_trait;
use neartime_model::Span;
use sqlx::{Connection as _, SqliteConnection};

use super::fault::{Step, doing};
use super::session::{Call, Statement, statement};
use super::streams::of_shard;
use super::{DbClock, Tx, now};
#[cfg(feature = "postgres")]
use crate::postgres::PostgresHearts;
use crate::sqlite::SqliteHearts;
use crate::{CronLease, Heart, HeartSource, Lease, Result, ShardLease, TasksError};

const HEARTBEAT: Statement = statement!("heartbeat");
const SHARD_HEARTBEAT: Statement = statement!("shard_heartbeat");
const CRON_HEARTBEAT: Statement = statement!("cron_heartbeat");

/// Opens hearts on one database.
#[derive(Clone)]
pub(crate) enum Hearts {
    Sqlite(SqliteHearts),
    #[cfg(feature = "postgres")]
    Postgres(PostgresHearts),
}

#[async_trait]
impl HeartSource for Hearts {
    async fn open(&self) -> Result<Box<dyn Heart>> {
        let conn = self.connect().await.map_err(doing("open a connection for heartbeats"))?;
        Ok(Box::new(TasksHeart { hearts: self.clone(), conn: Some(conn) }))
    }
}

impl Hearts {
    async fn connect(&self) -> Step<HeartConnection> {
        Ok(match self {
            Self::Sqlite(hearts) => HeartConnection::Sqlite(hearts.connect().await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(hearts) => HeartConnection::Postgres(Box::new((hearts.connect().await?, hearts.clone()))),
        })
    }

    fn clock(&self) -> &DbClock {
        match self {
            Self::Sqlite(hearts) => &hearts.clock,
            #[cfg(feature = "postgres")]
            Self::Postgres(hearts) => &hearts.clock,
        }
    }

    /// A heart that waits too long for an answer is as good as stopped.
    async fn in_time<T>(&self, beat: impl Future<Output = Step<T>>) -> Step<T> {
        match self {
            Self::Sqlite(_) => beat.await,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => crate::postgres::in_time_for_hearts(beat).await,
        }
    }
}

enum HeartConnection {
    Sqlite(SqliteConnection),
    #[cfg(feature = "postgres")]
    Postgres(Box<(sqlx::PgConnection, PostgresHearts)>),
}

impl HeartConnection {
    async fn begin(&mut self) -> Step<Tx<'_>> {
        Ok(match self {
            Self::Sqlite(conn) => Tx::Sqlite(conn.begin_with("BEGIN IMMEDIATE").await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(heart) => heart.1.begin(&mut heart.0).await?,
        })
    }
}

struct TasksHeart {
    hearts: Hearts,
    /// None after a beat that failed: the next one connects again, as the server may have been restarted.
    conn: Option<HeartConnection>,
}

impl TasksHeart {
    /// Extends all in one transaction, as each commit waits for the disk; gives which of them are still held.
    async fn beat_all(&mut self, leases: Vec<Call>, extend: Span) -> Step<Vec<bool>> {
        let hearts = self.hearts.clone();
        let beat = hearts.in_time(async {
            let mut conn = match self.conn.take() {
                Some(conn) => conn,
                None => hearts.connect().await?,
            };
            let mut tx = conn.begin().await?;
            let until = now(hearts.clock(), tx.session()).await? + extend;
            let mut held = Vec::new();
            for lease in leases {
                held.push(lease.bind(until.as_micros()).any(tx.session()).await?);
            }
            tx.commit().await?;
            self.conn = Some(conn);
            Ok(held)
        });
        beat.await
    }
}

#[async_trait]
impl Heart for TasksHeart {
    async fn beat(&mut self, leases: &[Lease], extend: Span) -> Result<Vec<Lease>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        // In order of their numbers, as everybody who locks several tasks.
        let mut sorted = leases.to_vec();
        sorted.sort_by_key(|lease| lease.task);
        let calls = sorted.iter().map(|lease| HEARTBEAT.bind(lease.task.0).bind(lease.fence.0)).collect();
        let held = self.beat_all(calls, extend).await.map_err(doing("send a heartbeat"))?;
        Ok(lost(&sorted, &held))
    }

    async fn beat_shards(&mut self, leases: &[ShardLease], extend: Span) -> Result<Vec<ShardLease>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let calls = leases.iter().map(|lease| of_shard(SHARD_HEARTBEAT, lease)).collect();
        let held = self.beat_all(calls, extend).await.map_err(doing("send a heartbeat for shards"))?;
        Ok(lost(leases, &held))
    }

    async fn beat_cron(&mut self, lease: &CronLease, extend: Span) -> Result<()> {
        let call = CRON_HEARTBEAT.bind(lease.name.as_str()).bind(lease.fence.0);
        let held = self.beat_all(vec![call], extend).await.map_err(doing("send a cron job's heartbeat"))?;
        if held == [true] { Ok(()) } else { Err(TasksError::CronLeaseLost { name: lease.name.clone() }) }
    }
}

fn lost<L: Clone>(leases: &[L], held: &[bool]) -> Vec<L> {
    leases.iter().zip(held).filter(|(_, held)| !**held).map(|(lease, _)| lease.clone()).collect()
}
