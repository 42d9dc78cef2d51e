//! That a claim costs what is due, never what exists: plans, looked at with many finished tasks in the tables. What it
//! comes to in time is measured by `examples/claims.rs`.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::require_server;
use super::server::{self, Scratch};
use crate::{Tasks, TasksDb as _};

const FILL: &str = "
    INSERT INTO paths (source, file_path) SELECT 'events', 'path' || p FROM generate_series(1, 20) p;
    INSERT INTO tasks (path_id, source, source_bucket, file_path, data_chunk, ts_to_process, width, state, lane, due_at,
                       generation, completion)
    SELECT 1 + n % 20, 'events', 'raw', 'path' || 1 + n % 20, n / 20, 1, 600000000,
           CASE WHEN n < 50000 THEN 'done' WHEN n < 50010 THEN 'parked' ELSE 'waiting' END, 'fresh',
           CASE WHEN n >= 50010 THEN 1 END, 1, n
    FROM generate_series(1, 50200) n;
    INSERT INTO files (source, key, task_id, version, size, state, generation, registered_at)
    SELECT 'events', 'key' || task_id, task_id, 'v', 1, 'present', 1, 1 FROM tasks;
    INSERT INTO runs (task_id, feature, data_chunk, version, state)
    SELECT task_id, 'a', data_chunk, 1, 'done' FROM tasks WHERE state = 'done';
    ANALYZE tasks; ANALYZE paths; ANALYZE files; ANALYZE runs";

async fn plan(conn: &mut PgConnection, statement: &str, types: &str, values: &str) -> String {
    // As from the sixth time on, when the plan is no longer made for the values.
    let prepare = format!("SET plan_cache_mode = force_generic_plan; PREPARE looked_at ({types}) AS {statement}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *conn).await.unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN (COSTS OFF) EXECUTE looked_at ({values})"));
    let steps: Vec<sqlx::postgres::PgRow> = sqlx::raw_sql(explain).fetch_all(&mut *conn).await.unwrap();
    sqlx::raw_sql("DEALLOCATE looked_at").execute(conn).await.unwrap();
    steps.iter().map(|step| sqlx::Row::get::<String, _>(step, 0) + "\n").collect()
}

#[tokio::test]
async fn claims_walk_the_unfinished_tasks_alone() {
    let url = require_server!();
    let scratch = Scratch::new(&url).await;
    Tasks::connect(&scratch.options()).await.unwrap().close().await;
    scratch.run(FILL).await;
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let path = AssertSqlSafe(format!("SET search_path = {}", scratch.schema));
    sqlx::raw_sql(path).execute(&mut conn).await.unwrap();
    let claim = include_str!("../../../queries/postgres/claim.sql");
    let values = "'{\"events\": [[\"a\", 1]]}', NULL, 1, 'worker', 1, 8";
    let claim = plan(&mut conn, claim, "text, bigint, bigint, text, bigint, bigint", values).await;
    for step in ["Index Only Scan using tasks_", "using tasks_due", "using tasks_queue", "using tasks_pkey"] {
        assert!(claim.contains(step), "{step} is missing in {claim}");
    }
    assert!(!claim.contains("Seq Scan on tasks") && !claim.contains("Seq Scan on files"), "{claim}");
    let next = plan(&mut conn, include_str!("../../../queries/postgres/next_due.sql"), "text", "'[\"events\"]'").await;
    assert!(next.contains("tasks_due") && !next.contains("Seq Scan on tasks"), "{next}");
    let pulse = plan(&mut conn, include_str!("../../../queries/postgres/pulse.sql"), "bigint", "1").await;
    assert!(pulse.contains("tasks_parked") && !pulse.contains("Seq Scan on tasks"), "{pulse}");
    let far = include_str!("../../../queries/postgres/pulse_features.sql").replace("$1", "NULL");
    let far = plan(&mut conn, &far, "text", "''").await;
    assert!(far.contains("runs_by_feature") && !far.contains("Seq Scan on runs"), "{far}");
    let parked = include_str!("../../../queries/postgres/tasks_page_parked.sql");
    let types = "text, text, bigint, bigint, bigint, bigint, bigint";
    let parked = plan(&mut conn, parked, types, "NULL, NULL, NULL, NULL, 1, 1, 100").await;
    assert!(parked.contains("tasks_parked") && parked.contains("runs_unfinished"), "{parked}");
    let missing = include_str!("../../../queries/postgres/missing_runs.sql");
    let missing =
        plan(&mut conn, missing, "text, bigint, text, bigint, bigint, bigint", "'a', 1, 'events', 1, 9, 5").await;
    assert!(missing.contains("Index Scan using tasks_completed"), "{missing}");
    conn.close().await.unwrap();
    scratch.drop().await;
}
