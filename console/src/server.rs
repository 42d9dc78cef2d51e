//! The three pages, and the socket that they are served on.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use neartime_model::{Classify, Clock, ErrorKind};
use neartime_tasks_db::TasksDb;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::poll::Poll;
use crate::{Health, LiveReport, Metrics};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is shown, not yet served.
pub struct Console {
    poll: Poll,
    health: Arc<Health>,
}

/// The console cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The address is taken, or not ours.
    #[error("could not listen on {listen} for the console: set `listen` in [console] to an address that is free")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The socket broke.
    #[error("could not serve the console any longer")]
    Serve(#[source] std::io::Error),
}

impl Classify for ConsoleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { .. } => ErrorKind::Invalid,
            Self::Serve(_) => ErrorKind::Failed,
        }
    }
}

impl Console {
    /// Shows `metrics` and `health`, and what `tasks` and `report` say when asked.
    pub fn new(
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        tasks: Arc<dyn TasksDb>,
        report: Option<Arc<dyn LiveReport>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            poll: Poll { metrics, tasks, report, clock, tasks_asked: Mutex::new(None), report_asked: Mutex::new(None) },
            health,
        }
    }

    /// Takes the address.
    ///
    /// # Errors
    /// If the address is taken or not ours.
    pub async fn bind(self, listen: SocketAddr) -> Result<Bound, ConsoleError> {
        let refused = |source| ConsoleError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Bound { listener, address, console: Arc::new(self) })
    }
}

/// A console that has its address.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    console: Arc<Console>,
}

impl Bound {
    /// Where it is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves and the answers under way are given.
    ///
    /// # Errors
    /// If the socket breaks.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ConsoleError> {
        let pages = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(self.console);
        axum::serve(self.listener, pages).with_graceful_shutdown(shutdown).await.map_err(ConsoleError::Serve)
    }
}

async fn metrics(State(console): State<Arc<Console>>) -> Response {
    // A database that is away shows as a metric; the others are told all the same.
    let _ = tokio::join!(console.poll.refresh_tasks(), console.poll.refresh_report());
    ([(header::CONTENT_TYPE, OPEN_METRICS)], console.poll.metrics.encode()).into_response()
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(console): State<Arc<Console>>) -> Response {
    let mut obstacles = console.health.obstacles();
    if let Err(error) = console.poll.refresh_tasks().await {
        obstacles.push(format!("the task database is away: {error}"));
    }
    match obstacles.is_empty() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, obstacles.join("\n") + "\n").into_response(),
    }
}
