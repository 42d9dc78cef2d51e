//! Stage and swap on SQLite, and what `show` reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::TryStreamExt;
use neartime_model::{Fence, Instant, Span};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::world::{World, plain_config};
use crate::{AirError, Progress, Publisher, ShowQuery, Sort, SqlitePublisher, Stage, Thresholds};

const NOON: i64 = 1_533_124_800;

pub(super) fn as_of() -> Instant {
    Instant::from_secs(NOON + 86_400)
}

/// `users` users in segment 1, half of them in 2, all on site x, a fifth on y.
pub(super) async fn world(users: usize) -> World {
    let mut world = World::new(plain_config()).await;
    let ids: Vec<String> = (0..users).map(|user| format!("u{user}")).collect();
    let each =
        |step: usize, item: &'static str, at: i64| ids.iter().step_by(step).map(move |id| (id.as_str(), item, at, at));
    let segments: Vec<_> = each(1, "1", NOON).chain(each(2, "2", NOON)).collect();
    let sites: Vec<_> = each(1, "x", NOON + 60).chain(each(5, "y", NOON + 60)).collect();
    world.write_secs("segments", &segments);
    world.write_secs("sites", &sites);
    world
}

#[tokio::test]
async fn what_is_published_is_what_was_computed() {
    let world = world(1_000).await;
    let site_names = world.folder.path().join("pixels.csv");
    std::fs::write(&site_names, "id,name\nx,Ex\n").unwrap();
    let mut air = world.air.clone();
    air.config.site_names = Some(site_names);
    air.config.thresholds = Thresholds { min_overlap: 150, min_site_audience: 100 };
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    air.progress = Progress::new(move |stage| telling.lock().unwrap().push(stage));
    let report = air.run(as_of(), Fence(7)).await.unwrap();
    let told = told.lock().unwrap().clone();
    assert!(told.contains(&Stage::Reading(2, 2)), "{told:?}");
    assert_eq!(told.last(), Some(&Stage::Publishing(4)));
    let live = air.publisher.live().await.unwrap().unwrap();
    assert_eq!((live.fence, live.as_of, live.row_count, live.input_files), (Fence(7), as_of(), 4, 2));

    let query = ShowQuery::default();
    let rows: Vec<_> = air.publisher.show(&query).try_collect().await.unwrap();
    assert_eq!(rows.len(), report.len());
    let x = &rows[0];
    assert_eq!((x.site.as_str(), x.site_name.as_deref(), x.segment_users), ("x", Some("Ex"), 1_000));
    assert_eq!(
        (x.segment_site_users, x.index_value, x.z_score, x.significant),
        (Some(1_000), Some(100.0), None, Some(false))
    );
    // On y, segment 2 has 100 users: hidden, and segment 1 with it.
    let y: Vec<_> = rows.iter().filter(|row| row.site == "y").collect();
    assert!(y.iter().all(|row| row.suppressed && row.segment_site_users.is_none() && row.significant.is_none()));
    assert!(y.iter().all(|row| row.group_site_users == Some(200) && row.group_users == 1_000));

    let query = ShowQuery {
        site: Some("Ex".to_owned()),
        sort: Some(Sort::Users),
        min_users: Some(600),
        limit: Some(9),
        group: Some("all".to_owned()),
    };
    let rows: Vec<_> = air.publisher.show(&query).try_collect().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.segment.as_str()).collect::<Vec<_>>(), ["1"]);
}

#[tokio::test]
async fn a_report_whose_user_database_cannot_be_kept_is_live_all_the_same() {
    let world = world(10).await;
    let mut air = world.air.clone();
    let udb = world.folder.path().join("udb");
    // While it counts, a folder comes to stand where the state is to be written.
    let in_the_way = move || {
        let inside = std::fs::read_dir(&udb).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
        inside.expect("it works in a folder of its own").join(".state")
    };
    let (obstacle, told) = (in_the_way.clone(), Arc::new(AtomicBool::new(false)));
    let telling = Arc::clone(&told);
    air.progress = Progress::new(move |_| {
        if !telling.swap(true, Ordering::Relaxed) {
            std::fs::create_dir(obstacle()).unwrap();
        }
    });
    let error = air.run(as_of(), Fence(7)).await.unwrap_err();
    assert!(error.to_string().contains("state"), "{error}");
    assert_eq!(air.publisher.live().await.unwrap().unwrap().fence, Fence(7));
    std::fs::remove_dir(in_the_way()).unwrap();
    let next = as_of() + Span::from_mins(60);
    let [report, anew] =
        [world.air.clone(), world.anew()].map(|air| async move { air.compute(next, Fence(8)).await.unwrap() });
    let rows = |report: crate::Report| report.rows().map(|row| format!("{row:?}")).collect::<Vec<_>>();
    assert_eq!(rows(report.await), rows(anew.await));
}

