//! How the lines of a sample are built, and which columns they have.

use std::net::IpAddr;

use neartime_ingest::{DATA_CHUNK, Pattern};
use serde_json::{Map, Value};

use super::kind::{Kind, Seen};

/// Nested objects are followed so deep.
const MAX_DEPTH: usize = 3;
/// Of ten lines so many must fit a format; the rest may be broken ones.
const FITTING_OF_TEN: usize = 9;
/// Tried in this order where several cut equally well.
const DELIMITERS: [char; 4] = [',', '\t', '|', ';'];
/// The web server formats, the longer one first, with the columns that are of use.
const PATTERNS: [&str; 2] = ["apache_combined", "apache_common"];
const PATTERN_COLUMNS: [(&str, Kind); 8] = [
    ("host", Kind::String),
    ("user", Kind::String),
    ("time", Kind::Timestamp("iso")),
    ("method", Kind::String),
    ("path", Kind::String),
    ("status", Kind::Int),
    ("bytes", Kind::Int),
    ("user_agent", Kind::String),
];

/// A format, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Json,
    Delimited {
        delimiter: char,
        /// `None`: the names stand in the first line.
        names: Option<Vec<String>>,
    },
    Pattern(&'static str),
}

/// A column of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Where it comes from, if that is not the key of its name.
    pub(super) from: Option<String>,
}

/// Tells the format and the columns of these lines; `None` where no format fits.
pub(super) fn recognise(lines: &[String]) -> Option<(Shape, Vec<Column>)> {
    json(lines).or_else(|| pattern(lines)).or_else(|| delimited(lines))
}

/// Whether they are a list of objects, or objects over several lines each: JSON, but no object a line.
pub(super) fn is_one_json_text(lines: &[String]) -> bool {
    let begin: String = lines[0].chars().filter(|character| !character.is_whitespace()).take(2).collect();
    matches!(begin.as_str(), "[" | "[{" | "{" | "{\"") && json(lines).is_none()
}

fn mostly(fitting: usize, lines: &[String]) -> bool {
    fitting > 0 && fitting * 10 >= lines.len() * FITTING_OF_TEN
}

fn json(lines: &[String]) -> Option<(Shape, Vec<Column>)> {
    let objects: Vec<Map<String, Value>> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if !mostly(objects.len(), lines) {
        return None;
    }
    let mut fields = Fields::default();
    for object in &objects {
        fields.object(object, &[]);
    }
    Some((Shape::Json, fields.columns()))
}

/// The fields of JSON objects, in the order in which they first came.
#[derive(Default)]
struct Fields(Vec<(Vec<String>, Seen)>);

impl Fields {
    fn object(&mut self, object: &Map<String, Value>, above: &[String]) {
        for (key, value) in object {
            let path: Vec<String> = above.iter().chain([key]).cloned().collect();
            match value {
                // A step that holds a dot cannot be written in a path with dots.
                Value::Object(inner) if path.len() < MAX_DEPTH && !key.contains(['.', '[']) => {
                    self.object(inner, &path)
                }
                value => self.seen(path).json(value),
            }
        }
    }

