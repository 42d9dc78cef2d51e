//! The proposed configuration as text, with remarks for who goes on from there.

use std::fmt::Write as _;

use super::kind::Kind;
use super::shape::{Column, Shape};
use super::{Place, Proposal};

const HEAD: &str = "\
# Written from sample data: look it through, then `neartime check`.

[tasks]
database = \"sqlite://neartime.db\"

[features_store]
location = \"features_store\"

[online_store]
url = \"sqlite://online.db\"
";
/// Where a source's files go whose names tell no time.
const IMPORT_LAYOUT: &str = "%Y/%m/%d/%H%M*.gz";

/// All sources, each with a first feature.
pub(super) fn configuration(proposals: &[Proposal]) -> String {
    let mut text = HEAD.to_owned();
    for proposal in proposals {
        source(&mut text, proposal);
    }
    for proposal in proposals {
        feature(&mut text, proposal);
    }
    text
}

fn source(text: &mut String, proposal: &Proposal) {
    let Proposal { name, place, shape, columns, .. } = proposal;
    let import =
        Place { location: format!("raw-data-reservoir/{name}").into(), layout: IMPORT_LAYOUT.to_owned(), chunk: "10m" };
    let Place { location, layout, chunk } = place.as_ref().unwrap_or(&import);
    put(text, format_args!("\n[[source]]\nname = {}\n", quoted(name)));
    if place.is_none() {
        put(
            text,
            format_args!(
                "# The sample's name tells no time: `neartime import {name} FILE…` cuts it into such files.\n"
            ),
        );
    }
    put(text, format_args!("location = {}\n", quoted(&location.display().to_string())));
    put(text, format_args!("layout = {}\nchunk = {}\n", quoted(layout), quoted(chunk)));
    match shape {
        Shape::Json => text.push_str("format = \"json\"\n"),
        Shape::Pattern(pattern) => put(text, format_args!("format = \"pattern\"\npattern = {}\n", quoted(pattern))),
        Shape::Delimited { delimiter, names } => {
            put(text, format_args!("format = \"delimited\"\ndelimiter = {}\n", quoted(&delimiter.to_string())));
            match names {
                None => text.push_str("header = true\n"),
                Some(names) => {
                    let names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
                    put(text, format_args!("header = [{}]\n", names.join(", ")));
                }
            }
        }
    }
    match proposal.event_time() {
        Some(column) => put(text, format_args!("event_time = {}\n", quoted(&column.name))),
        None if place.is_some() => text.push_str(
            "# No column was recognised as a time: each event counts at the start of its chunk. If one is, write below, say\n",
        ),
        None => text.push_str(
            "# No column was recognised as a time, and without one `neartime import` cannot cut: write below, say\n",
        ),
    }
    if proposal.event_time().is_none() {
        put(text, format_args!("# {}\n", proposal.event_time_line()));
    }
    text.push_str("[source.columns]\n");
    for column in columns {
        self::column(text, column);
    }
}

fn column(text: &mut String, Column { name, kind, from }: &Column) {
    let (r#type, unit) = match kind {
        Kind::String | Kind::Ambiguous(..) => ("string", None),
        Kind::Int => ("int", None),
        Kind::Float => ("float", None),
        Kind::Bool => ("bool", None),
        Kind::List => ("list<string>", None),
        Kind::Timestamp("iso") => ("timestamp", None),
        Kind::Timestamp(unit) => ("timestamp", Some(*unit)),
    };
    let mut line = column_line(name, r#type, unit, from.as_deref());
    if let Kind::Ambiguous(one, other) = kind {
        line.push_str(&format!(" # a time? {one} or {other}"));
    }
    put(text, format_args!("{line}\n"));
}

/// A line of `[source.columns]`.
pub(super) fn column_line(name: &str, r#type: &str, unit: Option<&str>, from: Option<&str>) -> String {
    let mut fields = vec![format!("type = {}", quoted(r#type))];
    fields.extend(unit.map(|unit| format!("unit = {}", quoted(unit))));
    fields.extend(from.map(|from| format!("from = {}", quoted(from))));
    let value = match fields.len() {
        1 if r#type != "timestamp" => quoted(r#type),
        _ => format!("{{ {} }}", fields.join(", ")),
    };
    format!("{} = {value}", key(name))
}

fn feature(text: &mut String, proposal: &Proposal) {
    let Some(entity) = proposal.entity() else {
        text.push_str("\n# No column is text: write a [[feature]] whose keys are expressions.\n");
        return;
    };
    let (source, name) = (&proposal.name, &entity.name);
    let feature: String = format!("{source}_events").to_lowercase().replace('-', "_");
    put(text, format_args!("\n# How many events each {name} has, chunk by chunk: a first feature.\n"));
    put(text, format_args!("[[feature]]\nname = {}\nsource = {}\n", quoted(&feature), quoted(source)));
    text.push_str("engine = \"count\"\nkeys = [\"id\"]\n");
    let expression = format!("clean_str({})", identifier(name));
    put(text, format_args!("select = {{ id = {} }}\n", quoted(&expression)));
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing into a string does not fail");
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A TOML key.
fn key(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { quoted(name) }
}

/// A column's name inside an expression.
fn identifier(name: &str) -> String {
    let begins = |name: &str| !name.starts_with(|first: char| first.is_ascii_digit());
    if is_plain(name) && begins(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
