//! A proxy in front of an HTTP server that makes some requests fail, as a busy S3 does.
//!
//! A third of the faults are refusals (503, never passed on), a third lose the reply (passed on, answered 500), a third cut
//! the connection (passed on, not answered): after the last two nobody but the server knows what happened.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use fastrand::Rng;

/// The proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    plan: Arc<Plan>,
}

/// What happened to the requests so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub refused: u64,
    pub lost_replies: u64,
    pub cut: u64,
}

#[derive(Debug)]
struct Plan {
    upstream: SocketAddr,
    faults_per_thousand: AtomicU32,
    passed: AtomicU64,
    refused: AtomicU64,
    lost_replies: AtomicU64,
    cut: AtomicU64,
    denies: AtomicBool,
    over: AtomicBool,
}

#[derive(Clone, Copy)]
enum Fate {
    Pass,
    Deny,
    Refuse,
    LoseReply,
    Cut,
}

/// The start line and the headers, and after them the body, all as they were sent.
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl FaultProxy {
    /// Listens on a free port in front of `upstream`; with this `seed` requests meet the same fates in the same order.
    pub fn start(upstream: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let none = AtomicU64::default;
        let plan = Plan {
            upstream,
            faults_per_thousand: AtomicU32::new(0),
            passed: none(),
            refused: none(),
            lost_replies: none(),
            cut: none(),
            denies: AtomicBool::new(false),
            over: AtomicBool::new(false),
        };
        let plan = Arc::new(plan);
        let shared = Arc::clone(&plan);
        let mut rng = Rng::with_seed(seed);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.over.load(Relaxed) {
                    return;
                }
                let (plan, rng) = (Arc::clone(&shared), rng.fork());
                // A connection that breaks is the client's to notice.
                std::thread::spawn(move || client.and_then(|client| plan.serve(client, rng)));
            }
        });
        Ok(Self { address, plan })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on so many of a thousand requests fail.
    pub fn fail(&self, per_thousand: u32) {
        self.plan.faults_per_thousand.store(per_thousand, Relaxed);
    }

    /// From now on everything is refused for want of permission.
    pub fn deny(&self) {
        self.plan.denies.store(true, Relaxed);
    }

    pub fn tally(&self) -> Tally {
        let Plan { passed, refused, lost_replies, cut, .. } = &*self.plan;
        let [passed, refused, lost_replies, cut] =
            [passed, refused, lost_replies, cut].map(|count| count.load(Relaxed));
        Tally { passed, refused, lost_replies, cut }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.plan.over.store(true, Relaxed);
        // Wakes the thread that waits for the next client.
        let _ = TcpStream::connect(self.address);
    }
}

impl Plan {
    /// The requests of one connection, one after another.
    fn serve(&self, client: TcpStream, mut rng: Rng) -> io::Result<()> {
        let mut replies = client.try_clone()?;
        let mut requests = BufReader::new(client);
        while let Some(request) = Message::request(&mut requests, &mut replies)? {
            let reply = match self.fate(&mut rng) {
                Fate::Deny => refusal(403, "AccessDenied"),
                Fate::Refuse => refusal(503, "SlowDown"),
                Fate::Pass => self.pass_on(&request)?,
                Fate::LoseReply => self.pass_on(&request).map(|_| refusal(500, "InternalError"))?,
                Fate::Cut => return self.pass_on(&request).map(|_| ()),
            };
            replies.write_all(&reply.head)?;
            replies.write_all(&reply.body)?;
            if request.is_last() || reply.is_last() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn fate(&self, rng: &mut Rng) -> Fate {
        if self.denies.load(Relaxed) {
            return Fate::Deny;
        }
        let (fate, count) = if rng.u32(..1_000) >= self.faults_per_thousand.load(Relaxed) {
            (Fate::Pass, &self.passed)
        } else {
            match rng.u8(..3) {
                0 => (Fate::Refuse, &self.refused),
                1 => (Fate::LoseReply, &self.lost_replies),
                _ => (Fate::Cut, &self.cut),
            }
        };
        count.fetch_add(1, Relaxed);
        fate
    }

    fn pass_on(&self, request: &Message) -> io::Result<Message> {
        let mut upstream = TcpStream::connect(self.upstream)?;
        upstream.write_all(&request.head)?;
        upstream.write_all(&request.body)?;
        Message::reply(&mut BufReader::new(upstream), request.head.starts_with(b"HEAD "))
    }
}

impl Message {
    /// The next request, or `None` after the last.
    fn request(stream: &mut impl BufRead, replies: &mut impl Write) -> io::Result<Option<Self>> {
        let Some(head) = read_head(stream)? else { return Ok(None) };
        let mut message = Self { head, body: Vec::new() };
        if message.header("expect").is_some() {
            // The client waits for this before it sends the body; upstream need not be asked.
            replies.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            message.remove_header("expect");
        }
        message.read_body(stream, false)?;
        Ok(Some(message))
    }

    fn reply(stream: &mut impl BufRead, to_head: bool) -> io::Result<Self> {
        let head = read_head(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut message = Self { head, body: Vec::new() };
        let status = message.head.get(9..12).unwrap_or_default().to_vec();
        if !(to_head || status == b"204" || status == b"304") {
            message.read_body(stream, true)?;
        }
        Ok(message)
    }

    fn read_body(&mut self, stream: &mut impl BufRead, until_the_end: bool) -> io::Result<()> {
        if self.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            return read_chunks(stream, &mut self.body);
        }
        let length = self.header("content-length").and_then(|value| value.parse().ok());
        let most = length.unwrap_or(if until_the_end { u64::MAX } else { 0 });
        stream.take(most).read_to_end(&mut self.body)?;
        if length.is_some_and(|length| length > self.body.len() as u64) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn header(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(&self.head);
        let value = |line: &str| {
            line.split_once(':')
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.trim().to_ascii_lowercase())
        };
        head.lines().find_map(value)
    }

    fn remove_header(&mut self, name: &str) {
        let head = String::from_utf8_lossy(&self.head).into_owned();
        let kept = head
            .split_inclusive("\r\n")
            .filter(|line| !line.split(':').next().is_some_and(|key| key.eq_ignore_ascii_case(name)));
        self.head = kept.collect::<String>().into_bytes();
    }

    /// Whether the connection ends with it.
    fn is_last(&self) -> bool {
        let start = self.head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        start.windows(8).any(|version| version == b"HTTP/1.0")
            || self.header("connection").is_some_and(|value| value == "close")
    }
}

/// Up to and with the empty line; `None` if the stream has ended before.
fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        let begin = head.len();
        if stream.read_until(b'\n', &mut head)? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        if &head[begin..] == b"\r\n" {
            return Ok(Some(head));
        }
    }
}

/// Chunks with their lengths, as sent, up to and with the trailers.
fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let begin = body.len();
        stream.read_until(b'\n', body)?;
        let line = String::from_utf8_lossy(&body[begin..]).into_owned();
        let length = line.trim().split(';').next().and_then(|hex| u64::from_str_radix(hex, 16).ok());
        let length = length.ok_or(io::ErrorKind::InvalidData)?;
        if length == 0 {
            body.extend(read_head(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?);
            return Ok(());
        }
        stream.take(length + 2).read_to_end(body)?;
    }
}

fn refusal(status: u16, code: &str) -> Message {
    let body = format!("<Error><Code>{code}</Code><Message>the proxy says so</Message></Error>");
    let head =
        format!("HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n", body.len());
    Message { head: head.into_bytes(), body: body.into_bytes() }
}
