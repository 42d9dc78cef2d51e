//! How rows become values: stored text and numbers checked on the way out.

use std::str::FromStr;

use neartime_model::{
    Chunk, ChunkWidth, FeatureName, FeatureVersion, FileKey, FileVersion, Generation, Instant, SourceName, Span,
};
use serde_json::Value;

use super::fault::{Step, damaged};
use crate::{FileState, InputFile, Lane, ReasonCount, RunState, TaskState};

/// Longest error or note that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 4096;

pub(super) fn source_name(text: &str) -> Step<SourceName> {
    SourceName::new(text).map_err(damaged)
}

pub(super) fn feature_name(text: &str) -> Step<FeatureName> {
    FeatureName::new(text).map_err(damaged)
}

pub(super) fn feature_version(number: i64) -> Step<FeatureVersion> {
    u32::try_from(number).map(FeatureVersion).map_err(damaged)
}

pub(super) fn task_state(text: &str) -> Step<TaskState> {
    TaskState::from_str(text).map_err(damaged)
}

pub(super) fn lane(text: &str) -> Step<Lane> {
    [Lane::Fresh, Lane::Backfill]
        .into_iter()
        .find(|lane| lane.as_str() == text)
        .ok_or_else(|| damaged(format!("`{text}` is no lane")))
}

pub(super) fn run_state(text: &str) -> Step<RunState> {
    [RunState::Waiting, RunState::Done, RunState::Superseded, RunState::Parked]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| damaged(format!("`{text}` is no state of a run")))
}

pub(super) fn file_state(text: &str) -> Step<FileState> {
    [FileState::Present, FileState::Quarantined, FileState::Missing, FileState::Accepted]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| damaged(format!("`{text}` is no state of a file")))
}

pub(super) fn chunk(data_chunk: i64, width: i64) -> Step<Chunk> {
    let width = ChunkWidth::new(Span::from_micros(width)).map_err(damaged)?;
    Ok(width.chunk_of(Instant::from_micros(data_chunk)))
}

pub(super) fn count(number: i64) -> Step<u64> {
    u64::try_from(number).map_err(damaged)
}

pub(super) fn small_count(number: i64) -> Step<u32> {
    u32::try_from(number).map_err(damaged)
}

pub(super) fn instant(micros: Option<i64>) -> Option<Instant> {
    micros.map(Instant::from_micros)
}

/// A number on its way in; counts stay far below the limit.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Text for people on its way in: without NUL, which Postgres refuses, and not too long.
pub(super) fn stored_text(text: &str) -> String {
    cut(text, MAX_TEXT_BYTES)
}

/// At most `limit` bytes, whole characters, NUL replaced.
pub(super) fn cut(text: &str, limit: usize) -> String {
    let end = text.floor_char_boundary(limit);
    text[..end].replace('\0', "\u{fffd}")
}

pub(super) fn reason_counts_to_json(counts: &[ReasonCount]) -> String {
    let pairs = counts.iter().map(|count| Value::from(vec![cut(&count.reason, 200).into(), Value::from(count.count)]));
    Value::Array(pairs.collect()).to_string()
}

pub(super) fn reason_counts_from_json(text: &str) -> Step<Vec<ReasonCount>> {
    let pairs: Vec<(String, u64)> = serde_json::from_str(text).map_err(damaged)?;
    Ok(pairs.into_iter().map(|(reason, count)| ReasonCount { reason, count }).collect())
}

/// A list of strings as a statement takes it.
pub(super) fn text_list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    Value::Array(items.into_iter().map(Value::from).collect()).to_string()
}

/// A list of numbers as a statement takes it.
pub(super) fn number_list(items: impl IntoIterator<Item = i64>) -> String {
    Value::Array(items.into_iter().map(Value::from).collect()).to_string()
}

/// A file of a task's input.
#[derive(serde::Deserialize, sqlx::FromRow)]
pub(super) struct InputFileRecord {
    key: String,
    version: String,
    size: i64,
}

impl InputFileRecord {
    pub(super) fn decode(self) -> Step<InputFile> {
        let size_bytes = count(self.size)?;
        Ok(InputFile { key: FileKey::new(self.key), version: FileVersion::new(self.version), size_bytes })
    }
}

pub(super) fn generation(number: i64) -> Generation {
    Generation(number)
}
