//! `neartime run`: the daemon, and everything that is due now.

use std::collections::HashSet;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use neartime_scheduler::{Edges, Event, Observer, Scheduler, Summary, TaskLabel};
use neartime_tasks_db::{TaskState, TasksDb};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::args::RunArgs;
use crate::clients::patient_publisher;
use crate::console::Watch;
use crate::exit;
use crate::progress::Progress;

/// How long the console may take to give the answers under way when the process stops.
const CONSOLE_GRACE: Duration = Duration::from_secs(2);

pub(crate) async fn execute(app: &App, args: RunArgs) -> anyhow::Result<ExitCode> {
    if args.once { once(app).await } else { daemon(app).await }
}

/// What one `run --once` did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) summary: Summary,
    /// Whole files that this run quarantined.
    pub(crate) quarantined_files: u64,
    /// Tasks that are done, each counted once however many claims it took.
    pub(crate) completed_tasks: u64,
    /// Lines read by all claims.
    pub(crate) lines: u64,
}

/// Processes all that is due now, or what is under way when `shutdown` resolves.
pub(crate) async fn run_once(app: &App, shutdown: impl Future<Output = ()> + Send) -> anyhow::Result<Ran> {
    let tally = Arc::new(Tally::new());
    let observer: Arc<dyn Observer> = Arc::clone(&tally) as Arc<dyn Observer>;
    let mut shutdown = pin!(shutdown);
    let edges = tokio::select! {
        edges = app.ready_edges(app.registry()?, observer) => edges?,
        () = &mut shutdown => return Ok(tally.ran(Summary { stopped: true, ..Summary::default() })),
    };
    let tasks = Arc::clone(&edges.tasks);
    let scheduler = Scheduler::new(edges, app.settings()).context("could not start the scheduler")?;
    let summary = scheduler.run_once_until(shutdown).await;
    tally.progress.finish();
    tasks.close().await;
    Ok(tally.ran(summary?))
}

async fn once(app: &App) -> anyhow::Result<ExitCode> {
    let asked = stop_signal()?;
    let shutdown = async {
        asked.await;
        eprintln!("stopping: what is claimed is finished, or given back after ten seconds");
    };
    let ran = run_once(app, shutdown).await?;
    let Summary { matched, unmatched, parked_tasks, parked_runs, forgotten_runs, stopped } = ran.summary;
    eprintln!("{matched} files found, {} tasks completed, {} lines read", ran.completed_tasks, ran.lines);
    if unmatched > 0 {
        eprintln!("{unmatched} files fit no layout and were left alone (`neartime check` shows them)");
    }
    if parked_tasks + parked_runs > 0 {
        eprintln!(
            "parked: {parked_tasks} tasks, {parked_runs} runs (`neartime tasks list --state parked`, `neartime tasks \
             show`, `neartime tasks retry`)"
        );
    }
    if forgotten_runs > 0 {
        eprintln!("{forgotten_runs} more runs are parked of features that do not run here (`neartime features`)");
    }
    if ran.quarantined_files > 0 {
        eprintln!("quarantined: {} whole files (`neartime quarantine list`)", ran.quarantined_files);
    }
    if stopped {
        eprintln!("stopped before everything was done: run it again to go on");
        return Ok(ExitCode::SUCCESS);
    }
    let is_finished = parked_tasks + parked_runs + ran.quarantined_files == 0;
    Ok(if is_finished { ExitCode::SUCCESS } else { ExitCode::from(exit::UNFINISHED) })
}