#[tokio::test]
async fn a_panic_is_an_error_that_tells_it() {
    let world = world(10).await;
    let mut air = world.air.clone();
    air.progress = Progress::new(|stage| panic!("at {stage}"));
    let error = air.run(as_of(), Fence(7)).await.unwrap_err();
    assert!(matches!(&error, AirError::Panicked { text } if text.contains("at reading features")), "{error}");
    // Nothing is held: the next run is as any other.
    world.air.run(as_of(), Fence(8)).await.unwrap();
}

#[tokio::test]
async fn an_older_fence_never_replaces_a_newer_one() {
    let world = world(10).await;
    world.air.run(as_of(), Fence(9)).await.unwrap();
    let error = world.air.run(as_of() + Span::from_days(1), Fence(8)).await.unwrap_err();
    assert!(matches!(error, AirError::Superseded { live: Fence(9), mine: Fence(8) }));
    assert_eq!(world.air.publisher.live().await.unwrap().unwrap().as_of, as_of());
    let tables = tables(&world).await;
    assert_eq!(tables, ["air_report", "air_report_inputs", "air_reports"]);
}

async fn pool(world: &World) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(world.folder.path().join("air.db"));
    SqlitePool::connect_with(options).await.unwrap()
}

async fn tables(world: &World) -> Vec<String> {
    let query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
    let rows = sqlx::query(query).fetch_all(&pool(world).await).await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Two reports of different sizes alternate a hundred times; readers ask for rows and note in one statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_never_see_a_missing_half_or_mixed_report() {
    let (small, large) = (world(10).await, world(30).await);
    let reports =
        [small.air.compute(as_of(), Fence(1)).await.unwrap(), large.air.compute(as_of(), Fence(1)).await.unwrap()];
    let publisher = SqlitePublisher::open(small.folder.path().join("air.db")).await.unwrap();
    let publish = async |fence: i64| {
        let mut report = reports[usize::try_from(fence % 2).unwrap()].clone();
        report.fence = Fence(fence);
        publisher.publish(&report).await.unwrap();
    };
    publish(10).await;
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (stop, path) = (Arc::clone(&stop), small.folder.path().join("air.db"));
            tokio::spawn(async move {
                let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.unwrap();
                let mut reads = 0;
                while !stop.load(Ordering::Relaxed) {
                    let query = "SELECT (SELECT fence FROM air_reports WHERE live), count(*), min(segment_users), \
                                 max(group_users) FROM air_report";
                    let row = sqlx::query(query).fetch_one(&pool).await.unwrap();
                    let users = if row.get::<i64, _>(0) % 2 == 0 { 10 } else { 30 };
                    assert_eq!(
                        (row.get::<i64, _>(1), row.get::<i64, _>(2), row.get::<i64, _>(3)),
                        (4, users / 2, users)
                    );
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for fence in 11..111 {
        publish(fence).await;
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 20);
    }
    assert_eq!(publisher.live().await.unwrap().unwrap().fence, Fence(110));
}

/// A view of a person's own keeps reading the live report.
#[tokio::test]
async fn views_follow_the_report() {
    let world = world(10).await;
    world.air.run(as_of(), Fence(1)).await.unwrap();
    let pool = pool(&world).await;
    sqlx::query("CREATE VIEW mine AS SELECT count(*) FROM air_report").execute(&pool).await.unwrap();
    world.air.run(as_of(), Fence(2)).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT * FROM mine").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_may_open_a_new_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let path = folder.path().join(format!("{round}.db"));
        let opens = (0..8).map(|_| tokio::spawn(SqlitePublisher::open(path.clone())));
        for open in opens.collect::<Vec<_>>() {
            open.await.unwrap().unwrap();
        }
    }
}
