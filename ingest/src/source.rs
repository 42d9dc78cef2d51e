//! A source: what the configuration says of a stream of raw files, checked.
//!
//! This is the description only. Finding files is [`crate::discover`]'s work, reading them [`crate::read`]'s.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use neartime_model::{ChunkWidth, Classify, ErrorKind, Instant, SourceName, Span};

use crate::layout::Layout;
use crate::location::Location;

mod column;
mod format;

pub(crate) use column::timestamp_type;
pub use column::{Column, ColumnKind, InvalidColumn, Origin, TimeUnit, Zone};
pub use format::{Delimited, Format, Header, InvalidFormat, Pattern};

/// The column of every source that holds the start of the row's chunk: TIMESTAMP(ms, UTC), never null.
pub const DATA_CHUNK: &str = "data_chunk";

/// When a chunk is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Due {
    /// At the end of the chunk plus the source's delay.
    #[default]
    End,
    /// When its first file is registered, and again at every later one.
    Landing,
}

/// What becomes of a row whose event time lies outside its chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outside {
    /// It stays, and is counted.
    #[default]
    Keep,
    /// It is dropped, counted and quarantined.
    Quarantine,
}

/// What the configuration says of a source, not yet checked.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// Its name.
    pub name: SourceName,
    /// Where its files lie.
    pub location: Location,
    /// How their keys are built.
    pub layout: Layout,
    /// How long a chunk is.
    pub width: ChunkWidth,
    /// How long after its end a chunk becomes due.
    pub delay: Span,
    /// When a chunk is due.
    pub due: Due,
    /// How lines become fields.
    pub format: Format,
    /// What features may read; nothing else is parsed.
    pub columns: Vec<Column>,
    /// The column that holds the event time: by default the only timestamp column; with none, [`DATA_CHUNK`].
    pub event_time: Option<String>,
    /// What becomes of rows outside their chunk.
    pub outside: Outside,
    /// Rows later than the chunk's end by more than this are quarantined.
    pub max_ahead: Span,
    /// Rows earlier than the chunk's start by more than this are quarantined.
    pub max_behind: Span,
    /// The column that tells one event from another: within a task the first by event time, key and line stays.
    pub unique: Option<String>,
    /// Columns without which a line is quarantined.
    pub required: Vec<String>,
    /// Files with a layout time before this are not registered.
    pub since: Option<Instant>,
    /// How far behind a path's newest seen day a pass of discovery begins.
    pub look_back: Span,
}

impl SourceSpec {
    /// A source with every optional setting at its default: ten-minute chunks, due three minutes after their end.
    pub fn new(name: SourceName, location: Location, layout: Layout, format: Format, columns: Vec<Column>) -> Self {
        Self {
            name,
            location,
            layout,
            width: ChunkWidth::TEN_MINUTES,
            delay: Span::from_mins(3),
            due: Due::End,
            format,
            columns,
            event_time: None,
            outside: Outside::Keep,
            max_ahead: Span::from_days(1),
            max_behind: Span::from_days(30),
            unique: None,
            required: Vec::new(),
            since: None,
            look_back: Span::from_days(2),
        }
    }
}

/// A source whose settings agree with one another. Reads like its [`SourceSpec`].
#[derive(Clone, Debug)]
pub struct Source {
    spec: SourceSpec,
    event_time: String,
    schema: SchemaRef,
}

/// A setting of a source that contradicts another, or means nothing.
#[derive(Debug, thiserror::Error)]
#[error("source `{name}`: {problem}")]
pub struct InvalidSource {
    name: SourceName,
    problem: String,
}

impl Classify for InvalidSource {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Source {
    /// Checks `spec`; an error names the setting and what to do.
    pub fn new(mut spec: SourceSpec) -> Result<Self, InvalidSource> {
        let checked = check(&mut spec).map_err(|problem| InvalidSource { name: spec.name.clone(), problem });
        let event_time = checked?;
        let schema = events_schema(&spec);
        Ok(Self { spec, event_time, schema })
    }

    /// The columns that a feature may read: the configured ones (text is Utf8View, `list<string>` List<Utf8View>,
    /// timestamps TIMESTAMP(ms, UTC)), then the layout's captures (Utf8View), then [`DATA_CHUNK`]. All but the last
    /// may be null.
    pub fn events_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The column of [`Self::events_schema`] that holds the event time; [`DATA_CHUNK`] for a source without one.
    pub fn event_time(&self) -> &str {
        &self.event_time
    }

