//! Watching a daemon: what it tells Prometheus, whoever keeps it running, and a collector of traces.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use neartime_tests::configs::{EMBEDDED, users, users_features};
use neartime_tests::reservoir::gzip;
use neartime_tests::site::Site;
use rustix::process::{Pid, Signal, kill_process};

use crate::BINARY;

const PATIENCE: Duration = Duration::from_secs(30);
/// Three rows for two users, and a line that is none.
const LINES: &str = r#"{"user":"ann","item":"i","amount":1,"time":"2024-02-29T10:01:00Z"}
{"user":"ann","item":"j","amount":2,"time":"2024-02-29T10:02:00Z"}
{"user":"bob","item":"i","amount":3,"time":"2024-02-29T10:03:00Z"}
not json
"#;

/// An address that nobody listens on at this moment.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The status and the body of a page.
fn get(address: SocketAddr, page: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {page} HTTP/1.0\r\nHost: neartime\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    Ok((head[9..12].parse().expect("a status"), body.to_owned()))
}

/// Asks for a page until its answer is `wanted`.
#[track_caller]
fn wait_for(address: SocketAddr, page: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = get(address, page);
        match &answer {
            Ok((status, body)) if wanted(*status, body) => return body.clone(),
            _ => assert!(Instant::now() < deadline, "{page} never answered as it should: {answer:?}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A site whose daemon serves the console there.
fn watched(address: SocketAddr) -> Site {
    let sources = users("events", "") + &users_features("events");
    Site::new(BINARY, &format!("{EMBEDDED}[console]\nlisten = \"{address}\"\n{sources}"))
}

fn put(site: &Site) {
    let folder = site.path().join("raw/2024/02/29");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("100000.gz"), gzip(LINES)).unwrap();
}

#[test]
fn a_daemon_tells_what_it_does_and_whether_it_can() {
    let address = free_address();
    let site = watched(address);
    put(&site);
    let mut daemon = site.start(["run"]);
    let done = "neartime_tasks_ended_total{source=\"events\",outcome=\"done\"} 1";
    let metrics = wait_for(address, "/metrics", |_, body| body.contains(done));
    for told in [
        "neartime_files_registered_total{source=\"events\",channel=\"listing\"} 1",
        "neartime_lines_read_total{source=\"events\"} 4",
        "neartime_rows_read_total{source=\"events\"} 3",
        "neartime_rows_published_total{feature=\"counted\"} 2",
        "neartime_step_seconds_count{step=\"read\"} 1",
        "neartime_task_database_up{} 1.0",
        "neartime_chunk_width_seconds{source=\"events\"} 600.0",
        // What never happened stands there too: a rise from nothing is one that Prometheus sees.
        "neartime_files_quarantined_total{source=\"events\"} 0",
        "neartime_runs_ended_total{feature=\"counted\",outcome=\"parked\"} 0",
    ] {
        assert!(metrics.contains(told), "{told} is not in:\n{metrics}");
    }
    assert!(metrics.contains("neartime_refused_total{source=\"events\",reason="), "{metrics}");
    assert_eq!(get(address, "/healthz").unwrap(), (200, "ok\n".to_owned()));
    wait_for(address, "/readyz", |status, _| status == 200);
    std::fs::rename(site.path().join("raw"), site.path().join("away")).unwrap();
    let reason = wait_for(address, "/readyz", |status, _| status == 503);
    assert!(reason.contains("listing of source `events` fails"), "{reason}");
    std::fs::rename(site.path().join("away"), site.path().join("raw")).unwrap();
    wait_for(address, "/readyz", |status, _| status == 200);
    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    get(address, "/healthz").expect_err("a daemon that ended serves nothing");
}

#[test]
fn connections_that_never_finish_their_request_do_not_take_the_console_away() {
    let address = free_address();
    let site = watched(address);
    put(&site);
    let mut daemon = site.start(["run"]);
    wait_for(address, "/healthz", |status, _| status == 200);
    let index = wait_for(address, "/", |status, _| status == 200);
    assert!(index.contains("/metrics") && index.contains("/readyz"), "{index}");
    let half = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /heal").unwrap();
        stream
    };
    let mut halves: Vec<TcpStream> = (0..100).map(|_| half()).collect();
    wait_for(address, "/healthz", |status, _| status == 200);
    halves[0].set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(halves[0].read_to_end(&mut Vec::new()).is_ok(), "the first was cut off");
    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
}

#[test]
fn an_address_that_is_taken_is_a_mistake_of_the_configuration() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ran = watched(address).run(["run"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains(&address.to_string()), "{}", ran.stderr);
}

/// Takes whatever is posted to it.
fn collector() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let posted = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&posted);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 64 << 10]);
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                request.extend_from_slice(&buffer[..read]);
                if is_whole(&request) {
                    break;
                }
            }
            kept.lock().unwrap().extend(request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (address, posted)
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
    request.len() >= end + 4 + length.unwrap_or(0)
}

#[cfg(feature = "servers")]
#[test]
fn the_spans_of_a_task_reach_a_collector() {
    let (address, posted) = collector();
    let config = EMBEDDED.to_owned() + &users("events", "") + &users_features("events");
    let site = Site::new(BINARY, &config).with_variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"));
    put(&site);
    site.run_once(0);
    let posted = posted.lock().unwrap();
    let has = |text: &[u8]| posted.windows(text.len()).any(|bytes| bytes == text);
    assert!(has(b"POST /v1/traces"), "{}", String::from_utf8_lossy(&posted));
    // As protobuf has them: a field's tag, the length, the text. A span's name is its field 5.
    let has_field = |tag: u8, text: &str| has(&[&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat());
    for name in ["task", "run", "read", "compute", "publish_offline", "publish_online", "complete"] {
        assert!(has_field(5 << 3 | 2, name), "no span `{name}` in what was sent");
    }
    // The text of an attribute is field 1 of its value.
    for value in ["events", "neartime"] {
        assert!(has_field(1 << 3 | 2, value), "no `{value}` in what was sent");
    }
}
