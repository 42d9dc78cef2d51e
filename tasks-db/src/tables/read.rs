//! Writing what reading a task's input came to: how its files stand, and its quarantine.

use std::collections::{BTreeMap, HashMap};

use neartime_model::Generation;
use serde_json::{Value, json};

use super::Write;
use super::fault::Step;
use super::records::{cut, stored};
use super::session::{Statement, statement};
use crate::{MAX_EXAMPLE_BYTES, MAX_EXAMPLES_PER_REASON, ReadSummary, TaskId};

const READ_TASK: Statement = statement!("read_task");
const READ_FILES: Statement = statement!("read_files");
const QUARANTINE_CLEAR: Statement = statement!("quarantine_clear");
const QUARANTINE_FILL: Statement = statement!("quarantine_fill");
const COUNTS_CLEAR: Statement = statement!("counts_clear");
const COUNTS_FILL: Statement = statement!("counts_fill");

/// Longest reason and column name that are kept, in bytes.
const MAX_REASON_BYTES: usize = 500;

impl Write {
    /// Replaces what the last reading left.
    pub(super) async fn write_reading(&mut self, task: TaskId, claimed: Generation, read: &ReadSummary) -> Step<()> {
        let broken = stored(u64::try_from(read.quarantined_files.len()).unwrap_or(u64::MAX));
        let query = READ_TASK.bind(task.0).bind(stored(read.lines)).bind(stored(read.rows));
        query.bind(broken).run(self.conn()).await?;
        let query = READ_FILES.bind(task.0).bind(broken_files(read)).bind(claimed.0);
        query.run(self.conn()).await?;
        QUARANTINE_CLEAR.bind(task.0).run(self.conn()).await?;
        QUARANTINE_FILL.bind(task.0).bind(entries(read)).run(self.conn()).await?;
        COUNTS_CLEAR.bind(task.0).run(self.conn()).await?;
        COUNTS_FILL.bind(task.0).bind(counts(read)).run(self.conn()).await?;
        Ok(())
    }
}

fn broken_files(read: &ReadSummary) -> String {
    let files = read.quarantined_files.iter();
    let pairs = files.map(|file| json!([file.key.as_str(), cut(&file.reason, MAX_REASON_BYTES)]));
    Value::Array(pairs.collect()).to_string()
}

/// Whole files first, then the first examples of each reason.
fn entries(read: &ReadSummary) -> String {
    let files = read.quarantined_files.iter();
    let files = files.map(|file| json!([file.key.as_str(), null, null, cut(&file.reason, MAX_REASON_BYTES), ""]));
    let mut kept: HashMap<&str, usize> = HashMap::new();
    let lines = read.examples.iter().filter(|example| {
        let kept = kept.entry(&example.reason).or_default();
        *kept += 1;
        *kept <= MAX_EXAMPLES_PER_REASON
    });
    let lines = lines.map(|example| {
        let column = example.column.as_deref().map(|column| cut(column, MAX_REASON_BYTES));
        let reason = cut(&example.reason, MAX_REASON_BYTES);
        let text = cut(&example.text, MAX_EXAMPLE_BYTES);
        json!([example.key.as_str(), example.line.map(stored), column, reason, text])
    });
    Value::Array(files.chain(lines).collect()).to_string()
}

/// Counts by reason, each broken file one more.
fn counts(read: &ReadSummary) -> String {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for count in read.counts.iter().filter(|count| count.count > 0) {
        *counts.entry(cut(&count.reason, MAX_REASON_BYTES)).or_default() += count.count;
    }
    for file in &read.quarantined_files {
        *counts.entry(cut(&file.reason, MAX_REASON_BYTES)).or_default() += 1;
    }
    Value::Array(counts.into_iter().map(|(reason, count)| json!([reason, stored(count)])).collect()).to_string()
}