    /// The position of the event time among the configured columns; `None` for a source without one.
    pub(crate) fn event_time_column(&self) -> Option<usize> {
        self.column_index(&self.event_time)
    }

    /// The position of the configured column `name`.
    pub(crate) fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

impl Deref for Source {
    type Target = SourceSpec;
    fn deref(&self) -> &SourceSpec {
        &self.spec
    }
}

/// The captures of a layout, path captures first.
pub(crate) fn captures(layout: &Layout) -> impl Iterator<Item = &str> {
    layout.path_captures().chain(layout.row_captures())
}

fn events_schema(spec: &SourceSpec) -> SchemaRef {
    let columns = spec.columns.iter().map(|column| Field::new(&column.name, column.kind.data_type(), true));
    let captures = captures(&spec.layout).map(|capture| Field::new(capture, DataType::Utf8View, true));
    let chunk = Field::new(DATA_CHUNK, timestamp_type(), false);
    Arc::new(Schema::new(columns.chain(captures).chain([chunk]).collect::<Vec<_>>()))
}

/// Checks the settings against one another and answers with the event time's column.
fn check(spec: &mut SourceSpec) -> Result<String, String> {
    if spec.columns.is_empty() {
        return Err("it has no columns: name in [source.columns] what features may read".to_owned());
    }
    check_names(spec)?;
    for column in &mut spec.columns {
        column.check().map_err(|error| error.to_string())?;
        spec.format.check_column(column).map_err(|error| error.to_string())?;
    }
    check_layout(spec)?;
    for name in &spec.required {
        known(spec, "required", name)?;
    }
    if let Some(name) = &spec.unique {
        let column = known(spec, "unique", name)?;
        if column.kind == ColumnKind::ListString {
            return Err(format!("unique = \"{name}\" is a list: take a column with one value a row"));
        }
    }
    event_time(spec)
}

fn check_names(spec: &SourceSpec) -> Result<(), String> {
    let mut seen = HashSet::from([DATA_CHUNK]);
    for capture in captures(&spec.layout) {
        if !seen.insert(capture) {
            return Err(format!(
                "the layout captures `{capture}` twice, or under the name of a column of every source"
            ));
        }
    }
    for Column { name, .. } in &spec.columns {
        if name.is_empty() {
            return Err("a column has no name".to_owned());
        }
        if !seen.insert(name) {
            return Err(format!("the column `{name}` is there already, as a column or a capture: rename one of them"));
        }
    }
    Ok(())
}

fn check_layout(spec: &SourceSpec) -> Result<(), String> {
    let (finest, width) = (spec.layout.finest(), spec.width);
    if finest > width.span() {
        return Err(format!(
            "its layout tells time to {finest} only, which is coarser than a chunk of {width}: widen the chunk"
        ));
    }
    Ok(())
}

fn known<'a>(spec: &'a SourceSpec, setting: &str, name: &str) -> Result<&'a Column, String> {
    let find = || spec.columns.iter().find(|column| column.name == name);
    find().ok_or_else(|| format!("{setting} names `{name}`, which is not among its columns"))
}

fn event_time(spec: &SourceSpec) -> Result<String, String> {
    let is_timestamp = |column: &&Column| matches!(column.kind, ColumnKind::Timestamp { .. });
    match spec.event_time.as_deref() {
        Some(DATA_CHUNK) => Ok(DATA_CHUNK.to_owned()),
        Some(name) => match known(spec, "event_time", name)? {
            column if is_timestamp(&column) => Ok(name.to_owned()),
            _ => Err(format!("event_time names `{name}`, which is no timestamp")),
        },
        None => {
            let mut timestamps = spec.columns.iter().filter(is_timestamp);
            match (timestamps.next(), timestamps.next()) {
                (None, _) => Ok(DATA_CHUNK.to_owned()),
                (Some(column), None) => Ok(column.name.clone()),
                (Some(one), Some(other)) => Err(format!(
                    "`{}` and `{}` are both timestamps: name the one to go by in event_time",
                    one.name, other.name
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests;
