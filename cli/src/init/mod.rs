//! `neartime init`: looks at sample data and writes a `neartime.toml` to start from.
//!
//! What it guesses (format, columns and their types, the layout of names) is written out and said, so that it can be
//! corrected; what it writes has been read back and would run.

mod kind;
mod place;
mod sample;
mod shape;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use neartime_engine::Feature;

use crate::args::{Global, InitArgs};
use crate::config::{Config, Environment};
use crate::exit::Invalid;
use crate::registry::Registry;
use kind::Kind;
use place::Place;
use sample::Sample;
use shape::{Column, Shape};

/// A source that is proposed, and the samples that it was told from.
struct Proposal {
    name: String,
    /// `None` where the names tell no time: the files are to be imported.
    place: Option<Place>,
    shape: Shape,
    columns: Vec<Column>,
    samples: Vec<PathBuf>,
}

/// Writes the configuration that `global` names.
pub(crate) fn execute(global: &Global, features: &[Arc<dyn Feature>], args: &InitArgs) -> anyhow::Result<()> {
    let target = &global.config;
    if target.exists() && !args.force {
        let text =
            format!("{} is there already: remove it, name another with --config, or say --force", target.display());
        return Err(Invalid(text).into());
    }
    let mut proposals: Vec<Proposal> = Vec::new();
    for file in &args.files {
        let sample = Sample::read(file)?;
        let proposal = propose(&sample, target)?;
        match proposals.iter_mut().find(|known| is_same(known, &proposal)) {
            Some(known) => known.absorb(proposal),
            None => proposals.push(proposal),
        }
    }
    name_apart(&mut proposals);
    let text = write::configuration(&proposals);
    check(target, &text, features)?;
    std::fs::write(target, text).with_context(|| format!("could not write {}", target.display()))?;
    tell(target, &proposals);
    Ok(())
}

fn propose(sample: &Sample, target: &Path) -> anyhow::Result<Proposal> {
    let path = sample.path.display();
    if shape::is_one_json_text(&sample.lines) {
        let text = format!(
            "{path} has no JSON object a line: `jq -c '.[]'` makes such lines of a list, `jq -c .` of objects over several"
        );
        return Err(Invalid(text).into());
    }
    let Some((shape, columns)) = shape::recognise(&sample.lines) else {
        let text = format!(
            "the lines of {path} are no JSON objects, no delimited fields and no web server log: describe them by a `pattern`"
        );
        return Err(Invalid(text).into());
    };
    let place = place::place(&seen_from(&sample.path, target)?);
    let name = name(&sample.path, place.as_ref());
    Ok(Proposal { name, place, shape, columns, samples: vec![sample.path.clone()] })
}

/// The path as the configuration may write it: relative paths are relative to its directory.
fn seen_from(path: &Path, target: &Path) -> anyhow::Result<PathBuf> {
    let beside = target.parent().is_none_or(|directory| directory.as_os_str().is_empty());
    if beside {
        return Ok(path.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect());
    }
    std::path::absolute(path).with_context(|| format!("could not find {}", path.display()))
}

/// Files of one layout and one format belong to one source.
fn is_same(one: &Proposal, other: &Proposal) -> bool {
    one.shape == other.shape
        && match (&one.place, &other.place) {
            (None, None) => one.columns == other.columns,
            (one, other) => one == other,
        }
}

impl Proposal {
    /// Takes in another file of the same source: columns that it alone has, and types that both can hold.
    fn absorb(&mut self, other: Self) {
        for column in other.columns {
            match self.columns.iter_mut().find(|known| known.name == column.name) {
                Some(known) if known.kind != column.kind => {
                    let numbers = [Kind::Int, Kind::Float];
                    let both = numbers.contains(&known.kind) && numbers.contains(&column.kind);
                    known.kind = match (known.kind, column.kind) {
                        _ if both => Kind::Float,
                        // One file tells how the other is to be read.
                        (Kind::Ambiguous(one, other), Kind::Timestamp(unit))
                        | (Kind::Timestamp(unit), Kind::Ambiguous(one, other))
                            if unit == one || unit == other =>
                        {
                            Kind::Timestamp(unit)
                        }
                        _ => Kind::String,
                    };
                }
                Some(_) => {}
                None => self.columns.push(column),
            }
        }
        self.samples.extend(other.samples);
    }

