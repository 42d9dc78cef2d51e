//! One claimed task, from its files to a verdict: read → compute → publish, again where its input turns out otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::TaskContext;
use neartime_engine::CompiledFeature;
use neartime_ingest::{ReadError, ReadReport, ReadRequest, Source, Wanted};
use neartime_model::{Classify, ErrorKind, FileKey, chain};
use neartime_tasks_db::{
    Claim, FileRegistration, Parking, QuarantineExample, QuarantinedFile, ReadSummary, ReasonCount, Registration,
    RunOutcome, TasksDb, TasksError,
};

use crate::compute::{self, Computation};
use crate::edges::{Edges, SourceWork};
use crate::home::Home;
use crate::{Backoff, Event, TaskLabel};

/// Times that a broken file is fetched within one claim before the run goes on without it.
const FETCHES_A_CLAIM: u32 = 3;

/// Reasons of counts that refuse nothing: rows outside their chunk are kept, repeated ones are there already.
pub(crate) const NOTED: [&str; 2] = ["outside_chunk_kept", "duplicate"];

/// What a worker brings to a task.
pub(crate) struct Work {
    pub(crate) edges: Arc<Edges>,
    /// The task database; never called through the edges from here.
    pub(crate) home: Home,
    pub(crate) source: SourceWork,
    pub(crate) context: Arc<TaskContext>,
    pub(crate) backoff: Backoff,
    pub(crate) service_delay: neartime_model::Span,
    pub(crate) read_threads: usize,
}

/// How the work on a claim ended.
pub(crate) enum Verdict {
    /// Each run has its outcome.
    Complete { outcomes: Vec<RunOutcome>, read: Option<ReadSummary> },
    /// The input cannot be read.
    Park(Parking),
    /// A service is away.
    Release { note: String },
}

/// Why the work on a claim ended without a verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Halt {
    #[error(transparent)]
    Tasks(#[from] TasksError),
    #[error("reading the chunk failed")]
    Read(#[source] ReadError),
}

/// The claim as it stands, and the files that this claim found broken.
pub(crate) struct Attempt {
    pub(crate) claim: Claim,
    pub(crate) broken: BTreeMap<FileKey, String>,
    /// The values of the captures that tell its path from others.
    pub(crate) captures: Vec<String>,
}

impl Work {
    /// Works on `claim` until there is something to say.
    pub(crate) async fn process(&self, claim: Claim) -> Result<Verdict, Halt> {
        let captures = path_captures(&self.home, &self.source.source, &claim).await?;
        let mut attempt = Attempt { claim, broken: BTreeMap::new(), captures };
        if attempt.claim.isolate { self.one_at_a_time(&mut attempt).await } else { self.together(&mut attempt).await }
    }

    /// All runs from one read.
    async fn together(&self, attempt: &mut Attempt) -> Result<Verdict, Halt> {
        let features = self.features(&attempt.claim);
        Ok(match self.read_and_compute(attempt, &features).await? {
            Ok(computed) => {
                let read = summary(computed.report, &attempt.broken);
                Verdict::Complete { outcomes: computed.outcomes, read: Some(read) }
            }
            Err(other) => other,
        })
    }

    /// Earlier claims died: each run by itself, written down before it starts, so that the guilty one is found.
    async fn one_at_a_time(&self, attempt: &mut Attempt) -> Result<Verdict, Halt> {
        let mut read = None;
        for feature in self.features(&attempt.claim) {
            let lease = attempt.claim.lease;
            let name = feature.table().name.clone();
            self.home.call(move |tasks| async move { tasks.start_run(&lease, &name).await }).await?;
            match self.read_and_compute(attempt, &[feature]).await? {
                Ok(computed) => {
                    for outcome in computed.outcomes {
                        self.home.call(move |tasks| async move { tasks.finish_run(&lease, &outcome).await }).await?;
                    }
                    read = Some(summary(computed.report, &attempt.broken));
                }
                Err(other) => return Ok(other),
            }
        }
        Ok(Verdict::Complete { outcomes: Vec::new(), read })
    }

    /// Reads and computes until the input held still: a changed file is registered and the claim starts again with
    /// it, broken ones are fetched again and then left out.
    async fn read_and_compute(
        &self,
        attempt: &mut Attempt,
        features: &[Arc<CompiledFeature>],
    ) -> Result<Result<compute::Computed, Verdict>, Halt> {
        loop {
            let computation = Computation { work: self, attempt, features };
            match computation.run().await {
                Ok(computed) => return Ok(Ok(computed)),
                Err(ReadError::Changed { key, found, size }) => {
                    self.start_again_with(attempt, key, found, size).await?;
                }
                Err(ReadError::Gone { keys }) => {
                    let listed = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
                    let error = format!(
                        "files are gone: put them back, or run `neartime tasks retry --accept-missing` to go on without \
                         them: {listed}"
                    );
                    return Ok(Err(Verdict::Park(Parking { error, missing: keys.into_iter().collect() })));
                }
                Err(ReadError::Broken { files }) => self.try_again(attempt, files).await,
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    return Ok(Err(Verdict::Release { note: chain(&error) }));
                }
                Err(error) => return Err(Halt::Read(error)),
            }
        }
    }

    async fn start_again_with(
        &self,
        attempt: &mut Attempt,
        key: FileKey,
        found: neartime_model::FileVersion,
        size_bytes: u64,
    ) -> Result<(), Halt> {
        tracing::info!(%key, version = %found, "a file changed since it was registered: starting again with what is there");
        let claim = &attempt.claim;
        let file = FileRegistration {
            key,
            version: found,
            size_bytes,
            source_bucket: claim.source_bucket.clone(),
            file_path: claim.file_path.clone(),
            chunk: claim.chunk,
        };
        let registration =
            Registration { source: claim.source.clone(), due: self.source.due_rule(), files: vec![file] };
        let (lease, features) = (claim.lease, self.source.for_workers().features);
        let again = |tasks: Arc<dyn TasksDb>| async move {
            tasks.register(&registration).await?;
            tasks.refresh(&lease, &features).await
        };
        attempt.claim = self.home.call(again).await?;
        attempt.broken.clear();
        Ok(())
    }

    /// Fetches broken files again, without anybody listening; the claim goes on without those that stay broken.
    async fn try_again(&self, attempt: &mut Attempt, mut broken: BTreeMap<FileKey, String>) {
        for _ in 1..FETCHES_A_CLAIM {
            let files = attempt.claim.files.iter().filter(|file| broken.contains_key(&file.key)).map(read_file);
            let request = ReadRequest::new(attempt.claim.chunk, files.collect(), Wanted::default());
            match neartime_ingest::verify(&self.source.source, request.threads(self.read_threads)).await {
                Err(ReadError::Broken { files }) => broken = files,
                // Sound now, or something else happened to them: the next reading finds out.
                _ => return,
            }
        }
        let task = label(&attempt.claim);
        for (key, reason) in &broken {
            tracing::warn!(%task, %key, %reason, "a broken file is left out");
            let (task, key, reason) = (task.clone(), key.clone(), reason.clone());
            self.edges.observer.observe(&Event::FileQuarantined { task, key, reason });
        }
        attempt.broken.extend(broken);
    }

    fn features(&self, claim: &Claim) -> Vec<Arc<CompiledFeature>> {
        claim.runs.iter().filter_map(|run| self.source.feature(&run.feature).cloned()).collect()
    }
}

