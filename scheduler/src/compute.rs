//! From one read of a chunk to the published rows of every feature.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use neartime_engine::CompiledFeature;
use neartime_ingest::{ReadError, ReadReport, ReadRequest, Source, Wanted};
use neartime_model::{Classify, ContentOrder, ErrorKind, chain, partition_file_stem};
use neartime_stores::PartitionFile;
use neartime_tasks_db::{Claim, RunEnd, RunOutcome};
use tokio::task::{Id, JoinSet};
use tracing::Instrument as _;

use crate::fanout::Fanout;
use crate::run::{Ran, Run, RunError};
use crate::step::step;
use crate::task::{Attempt, Work, label, read_file};
use crate::{Event, RunEnded, Step};

/// One reading of a claim's files for some of its features.
pub(crate) struct Computation<'a> {
    pub(crate) work: &'a Work,
    pub(crate) attempt: &'a Attempt,
    pub(crate) features: &'a [Arc<CompiledFeature>],
}

/// What a reading that ended well came to.
pub(crate) struct Computed {
    pub(crate) outcomes: Vec<RunOutcome>,
    pub(crate) report: ReadReport,
}

impl Computation<'_> {
    /// Reads once, feeds every feature, and publishes what comes out.
    pub(crate) async fn run(self) -> Result<Computed, ReadError> {
        let source = &self.work.source.source;
        let request = self.request();
        let (mut fanout, streams) = Fanout::new(&request.wanted.schema(source)?, self.features.len());
        let mut reading = neartime_ingest::read(source, request, &self.work.context);
        // Dropping the set, as when the claim is lost, aborts the runs.
        let mut runs = JoinSet::new();
        let spawn = |(feature, events)| runs.spawn(self.run_of(feature).publish(events).in_current_span()).id();
        let ids: Vec<Id> = self.features.iter().zip(streams).map(spawn).collect();
        let read = async {
            while let Some(batch) = reading.batches.recv().await {
                fanout.send(batch).await;
            }
            reading.report().await
        };
        let task = label(&self.attempt.claim);
        match step(self.work.edges.observer.as_ref(), &task, Step::Read, read).await {
            Ok(report) => {
                fanout.finish().await;
                Ok(Computed { outcomes: self.outcomes(runs, &ids).await, report })
            }
            Err(error) => {
                drop(fanout);
                // Nothing is published from a broken stream; wait, so that no two computations overlap.
                while runs.join_next().await.is_some() {}
                Err(error)
            }
        }
    }

    fn request(&self) -> ReadRequest {
        let claim = &self.attempt.claim;
        let sound = |file: &&neartime_tasks_db::InputFile| !self.attempt.broken.contains_key(&file.key);
        let files = claim.files.iter().filter(sound).map(read_file).collect();
        ReadRequest::new(claim.chunk, files, self.wanted()).threads(self.work.read_threads)
    }

    /// What all features of the source want, also where only some of them run: what is told of the chunk's bad lines
    /// and values replaces what was told before, and must not depend on who runs.
    fn wanted(&self) -> Wanted {
        let features = &self.work.source.features;
        let mut columns: Vec<String> = features.iter().flat_map(|feature| feature.wanted().columns.clone()).collect();
        columns.sort();
        columns.dedup();
        // One feature that wants every row is enough to keep them all.
        let rows = features.iter().map(|feature| feature.wanted().rows.clone()).collect::<Option<Vec<_>>>();
        Wanted { columns, rows }
    }

    fn run_of(&self, feature: &Arc<CompiledFeature>) -> Run {
        let claim = &self.attempt.claim;
        Run {
            edges: Arc::clone(&self.work.edges),
            context: Arc::clone(&self.work.context),
            order: ContentOrder { version: feature.table().version, generation: claim.generation },
            fence: claim.lease.fence,
            file: partition_file(&self.work.source.source, feature, claim, &self.attempt.captures),
            feature: Arc::clone(feature),
            task: label(claim),
        }
    }

    /// The outcomes in the order of the features, whose runs have these `ids`; a run that panicked failed.
    async fn outcomes(&self, mut runs: JoinSet<Result<Ran, RunError>>, ids: &[Id]) -> Vec<RunOutcome> {
        let mut results = HashMap::new();
        while let Some(joined) = runs.join_next_with_id().await {
            let (id, result) = joined.unwrap_or_else(|died| (died.id(), Err(RunError::Panicked(panic_text(died)))));
            results.insert(id, result);
        }
        let ended = self.features.iter().zip(ids);
        ended.map(|(feature, id)| self.outcome(feature, results.remove(id).expect("every run was joined"))).collect()
    }

    fn outcome(&self, feature: &CompiledFeature, result: Result<Ran, RunError>) -> RunOutcome {
        let table = feature.table();
        let attempts = self.attempts_of(feature) + 1;
        let task = label(&self.attempt.claim);
        let (end, ended, dropped) = match result {
            Ok(Ran { end, dropped }) => {
                let ended = match &end {
                    RunEnd::Done { rows, .. } => RunEnded::Done { rows: *rows },
                    _ => RunEnded::Superseded,
                };
                if let RunEnd::Superseded { found } = &end
                    && found.version == table.version
                {
                    tracing::warn!(%task, feature = %table.name, %found, "rows are in place that the task database \
                        does not know of: it was lost, or is an older copy; the task runs again, above them");
                }
                (end, ended, dropped)
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                let end = RunEnd::Delayed { note: chain(&error), retry_after: self.work.service_delay };
                (end, RunEnded::Delayed, Vec::new())
            }
            Err(error) => {
                let error = chain(&error);
                let parked = attempts >= neartime_tasks_db::MAX_RUN_ATTEMPTS;
                tracing::warn!(%task, feature = %table.name, error, parked, "a feature failed on a chunk");
                let retry_after = self.work.backoff.after(attempts, &mut fastrand::Rng::new());
                let end = RunEnd::Failed { error: error.clone(), retry_after };
                (end, RunEnded::Failed { error, parked }, Vec::new())
            }
        };
        let feature = table.name.clone();
        let event = Event::RunEnded { task, feature, end: ended, dropped: dropped.clone() };
        self.work.edges.observer.observe(&event);
        RunOutcome { feature: table.name.clone(), version: table.version, end, dropped }
    }

    fn attempts_of(&self, feature: &CompiledFeature) -> u32 {
        let run = self.attempt.claim.runs.iter().find(|run| run.feature == feature.table().name);
        run.map_or(0, |run| run.attempts)
    }
}

/// The one fixed name under which `feature` publishes what it makes of a claim.
pub(crate) fn partition_file(
    source: &Source,
    feature: &CompiledFeature,
    claim: &Claim,
    captures: &[String],
) -> PartitionFile {
    PartitionFile {
        stem: partition_file_stem(&source.name, captures.iter().map(String::as_str)),
        table: Arc::clone(feature.table()),
        chunk: claim.chunk,
        file_path: claim.file_path.clone(),
    }
}

/// The bounds within which all of a process's computations hold rows in memory; beyond them they spill to disk.
pub(crate) fn context(memory_bytes: usize) -> datafusion::error::Result<Arc<TaskContext>> {
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(memory_bytes))).build_arc()?;
    // One partition a feature: features run side by side, and their rows need no order.
    let config = SessionConfig::new().with_target_partitions(1);
    // Compiled features bring their functions along: none needs to be registered.
    Ok(Arc::new(TaskContext::default().with_session_config(config).with_runtime(runtime)))
}

pub(crate) fn panic_text(error: tokio::task::JoinError) -> String {
    error.try_into_panic().map_or_else(|_| "its task was aborted".to_owned(), neartime_model::panic_text)
}
