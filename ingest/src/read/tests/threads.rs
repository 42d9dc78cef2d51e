//! The same rows and reports whatever the threads, and files that go from one thread to another.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Int64Type, TimestampMillisecondType};

use super::*;

#[tokio::test]
async fn the_first_hundred_examples_are_the_same_whatever_the_threads() {
    let mut raw = Raw::json(&[("a", "int")]);
    for file in 0..6 {
        let text: String = (0..60).map(|line| format!("bad {file} {line}\n{{\"a\":\"no\"}}\n")).collect();
        raw = raw.put(&format!("olx/2018/08/01/104{file}-a.gz"), gzip(text.as_bytes())).await;
    }
    let mut reports = Vec::new();
    for threads in [1, 3, 12] {
        raw.threads = threads;
        reports.push(raw.read().await.unwrap().1);
    }
    assert_eq!(reports[0], reports[1]);
    assert_eq!(reports[0], reports[2]);
    let report = &reports[0];
    assert_eq!((report.count(Reason::NotJsonObject), report.count(Reason::Misfit)), (360, 360));
    assert_eq!(report.examples.len(), 200);
    assert_eq!(report.examples[99].text, "bad 1 39");
}

#[tokio::test]
async fn dropping_a_read_stops_it() {
    let text = "{\"a\":1}\n".repeat(500_000);
    let mut raw = Raw::json(&[("a", "int")]).text(&text).await;
    raw.batch_rows = 10;
    let source = Arc::new(Source::new(raw.spec.clone()).unwrap());
    let mut reading = read(&source, raw.request(&source), &SessionContext::new().task_ctx());
    reading.batches.recv().await.unwrap();
    assert!(matches!(reading.report().await, Err(ReadError::Cancelled)));
}

#[tokio::test]
async fn a_file_goes_on_where_an_idle_thread_takes_its_inflating_over() {
    let mut random = fastrand::Rng::with_seed(9);
    let text: String = (0..300_000).map(|n| format!("{{\"a\":{n},\"x\":\"{:016x}\"}}\n", random.u64(..))).collect();
    let raw = Raw::json(&[("a", "int")]).text(&text).await;
    let (source, input) = (Arc::new(Source::new(raw.spec.clone()).unwrap()), raw.files[0].clone());
    let (sender, _receiver) = mpsc::channel(1);
    let reader = Reader::new(&source, sender);
    let read = move || {
        std::thread::scope(|scope| {
            let mut bytes = FileBytes::new(scope, InflatedFile::open(&reader, &input).unwrap());
            let (mut found, mut begin) = (Vec::new(), 0);
            let mut buffer = vec![0; 1 << 20];
            for reads in 0.. {
                match reads {
                    3 => reader.leave_idle(),
                    _ => assert_eq!(bytes.is_ahead(), reads > 3),
                }
                let new = bytes.read_behind(&mut buffer, begin..begin).unwrap();
                if new.is_empty() {
                    break;
                }
                begin = new.end;
                found.extend_from_slice(&buffer[new]);
            }
            let size = bytes.size();
            assert_eq!((size.stored, size.inflated), (input.size, found.len() as u64));
            found
        })
    };
    assert!(tokio::task::spawn_blocking(read).await.unwrap() == text.as_bytes());
}

#[tokio::test]
async fn many_rows_come_whole_through_small_batches_and_many_threads() {
    let mut raw = Raw::json(&[("a", "int"), ("ts", "timestamp")]);
    for file in 0..5_u32 {
        let text: String = (0..4_000)
            .map(|n| format!("{{\"x\":[{n}],\"ts\":\"2018-08-01T10:4{}:00Z\",\"a\":{}}}\n", n % 10, file * 4_000 + n))
            .collect();
        raw = raw.put(&format!("olx/2018/08/01/104{file}-a.gz"), gzip(text.as_bytes())).await;
    }
    for threads in [1, 2, 16] {
        (raw.threads, raw.batch_rows) = (threads, 777);
        let source = Arc::new(Source::new(raw.spec.clone()).unwrap());
        let mut reading = read(&source, raw.request(&source), &SessionContext::new().task_ctx());
        let mut batches = Vec::new();
        while let Some(batch) = reading.batches.recv().await {
            batches.push(batch);
        }
        assert_eq!(reading.report().await.unwrap().rows, 20_000);
        let all = concat_batches(&source.events_schema(), &batches).unwrap();
        let mut numbers: Vec<_> = all.column(0).as_primitive::<Int64Type>().values().to_vec();
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..20_000));
        let times = all.column(1).as_primitive::<TimestampMillisecondType>();
        let start = CHUNK.parse::<Instant>().unwrap().as_millis();
        assert!(times.values().iter().all(|at| (start..start + 600_000).contains(at)));
    }
}
