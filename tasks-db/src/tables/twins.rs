//! That the statements of the two databases are twins, with the same names and the same parameters, and say what they
//! are for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What only Postgres needs: the claim in one round trip, locks, migrations.
const ONLY_POSTGRES: [&str; 11] = [
    "claim",
    "lock_completions",
    "lock_paths",
    "lock_tasks",
    "migration_digest",
    "migration_done",
    "migration_lock",
    "migrations_done",
    "migrations_table",
    "schema_check",
    "schema_exists",
];

fn statements(dialect: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries").join(dialect);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect()
}

/// The numbers behind `mark` in a statement, its comments left out.
fn parameters(statement: &str, mark: char) -> BTreeSet<u32> {
    let code = statement.lines().map(|line| line.split("--").next().unwrap_or_default());
    let code: String = code.collect::<Vec<_>>().join("\n");
    let after = code.split(mark).skip(1);
    after.filter_map(|tail| tail.split(|next: char| !next.is_ascii_digit()).next()?.parse().ok()).collect()
}

#[test]
fn twins_take_the_same_parameters() {
    let (sqlite, mut postgres) = (statements("sqlite"), statements("postgres"));
    for name in ONLY_POSTGRES {
        assert!(postgres.remove(name).is_some(), "{name}");
    }
    let names = |twins: &BTreeMap<String, String>| twins.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&sqlite), names(&postgres));
    for (name, statement) in &sqlite {
        assert_eq!(parameters(statement, '?'), parameters(&postgres[name], '$'), "{name}");
    }
}

#[test]
fn each_says_what_it_is_for() {
    for dialect in ["sqlite", "postgres"] {
        for (name, statement) in statements(dialect) {
            let sentence = statement.strip_prefix("-- ").unwrap_or_default();
            let is_sentence = sentence.starts_with(|first: char| first.is_ascii_uppercase());
            assert!(is_sentence, "{dialect}/{name}: a sentence comes before the parameters");
        }
    }
}