    fn seen(&mut self, path: Vec<String>) -> &mut Seen {
        let at = self.0.iter().position(|(known, _)| *known == path).unwrap_or_else(|| {
            self.0.push((path, Seen::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    fn columns(self) -> Vec<Column> {
        let mut columns: Vec<Column> = Vec::new();
        // An empty key cannot be written in a path.
        for (path, seen) in self.0.into_iter().filter(|(path, _)| path.iter().all(|step| !step.is_empty())) {
            let kind = seen.kind(&path[path.len() - 1]);
            let mut name = path.join("_");
            while name == DATA_CHUNK || columns.iter().any(|column| column.name == name) {
                name.push('_');
            }
            let from = if path.len() > 1 { Some(path.join(".")) } else { (name != path[0]).then(|| path[0].clone()) };
            columns.push(Column { name, kind, from });
        }
        columns
    }
}

fn pattern(lines: &[String]) -> Option<(Shape, Vec<Column>)> {
    // A log of several hosts puts the host before the client, where these formats have the client alone.
    let has_host = |line: &&String| line.split(' ').nth(1).is_some_and(|word| word.parse::<IpAddr>().is_ok());
    let fits = |name: &&'static str| {
        let pattern = Pattern::new(name).ok()?;
        let fitting = lines.iter().filter(|line| pattern.matches(line.as_bytes()) && !has_host(line));
        mostly(fitting.count(), lines).then_some(*name)
    };
    let name = PATTERNS.iter().find_map(fits)?;
    // Few servers know their users: the third word is `-` then.
    let is_anonymous = lines.iter().all(|line| line.split(' ').nth(2).is_none_or(|user| user == "-"));
    let has = |column: &&(&str, Kind)| match column.0 {
        "user_agent" => name == "apache_combined",
        "user" => !is_anonymous,
        _ => true,
    };
    let column = |(name, kind): &(&str, Kind)| Column { name: (*name).to_owned(), kind: *kind, from: None };
    Some((Shape::Pattern(name), PATTERN_COLUMNS.iter().filter(has).map(column).collect()))
}

fn delimited(lines: &[String]) -> Option<(Shape, Vec<Column>)> {
    let width = |delimiter: char| {
        let fields = fields(&lines[0], delimiter).len();
        let fitting = lines.iter().filter(|line| self::fields(line, delimiter).len() == fields).count();
        if fields > 1 && mostly(fitting, lines) { fields } else { 0 }
    };
    // The first of the widest.
    let delimiter = DELIMITERS.into_iter().rev().max_by_key(|&delimiter| width(delimiter))?;
    let count = width(delimiter);
    if count == 0 {
        return None;
    }
    let first = fields(&lines[0], delimiter);
    let mut rest = vec![Seen::default(); count];
    for fields in lines[1..].iter().map(|line| fields(line, delimiter)).filter(|fields| fields.len() == count) {
        rest.iter_mut().zip(&fields).for_each(|(seen, field)| seen.text(field));
    }
    let (names, seen) = match is_header(&first, &rest) {
        true => (None, rest),
        false => {
            rest.iter_mut().zip(&first).for_each(|(seen, field)| seen.text(field));
            (Some((1..=count).map(|column| format!("column_{column}")).collect::<Vec<_>>()), rest)
        }
    };
    let mut columns: Vec<Column> = Vec::new();
    for (field, seen) in names.as_ref().unwrap_or(&first).iter().zip(&seen) {
        let field = field.trim();
        // Names that are empty, repeated or no UTF-8 name no column.
        if field.is_empty() || field.contains(char::REPLACEMENT_CHARACTER) || has_field(&columns, field) {
            continue;
        }
        let (name, from) = match field == DATA_CHUNK {
            true => (format!("{field}_"), Some(field.to_owned())),
            false => (field.to_owned(), None),
        };
        columns.push(Column { name, kind: seen.kind(field), from });
    }
    Some((Shape::Delimited { delimiter, names }, columns))
}

fn has_field(columns: &[Column], field: &str) -> bool {
    columns.iter().any(|column| column.from.as_ref().unwrap_or(&column.name) == field)
}

/// Whether the first line names the columns of the `rest`: all are distinct words, or a word stands above numbers or
/// times. Data has numbers, empty fields or repetitions everywhere.
fn is_header(first: &[String], rest: &[Seen]) -> bool {
    let is_name = |field: &String| field.starts_with(|first: char| first.is_alphabetic() || first == '_');
    let is_distinct = |(at, field): (usize, &String)| !first[..at].contains(field);
    let is_above = |(field, seen): (&String, &Seen)| is_name(field) && seen.is_never_text();
    first.iter().all(is_name) && first.iter().enumerate().all(is_distinct)
        || first.iter().zip(rest).any(is_above) && first.iter().all(|field| is_name(field) || field.trim().is_empty())
}

/// The fields of a line, quoted as in RFC 4180.
fn fields(line: &str, delimiter: char) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let last = fields.len() - 1;
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                fields[last].push('"');
            }
            '"' if quoted || fields[last].is_empty() => quoted = !quoted,
            character if character == delimiter && !quoted => fields.push(String::new()),
            character => fields[last].push(character),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn kinds(columns: &[Column]) -> Vec<(&str, Kind)> {
        columns.iter().map(|column| (column.name.as_str(), column.kind)).collect()
    }

    #[test]
    fn json_objects_are_followed() {
        let (shape, columns) = recognise(&lines(
            "{\"user_id\": 17, \"ctx\": {\"url\": \"a\"}, \"tags\": [1], \"a.b\": 1.5}\n{\"ts\": 1533120000, \"user_id\": \"x\"}",
        ))
        .unwrap();
        assert_eq!(shape, Shape::Json);
        let expected = [
            ("user_id", Kind::String),
            ("ctx_url", Kind::String),
            ("tags", Kind::List),
            ("a.b", Kind::Float),
            ("ts", Kind::Timestamp("s")),
        ];
        let mut found = kinds(&columns);
        found.sort_by_key(|(name, _)| expected.iter().position(|(expected, _)| expected == name));
        assert_eq!(found, expected);
        assert_eq!(columns.iter().find(|column| column.name == "ctx_url").unwrap().from.as_deref(), Some("ctx.url"));
    }

    #[test]
    fn delimiters_and_headers_are_told() {
        let (shape, columns) = recognise(&lines("date|net,work|n\n2018-08-01|\"a|b\"|1\n2018-08-02|c|2")).unwrap();
        assert_eq!(shape, Shape::Delimited { delimiter: '|', names: None });
        assert_eq!(kinds(&columns), [("date", Kind::Timestamp("iso")), ("net,work", Kind::String), ("n", Kind::Int)]);
        let (shape, _) = recognise(&lines("1,2\n3,4")).unwrap();
        let names = Some(vec!["column_1".to_owned(), "column_2".to_owned()]);
        assert_eq!(shape, Shape::Delimited { delimiter: ',', names });
    }

    #[test]
    fn headers_with_empty_and_repeated_names_are_told_by_what_stands_below() {
        let named = |text: &str| {
            let (shape, columns) = recognise(&lines(text)).unwrap();
            assert_eq!(shape, Shape::Delimited { delimiter: ',', names: None }, "{text}");
            columns.into_iter().map(|column| column.name).collect::<Vec<_>>()
        };
        assert_eq!(named(",ts,uid\n0,2024-02-29T12:00:01Z,a\n1,2024-02-29T12:00:02Z,b"), ["ts", "uid"]);
        assert_eq!(named("ts,uid,amount,\n2024-02-29,a,1,\n2024-02-29,b,2,"), ["ts", "uid", "amount"]);
        assert_eq!(named("uid,uid,n\na,b,1"), ["uid", "n"]);
        assert_eq!(named("caf\u{fffd},data_chunk,n\na,b,1"), ["data_chunk_", "n"]);
        for data in ["a,,x\nb,,y", "a,1,x\nb,2,y", "a,a,x\nb,b,y"] {
            let (shape, _) = recognise(&lines(data)).unwrap();
            assert!(matches!(shape, Shape::Delimited { names: Some(_), .. }), "{data}");
        }
    }

    #[test]
    fn awkward_keys_are_left_out_or_renamed() {
        let (_, columns) = recognise(&lines("{\"\": 1, \"data_chunk\": \"x\", \"n\": 1}")).unwrap();
        let renamed = Column { name: "data_chunk_".into(), kind: Kind::String, from: Some("data_chunk".into()) };
        assert!(columns.contains(&renamed) && columns.len() == 2, "{columns:?}");
    }

    #[test]
    fn web_server_logs_are_told() {
        let line = r#"10.0.0.1 - bob [10/Oct/2018:13:55:36 -0700] "GET /a HTTP/1.0" 200 2326"#;
        assert_eq!(recognise(&lines(line)).unwrap().0, Shape::Pattern("apache_common"));
        let combined = format!("{line} \"http://x\" \"Mozilla/5.0\"");
        assert_eq!(recognise(&lines(&combined)).unwrap().0, Shape::Pattern("apache_combined"));
        assert_eq!(recognise(&lines(&format!("www.example.com:443 {combined}"))), None);
    }

    #[test]
    fn a_log_without_users_has_no_such_column() {
        let line =
            |user: &str| format!("10.0.0.1 - {user} [10/Oct/2018:13:55:36 -0700] \"GET /a HTTP/1.0\" 200 2326\n");
        let has_user = |text: &str| recognise(&lines(text)).unwrap().1.iter().any(|column| column.name == "user");
        assert!(!has_user(&line("-")));
        assert!(has_user(&format!("{}{}", line("-"), line("bob"))));
    }

    #[test]
    fn json_that_is_not_an_object_a_line_is_told() {
        for text in ["[{\"a\": 1}, {\"a\": 2}]", "[\n {\"a\": 1}\n]", "{\n \"a\": 1\n}", "{ \"a\": 1,\n \"b\": 2 }"] {
            assert!(is_one_json_text(&lines(text)), "{text}");
        }
        for text in ["{\"a\": 1}\n{\"a\": 2}", "{d0e1},1\n{d0e2},2", "[10/Oct/2018],x", "a,b\n1,2"] {
            assert!(!is_one_json_text(&lines(text)), "{text}");
        }
    }

    #[test]
    fn prose_is_nothing() {
        assert_eq!(recognise(&lines("Once upon a time\nthere was a file")), None);
    }
}
