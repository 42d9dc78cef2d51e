//! `[[source]]`: a stream of raw files.

use std::path::Path;
use std::sync::Arc;

use neartime_ingest::reservoir::Reservoir;
use neartime_ingest::{
    Column, ColumnKind, Delimited, Due, Format, Header, Origin, Outside, Pattern, Source, SourceSpec,
};
use neartime_ingest::{InvalidLocation, Layout, Location, TimeUnit, Zone};
use neartime_model::{ChunkWidth, SourceName, Span};
use object_store::memory::InMemory;

use super::Place;
use super::section::Section;
use super::value::Value;

/// A `[[source]]` table: the source itself, and the channels by which its files are found.
#[derive(Clone, Debug)]
pub(crate) struct SourceConfig {
    pub(crate) source: Arc<Source>,
    pub(crate) location: Place,
    /// Besides listing, which is always on.
    pub(crate) channels: Vec<Channel>,
    /// Channels that are described and that `discover` does not name.
    pub(crate) idle: Vec<&'static str>,
}

impl SourceConfig {
    /// Whether its files are made from a stream of events.
    pub(crate) fn is_filled_from_stream(&self) -> bool {
        let carries_events = |channel: &Channel| matches!(channel, Channel::Kinesis { carries: Carries::Events, .. });
        self.channels.iter().any(carries_events)
    }
}

/// A way to hear of new files before a listing finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Sqs { queue: String },
    Kinesis { stream: String, carries: Carries },
}

impl Channel {
    /// As `discover` writes it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqs { .. } => "sqs",
            Self::Kinesis { .. } => "kinesis",
        }
    }
}

/// What the records of a Kinesis stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    Keys,
    Events,
}

/// How a source's files become fields, as its `format` names it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FormatName {
    Json,
    Delimited,
    Pattern,
}

const FORMATS: [(&str, FormatName); 3] =
    [("json", FormatName::Json), ("delimited", FormatName::Delimited), ("pattern", FormatName::Pattern)];

/// Reads every `[[source]]`; their names must differ.
pub(super) fn read_all(root: &mut Section<'_>, base: &Path) -> Vec<SourceConfig> {
    let mut sources: Vec<SourceConfig> = Vec::new();
    let sections = root.sections("source");
    if sections.is_empty() {
        root.problem("the configuration has no [[source]]");
    }
    for section in sections {
        let named = section.name();
        let problem = section.problem_later();
        let Some(source) = read(section, base) else { continue };
        if sources.iter().any(|other| other.source.name == source.source.name) {
            problem(format!("{named} stands there twice"));
        }
        sources.push(source);
    }
    sources
}

fn read(mut section: Section<'_>, base: &Path) -> Option<SourceConfig> {
    let name = section.required::<SourceName>("name");
    let location = match section.get("location") {
        Some(value) => Place::read(&value, base),
        None => section.missing("location"),
    };
    let layout = match section.get("layout") {
        Some(value) => value.parsed_by(Layout::parse),
        None => section.missing("layout"),
    };
    let format = format(&mut section);
    let columns = columns(&mut section);
    let width = section.parsed::<ChunkWidth>("chunk");
    let delay = section.parsed::<Span>("delay");
    let due = section.get("due").and_then(|due| due.one_of(&[("end", Due::End), ("landing", Due::Landing)]));
    let outside = section.get("outside");
    let outside =
        outside.and_then(|value| value.one_of(&[("keep", Outside::Keep), ("quarantine", Outside::Quarantine)]));
    let (channels, idle) = channels(&mut section);
    let event_time = section.text("event_time");
    let (max_ahead, max_behind) = (section.parsed("max_ahead"), section.parsed("max_behind"));
    let (unique, required) = (section.text("unique"), section.get("required").and_then(|names| names.texts()));
    let (since, look_back) = (section.parsed("since"), section.parsed("look_back"));
    let problem = section.problem_later();
    section.finish();
    let location = location?;
    let at = at(&location).map_err(|error| problem(error.to_string())).ok();
    let mut spec = SourceSpec::new(name?, at?, layout?, format?, columns?);
    set(&mut spec.width, width);
    set(&mut spec.delay, delay);
    set(&mut spec.due, due);
    set(&mut spec.outside, outside);
    set(&mut spec.max_ahead, max_ahead);
    set(&mut spec.max_behind, max_behind);
    set(&mut spec.required, required);
    set(&mut spec.look_back, look_back);
    (spec.event_time, spec.unique, spec.since) = (event_time, unique, since);
    let source = Source::new(spec).map_err(|error| problem(error.to_string())).ok()?;
    let source = SourceConfig { source: Arc::new(source), location, channels, idle };
    if let Err(error) = check_events(&source) {
        problem(error);
    }
    Some(source)
}

/// A source that is filled from a stream of events has a layout whose names can tell its files apart, and is heard of in
/// no other way.
fn check_events(source: &SourceConfig) -> Result<(), String> {
    if !source.is_filled_from_stream() {
        return Ok(());
    }
    let name = &source.source.name;
    if source.channels.len() > 1 {
        return Err(format!(
            "source `{name}`: its files are made from a stream of events: discover is [\"kinesis\"] alone"
        ));
    }
    if !source.location.is_bucket() {
        return Err(format!("source `{name}`: raw files made from a stream of events are put into a bucket: s3://…"));
    }
    Reservoir::new(Arc::clone(&source.source)).map(drop).map_err(|error| error.to_string())
}

