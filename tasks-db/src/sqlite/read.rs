//! Writing what reading a task's input came to: how its files stand, and its quarantine.

use std::collections::{BTreeMap, HashMap};

use neartime_model::Generation;
use serde_json::{Value, json};

use super::Write;
use super::fault::Step;
use super::records::{cut, stored};
use crate::{MAX_EXAMPLE_BYTES, MAX_EXAMPLES_PER_REASON, ReadSummary, TaskId};

const READ_TASK: &str = include_str!("../../queries/sqlite/read_task.sql");
const READ_FILES: &str = include_str!("../../queries/sqlite/read_files.sql");
const QUARANTINE_CLEAR: &str = include_str!("../../queries/sqlite/quarantine_clear.sql");
const QUARANTINE_FILL: &str = include_str!("../../queries/sqlite/quarantine_fill.sql");
const COUNTS_CLEAR: &str = include_str!("../../queries/sqlite/counts_clear.sql");
const COUNTS_FILL: &str = include_str!("../../queries/sqlite/counts_fill.sql");

/// Longest reason and column name that are kept, in bytes.
const MAX_REASON_BYTES: usize = 500;

impl Write {
    /// Replaces what the last reading left.
    pub(super) async fn write_reading(&mut self, task: TaskId, claimed: Generation, read: &ReadSummary) -> Step<()> {
        let broken = stored(u64::try_from(read.quarantined_files.len()).unwrap_or(u64::MAX));
        let query = sqlx::query(READ_TASK).bind(task.0).bind(stored(read.lines)).bind(stored(read.rows));
        query.bind(broken).execute(self.conn()).await?;
        let query = sqlx::query(READ_FILES).bind(task.0).bind(broken_files(read)).bind(claimed.0);
        query.execute(self.conn()).await?;
        sqlx::query(QUARANTINE_CLEAR).bind(task.0).execute(self.conn()).await?;
        sqlx::query(QUARANTINE_FILL).bind(task.0).bind(entries(read)).execute(self.conn()).await?;
        sqlx::query(COUNTS_CLEAR).bind(task.0).execute(self.conn()).await?;
        sqlx::query(COUNTS_FILL).bind(task.0).bind(counts(read)).execute(self.conn()).await?;
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
