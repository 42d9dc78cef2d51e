//! A database with one source and two features, and short words for what the cases do with it.

use std::sync::Arc;

use neartime_model::{
    ChunkWidth, FeatureName, FeatureVersion, FileKey, FilePath, FileVersion, Instant, ManualClock, SourceName, Span,
};

use crate::{
    Claim, ClaimRequest, ColumnDeclaration, DueRule, Ended, FeatureDeclaration, FileRegistration, ReadSummary,
    Registered, Registration, RunEnd, RunOutcome, SourceDeclaration, TaskDetail, TaskId, TaskQuery, TaskRow, TaskState,
    TasksDb, WorkerSource,
};

/// An empty database and the clock that decides in it.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The database.
    pub db: Arc<dyn TasksDb>,
    /// Its clock, at [`Bench::START`] or later.
    pub clock: Arc<ManualClock>,
}

/// How long claims are held in the cases.
pub(super) const LEASE: Span = Span::from_secs(60);

impl Bench {
    /// Where the clock stands when a case begins: 2018-08-02T00:00:00Z, so that every chunk of 2018-08-01 is due.
    pub const START: Instant = Instant::from_secs(1_533_168_000);

    /// Takes an empty database whose clock is `clock`, and sets the clock.
    pub fn new(db: Arc<dyn TasksDb>, clock: Arc<ManualClock>) -> Self {
        clock.set(Self::START);
        Self { db, clock }
    }

    /// Declares source `events` with features `a` and `b` of version 1.
    pub(super) async fn declared(self) -> Self {
        self.db.declare_sources(&[source("events")]).await.unwrap();
        self.db.declare_features(&[feature("a", 1), feature("b", 1)]).await.unwrap();
        self
    }

    pub(super) async fn register(&self, files: Vec<FileRegistration>) -> Registered {
        let due = DueRule::End { delay: Span::from_mins(3) };
        let registration = Registration { source: source_name("events"), due, files };
        self.db.register(&registration).await.unwrap()
    }

    /// Registers one file for each of these starts of chunks on path `p/`.
    pub(super) async fn chunks(&self, starts: &[&str]) {
        self.register(starts.iter().map(|start| file("p/", start, "one.gz", "v1")).collect()).await;
    }

    pub(super) async fn claim(&self) -> Option<Claim> {
        self.db.claim(&request(&[("a", 1), ("b", 1)])).await.unwrap()
    }

    pub(super) async fn claim_some(&self) -> Claim {
        self.claim().await.expect("something is due")
    }

    pub(super) async fn claim_as(&self, features: &[(&str, u32)]) -> Option<Claim> {
        self.db.claim(&request(features)).await.unwrap()
    }

    /// Ends a claim with all its runs done.
    pub(super) async fn finish(&self, claim: &Claim) -> Ended {
        let outcomes: Vec<RunOutcome> =
            claim.runs.iter().map(|run| done(run.feature.as_str(), run.version.0)).collect();
        self.db.complete(&claim.lease, &outcomes, Some(&ReadSummary::default())).await.unwrap()
    }

    /// Claims and finishes until nothing is due; gives how many claims that took.
    pub(super) async fn drain(&self) -> usize {
        let mut claims = 0;
        while let Some(claim) = self.claim().await {
            self.finish(&claim).await;
            claims += 1;
        }
        claims
    }

    pub(super) async fn detail(&self, task: TaskId) -> TaskDetail {
        self.db.task(task).await.unwrap().expect("the task is there")
    }

    pub(super) async fn row(&self, task: TaskId) -> TaskRow {
        self.detail(task).await.task
    }

    pub(super) async fn list(&self) -> Vec<TaskRow> {
        self.db.tasks(&TaskQuery::default()).await.unwrap()
    }

    /// The one task that there is.
    pub(super) async fn only(&self) -> TaskRow {
        let mut rows = self.list().await;
        assert_eq!(rows.len(), 1, "one task: {rows:?}");
        rows.remove(0)
    }

    pub(super) async fn assert_state(&self, task: TaskId, state: TaskState) {
        assert_eq!(self.row(task).await.state, state);
    }

    /// Lets a claim's lease run out.
    pub(super) fn outlive_lease(&self) {
        self.clock.advance(LEASE + Span::from_secs(1));
    }
}

pub(super) fn request(features: &[(&str, u32)]) -> ClaimRequest {
    ClaimRequest { worker: "worker".into(), sources: vec![worker_source("events", features)], lease: LEASE }
}

pub(super) fn worker_source(source: &str, features: &[(&str, u32)]) -> WorkerSource {
    let features = features.iter().map(|(name, version)| (feature_name(name), FeatureVersion(*version)));
    WorkerSource { name: source_name(source), features: features.collect() }
}

pub(super) fn source_name(name: &str) -> SourceName {
    SourceName::new(name).unwrap()
}

pub(super) fn feature_name(name: &str) -> FeatureName {
    FeatureName::new(name).unwrap()
}

pub(super) fn at(text: &str) -> Instant {
    text.parse().unwrap()
}

pub(super) fn source(name: &str) -> SourceDeclaration {
    let layout = "{brand}/%Y/%m/%d/%H%M*.gz".into();
    SourceDeclaration { name: source_name(name), width: ChunkWidth::TEN_MINUTES, layout }
}

pub(super) fn feature(name: &str, version: u32) -> FeatureDeclaration {
    let column = |name: &str, data_type: &str| ColumnDeclaration { name: name.into(), data_type: data_type.into() };
    FeatureDeclaration {
        name: feature_name(name),
        version: FeatureVersion(version),
        source: source_name("events"),
        engine: "count".into(),
        keys: vec!["id".into(), "country".into()],
        columns: vec![column("id", "text"), column("country", "text"), column("actions_count", "int")],
        definition: "select id, country".into(),
    }
}

/// A file of the ten-minute chunk that holds `instant`.
pub(super) fn file(path: &str, instant: &str, name: &str, version: &str) -> FileRegistration {
    let chunk = ChunkWidth::TEN_MINUTES.chunk_of(at(instant));
    FileRegistration {
        key: FileKey::new(format!("{path}{}/{name}", chunk.start())),
        version: FileVersion::new(version),
        size_bytes: 100,
        source_bucket: "s3://raw-data-reservoir".into(),
        file_path: FilePath::new(path),
        chunk,
    }
}

pub(super) fn outcome(feature: &str, version: u32, end: RunEnd) -> RunOutcome {
    RunOutcome { feature: feature_name(feature), version: FeatureVersion(version), end, dropped: Vec::new() }
}

pub(super) fn done(feature: &str, version: u32) -> RunOutcome {
    outcome(feature, version, RunEnd::Done { rows: 10, bytes: 1000 })
}

pub(super) fn failed(feature: &str, retry_after: Span) -> RunOutcome {
    outcome(feature, 1, RunEnd::Failed { error: "it broke".into(), retry_after })
}

/// The features of a claim's runs.
pub(super) fn features_of(claim: &Claim) -> Vec<&str> {
    claim.runs.iter().map(|run| run.feature.as_str()).collect()
}
