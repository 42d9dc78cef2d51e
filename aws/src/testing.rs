//! What the tests of several modules share: a connection to the server that the environment names, and a proxy that
//! makes faults in front of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use neartime_model::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Aws, AwsSettings};

/// Where the server is: `http://127.0.0.1:PORT`. `None`, after a word on standard error, where there is none.
pub(crate) fn server() -> Option<String> {
    let server = std::env::var("NEARTIME_TEST_AWS").ok();
    if server.is_none() {
        eprintln!("skipped: NEARTIME_TEST_AWS names no server (infra/dev/services)");
    }
    server
}

pub(crate) async fn connect(endpoint: &str) -> Aws {
    let settings = AwsSettings {
        region: Some("us-east-1".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        kinesis_endpoint: Some(endpoint.to_owned()),
    };
    Aws::connect(settings, Arc::new(SystemClock)).await.unwrap().impatient()
}

/// A name that nothing else has.
pub(crate) fn unique(what: &str) -> String {
    format!("{what}-{:016x}", fastrand::u64(..))
}

/// What the proxy does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing: the server answers.
    Pass,
    /// The server does it, and the connection ends without an answer.
    LoseAnswer,
    /// The server does it, and another answer is given.
    DoAndAnswer(u16, &'static str),
    /// The server never sees it.
    Answer(u16, &'static str),
    /// The server never sees it; the answer is this, and well.
    Say(&'static str),
    /// The answer ends after so many bytes of its body.
    CutAnswer(usize),
}

type Plan = dyn Fn(&str, usize) -> Fault + Send + Sync;

/// Makes faults in front of a server: `plan` is asked with each request's head and number. Gives its address.
pub(crate) async fn faulty(server: &str, plan: impl Fn(&str, usize) -> Fault + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = server.trim_start_matches("http://").to_owned();
    let plan: Arc<Plan> = Arc::new(plan);
    let count = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, plan, count) = (server.clone(), Arc::clone(&plan), Arc::clone(&count));
            // A client that goes away is its own affair.
            tokio::spawn(async move { serve(client, &server, &*plan, &count).await.ok() });
        }
    });
    address
}

/// Answers one request, then closes.
async fn serve(mut client: TcpStream, server: &str, plan: &Plan, count: &AtomicUsize) -> std::io::Result<()> {
    let request = read_request(&mut client).await?;
    let head = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(request.len());
    let fault = plan(&String::from_utf8_lossy(&request[..head]), count.fetch_add(1, Ordering::SeqCst));
    if let Fault::Answer(status, code) = fault {
        return client.write_all(&answer(status, code)).await;
    }
    if let Fault::Say(body) = fault {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        return client.write_all(format!("{head}{body}").as_bytes()).await;
    }
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(&request).await?;
    let mut answered = Vec::new();
    upstream.read_to_end(&mut answered).await?;
    match fault {
        Fault::LoseAnswer => Ok(()),
        Fault::DoAndAnswer(status, code) => client.write_all(&answer(status, code)).await,
        Fault::CutAnswer(bytes) => {
            let head = answered.windows(4).position(|end| end == b"\r\n\r\n").map_or(answered.len(), |at| at + 4);
            client.write_all(&answered[..answered.len().min(head + bytes)]).await
        }
        Fault::Pass | Fault::Answer(..) | Fault::Say(_) => client.write_all(&answered).await,
    }
}

/// A whole request, asking the server to close after it.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break at + 4;
        }
        match client.read(&mut buffer).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    while bytes.len() < head + length.unwrap_or(0) {
        match client.read(&mut buffer).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
    bytes.splice(head - 2..head - 2, *b"Connection: close\r\n");
    Ok(bytes)
}

fn answer(status: u16, code: &str) -> Vec<u8> {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
    let json = format!("{{\"__type\":\"{code}\",\"message\":\"as the test wants it\"}}");
    let (kind, body) = if code.ends_with("Exception") { ("x-amz-json-1.1", json) } else { ("xml", body) };
    let length = body.len();
    format!("HTTP/1.1 {status} Fault\r\nContent-Type: application/{kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}

/// A form posted to one of the server's other services, as its client would; gives the answer.
pub(crate) async fn post(server: &str, service: &str, form: &str) -> String {
    let address = server.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=test/20180801/us-east-1/{service}/aws4_request, SignedHeaders=host, \
         Signature=0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
