//! Formats other than JSON, from files to rows.

use super::*;

#[tokio::test]
async fn delimited_files_are_read() {
    let format = Format::Delimited(Delimited::new("|", "\"", Header::FirstLine).unwrap());
    let columns = [
        ("date", ColumnKind::iso()),
        ("network", ColumnKind::Int),
        ("ecpm", ColumnKind::Float),
        ("name", ColumnKind::String),
    ];
    let text = "date|network|name|ecpm\n2018-08-01|10|\"a|b\nc\"|5.4\n\n2018-08-01|||\n2018-08-01|x|n|1e999\n2018-08-01|1\n\"2018-08-01\"x|1|n|1\n|1|n|1\n";
    let mut raw = Raw::new(format, &columns).text(text).await;
    raw.spec.max_behind = Span::from_days(30);
    let (rows, report) = raw.read().await.unwrap();
    let tail = "olx|a|2018-08-01T10:40:00Z";
    let date = "2018-08-01T00:00:00Z";
    assert_eq!(
        rows,
        [format!("{date}|-|-|n|{tail}"), format!("{date}|-|-||{tail}"), format!("{date}|10|5.4|a|b\nc|{tail}")]
    );
    let expected = [
        ("bad_quotes", 1, vec![8]),
        ("wrong_field_count", 1, vec![7]),
        ("missing_event_time", 1, vec![9]),
        ("misfit", 2, vec![6, 6]),
    ];
    assert_eq!(refused(&report), expected);
    assert_eq!(report.lines, 6);
}

#[tokio::test]
async fn apache_logs_are_read() {
    let format = Format::Pattern(Pattern::new("apache_combined").unwrap());
    let columns = [
        ("client", ColumnKind::String),
        ("user", ColumnKind::String),
        ("time", ColumnKind::iso()),
        ("path", ColumnKind::String),
        ("status", ColumnKind::Int),
        ("bytes", ColumnKind::Int),
        ("agent", ColumnKind::String),
    ];
    let lines = [
        &br#"127.0.0.1 - frank [01/Aug/2018:12:42:36 +0200] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://x/" "Mozilla \"5\"""#[..],
        br#"::1 - - [01/Aug/2018:10:42:36 +0000] "-" 408 - "-" "-""#,
        b"::1 - - [01/Aug/2018:10:42:36 +0000] \"GET /\xff HTTP/1.1\" 200 1 \"-\" \"-\"",
        b"no log line",
        br#"::2 - - [01/Aug/2018:10:42:36 +0000] "GET /x\"q HTTP/1.1" 200 1 "-" "-""#,
    ];
    let raw = Raw::new(format, &columns).put(KEY, gzip(&lines.join(&b'\n'))).await;
    let (rows, report) = raw.read().await.unwrap();
    let tail = "olx|a|2018-08-01T10:40:00Z";
    let expected = [
        format!(r#"127.0.0.1|frank|2018-08-01T10:42:36Z|/apache_pb.gif|200|2326|Mozilla \"5\"|{tail}"#),
        format!("::1|-|2018-08-01T10:42:36Z|-|200|1|-|{tail}"),
        format!("::1|-|2018-08-01T10:42:36Z|-|408|-|-|{tail}"),
        format!("::2|-|2018-08-01T10:42:36Z|/x\\\"q|200|1|-|{tail}"),
    ];
    assert_eq!(rows, expected);
    assert_eq!(refused(&report), [("no_match", 1, vec![4]), ("misfit", 1, vec![3])]);
}

#[tokio::test]
async fn patterns_of_the_user_name_their_groups() {
    let format = Format::Pattern(Pattern::new(r"^(?<at>\d+) (?<who>\S+)(?: (?<why>.*))?$").unwrap());
    let columns =
        [("at", ColumnKind::timestamp(TimeUnit::Secs)), ("who", ColumnKind::String), ("why", ColumnKind::String)];
    let raw = Raw::new(format, &columns).text("1533120154 u1 because\n 1533120155 u2 \nx u3\n").await;
    let (rows, report) =
        raw.read_wanted(|wanted| Wanted { columns: vec!["who".into(), "why".into()], ..wanted }).await.unwrap();
    assert_eq!(rows, ["u1|because", "u2|-"]);
    assert_eq!(refused(&report), [("no_match", 1, vec![3])]);
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_do_not_cut_a_pattern_short() {
    let format = Format::Pattern(Pattern::new(r"user=(?<user>\S*)(?: amount=(?<amount>\S+))?").unwrap());
    let columns = [("user", ColumnKind::String), ("amount", ColumnKind::Int)];
    let lines = b"user=jos\xe9 amount=3\nuser=jos amount=4\nuser=jos\xc3\xa9 amount=5\n";
    let raw = Raw::new(format, &columns).put(KEY, gzip(lines)).await;
    let (rows, report) = raw.read().await.unwrap();
    let tail = "olx|a|2018-08-01T10:40:00Z";
    assert_eq!(rows, [format!("-|3|{tail}"), format!("jos|4|{tail}"), format!("josé|5|{tail}")]);
    assert_eq!(refused(&report), [("misfit", 1, vec![1])]);
}

#[tokio::test]
async fn a_file_whose_lines_end_in_carriage_returns_alone_is_refused() {
    let format = || Format::Delimited(Delimited::new(",", "\"", Header::FirstLine).unwrap());
    let columns = [("ts", ColumnKind::iso()), ("uid", ColumnKind::String)];
    let text = "ts,uid\r2024-02-29T12:20:00Z,u1\r2024-02-29T12:20:01Z,u2\r";
    let raw = Raw::new(format(), &columns).put(KEY, gzip(text.as_bytes())).await;
    let refused = raw.read().await.unwrap_err().to_string();
    assert!(refused.contains("carriage returns"), "{refused}");
    // Within quotes they are part of a name.
    let raw = Raw::new(format(), &columns).text("ts,uid,\"of\r\nwhom\"\r\n2018-08-01T10:42:34Z,u1,x\r\n").await;
    let (rows, report) = raw.read().await.unwrap();
    assert_eq!(rows, ["2018-08-01T10:42:34Z|u1|olx|a|2018-08-01T10:40:00Z"], "{report:?}");
}
