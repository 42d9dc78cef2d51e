//! Any bytes in any format: nothing panics, and every line is accounted for.

use proptest::prelude::*;

use super::*;
use crate::lines::Lines;
use crate::read::{ReadRequest, Wanted};
use crate::source::{Column, ColumnKind, Delimited, Format, Header, Origin, Pattern, SourceSpec, TimeUnit};
use crate::testing::Bytes;
use crate::{Layout, testing};

fn source(format: Format) -> Arc<Source> {
    let location = testing::memory(Arc::new(object_store::memory::InMemory::new()));
    let layout = Layout::parse("%Y/%m/%d/%H%M").unwrap();
    let mut columns = vec![
        Column::new("s", ColumnKind::String),
        Column::new("i", ColumnKind::Int),
        Column::new("f", ColumnKind::Float),
        Column::new("b", ColumnKind::Bool),
        Column::new("t", ColumnKind::timestamp(TimeUnit::Secs)),
        Column::new("l", ColumnKind::ListString),
    ];
    if let Format::Json = format {
        let path = |path: &str| Origin::Path(path.to_owned());
        columns.push(Column::new("deep", ColumnKind::String).from(path("l.s")));
        columns.push(Column::new("each", ColumnKind::ListString).from(path("l.i[].s")));
    }
    let mut spec = SourceSpec::new("s".parse().unwrap(), location, layout, format, columns);
    spec.event_time = Some("t".to_owned());
    spec.required = vec!["s".to_owned()];
    spec.max_behind = neartime_model::Span::from_days(40_000);
    Arc::new(Source::new(spec).unwrap())
}

/// Takes all lines of a file and gives the findings and the number of rows in its batches.
fn take(source: &Arc<Source>, file: &[u8]) -> Option<(Findings, usize)> {
    let chunk = source.width.chunk_of("2018-08-01T10:40:00Z".parse().unwrap());
    let request = ReadRequest { batch_rows: 3, ..ReadRequest::new(chunk, Vec::new(), Wanted::everything(source)) };
    let mut rows = Rows::new(Arc::new(request.plan(source, &[]).unwrap()));
    let current = CurrentFile { key: FileKey::new("2018/08/01/1040"), number: 0, captures: Vec::new() };
    let (mut lines, mut bytes) = (Lines::new(), Bytes(file));
    let quoting = rows.begin_file();
    lines.begin_file(quoting);
    let (mut findings, mut sent) = (Findings::default(), 0);
    while let Some((number, line)) = lines.next(&mut bytes).unwrap() {
        rows.take(&line, number, &current, &mut findings).ok()?;
        if rows.is_full() {
            sent += rows.finish_batch(&current).map_or(0, |batch| batch.num_rows());
        }
    }
    sent += rows.finish_batch(&current).map_or(0, |batch| batch.num_rows());
    Some((findings, sent))
}

/// Text made of what the formats care about.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "{", "}", "[", "]", "\"", ",", ":", "\n", "\r\n", "\\", "\\u12", "\\ud800", "null", "true", "1", "-", ".", "e9",
            "\"s\":", "\"i\":", "\"f\":", "\"b\":", "\"t\":", "\"l\":", "\"s\":\"x\"", "\"t\":1533120000", "\"\"", "|", "s|i|f|b|t|l\n",
            "x|1|1.5|true|1533120000|y\n", "{\"s\":\"x\",\"t\":1533120000,\"l\":[{\"s\":\"\\ud83d\"}]}\n",
            "{\"s\":\"x\",\"t\":\"1533120001.5\",\"i\":\"?\",\"l\":{\"s\":1,\"i\":[{\"s\":\"\\n\"},{}]}}\n",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_line_is_accounted_for(file in file()) {
        let pattern = Pattern::new(r"^(?<s>[^|]*)\|(?<i>[^|]*)\|?(?<f>[^|]*)(?<b>t?)\|(?<t>\d*)\|?(?<l>.*)$").unwrap();
        let formats = [
            Format::Json,
            Format::Delimited(Delimited::new("|", "\"", Header::FirstLine).unwrap()),
            Format::Delimited(Delimited::new("|", "", Header::Names(["s", "i", "f", "b", "t", "l"].map(str::to_owned).into())).unwrap()),
            Format::Pattern(pattern),
        ];
        for format in formats {
            if let Some((findings, sent)) = take(&source(format), &file) {
                let report = findings.into_report(0);
                prop_assert_eq!(report.rows, sent as u64);
                prop_assert_eq!(report.lines, report.rows + report.dropped());
                prop_assert!(report.examples.len() as u64 <= report.counts.values().sum());
            }
        }
    }
}
