//! The suite that every online store passes, and what is SQLite's own.

use std::sync::Arc;

use futures::TryStreamExt;
use neartime_engine::{FeatureTable, OnlineLayout};
use neartime_model::{Classify, ErrorKind, Fence, FilePath, Instant, ManualClock, Span};

use super::SqliteOnlineStore;
use crate::online::contract::{AT, Backend, Place, online_contract};
use crate::testing::{batch, file, rows_of, table, users};
use crate::{OnlineStore, PartitionFile};

online_contract!(open);

mod beside_a_bucket {
    use super::*;

    online_contract!(open: a_crash_at_any_step_loses_no_delete, random_crashes_and_zombies_end_in_the_last_file);

    async fn open() -> Option<Backend> {
        Some(Backend { offline: Place::Bucket, ..super::open().await? })
    }
}

async fn open() -> Option<Backend> {
    let folder = tempfile::tempdir().unwrap();
    let clock = Backend::clock();
    let store = SqliteOnlineStore::open(&folder.path().join("online.db"), clock.clone()).await.unwrap();
    let (store, _guard) = (Arc::new(store), Box::new(folder));
    Some(Backend { store, clock, suffix: String::new(), lives_in_real_time: false, offline: Place::Directory, _guard })
}

#[tokio::test]
async fn rows_past_their_retention_are_purged_once_an_hour() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Backend::clock();
    let store = SqliteOnlineStore::open(&folder.path().join("online.db"), clock.clone()).await.unwrap();
    let kept = FeatureTable { retention: Some(Span::from_days(1)), ..table("kept_a_day", OnlineLayout::PerChunk) };
    store.ensure(&kept).await.unwrap();
    let file = file(&kept, AT);
    store.write(&file, Fence(1), batch(&kept, &users([1]))).await.unwrap();
    clock.set(file.chunk.end() + Span::from_days(1));
    store.write(&file, Fence(1), batch(&kept, &users([1]))).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM kept_a_day").fetch_one(&store.readers).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn two_processes_share_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.db");
    let first = SqliteOnlineStore::open(&path, Backend::clock()).await.unwrap();
    let second = SqliteOnlineStore::open(&path, Backend::clock()).await.unwrap();
    let table = table("user_num_posts", OnlineLayout::PerChunk);
    let both: [&SqliteOnlineStore; 2] = [&first, &second];
    futures::future::try_join_all(both.map(|store| store.ensure(&table))).await.unwrap();
    let files: Vec<PartitionFile> = (0..20)
        .map(|path| {
            let mut file = file(&table, AT);
            file.file_path = FilePath::new(format!("in/{path}/"));
            file
        })
        .collect();
    let writes =
        files.iter().enumerate().map(|(n, file)| both[n % 2].write(file, Fence(1), batch(&table, &users([1]))));
    futures::future::try_join_all(writes).await.unwrap();
    let found = second.read(&Arc::new(table), "u1", None).await.unwrap();
    assert_eq!(rows_of(&found.try_collect::<Vec<_>>().await.unwrap()).len(), 20);
}

#[tokio::test]
async fn a_folder_that_is_missing_is_a_store_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Instant::EPOCH));
    let error = SqliteOnlineStore::open(&folder.path().join("missing/online.db"), clock).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
