//! Random users, files in random order, late and replaced: naive, from scratch and step by step, always the same.

use std::collections::BTreeMap;

use neartime_model::{ChunkWidth, Instant, Span};

use super::naive::{cells_of, count};
use super::world::{Row, World, member, plain_config, table};
use crate::{AirConfig, Alive, Groups, Order, Work};

const DAY_MS: i64 = 86_400_000;

/// How far behind their chunks rows may lie: so little that snapshots soon drop runs.
const BEHIND: Span = Span::from_days(2);

/// 2018-08-01.
fn start() -> Instant {
    "2018-08-01".parse().unwrap()
}

/// Rows of a chunk: events around it, some far behind, on a coarse grid of time so that ties happen.
fn rows(random: &mut fastrand::Rng, chunk_ms: i64, users: u32, items: u32, keys: usize, count: usize) -> Vec<Row> {
    let mut rows = BTreeMap::new();
    for _ in 0..count {
        let behind = if random.u8(0..10) == 0 { random.i64(0..2 * DAY_MS - 600_000) } else { 0 };
        let first_ms = (chunk_ms - behind + random.i64(0..4 * 3_600_000)) / 600_000 * 600_000;
        let span = if random.bool() { 0 } else { random.i64(0..DAY_MS) / 600_000 * 600_000 };
        let keys = (0..keys).map(|_| [None, Some("za"), Some("ke")][random.usize(0..3)].map(str::to_owned)).collect();
        // Low numbers are drawn more often.
        let low = |random: &mut fastrand::Rng, below: u32| random.u32(0..below).min(random.u32(0..below));
        let (user, item) = (format!("u{}", random.u32(0..users)), low(random, items).to_string());
        rows.insert((user, keys, item), (first_ms, first_ms + span));
    }
    let row = |((user, keys, item), (first_ms, last_ms))| Row { user, keys, item, first_ms, last_ms };
    rows.into_iter().map(row).collect()
}

/// Segments in several groups, an empty group, and segments that no group lists.
fn groups_file(world: &World) -> (Groups, std::path::PathBuf) {
    let mut text = "id,group,name\n999,nobody,Nobody\n".to_owned();
    for segment in 0..9 {
        text.push_str(&format!("{segment},g{},Segment {segment}\n", segment % 3));
        if segment % 2 == 0 {
            text.push_str(&format!("{segment},even,\n"));
        }
    }
    let path = world.folder.path().join("groups.csv");
    std::fs::write(&path, text).unwrap();
    (crate::read_groups(&path).unwrap(), path)
}

/// Two features a side, of different widths, keys and lives.
fn rich_config(alive: Span) -> AirConfig {
    let (short, long) = (Alive::For(alive), Alive::For(alive + alive));
    AirConfig {
        segments: vec![
            member(table("user_segments", &["id", "country"], ChunkWidth::HOUR), short, BEHIND),
            member(table("user_more_segments", &["id"], ChunkWidth::HOUR), short, BEHIND),
            member(table("user_traits", &["id"], ChunkWidth::DAY), Alive::Always, BEHIND),
        ],
        sites: vec![
            member(table("user_sites", &["id"], ChunkWidth::TEN_MINUTES), long, BEHIND),
            member(table("user_more_sites", &["id", "country", "brand"], ChunkWidth::HOUR), short, BEHIND),
        ],
        ..plain_config()
    }
}

/// Adds `files` random files to chunks that begin on the days given, replacing some that are there.
fn add_files(
    world: &mut World,
    random: &mut fastrand::Rng,
    days: std::ops::Range<i64>,
    files: usize,
    users: u32,
    many: usize,
) {
    let members: Vec<_> = world.air.config.members().map(|(_, member)| member.clone()).collect();
    for _ in 0..files {
        let table = &members[random.usize(0..members.len())].table;
        let at = start() + Span::from_mins(random.i64(days.start * 1440..days.end * 1440));
        let chunk = table.width.chunk_of(at);
        let keys = table.output.row_key().count() - 2;
        let many = random.usize(0..many);
        let rows = rows(random, chunk.start().as_millis(), users, 12, keys, many);
        let stem = format!("events.{}", random.u8(0..2));
        let generation = world.files.len() as i64 + random.i64(1..1_000_000);
        world.write(table, chunk, &stem, generation, rows);
    }
}

