//! Workers, files and faults in random order, and an oracle that knows what must come out.
//!
//! Several workers share a few tasks. They claim, publish, complete, fail, die, wake up after their lease; files
//! arrive and change all the while. When the faults stop, what is published of every task must be exactly its newest
//! files. Two sabotages take a protection away; the oracle must notice each, else it proves nothing.

use std::collections::{BTreeMap, HashMap};

use neartime_model::{Fence, Generation, Span};

use super::bench::{Bench, LEASE, at, file, outcome, request};
use crate::{Claim, InputFile, Lease, RetryRequest, RunEnd, RunOutcome, TaskId, TaskState, TasksError};

const WORKERS: usize = 4;
const CHUNKS: [&str; 3] = ["2018-08-01T10:40:00Z", "2018-08-01T10:50:00Z", "2018-08-01T11:00:00Z"];

/// A protection that the simulated workers go round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// All is as it must be.
    None,
    /// A worker whose lease is lost completes under the fence of whoever holds the task.
    NoFence,
    /// A worker claims to have read files that arrived after it read.
    NoGenerationTest,
}

/// What the oracle saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Completions by a worker whose lease was lost.
    pub stale_commits: u64,
    /// Published files of a task that are not of its newest input, or the other way round.
    pub wrong_files: Vec<String>,
    /// Tasks that did not come to rest.
    pub restless: Vec<String>,
    /// Claims that were made; shows that something happened.
    pub claims: u64,
    /// Leases that were lost; shows that faults happened.
    pub leases_lost: u64,
}

impl Findings {
    /// Whether all promises were kept.
    pub fn are_clean(&self) -> bool {
        self.stale_commits == 0 && self.wrong_files.is_empty() && self.restless.is_empty()
    }
}

/// Runs `steps` random steps, lets everything come to rest, and looks. `random(n)` gives a number below `n`.
pub async fn simulate(
    bench: Bench,
    steps: usize,
    sabotage: Sabotage,
    random: impl FnMut(usize) -> usize + Send,
) -> Findings {
    let bench = bench.declared().await;
    let mut simulation = Simulation {
        bench,
        random,
        sabotage,
        workers: vec![None; WORKERS],
        newest: BTreeMap::new(),
        published: HashMap::new(),
        top_fence: HashMap::new(),
        findings: Findings::default(),
    };
    for _ in 0..steps {
        simulation.step().await;
    }
    simulation.come_to_rest().await;
    simulation.look().await;
    simulation.findings
}

type Files = BTreeMap<String, String>;

/// What a worker has in hand.
#[derive(Clone)]
struct Work {
    claim: Claim,
    outcomes: Option<Vec<RunOutcome>>,
}

struct Simulation<R> {
    bench: Bench,
    random: R,
    sabotage: Sabotage,
    workers: Vec<Option<Work>>,
    /// The newest version of each key, by chunk.
    newest: BTreeMap<usize, Files>,
    /// What the features store shows: never a lower generation over a higher one.
    published: HashMap<(TaskId, String), (Generation, Files)>,
    top_fence: HashMap<TaskId, Fence>,
    findings: Findings,
}

impl<R: FnMut(usize) -> usize + Send> Simulation<R> {
    async fn step(&mut self) {
        let worker = (self.random)(WORKERS);
        match (self.random)(20) {
            0..=3 => self.file_arrives().await,
            4 => self.bench.clock.advance(LEASE + Span::from_secs(1)),
            5..=6 => self.bench.clock.advance(Span::from_micros(1_000_000 * i64::try_from((self.random)(20)).unwrap())),
            7 => self.workers[worker] = None,
            8 => self.give_back(worker).await,
            _ => self.work(worker).await,
        }
    }

    async fn file_arrives(&mut self) {
        let chunk = (self.random)(CHUNKS.len());
        let (name, version) = (format!("{}.gz", (self.random)(4)), format!("v{}", (self.random)(3)));
        let file = file("p/", CHUNKS[chunk], &name, &version);
        self.newest.entry(chunk).or_default().insert(file.key.as_str().to_owned(), version);
        self.bench.register(vec![file]).await;
    }