fn at(place: &Place) -> Result<Location, InvalidLocation> {
    match place {
        Place::Directory { written, path } => Location::directory(written, path),
        // The bucket's client needs the rest of the configuration: `App::load` puts it in this one's place.
        Place::Bucket { .. } => Location::bucket(place.to_string(), Arc::new(InMemory::new())),
    }
}

/// Leaves the default where nothing (usable) was written.
fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn format(section: &mut Section<'_>) -> Option<Format> {
    let name = section.get("format").map_or(Some(FormatName::Json), |value| value.one_of(&FORMATS));
    let keys = [
        ("pattern", FormatName::Pattern),
        ("delimiter", FormatName::Delimited),
        ("quote", FormatName::Delimited),
        ("header", FormatName::Delimited),
    ];
    for (key, only) in keys {
        let value = section.get(key);
        if let (Some(value), Some(name)) = (value, name)
            && name != only
        {
            let only = FORMATS.iter().find(|(_, format)| *format == only).map_or("", |(word, _)| *word);
            value.problem(format!("is for format = \"{only}\" only"));
        }
    }
    match name? {
        FormatName::Json => Some(Format::Json),
        FormatName::Delimited => delimited(section),
        FormatName::Pattern => match section.get("pattern") {
            Some(value) => value.parsed_by(Pattern::new).map(Format::Pattern),
            None => section.missing("pattern"),
        },
    }
}

fn delimited(section: &mut Section<'_>) -> Option<Format> {
    let delimiter = section.text("delimiter").unwrap_or_else(|| ",".to_owned());
    let quote = section.text("quote").unwrap_or_else(|| "\"".to_owned());
    let header = section.get("header").map_or(Some(Header::FirstLine), |value| match value.is_bool() {
        false => value.texts().map(Header::Names),
        true if value.bool() == Some(true) => Some(Header::FirstLine),
        true => {
            value.problem("must be true or a list of names: without a header line, the names must come from here");
            None
        }
    });
    let delimited = Delimited::new(&delimiter, &quote, header?);
    delimited.map_err(|error| section.problem(format!("{}: {error}", section.name()))).ok().map(Format::Delimited)
}

fn columns(section: &mut Section<'_>) -> Option<Vec<Column>> {
    let Some(columns) = section.section("columns") else { return section.missing("columns") };
    // All are read before the first bad one ends it, so that each complains.
    let columns: Vec<_> = columns.entries().into_iter().map(|(name, value)| column(name, &value)).collect();
    columns.into_iter().collect()
}

/// `"string"`, or `{ type = "timestamp", unit = "ms", zone = "+02:00", from = "ctx.time" }`.
fn column(name: String, value: &Value<'_>) -> Option<Column> {
    let Some(mut table) = value.as_section() else {
        return Some(Column::new(name, value.parsed()?));
    };
    let kind = table.required::<ColumnKind>("type");
    let unit = table.get("unit");
    let zone = table.get("zone");
    let origin = table.get("from").map_or(Some(Origin::Name), |from| match from.is_list() {
        true => from.texts().map(Origin::Steps),
        false => from.text().map(Origin::Path),
    });
    let kind = match kind? {
        ColumnKind::Timestamp { .. } => ColumnKind::Timestamp {
            unit: unit.map_or(Some(TimeUnit::default()), |unit| unit.parsed())?,
            zone: zone.map_or(Some(Zone::UTC), |zone| zone.parsed())?,
        },
        kind => {
            for setting in unit.iter().chain(&zone) {
                setting.problem("is for type = \"timestamp\" only");
            }
            kind
        }
    };
    table.finish();
    Some(Column::new(name, kind).from(origin?))
}

/// The channels that are used, and the names of the others: `[source.sqs]` and `[source.kinesis]` may stand there before
/// `discover` names them.
fn channels(section: &mut Section<'_>) -> (Vec<Channel>, Vec<&'static str>) {
    let (mut sqs, mut kinesis) = (false, false);
    if let Some(value) = section.get("discover") {
        for word in value.texts().unwrap_or_default() {
            match word.as_str() {
                "list" => {}
                "sqs" => sqs = true,
                "kinesis" => kinesis = true,
                other => value.problem(format!("names \"{other}\", which is none of \"list\", \"sqs\", \"kinesis\"")),
            }
        }
    }
    let described = [(sqs_table(section, sqs), sqs), (kinesis_table(section, kinesis), kinesis)];
    let (mut used, mut idle) = (Vec::new(), Vec::new());
    for (channel, is_used) in described {
        match channel {
            Some(channel) if is_used => used.push(channel),
            Some(channel) => idle.push(channel.name()),
            None => {}
        }
    }
    (used, idle)
}

fn sqs_table(section: &mut Section<'_>, used: bool) -> Option<Channel> {
    let Some(mut table) = section.section("sqs") else {
        if used {
            section.problem(format!("{} discovers by sqs and needs a table [source.sqs] with `queue`", section.name()));
        }
        return None;
    };
    let queue = if used { table.required_text("queue") } else { table.text("queue") };
    table.finish();
    Some(Channel::Sqs { queue: queue? })
}

fn kinesis_table(section: &mut Section<'_>, used: bool) -> Option<Channel> {
    let Some(mut table) = section.section("kinesis") else {
        if used {
            let name = section.name();
            section.problem(format!("{name} discovers by kinesis and needs a table [source.kinesis] with `stream`"));
        }
        return None;
    };
    let stream = if used { table.required_text("stream") } else { table.text("stream") };
    let carries = table
        .get("carries")
        .map_or(Some(Carries::Keys), |value| value.one_of(&[("keys", Carries::Keys), ("events", Carries::Events)]));
    table.finish();
    Some(Channel::Kinesis { stream: stream?, carries: carries? })
}