async fn daemon(app: &App) -> anyhow::Result<ExitCode> {
    let registry = app.registry()?;
    for off in &registry.off {
        tracing::info!(feature = off.feature.as_str(), why = off.reason, "a feature is off");
    }
    // From here on a signal is a clean end, also while the services are still being reached.
    let mut stopped = pin!(stop_signal()?);
    let watch = Arc::new(Watch::default());
    let observer = Arc::clone(&watch) as Arc<dyn Observer>;
    let ready = async {
        let jobs = app.jobs(&registry).await?;
        anyhow::Ok(Edges { jobs, ..app.ready_edges(registry, observer).await? })
    };
    let edges = tokio::select! {
        edges = ready => edges?,
        () = &mut stopped => return Ok(ExitCode::SUCCESS),
    };
    watch.begin(&edges);
    let tasks = Arc::clone(&edges.tasks);
    let scheduler = Scheduler::new(edges, app.settings()).context("could not start the scheduler")?;
    let served = serve_console(app, &watch, &tasks).await?;
    tracing::info!(workers = app.config().run.workers, sources = app.config().sources.len(), "started");
    let shutdown = async {
        stopped.await;
        watch.stopping();
    };
    let ran = scheduler.run(shutdown).await;
    served.end().await;
    tasks.close().await;
    ran?;
    Ok(ExitCode::SUCCESS)
}

/// Serves the console if the configuration has one.
async fn serve_console(app: &App, watch: &Watch, tasks: &Arc<dyn TasksDb>) -> anyhow::Result<Served> {
    let (end, ended) = oneshot::channel::<()>();
    let Some(console) = &app.config().console else { return Ok(Served { end, serving: None }) };
    let report = match &app.config().air {
        Some(air) => Some(patient_publisher(air).await?),
        None => None,
    };
    let bound = watch.console(console.listen, Arc::clone(tasks), report, Arc::clone(app.clock())).await?;
    tracing::info!(address = %bound.address(), "the console is served");
    let serving = tokio::spawn(bound.serve(async move { ended.await.unwrap_or_default() }));
    Ok(Served { end, serving: Some(serving) })
}

/// The console while it is served, also while the process stops.
struct Served {
    end: oneshot::Sender<()>,
    serving: Option<JoinHandle<()>>,
}

impl Served {
    /// Ends it; a client that does not take its answer is cut off.
    async fn end(self) {
        drop(self.end);
        if let Some(serving) = self.serving {
            let abort = serving.abort_handle();
            if tokio::time::timeout(CONSOLE_GRACE, serving).await.is_err() {
                abort.abort();
            }
        }
    }
}

/// Resolves at SIGTERM or ctrl-C.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).context("could not listen for signals");
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Counts what happens, and shows how far it is. What goes wrong is logged where it happens.
#[derive(Debug)]
struct Tally {
    progress: Progress,
    quarantined_files: AtomicU64,
    completed_tasks: Mutex<HashSet<TaskLabel>>,
    lines: AtomicU64,
}

impl Tally {
    fn new() -> Self {
        Self {
            progress: Progress::begin("looking for files"),
            quarantined_files: AtomicU64::new(0),
            completed_tasks: Mutex::default(),
            lines: AtomicU64::new(0),
        }
    }

    /// Notes that a claim ended; gives how many tasks are done.
    fn ended(&self, task: &TaskLabel, state: TaskState) -> u64 {
        let mut completed = self.completed_tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if state == TaskState::Done {
            completed.insert(task.clone());
        }
        completed.len() as u64
    }

    fn ran(&self, summary: Summary) -> Ran {
        Ran {
            summary,
            quarantined_files: self.quarantined_files.load(Ordering::SeqCst),
            completed_tasks: self.completed_tasks.lock().unwrap_or_else(PoisonError::into_inner).len() as u64,
            lines: self.lines.load(Ordering::SeqCst),
        }
    }
}

impl Observer for Tally {
    fn observe(&self, event: &Event) {
        match event {
            Event::Completed { task, state, read, .. } => {
                let tasks = self.ended(task, *state);
                let lines = self.lines.fetch_add(read.lines, Ordering::SeqCst) + read.lines;
                self.progress.tell(format_args!("{tasks} tasks, {lines} lines: {task}"));
            }
            Event::FileQuarantined { .. } => {
                self.quarantined_files.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
    }
}
