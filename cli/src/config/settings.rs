//! The tables that say where things are kept and how much of the machine may be used.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use neartime_model::Span;

use super::section::Section;
use super::{Database, Place, Secret, Size};

/// `[online_store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OnlineStore {
    pub(crate) database: Database,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) datacenter: Option<String>,
    pub(crate) tls: bool,
}

/// `[s3]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct S3 {
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) path_style: bool,
}

/// `[run]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) workers: usize,
    pub(crate) memory: Size,
    pub(crate) lease: Span,
    pub(crate) deadline: Span,
    /// A folder of this machine for files on their way into buckets, and for what reports are made from.
    pub(crate) scratch: PathBuf,
}

/// `[console]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Console {
    pub(crate) listen: SocketAddr,
}

/// The least memory that the sorts of one chunk can live with.
const LEAST_MEMORY: Size = Size(64_000_000);
/// The shortest lease whose heartbeats a busy machine keeps up with.
const SHORTEST_LEASE: Span = Span::from_secs(1);

pub(super) fn tasks(root: &mut Section<'_>, base: &Path) -> Option<Database> {
    let default = || Some(Database::Sqlite(base.join("neartime.db")));
    let Some(mut section) = root.section("tasks") else { return default() };
    let database = match section.get("database") {
        Some(value) => Database::read(&value, "postgres", base),
        None => default(),
    };
    section.finish();
    database
}

pub(super) fn features_store(root: &mut Section<'_>, base: &Path) -> Option<Place> {
    let default = || Some(Place::Directory { written: "features_store".to_owned(), path: base.join("features_store") });
    let Some(mut section) = root.section("features_store") else { return default() };
    let place = match section.get("location") {
        Some(value) => Place::read(&value, base),
        None => default(),
    };
    section.finish();
    place
}

pub(super) fn online_store(root: &mut Section<'_>, base: &Path) -> Option<OnlineStore> {
    let mut section = root.section("online_store")?;
    let database = match section.get("url") {
        Some(value) => Database::read(&value, "cassandra", base),
        None => {
            section.problem("[online_store] needs a key `url`: sqlite://file.db or cassandra://host:9042/keyspace");
            None
        }
    };
    let username = section.text("username");
    let password = section.text("password").map(Secret::new);
    let datacenter = section.text("datacenter");
    let tls = section.flag("tls");
    section.finish();
    Some(OnlineStore { database: database?, username, password, datacenter, tls })
}

pub(super) fn s3(root: &mut Section<'_>) -> S3 {
    let Some(mut section) = root.section("s3") else { return S3::default() };
    let path_style = section.flag("path_style");
    let s3 = S3 { region: section.text("region"), endpoint: section.text("endpoint"), path_style };
    section.finish();
    s3
}

pub(super) fn run(root: &mut Section<'_>, base: &Path) -> Run {
    let defaults = Run {
        workers: 2,
        memory: Size(512_000_000),
        lease: Span::from_secs(60),
        deadline: Span::from_mins(30),
        scratch: base.join(".neartime"),
    };
    let Some(mut section) = root.section("run") else { return defaults };
    let workers = section.get("workers").and_then(|value| value.integer(1));
    let memory = section.get("memory").and_then(|value| {
        let size: Size = value.parsed()?;
        if size.0 < LEAST_MEMORY.0 {
            value.problem(format!("is {size}; the least is {LEAST_MEMORY}"));
        }
        Some(size)
    });
    let lease = section.get("lease").and_then(|value| {
        let lease: Span = value.parsed()?;
        if lease < SHORTEST_LEASE {
            value.problem(format!("is {lease}; the shortest is {SHORTEST_LEASE}"));
        }
        Some(lease)
    });
    let deadline = section.get("deadline").and_then(|value| {
        let deadline: Span = value.parsed()?;
        if deadline <= Span::ZERO {
            value.problem("must be longer than nothing");
        }
        Some(deadline)
    });
    let scratch = section.text("scratch").map(|scratch| base.join(scratch));
    section.finish();
    Run {
        workers: workers.and_then(|workers| usize::try_from(workers).ok()).unwrap_or(defaults.workers),
        memory: memory.unwrap_or(defaults.memory),
        lease: lease.unwrap_or(defaults.lease),
        deadline: deadline.unwrap_or(defaults.deadline),
        scratch: scratch.unwrap_or(defaults.scratch),
    }
}

pub(super) fn console(root: &mut Section<'_>) -> Option<Console> {
    let mut section = root.section("console")?;
    let listen = match section.get("listen") {
        Some(value) => value.parsed(),
        None => Some(SocketAddr::from(([127, 0, 0, 1], 8080))),
    };
    section.finish();
    Some(Console { listen: listen? })
}