    /// The column that tells when an event happened, if there is one: the usual names first.
    fn event_time(&self) -> Option<&Column> {
        const USUAL: [&str; 6] = ["timestamp", "event_time", "ts", "time", "created_at", "date"];
        let times = || self.columns.iter().filter(|column| matches!(column.kind, Kind::Timestamp(_)));
        USUAL.iter().find_map(|usual| times().find(|column| column.name == *usual)).or_else(|| times().next())
    }

    /// A line for `[source.columns]` that would make the event time, where none was recognised.
    fn event_time_line(&self) -> String {
        let ambiguous = self.columns.iter().find_map(|column| match column.kind {
            Kind::Ambiguous(unit, _) => Some((column.name.as_str(), unit)),
            _ => None,
        });
        let named =
            || self.columns.iter().find(|column| kind::is_time(&column.name)).map(|column| column.name.as_str());
        let (name, unit) = ambiguous.unwrap_or_else(|| (named().unwrap_or("COLUMN"), "%d/%m/%Y %H:%M"));
        write::column_line(name, "timestamp", Some(unit), None)
    }

    /// The column that a first feature counts by: a user, else any id, else any text.
    fn entity(&self) -> Option<&Column> {
        let texts = || self.columns.iter().filter(|column| column.kind == Kind::String);
        let is_user = |column: &&Column| {
            let name = column.name.to_ascii_lowercase();
            name == "uid" || (name.contains("user") && !name.contains("agent"))
        };
        let ids = || texts().filter(|column| kind::is_id(&column.name));
        ids().find(is_user).or_else(|| ids().next()).or_else(|| texts().find(is_user)).or_else(|| texts().next())
    }
}

/// A name from the folder, or from the file where names tell no time.
fn name(path: &Path, place: Option<&Place>) -> String {
    let from = match place {
        Some(place) => place.location.file_name(),
        None => path.file_name(),
    };
    let text = from.unwrap_or_default().to_string_lossy().to_lowercase();
    let stem = text.split('.').next().unwrap_or_default();
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name = name.trim_matches('_');
    if name.starts_with(|first: char| first.is_ascii_alphabetic()) { name.to_owned() } else { "events".to_owned() }
}

/// Two sources of one name are numbered.
fn name_apart(proposals: &mut [Proposal]) {
    for at in 1..proposals.len() {
        let (before, rest) = proposals.split_at_mut(at);
        let mut number = 1;
        let plain = rest[0].name.clone();
        while before.iter().any(|known| known.name == rest[0].name) {
            number += 1;
            rest[0].name = format!("{plain}_{number}");
        }
    }
}

/// What is written must be a configuration that runs.
fn check(target: &Path, text: &str, features: &[Arc<dyn Feature>]) -> anyhow::Result<()> {
    let base = std::path::absolute(target.parent().unwrap_or(Path::new("")))
        .or_else(|_| std::env::current_dir())
        .context("could not find the present directory")?;
    let config = Config::parse(&target.display().to_string(), text, &base, &Environment::new([]))?;
    Registry::build(&config, features)
        .map(drop)
        .context("what was told from the samples does not run; please write the configuration by hand")
}

fn tell(target: &Path, proposals: &[Proposal]) {
    eprintln!("wrote {}", target.display());
    for proposal in proposals {
        let Proposal { name, place, shape, columns, samples } = proposal;
        let format = match shape {
            Shape::Json => "JSON lines".to_owned(),
            Shape::Delimited { delimiter, .. } => format!("fields delimited by {delimiter:?}"),
            Shape::Pattern(pattern) => format!("a web server log, {pattern}"),
        };
        eprintln!("  source {name}: {format}, {} columns", columns.len());
        let has_time = proposal.event_time().is_some();
        if !has_time {
            eprintln!(
                "  no column was recognised as a time; if one is, say so under [source.columns], with its spelling:"
            );
            eprintln!("    {}", proposal.event_time_line());
        }
        if place.is_none() {
            let first = if has_time { "" } else { "that line has to be written first; then " };
            let files = samples.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ");
            eprintln!("  its names tell no time; {first}cut it into chunks first: neartime import {name} {files}");
        }
    }
    eprintln!("look it through; then: neartime check, neartime run --once, neartime features");
}
