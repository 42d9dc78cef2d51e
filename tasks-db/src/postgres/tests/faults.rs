//! Sixteen claimers with short leases, on connections of their own, while late files arrive; and the same with a
//! protection taken away, which the oracle must notice.

use std::sync::Arc;
use std::time::Duration;

use super::server::Scratch;
use super::{require_server, server};
use crate::Tasks;
use crate::contract::simulation::Sabotage;
use crate::tables::sharing::{Crowd, Found, share};

const CROWD: Crowd = Crowd {
    claimers: 16,
    registrars: 4,
    paths: 3,
    chunks: 40,
    lease: Duration::from_millis(60),
    work: Duration::from_millis(90),
    time: Duration::from_secs(5),
    sabotage: Sabotage::None,
};

async fn crowd(url: &str, crowd: Crowd, pooled: bool) -> Found {
    let scratch = Scratch::new(url).await;
    let mut databases = Vec::new();
    for _ in 0..4 {
        databases.push(Arc::new(Tasks::connect(&scratch.options_with(pooled)).await.unwrap()));
    }
    let found = share(&databases, crowd).await;
    for database in databases {
        crate::TasksDb::close(&*database).await;
    }
    scratch.drop().await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_claimers_lose_and_double_nothing() {
    let url = require_server!();
    let found = crowd(&url, CROWD, false).await;
    eprintln!("{found:?}");
    assert!(found.claims > 40 && found.leases_lost > 5 && found.completions > 20, "{found:?}");
    assert_eq!((found.stale_commits, found.wrong_tasks, found.outages), (0, 0, 0), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_little_behind_a_pooler() {
    require_server!();
    let Some(url) = std::env::var("NEARTIME_TEST_PGBOUNCER").ok().filter(|url| !url.is_empty()) else {
        eprintln!("skipped: NEARTIME_TEST_PGBOUNCER names no pooler");
        return;
    };
    let found = crowd(&url, CROWD, true).await;
    assert!(found.claims > 40 && found.leases_lost > 5, "{found:?}");
    assert_eq!((found.stale_commits, found.wrong_tasks, found.outages), (0, 0, 0), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oracle_sees_a_missing_fence_and_a_missing_generation_test() {
    let url = require_server!();
    let without_fence = crowd(&url, Crowd { sabotage: Sabotage::NoFence, ..CROWD }, false).await;
    assert!(without_fence.stale_commits > 0, "{without_fence:?}");
    let without_test = crowd(&url, Crowd { sabotage: Sabotage::NoGenerationTest, ..CROWD }, false).await;
    assert!(without_test.wrong_tasks > 0, "{without_test:?}");
}
