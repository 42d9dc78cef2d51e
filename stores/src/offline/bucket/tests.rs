//! The features store in a bucket, through puts that go wrong.

use std::sync::Arc;

use futures::TryStreamExt;
use neartime_engine::OnlineLayout;
use neartime_model::{Classify, ErrorKind, Fence};
use object_store::path::Path;
use object_store::{Attribute, GetOptions, ObjectStore};

use crate::testing::{BucketInMemory, PutFault, TestRow, file, order, rows, rows_of, table, users};
use crate::{FeaturesStore, PartitionFile, Published, StoreError};

const AT: &str = "2018-08-01T10:40:00Z";

async fn publish(
    store: &FeaturesStore,
    file: &PartitionFile,
    generation: i64,
    of: &[TestRow],
) -> Result<Published, StoreError> {
    store.publish(file, order(1, generation), Fence(generation), rows(&file.table, of, 100)).await
}

async fn read(store: &FeaturesStore, file: &PartitionFile) -> Vec<TestRow> {
    let published = store.open(file).await.unwrap().expect("a readable file");
    rows_of(&published.rows(&file.table.output.arrow()).unwrap().try_collect::<Vec<_>>().await.unwrap())
}

#[tokio::test]
async fn the_key_and_the_metadata_are_those_of_the_contract() {
    let (bucket, staging) = (Arc::new(BucketInMemory::default()), tempfile::tempdir().unwrap());
    let store = bucket.store(staging.path());
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    publish(&store, &file, 7, &users([1])).await.unwrap();
    let key =
        "lake/features/user_num_posts/year=2018/month=08/day=01/hour=10/ten_mins=40/horizontals.olx.android.parquet";
    let found = bucket.objects.get_opts(&Path::from(key), GetOptions::default()).await.unwrap();
    let metadata = |name: &'static str| found.attributes.get(&Attribute::Metadata(name.into())).unwrap().to_string();
    assert_eq!((metadata("neartime-version"), metadata("neartime-generation")), ("1".to_owned(), "7".to_owned()));
    let listed: Vec<PartitionFile> = store.files(&file.table).unwrap().try_collect().await.unwrap();
    assert_eq!((listed.len(), read(&store, &listed[0]).await), (1, users([1])));
    let staged = std::fs::read_dir(staging.path()).unwrap().count();
    assert_eq!(staged, 0, "nothing stays behind in the local folder");
}

#[tokio::test]
async fn a_lower_order_never_replaces_a_higher_one() {
    let (bucket, staging) = (Arc::new(BucketInMemory::default()), tempfile::tempdir().unwrap());
    let store = bucket.store(staging.path());
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    publish(&store, &file, 2, &users([2])).await.unwrap();
    assert_eq!(publish(&store, &file, 1, &users([1])).await.unwrap(), Published::Superseded { found: order(1, 2) });
    publish(&store, &file, 3, &[]).await.unwrap();
    assert_eq!(read(&store, &file).await, []);
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_is_a_put() {
    let (bucket, staging) = (Arc::new(BucketInMemory::default()), tempfile::tempdir().unwrap());
    let store = bucket.store(staging.path());
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    for (generation, of) in [(1, users([1, 2])), (2, users([2, 3]))] {
        bucket.faults.lock().unwrap().extend([PutFault::AnswerLost]);
        let done = publish(&store, &file, generation, &of).await;
        // The second generation has vanished keys: there it is their list's answer that is lost.
        assert!(matches!(done.unwrap(), Published::Written { rows: 2, .. }));
        assert_eq!(read(&store, &file).await, of);
    }
}

#[tokio::test]
async fn a_publish_that_never_comes_first_ends() {
    let (bucket, staging) = (Arc::new(BucketInMemory::default()), tempfile::tempdir().unwrap());
    let store = bucket.store(staging.path());
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    bucket.faults.lock().unwrap().extend([PutFault::AnswerLost; 1_000]);
    let error = publish(&store, &file, 1, &users([1])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(neartime_model::chain(&error).contains("others keep replacing it"), "{error:?}");
}

#[tokio::test]
async fn a_busy_key_is_waited_for_and_a_bucket_that_is_away_costs_no_attempt() {
    let (bucket, staging) = (Arc::new(BucketInMemory::default()), tempfile::tempdir().unwrap());
    let store = bucket.store(staging.path());
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    bucket.faults.lock().unwrap().extend([PutFault::Busy, PutFault::Busy]);
    assert!(matches!(publish(&store, &file, 1, &users([1])).await.unwrap(), Published::Written { .. }));
    bucket.faults.lock().unwrap().extend([PutFault::Away]);
    assert_eq!(publish(&store, &file, 2, &users([1])).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(read(&store, &file).await, users([1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_publishers_at_once_the_highest_order_stays() {
    let (bucket, staging) = (Arc::new(BucketInMemory::default()), tempfile::tempdir().unwrap());
    let store = bucket.store(staging.path());
    let file = file(&table("user_num_posts", OnlineLayout::PerChunk), AT);
    let writers = (0..4).map(|writer| {
        let (store, file) = (store.clone(), file.clone());
        tokio::spawn(async move {
            for generation in (writer..40).step_by(4) {
                publish(&store, &file, generation, &users(generation..generation + 50)).await.unwrap();
            }
        })
    });
    futures::future::join_all(writers.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
    assert_eq!(store.open(&file).await.unwrap().unwrap().footer().unwrap().order, order(1, 39));
    assert_eq!(read(&store, &file).await, users(39..89));
}
