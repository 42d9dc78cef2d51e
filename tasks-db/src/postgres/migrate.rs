//! Bringing the tables up to date, and making sure that they are ours.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::PostgresOptions;
use crate::TasksError;
use crate::tables::fault::{Fault, Step, sql_state};

/// What brings the tables from one version to the next.
///
/// **Invariant:** a migration only adds, so that during a rolling upgrade the older binary works on the newer tables.
const MIGRATIONS: [&str; 1] = [include_str!("../../migrations/postgres/0001_tasks.sql")];

const MIGRATIONS_TABLE: &str = include_str!("../../queries/postgres/migrations_table.sql");
const MIGRATIONS_DONE: &str = include_str!("../../queries/postgres/migrations_done.sql");
const MIGRATION_DONE: &str = include_str!("../../queries/postgres/migration_done.sql");
const MIGRATION_DIGEST: &str = include_str!("../../queries/postgres/migration_digest.sql");
const MIGRATION_LOCK: &str = include_str!("../../queries/postgres/migration_lock.sql");
const SCHEMA_EXISTS: &str = include_str!("../../queries/postgres/schema_exists.sql");
const SCHEMA_CHECK: &str = include_str!("../../queries/postgres/schema_check.sql");

/// All in one transaction and one at a time, so that of two processes that start at once one migrates and the other finds
/// it done. Where nothing is to be done no right to make tables is needed.
pub(super) async fn migrate(conn: &mut PgConnection, options: &PostgresOptions) -> Step<()> {
    // A big index takes its time.
    let mut begin = "BEGIN; SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0".to_owned();
    if let Some(schema) = &options.schema {
        begin.push_str(&format!("; SET LOCAL search_path = {schema}"));
    }
    let mut tx = conn.begin_with(AssertSqlSafe(begin)).await?;
    sqlx::query(MIGRATION_LOCK).persistent(false).execute(&mut *tx).await?;
    if let Some(schema) = &options.schema {
        make_schema(&mut tx, schema).await?;
    }
    let done = done(&mut tx).await?;
    if done.len() > MIGRATIONS.len() {
        tracing::warn!(found = done.len(), known = MIGRATIONS.len(), "task database was made by a newer release");
    }
    for (at, script) in MIGRATIONS.into_iter().enumerate() {
        let digest: String =
            sqlx::query_scalar(MIGRATION_DIGEST).persistent(false).bind(script).fetch_one(&mut *tx).await?;
        match done.get(at) {
            Some(known) if *known == digest => {}
            Some(_) => return Err(not_ours(at + 1).into()),
            None => {
                sqlx::raw_sql(script).execute(&mut *tx).await?;
                let number = i64::try_from(at + 1).expect("few migrations");
                sqlx::query(MIGRATION_DONE).persistent(false).bind(number).bind(digest).execute(&mut *tx).await?;
            }
        }
    }
    sqlx::raw_sql(SCHEMA_CHECK).execute(&mut *tx).await.map_err(changed_by_hand)?;
    Ok(tx.commit().await?)
}

async fn make_schema(conn: &mut PgConnection, schema: &str) -> Step<()> {
    let exists: bool = sqlx::query_scalar(SCHEMA_EXISTS).persistent(false).bind(schema).fetch_one(&mut *conn).await?;
    if !exists {
        // Its name was checked where it was read.
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(conn).await?;
    }
    Ok(())
}

/// The digests of the migrations that were done, in order.
async fn done(conn: &mut PgConnection) -> Step<Vec<String>> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('neartime_migrations') IS NOT NULL")
        .persistent(false)
        .fetch_one(&mut *conn)
        .await?;
    if !exists {
        sqlx::raw_sql(MIGRATIONS_TABLE).execute(&mut *conn).await?;
    }
    Ok(sqlx::query_scalar(MIGRATIONS_DONE).persistent(false).fetch_all(conn).await?)
}

fn not_ours(number: usize) -> TasksError {
    TasksError::Refused(format!(
        "the task database's tables were made by another program: migration {number} is not the one that was run; use \
         the release that made them, or an empty database or schema"
    ))
}

/// A table or column that the statements need is not there.
fn changed_by_hand(error: sqlx::Error) -> Fault {
    let is_missing = sql_state(&error).is_some_and(|state| matches!(&*state, "42P01" | "42703"));
    match error.as_database_error() {
        Some(database) if is_missing => TasksError::Refused(format!(
            "the task database's tables were changed since they were made ({}): restore them, or use an empty database \
             or schema",
            database.message()
        ))
        .into(),
        _ => error.into(),
    }
}
