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
    chunks: 12,
    lease: Duration::from_millis(60),
    work: Duration::from_millis(90),
    enough: (200, 10),
    late: Duration::from_secs(60),
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
    assert!(found.claims >= 200 && found.leases_lost >= 10 && found.completions > 50, "{found:?}");
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
    assert!(found.claims >= 200 && found.leases_lost >= 10, "{found:?}");
    assert_eq!((found.stale_commits, found.wrong_tasks, found.outages), (0, 0, 0), "{found:?}");
}

/// Every connection of the crowd is cut, again and again: half of the commits are on their way.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_lose_and_double_nothing() {
    let url = require_server!();
    let scratch = Scratch::new(&url).await;
    let db = Arc::new(Tasks::connect(&scratch.options()).await.unwrap());
    // Sixteen that work 90 ms on each of their claims need over 300 ms for sixty of them.
    let mut cuts = 0;
    let cut = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        loop {
            scratch.cut_connections().await;
            cuts += 1;
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    };
    let mut heart = crate::TasksDb::hearts(&*db).open().await.unwrap();
    let databases = [Arc::clone(&db)];
    let found = tokio::select! {
        found = share(&databases, Crowd { enough: (60, 5), ..CROWD }) => found,
        () = cut => unreachable!("it goes on for ever"),
    };
    assert!(found.claims >= 60 && found.completions > 20 && cuts > 0, "{found:?}, {cuts} cuts");
    assert_eq!((found.stale_commits, found.wrong_tasks), (0, 0), "{found:?}");
    // A heart that was cut off beats again.
    let nobody = crate::Lease { task: crate::TaskId(-1), fence: neartime_model::Fence(1) };
    let first = heart.beat(&[nobody], neartime_model::Span::from_secs(1)).await;
    assert!(first.is_err(), "its connection was cut");
    assert_eq!(heart.beat(&[nobody], neartime_model::Span::from_secs(1)).await.unwrap(), [nobody]);
    drop(heart);
    crate::TasksDb::close(&*db).await;
    scratch.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oracle_sees_a_missing_fence_and_a_missing_generation_test() {
    let url = require_server!();
    let without_fence = crowd(&url, Crowd { sabotage: Sabotage::NoFence, ..CROWD }, false).await;
    assert!(without_fence.stale_commits > 0, "{without_fence:?}");
    let without_test = crowd(&url, Crowd { sabotage: Sabotage::NoGenerationTest, ..CROWD }, false).await;
    assert!(without_test.wrong_tasks > 0, "{without_test:?}");
}