async fn check(world: &World, groups: &Groups, as_of: Instant) -> Work {
    let report = world.compute(as_of).await;
    assert_eq!(cells_of(&report), count(&world.files, &world.air.config, groups, report.as_of), "as of {as_of}");
    let scratch = world.anew().compute(as_of, world.fence()).await.unwrap();
    assert_eq!(cells_of(&scratch), cells_of(&report));
    assert_eq!(scratch.inputs, report.inputs);
    report.work
}

#[tokio::test]
async fn ten_thousand_users_as_in_nested_loops() {
    for order in [Order::Before, Order::Any] {
        let mut random = fastrand::Rng::with_seed(7);
        let mut world = World::new(AirConfig { order, ..plain_config() }).await;
        let (groups, path) = groups_file(&world);
        world.air.config.groups = Some(path);
        add_files(&mut world, &mut random, 0..60, 60, 10_000, 4_000);
        check(&world, &groups, start() + Span::from_days(60)).await;
        check(&world, &groups, start() + Span::from_days(63)).await;
    }
}

#[tokio::test]
async fn step_by_step_is_the_same_as_anew() {
    for seed in 0..4 {
        let mut random = fastrand::Rng::with_seed(seed);
        let alive = [Span::from_mins(150), Span::from_days(1), Span::from_days(4)][random.usize(0..3)];
        let order = if seed == 3 { Order::Any } else { Order::Before };
        let mut world = World::new(AirConfig { order, ..rich_config(alive) }).await;
        let (groups, path) = groups_file(&world);
        world.air.config.groups = (seed % 2 == 0).then_some(path);
        let groups = if seed % 2 == 0 { groups } else { Groups::All };
        let mut now_mins = random.i64(0..2_000);
        let mut touched = 0;
        for step in 0..20 {
            let day = now_mins / 1440;
            let files = random.usize(0..4);
            add_files(&mut world, &mut random, day..day + 1, files, 200, 60);
            if random.u8(0..4) == 0 {
                // Late: any day until now.
                add_files(&mut world, &mut random, 0..day + 1, 1, 200, 60);
            }
            if random.u8(0..8) == 0 && !world.files.is_empty() {
                remove_a_file(&mut world, &mut random);
            }
            if let Work::Touched(_) = check(&world, &groups, start() + Span::from_mins(now_mins)).await {
                touched += 1;
            }
            // Usually a little later, sometimes days.
            now_mins += if step % 9 == 8 { random.i64(0..4_000) } else { random.i64(0..200) };
        }
        assert!(touched > 4, "only {touched} steps counted the touched users alone");
    }
}

fn remove_a_file(world: &mut World, random: &mut fastrand::Rng) {
    let key = world.files.keys().nth(random.usize(0..world.files.len())).unwrap().clone();
    let members: Vec<_> = world.air.config.members().map(|(_, member)| member.clone()).collect();
    let member = members.iter().find(|member| member.table.name.as_str() == key.0).unwrap();
    std::fs::remove_file(world.path(&member.table, key.1, &key.2)).unwrap();
    world.files.remove(&key);
}

#[tokio::test]
async fn the_same_feature_may_be_on_both_sides() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut config = plain_config();
    config.segments = config.sites.clone();
    config.segments[0].alive = Alive::For(Span::from_days(3));
    config.order = Order::Any;
    let mut world = World::new(config).await;
    add_files(&mut world, &mut random, 0..9, 30, 300, 300);
    check(&world, &Groups::All, start() + Span::from_days(9)).await;
}

#[tokio::test]
async fn going_back_in_time_is_right_too() {
    let mut random = fastrand::Rng::with_seed(2);
    let mut world = World::new(rich_config(Span::from_days(2))).await;
    add_files(&mut world, &mut random, 0..6, 40, 300, 100);
    for mins in [6 * 1440, 3 * 1440 + 70, 5 * 1440 - 30, 6 * 1440 + 30] {
        check(&world, &Groups::All, start() + Span::from_mins(mins)).await;
    }
}
