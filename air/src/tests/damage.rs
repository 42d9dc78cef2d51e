//! Single bytes of the user database that are not what was written: no report is wrong for it, and none fails.

use std::path::{Path, PathBuf};

use neartime_model::{Instant, Span};

use super::naive::{cells_of, count};
use super::world::{Row, World, plain_config};
use crate::{Air, Groups, UdbPlace};

/// 2018-08-01.
fn at(hours: i64) -> Instant {
    "2018-08-01".parse::<Instant>().unwrap() + Span::from_mins(60 * hours)
}

/// Three days, and twelve hours after them that only copies hold. Memberships live for a day: many end in the two days
/// that a snapshot knows of.
async fn world() -> World {
    let mut config = plain_config();
    for member in config.segments.iter_mut().chain(&mut config.sites) {
        member.alive = crate::Alive::For(Span::from_days(1));
    }
    let mut world = World::new(config).await;
    let mut random = fastrand::Rng::with_seed(3);
    for hour in (0..84).step_by(4) {
        let chunk_ms = at(hour).as_millis();
        let [segments, sites] = [&world.air.config.segments, &world.air.config.sites].map(|side| side[0].table.clone());
        for (table, items) in [(segments, 9), (sites, 4)] {
            let mut rows: Vec<Row> = Vec::new();
            for user in (0..400).filter(|_| random.u8(0..3) == 0).collect::<Vec<u32>>() {
                let first_ms = chunk_ms + random.i64(0..3_600_000);
                let item = random.u32(0..items).to_string();
                rows.push(Row { user: format!("user-{user}"), keys: Vec::new(), item, first_ms, last_ms: first_ms });
            }
            world.write(&table, table.width.chunk_of(at(hour)), "events", hour, rows);
        }
    }
    for hours in [24, 48, 72, 81] {
        world.compute(at(hours)).await;
    }
    world
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[tokio::test]
async fn any_byte_may_turn_into_any_other() {
    let world = world().await;
    let whole = world.air.udb.folder.clone();
    let files: Vec<PathBuf> = files(&whole).into_iter().filter(|path| path.metadata().unwrap().len() > 0).collect();
    assert!(
        ["manifest", "inputs", ".users", "dictionary", "state"]
            .iter()
            .all(|name| { files.iter().any(|path| path.to_str().unwrap().ends_with(name)) })
    );
    // One soon after, which looks at few users, and one of another day, which reads them all.
    let instants = [at(85), at(97)];
    let expected = instants.map(|as_of| count(&world.files, &world.air.config, &Groups::All, as_of));
    let mut random = fastrand::Rng::with_seed(4);
    for round in 0..150 {
        let folder = world.folder.path().join(format!("udb-{round}"));
        let victim = &files[round % files.len()];
        for path in &files {
            let copy = folder.join(path.strip_prefix(&whole).unwrap());
            std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
            let mut bytes = std::fs::read(path).unwrap();
            if path == victim {
                let at = random.usize(0..bytes.len());
                bytes[at] = if random.bool() { 0xFF } else { bytes[at] ^ random.u8(1..) };
            }
            std::fs::write(&copy, bytes).unwrap();
        }
        let air = Air { udb: UdbPlace::folder(folder), ..world.air.clone() };
        let which = random.usize(0..2);
        let report = air.compute(instants[which], world.fence()).await.unwrap();
        assert_eq!(cells_of(&report), expected[which], "{} in round {round}", victim.display());
    }
}
