//! The pages, and the socket that they are served on.
//!
//! What serves them is put together here rather than taken from axum, which neither limits connections nor cuts off
//! those that never send their request: they would use up the descriptors that the rest of the process works with.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use neartime_model::{Classify, Clock, ErrorKind};
use neartime_tasks_db::TasksDb;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, watch};

use crate::poll::Poll;
use crate::{Health, LiveReport, Metrics};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const INDEX: &str = "\
neartime
/metrics  the numbers, for Prometheus
/healthz  200 as long as the process is alive
/readyz   200 if it can work, else 503 and the reasons
";

/// Connections that are served at a time; others wait until one ends.
const MOST_CONNECTIONS: u32 = 64;

/// How long a connection may take to send the head of a request, and how long it may be idle before the next.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may last, and how much longer the answer under way may take: a client that takes none would keep
/// its seat for ever.
const SEAT_PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

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
}

impl Classify for ConsoleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { .. } => ErrorKind::Invalid,
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
    pub async fn serve(mut self, shutdown: impl Future<Output = ()> + Send + 'static) {
        let pages = Router::new()
            .route("/", get(index))
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(self.console);
        let seats = Arc::new(Semaphore::new(MOST_CONNECTIONS as usize));
        let (open, closing) = watch::channel(());
        let mut shutdown = pin!(shutdown);
        loop {
            let next = async {
                let seat = Arc::clone(&seats).acquire_owned().await.expect("it is never closed");
                (Listener::accept(&mut self.listener).await.0, seat)
            };
            let (stream, seat) = tokio::select! {
                next = next => next,
                () = &mut shutdown => break,
            };
            let (pages, closing) = (pages.clone(), closing.clone());
            tokio::spawn(async move {
                serve_connection(stream, pages, closing).await;
                drop(seat);
            });
        }
        drop(open);
        // Once every seat is free, every answer is given.
        let _ = seats.acquire_many(MOST_CONNECTIONS).await;
    }
}

/// Answers the requests of one connection, one after the other; after `closing`, only the one under way.
async fn serve_connection(stream: TcpStream, pages: Router, mut closing: watch::Receiver<()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages)));
    // What a client does wrong, or breaks off, is its own affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closing.changed() => {}
        () = tokio::time::sleep(SEAT_PATIENCE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(ANSWER_PATIENCE, connection).await;
}

async fn index() -> &'static str {
    INDEX
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
