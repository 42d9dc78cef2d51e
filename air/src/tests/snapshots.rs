//! Which snapshots are made, which go stale, and what SQL sees of them.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::TimestampMillisecondType;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use neartime_model::{Chunk, FeatureName, Instant, ManualClock, Span};

use super::naive::{cells_of, count};
use super::world::{Row, World, plain_config};
use crate::{Groups, Progress, Stage, UdbTable, Work};

/// Noon of a day of August 2018, in seconds.
fn noon(day: i64) -> i64 {
    "2018-08-01T12:00:00Z".parse::<Instant>().unwrap().as_secs() + (day - 1) * 86_400
}

/// The beginning of a day of August 2018.
fn midnight(day: i64) -> Instant {
    Instant::from_secs(noon(day) - 43_200)
}

fn days(world: &World) -> Vec<String> {
    let folder = std::fs::read_dir(&world.air.udb.folder).unwrap().map(|entry| entry.unwrap().path());
    let here = folder.into_iter().find(|path| path.is_dir()).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(here.join("days"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn five_days() -> World {
    let mut world = World::new(plain_config()).await;
    for day in 1..=5 {
        world.write_secs("segments", &[("a", "1", noon(day), noon(day)), ("b", "2", noon(day), noon(day) + 60)]);
        world.write_secs("sites", &[("a", "x", noon(day) + 5, noon(day) + 9)]);
        world.compute(midnight(day + 1)).await;
    }
    world
}

#[tokio::test]
async fn each_day_has_one_and_a_late_file_makes_those_from_its_day_on_again() {
    let mut world = five_days().await;
    let names = |days: &[&str]| days.iter().map(|day| format!("2018-08-{day}")).collect::<Vec<_>>();
    assert_eq!(days(&world), names(&["01-1", "02-2", "03-3", "04-4", "05-5"]));
    world.write_secs("sites", &[("b", "x", noon(3) + 5, noon(3) + 5)]);
    let report = world.compute(midnight(6)).await;
    assert_eq!(report.work, Work::Everyone);
    assert_eq!(cells_of(&report), count(&world.files, &world.air.config, &Groups::All, midnight(6)));
    assert_eq!(days(&world), names(&["01-1", "02-2", "03-6", "04-6", "05-6"]));
}

#[tokio::test]
async fn the_same_content_written_again_is_no_change() {
    let mut world = five_days().await;
    let before = days(&world);
    let ((_, chunk, stem), rows) = world.files.iter().next().map(|(key, rows)| (key.clone(), rows.clone())).unwrap();
    let table = Arc::clone(&world.air.config.segments[0].table);
    world.write(&table, chunk, &stem, 1, rows);
    assert_eq!(world.compute(midnight(6)).await.work, Work::Touched(0));
    assert_eq!(days(&world), before);
}

#[tokio::test]
async fn other_content_of_the_same_order_is_a_change() {
    let mut world = five_days().await;
    let table = Arc::clone(&world.air.config.segments[0].table);
    world.write_secs("segments", &[("b", "2", noon(6), noon(6))]);
    world.compute(midnight(7) - Span::from_mins(60)).await;
    // One of the chunks after the snapshot, then one that is in it. The other item's name is as long.
    for day in [6, 2] {
        let of_day = |key: &&(String, Chunk, String)| key.0 == "user_segments" && key.1.start() >= midnight(day);
        let (key, mut rows) =
            world.files.iter().find(|(key, _)| of_day(key)).map(|(k, r)| (k.clone(), r.clone())).unwrap();
        rows.iter_mut().for_each(|row| row.item = "3".to_owned());
        rows.dedup_by_key(|row| row.user.clone());
        world.write(&table, key.1, &key.2, 1, rows);
        let report = world.compute(midnight(7) - Span::from_mins(30)).await;
        let expected = count(&world.files, &world.air.config, &Groups::All, report.as_of);
        assert_eq!(cells_of(&report), expected, "day {day}");
    }
}

#[tokio::test]
async fn a_second_report_counts_whom_something_happened_to() {
    let mut world = five_days().await;
    let quiet = world.compute(midnight(6) + Span::from_mins(120)).await;
    assert_eq!(quiet.work, Work::Touched(0));
    world.write_secs("sites", &[("b", "x", noon(6), noon(6))]);
    let next = world.compute(midnight(6) + Span::from_mins(60 * 14)).await;
    assert_eq!(next.work, Work::Touched(1));
    assert_eq!(cells_of(&next), count(&world.files, &world.air.config, &Groups::All, next.as_of));
}

#[tokio::test]
async fn damage_is_noticed_and_made_good() {
    let world = five_days().await;
    let names = days(&world);
    let here = std::fs::read_dir(&world.air.udb.folder).unwrap().map(|entry| entry.unwrap().path());
    let here = here.into_iter().find(|path| path.is_dir()).unwrap();
    let expected = count(&world.files, &world.air.config, &Groups::All, midnight(6));
    let bucket = here.join("days").join(&names[4]).join("0000.users");
    for victim in [bucket, here.join("dictionary"), here.join("state")] {
        std::fs::write(&victim, b"garbage").unwrap();
        let report = world.compute(midnight(6) + Span::from_mins(60)).await;
        assert_eq!(cells_of(&report), expected, "{}", victim.display());
    }
}

#[tokio::test]
async fn a_changed_rule_counts_again() {
    let mut world = five_days().await;
    world.air.config.order = crate::Order::Any;
    let report = world.compute(midnight(6)).await;
    assert_eq!(report.work, Work::Everyone);
    assert_eq!(cells_of(&report), count(&world.files, &world.air.config, &Groups::All, midnight(6)));
    world.air.config.sites[0].alive = crate::Alive::For(Span::from_days(1));
    let report = world.compute(midnight(6)).await;
    assert_eq!(cells_of(&report), count(&world.files, &world.air.config, &Groups::All, midnight(6)));
}

#[tokio::test]
async fn a_damaged_feature_file_is_named() {
    let mut world = five_days().await;
    world.write_secs("sites", &[("b", "x", noon(6), noon(6))]);
    let ((_, chunk, stem), _) = world.files.iter().max_by_key(|(key, _)| key.1).unwrap();
    let path = world.path(&world.air.config.sites[0].table, *chunk, stem);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = world.air.compute(midnight(7), world.fence()).await.unwrap_err();
    assert!(error.to_string().contains(&format!("{stem}.parquet")), "{error}");
    assert!(error.to_string().contains("tasks retry"), "{error}");
}

#[tokio::test]
async fn sql_reads_the_latest_day() {
    let world = five_days().await;
    let feature = FeatureName::new("user_segments").unwrap();
    let table = UdbTable::new(&world.air.config, &world.air.udb, &feature).unwrap();
    let context = SessionContext::new();
    context.register_table("user_segments", Arc::new(table)).unwrap();
    let query = "select id, item, run_min, run_max from user_segments where item <> '9' order by id limit 5";
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    let expected = "\
+----+------+----------------------+----------------------+
| id | item | run_min              | run_max              |
+----+------+----------------------+----------------------+
| a  | 1    | 2018-08-01T12:00:00Z | 2018-08-05T12:00:00Z |
| b  | 2    | 2018-08-01T12:00:00Z | 2018-08-05T12:01:00Z |
+----+------+----------------------+----------------------+";
    assert_eq!(pretty_format_batches(&batches).unwrap().to_string(), expected);
    let stranger = FeatureName::new("stranger").unwrap();
    assert!(UdbTable::new(&world.air.config, &world.air.udb, &stranger).is_none());
}

#[tokio::test]
async fn runs_that_nothing_can_reach_any_more_are_dropped() {
    let mut world = World::new(plain_config()).await;
    // 30 days alive and 30 days behind: a run lives on in the snapshot for 60 days after its end.
    world.write_secs("segments", &[("a", "old", noon(1), noon(1)), ("a", "new", noon(40), noon(40))]);
    let feature = FeatureName::new("user_segments").unwrap();
    for (day, items) in [(61, 2), (62, 1)] {
        world.compute(midnight(day)).await;
        let table = UdbTable::new(&world.air.config, &world.air.udb, &feature).unwrap();
        let rows = SessionContext::new().read_table(Arc::new(table)).unwrap().count().await.unwrap();
        assert_eq!(rows, items, "at the beginning of day {day}");
    }
}

#[tokio::test]
async fn a_file_may_get_new_names_while_its_day_is_made_into_a_snapshot() {
    let mut world = five_days().await;
    world.write_secs("segments", &[("c", "1", noon(6), noon(6))]);
    world.write_secs("sites", &[("c", "x", noon(6) + 5, noon(6) + 5)]);
    let expected = count(&world.files, &world.air.config, &Groups::All, midnight(7));
    let is_new = |key: &&(String, Chunk, String)| key.0 == "user_sites" && key.1.start() >= midnight(6);
    let (key, rows) =
        world.files.iter().find(|(key, _)| is_new(key)).map(|(k, rows)| (k.clone(), rows.clone())).unwrap();
    let table = Arc::clone(&world.air.config.sites[0].table);
    let path = world.path(&table, key.1, &key.2);
    let first = std::fs::read(&path).unwrap();
    let renamed =
        rows.into_iter().flat_map(|row| ["new", "newer"].map(|item| Row { item: item.to_owned(), ..row.clone() }));
    world.write(&table, key.1, &key.2, 2, renamed.collect());
    let second = path.with_extension("second");
    std::fs::rename(&path, &second).unwrap();
    std::fs::write(&path, first).unwrap();
    // Both files are copied, and then read again for the snapshot: in between, one of them is replaced.
    let mut air = world.air.clone();
    air.progress = Progress::new(move |stage| {
        if stage == Stage::Reading(2, 2) && second.exists() {
            std::fs::rename(&second, &path).unwrap();
        }
    });
    let report = air.compute(midnight(7), world.fence()).await.unwrap();
    assert!(matches!(report.work, Work::Touched(_)));
    assert_eq!(cells_of(&report), expected);
    let next = world.compute(midnight(7) + Span::from_mins(60)).await;
    assert_eq!(cells_of(&next), count(&world.files, &world.air.config, &Groups::All, next.as_of));
}

#[tokio::test]
async fn where_times_are_not_the_events_own_every_run_stays_in_reach() {
    let mut config = plain_config();
    config.segments[0].max_behind = None;
    let mut world = World::new(config).await;
    world.write_secs("segments", &[("a", "1", noon(1), noon(1))]);
    for day in [10, 39, 69, 98] {
        world.write_secs("sites", &[("a", "x", noon(day), noon(day))]);
    }
    world.compute(midnight(100)).await;
    // Long after the membership of the first day has ended, times come that prolong it to the present.
    let table = Arc::clone(&world.air.config.segments[0].table);
    for (stem, days) in [("first", [25, 50]), ("second", [75, 99])] {
        let [first_ms, last_ms] = days.map(|day| noon(day) * 1_000);
        let row = Row { user: "a".to_owned(), keys: Vec::new(), item: "1".to_owned(), first_ms, last_ms };
        world.write(&table, table.width.chunk_of(midnight(100)), stem, 1, vec![row]);
    }
    let report = world.compute(midnight(101)).await;
    let expected = count(&world.files, &world.air.config, &Groups::All, midnight(101));
    assert_eq!(expected.values().map(|counts| counts[2]).sum::<u32>(), 1);
    assert_eq!(cells_of(&report), expected);
}

/// What `udb.user_segments` shows: the users, and the days of August that their runs end on.
async fn shown(world: &World) -> Vec<(String, i64)> {
    let feature = FeatureName::new("user_segments").unwrap();
    let table = UdbTable::new(&world.air.config, &world.air.udb, &feature).unwrap();
    let batches = SessionContext::new().read_table(Arc::new(table)).unwrap().collect().await.unwrap();
    let rows = batches.iter().flat_map(|batch| {
        let last = batch.column_by_name("run_max").unwrap().as_primitive::<TimestampMillisecondType>().values();
        let day = |last: &i64| (last / 1_000 - noon(1)) / 86_400 + 1;
        batch
            .column(0)
            .as_string::<i32>()
            .iter()
            .zip(last)
            .map(|(id, last)| (id.unwrap().to_owned(), day(last)))
            .collect::<Vec<_>>()
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn a_report_of_another_time_is_not_what_the_next_one_leaves() {
    let mut world = five_days().await;
    world.air.clock = Arc::new(ManualClock::new(midnight(6) + Span::from_mins(120)));
    let of_day = |day| vec![("a".to_owned(), day), ("b".to_owned(), day)];
    assert_eq!(shown(&world).await, of_day(5));
    // Of the past: later days stay for the next report, but are not shown.
    world.compute(midnight(3) + Span::from_mins(60)).await;
    assert_eq!((shown(&world).await, days(&world).len()), (of_day(2), 5));
    // So far in the future that all runs are out of reach.
    world.compute(midnight(300)).await;
    assert!(shown(&world).await.is_empty());
    let report = world.compute(midnight(6) + Span::from_mins(60)).await;
    assert_eq!(cells_of(&report), count(&world.files, &world.air.config, &Groups::All, report.as_of));
    assert_eq!(shown(&world).await, of_day(5));
    assert!(days(&world).iter().all(|day| day.starts_with("2018-08-0")), "{:?}", days(&world));
}
