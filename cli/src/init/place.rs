//! Where the sample files lie, and the layout that their names follow.

use std::path::{Path, PathBuf};

/// A location and the layout of the files below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) location: PathBuf,
    pub(super) layout: String,
    /// The width of a chunk that suits the finest directive.
    pub(super) chunk: &'static str,
}

/// The parts of a time in the order in which names spell them.
const DIRECTIVES: [(&str, usize, u32, u32); 6] =
    [("%Y", 4, 1990, 2099), ("%m", 2, 1, 12), ("%d", 2, 1, 31), ("%H", 2, 0, 23), ("%M", 2, 0, 59), ("%S", 2, 0, 60)];
/// The position of `%d` among them.
const DAY: usize = 2;

/// Finds year, month, day and what follows in a file's path; `None` where its name tells no day.
pub(super) fn place(path: &Path) -> Option<Place> {
    let text = path.to_str()?;
    let mut times = Times::default();
    let mut segments = Vec::new();
    let mut location = 0;
    let parts: Vec<&str> = text.split('/').collect();
    for (at, part) in parts.iter().enumerate() {
        let is_name = at + 1 == parts.len();
        let segment = times.segment(part, is_name);
        if segments.is_empty() && segment.is_none() && !is_name {
            location = at + 1;
            continue;
        }
        segments.push(match segment {
            Some(segment) if is_name => generalised(&segment),
            Some(segment) => segment,
            None if is_name => generalised(part),
            None => (*part).to_owned(),
        });
    }
    let finest = times.finest()?;
    let chunk = match finest {
        DAY => "1d",
        3 => "1h",
        _ => "10m",
    };
    let location: PathBuf = if location == 0 { PathBuf::from(".") } else { parts[..location].join("/").into() };
    Some(Place { location, layout: segments.join("/"), chunk })
}

/// A file name without what differs from one file to the next: all between its last directive and its extension.
fn generalised(name: &str) -> String {
    let from = name.rfind('%').map_or(0, |at| at + 2 + usize::from(name[at + 1..].starts_with('-')));
    let (fixed, rest) = name.split_at(from);
    let (stem, extension) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
    let star = if stem.is_empty() { "" } else { "*" };
    format!("{fixed}{star}{extension}")
}

/// The time that is being spelled.
#[derive(Default)]
struct Times {
    known: [Option<u32>; 6],
    /// The directive that comes next.
    next: usize,
}

impl Times {
    /// The segment with directives in place of digits; `None` where it has none. In a file's name, digits after a
    /// word (`part-0001`) count files, not hours, unless they begin with a year.
    fn segment(&mut self, part: &str, is_name: bool) -> Option<String> {
        let mut layout = String::new();
        let mut found = false;
        let mut after_word = false;
        let mut rest = part;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                let text = rest.find(|next: char| next.is_ascii_digit()).unwrap_or(rest.len());
                // A literal per cent or star would mean something else.
                layout.push_str(&rest[..text].replace(['%', '*', '{', '}'], "*"));
                after_word |= is_name && rest[..text].contains(|next: char| next.is_alphabetic() && next != 'T');
                rest = &rest[text..];
                continue;
            }
            match self.run(&rest[..digits], after_word) {
                Some(directives) => {
                    layout.push_str(&directives);
                    (found, after_word) = (true, false);
                }
                None => layout.push_str(&rest[..digits]),
            }
            rest = &rest[digits..];
        }
        found.then_some(layout)
    }

    /// A run of digits as directives: a new year, or what follows the last one.
    fn run(&mut self, digits: &str, after_word: bool) -> Option<String> {
        let goes_on = self.next > 0 && !after_word;
        self.spell(digits, 0).or_else(|| if goes_on { self.spell(digits, self.next) } else { None })
    }

    fn spell(&mut self, digits: &str, first: usize) -> Option<String> {
        let mut known = self.known;
        let mut layout = String::new();
        let mut rest = digits;
        let mut at = first;
        while !rest.is_empty() {
            let (directive, width, low, high) = *DIRECTIVES.get(at)?;
            let unpadded = digits.len() == 1 && width == 2;
            let width = if unpadded { 1 } else { width };
            let value: u32 = rest.get(..width)?.parse().ok()?;
            if !(low..=high).contains(&value) || known[at].is_some_and(|known| known != value) {
                return None;
            }
            known[at] = Some(value);
            layout.push_str(&if unpadded { directive.replace('%', "%-") } else { directive.to_owned() });
            rest = &rest[width..];
            at += 1;
        }
        (self.known, self.next) = (known, at);
        Some(layout)
    }

    /// The finest part that is known, all coarser ones with it; a day at least.
    fn finest(&self) -> Option<usize> {
        let count = self.known.iter().take_while(|known| known.is_some()).count();
        (count > DAY).then(|| count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<(String, String, &'static str)> {
        let place = place(Path::new(path))?;
        Some((place.location.display().to_string(), place.layout, place.chunk))
    }

    #[test]
    fn layouts_are_read_off_names() {
        let cases = [
            ("in/olx/android/2018/08/01/201808-01-104234.gz", "in/olx/android", "%Y/%m/%d/%Y%m-%d-%H%M%S.gz", "10m"),
            ("y=2018/m=08/d=01/network_17.csv", ".", "y=%Y/m=%m/d=%d/*.csv", "1d"),
            ("/raw/2018/8/1/9/part-0001-a8f3.json.gz", "/raw", "%Y/%-m/%-d/%-H/*.json.gz", "1h"),
            ("logs/events-20180801-1040.gz", "logs", "events-%Y%m%d-%H%M.gz", "10m"),
            ("logs/2018-08-01T10:40:12_host7.log", "logs", "%Y-%m-%dT%H:%M:%S*.log", "10m"),
            ("in/2018/08/01/10/events-0001.json.gz", "in", "%Y/%m/%d/%H/*.json.gz", "1h"),
        ];
        for (path, location, layout, chunk) in cases {
            assert_eq!(found(path), Some((location.to_owned(), layout.to_owned(), chunk)), "{path}");
        }
    }

    #[test]
    fn names_without_a_day_tell_nothing() {
        for path in ["data.json", "raw/2018/sample.json", "raw/12345678.gz", "2018/13/01/x.gz"] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