    async fn give_back(&mut self, worker: usize) {
        let Some(work) = self.workers[worker].take() else { return };
        let given = match (self.random)(2) {
            0 => self.bench.db.release(&work.claim.lease, Span::from_secs(5), "the store is away").await,
            _ => self.bench.db.abandon(&work.claim.lease, "past the deadline").await,
        };
        self.count_loss(given);
    }

    /// One step of a worker's life: claim, publish, complete. Between any two, others may do theirs.
    async fn work(&mut self, worker: usize) {
        match self.workers[worker].take() {
            None => {
                if let Some(claim) = self.bench.claim().await {
                    self.findings.claims += 1;
                    let top = self.top_fence.entry(claim.lease.task).or_default();
                    assert!(claim.lease.fence > *top, "a fence grows");
                    *top = claim.lease.fence;
                    self.workers[worker] = Some(Work { claim, outcomes: None });
                }
            }
            Some(Work { claim, outcomes: None }) => {
                let outcomes = Some(self.publish(&claim));
                self.workers[worker] = Some(Work { claim, outcomes });
            }
            Some(Work { claim, outcomes: Some(outcomes) }) => self.complete(&claim, &outcomes).await,
        }
    }

    fn publish(&mut self, claim: &Claim) -> Vec<RunOutcome> {
        let files: Files = claim.files.iter().map(as_pair).collect();
        let mut outcomes = Vec::new();
        for run in &claim.runs {
            let feature = run.feature.as_str();
            let end = if (self.random)(6) == 0 {
                RunEnd::Failed { error: "it broke".into(), retry_after: Span::from_secs(3) }
            } else {
                let place = self.published.entry((claim.lease.task, feature.to_owned())).or_default();
                if claim.generation >= place.0 {
                    *place = (claim.generation, files.clone());
                }
                RunEnd::Done { rows: 1, bytes: 1 }
            };
            outcomes.push(outcome(feature, 1, end));
        }
        outcomes
    }

    async fn complete(&mut self, claim: &Claim, outcomes: &[RunOutcome]) {
        let task = claim.lease.task;
        let mut lease = claim.lease;
        if self.sabotage == Sabotage::NoFence {
            lease = Lease { task, fence: self.bench.row(task).await.fence };
        }
        if self.sabotage == Sabotage::NoGenerationTest {
            let features = request(&[("a", 1), ("b", 1)]).sources.remove(0).features;
            let refreshed = self.bench.db.refresh(&lease, &features).await;
            self.count_loss(refreshed);
        }
        let ended = self.bench.db.complete(&lease, outcomes, None).await;
        if ended.is_ok() && claim.lease.fence < self.top_fence[&task] {
            self.findings.stale_commits += 1;
        }
        self.count_loss(ended);
    }

    fn count_loss<T>(&mut self, result: Result<T, TasksError>) {
        match result {
            Ok(_) => {}
            Err(TasksError::LeaseLost { .. }) => self.findings.leases_lost += 1,
            Err(error) => panic!("only a lease can be lost: {error}"),
        }
    }

    /// No more faults: whatever is due is done, parked runs are retried.
    async fn come_to_rest(&mut self) {
        for _ in 0..1_000 {
            self.bench.clock.advance(LEASE + Span::from_secs(1));
            self.bench.db.retry(&RetryRequest::default()).await.unwrap();
            let mut idle = true;
            for worker in 0..WORKERS {
                for _ in 0..3 {
                    self.work(worker).await;
                    idle &= self.workers[worker].is_none();
                }
            }
            let at_rest =
                self.bench.list().await.iter().all(|row| row.state == TaskState::Done && row.parked_runs == 0);
            if idle && at_rest {
                return;
            }
        }
    }

    async fn look(&mut self) {
        for row in self.bench.list().await {
            if row.state != TaskState::Done || row.done_generation != row.generation || row.parked_runs > 0 {
                self.findings.restless.push(format!("{row:?}"));
            }
            let chunk = CHUNKS.iter().position(|start| at(start) == row.chunk.start()).unwrap();
            for feature in ["a", "b"] {
                let published = self.published.get(&(row.task, feature.to_owned()));
                if published != Some(&(row.generation, self.newest[&chunk].clone())) {
                    self.findings.wrong_files.push(format!("{feature} of {}: {published:?}", row.chunk.start()));
                }
            }
        }
    }
}

fn as_pair(file: &InputFile) -> (String, String) {
    (file.key.as_str().to_owned(), file.version.as_str().to_owned())
}
