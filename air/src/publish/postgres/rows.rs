//! Rows of the report as Postgres gives them back.

use futures::{Stream, StreamExt};
use neartime_model::{Fence, Instant};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};

use crate::publish::{LiveReport, ShowQuery, Sort};
use crate::report::Row;

const SHOW: &str = include_str!("../../../queries/postgres/show.sql");

/// The rows, through a channel: the statement borrows the transaction that this task owns.
pub(super) fn read(pool: PgPool, query: ShowQuery) -> impl Stream<Item = Result<Row<String>, sqlx::Error>> + Send {
    let (sender, receiver) = tokio::sync::mpsc::channel(256);
    tokio::spawn(async move {
        let mut transaction = match pool.begin().await {
            Ok(transaction) => transaction,
            Err(error) => {
                // A receiver that is gone wants nothing more.
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        let mut rows = sqlx::query(SHOW)
            .persistent(false)
            .bind(query.site)
            .bind(query.group)
            .bind(query.min_users.map(i64::from))
            .bind(query.sort.map(Sort::name))
            .bind(query.limit.map(i64::from))
            .fetch(&mut *transaction);
        while let Some(row) = rows.next().await {
            if sender.send(row.and_then(|row| report_row(&row))).await.is_err() {
                break;
            }
        }
    });
    futures::stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|row| (row, receiver)))
}

fn report_row(row: &PgRow) -> Result<Row<String>, sqlx::Error> {
    Ok(Row {
        site: row.try_get("site")?,
        site_name: row.try_get("site_name")?,
        segment: row.try_get("segment")?,
        segment_name: row.try_get("segment_name")?,
        segment_group: row.try_get("segment_group")?,
        segment_users: users(row.try_get("segment_users")?)?,
        group_users: users(row.try_get("group_users")?)?,
        segment_site_users: row.try_get::<Option<i64>, _>("segment_site_users")?.map(users).transpose()?,
        group_site_users: row.try_get::<Option<i64>, _>("group_site_users")?.map(users).transpose()?,
        index_value: row.try_get("index_value")?,
        z_score: row.try_get("z_score")?,
        index_low: row.try_get("index_low")?,
        index_high: row.try_get("index_high")?,
        significant: row.try_get("significant")?,
        suppressed: row.try_get("suppressed")?,
    })
}

/// Postgres has no unsigned numbers.
fn users(number: i64) -> Result<u32, sqlx::Error> {
    u32::try_from(number).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

pub(super) fn live_report(row: &PgRow) -> Result<LiveReport, sqlx::Error> {
    let instant = |column: &str| row.try_get(column).map(Instant::from_micros);
    let number = |column: &str| row.try_get::<i64, _>(column).map(|number| number as u64);
    Ok(LiveReport {
        fence: Fence(row.try_get("fence")?),
        as_of: instant("as_of_us")?,
        row_count: number("row_count")?,
        suppressed: number("suppressed")?,
        input_files: number("input_files")?,
        published_at: instant("published_at_us")?,
    })
}