/// The captures of a claim's path, from the key of any file that it ever had.
pub(crate) async fn path_captures(home: &Home, source: &Source, claim: &Claim) -> Result<Vec<String>, TasksError> {
    let key = match claim.files.first() {
        Some(file) => Some(file.key.clone()),
        // Every file is gone and accepted as such: the task still knows their names.
        None => {
            let task = claim.lease.task;
            let detail = home.call(move |tasks| async move { tasks.task(task).await }).await?;
            detail.and_then(|detail| detail.files.first().map(|row| row.file.key.clone()))
        }
    };
    let matched = key.as_ref().and_then(|key| source.layout.match_key(key.as_str()));
    Ok(matched.map(|matched| matched.path_captures.into_iter().map(str::to_owned).collect()).unwrap_or_default())
}

pub(crate) fn label(claim: &Claim) -> TaskLabel {
    TaskLabel { source: claim.source.clone(), path: claim.file_path.clone(), chunk: claim.chunk }
}

pub(crate) fn read_file(file: &neartime_tasks_db::InputFile) -> neartime_ingest::InputFile {
    neartime_ingest::InputFile { key: file.key.clone(), version: file.version.clone(), size: file.size_bytes }
}

/// What the read came to, in the words of the task database.
fn summary(report: ReadReport, broken: &BTreeMap<FileKey, String>) -> ReadSummary {
    let file = |(key, reason): (&FileKey, &String)| QuarantinedFile { key: key.clone(), reason: reason.clone() };
    let count = |reason: &str, count: u64| ReasonCount { reason: reason.to_owned(), count };
    let refused = report.counts.iter().map(|(reason, number)| count(reason.name(), *number));
    let noted = NOTED
        .into_iter()
        .zip([report.outside_rows, report.duplicates])
        .filter(|(_, number)| *number > 0)
        .map(|(reason, number)| count(reason, number));
    ReadSummary {
        lines: report.lines,
        rows: report.rows,
        quarantined_files: broken.iter().map(file).collect(),
        counts: refused.chain(noted).collect(),
        examples: report
            .examples
            .into_iter()
            .map(|bad| QuarantineExample {
                key: bad.key,
                line: Some(bad.line),
                column: bad.column,
                reason: bad.reason.to_string(),
                text: bad.text,
            })
            .collect(),
    }
}
