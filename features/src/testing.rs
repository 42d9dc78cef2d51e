//! What the tests of features share.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use neartime_engine::Feature;
use neartime_engine::trial::rows_of;

/// The rows of a feature over these events, a line each, cells joined by spaces; the first line is the header.
pub(crate) async fn lines_of(feature: impl Feature + 'static, events: RecordBatch) -> Vec<String> {
    let table = pretty_format_batches(&[rows_of(feature, events).await]).unwrap().to_string();
    let cells = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" ");
    table.lines().filter(|line| line.starts_with('|')).map(cells).collect()
}
