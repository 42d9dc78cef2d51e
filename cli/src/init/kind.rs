//! What type a column has, told from the values that it was seen with.

/// The type that a column is proposed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Int,
    Float,
    Bool,
    List,
    /// With its `unit`.
    Timestamp(&'static str),
    /// A date that two units read, each in its own way.
    Ambiguous(&'static str, &'static str),
}

/// What was seen of one column.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    ints: u64,
    floats: u64,
    bools: u64,
    lists: u64,
    times: u64,
    dates: u64,
    /// Those of [`SPELLINGS`], by position, that read all of the dates.
    spellings: u32,
    texts: u64,
    /// The smallest and the largest whole number.
    range: Option<(i64, i64)>,
    /// A text with leading zeros, which a number would lose.
    zeros: bool,
}

/// Dates that `iso` does not read, as a `unit` spells them.
const SPELLINGS: [&str; 21] = [
    "%d/%m/%Y",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%Y.%m.%d",
    "%Y.%m.%d %H:%M",
    "%Y.%m.%d %H:%M:%S",
    "%d-%m-%Y",
    "%d-%m-%Y %H:%M",
    "%d-%m-%Y %H:%M:%S",
    "%m-%d-%Y",
    "%m-%d-%Y %H:%M",
    "%m-%d-%Y %H:%M:%S",
];

/// Epochs between 2001 and 2096, and what a second is in their unit.
const EPOCHS: [(&str, i64); 3] = [("s", 1), ("ms", 1_000), ("us", 1_000_000)];
const FIRST_EPOCH: i64 = 1_000_000_000;
const LAST_EPOCH: i64 = 4_000_000_000;

impl Seen {
    pub(super) fn json(&mut self, value: &serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::Null | Value::Object(_) => {}
            Value::Bool(_) => self.bools += 1,
            Value::Number(number) => match number.as_i64() {
                Some(int) => self.int(int),
                None => self.float(number.as_f64()),
            },
            Value::String(text) => self.text(text),
            Value::Array(_) => self.lists += 1,
        }
    }

    /// A value that is written as text. An empty one says nothing.
    pub(super) fn text(&mut self, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        if let Ok(int) = text.parse::<i64>() {
            self.zeros |= text.len() > 1 && text.starts_with('0');
            self.int(int);
        } else if text.bytes().any(|byte| byte.is_ascii_digit())
            && let Some(float) = text.parse().ok().filter(|float: &f64| float.is_finite())
        {
            self.float(Some(float));
        } else if matches!(text, "true" | "false") {
            self.bools += 1;
        } else if is_iso(text) {
            self.times += 1;
        } else {
            self.date_or_text(text);
        }
    }

    fn date_or_text(&mut self, text: &str) {
        let reads = SPELLINGS.iter().enumerate().filter(|(_, unit)| is_spelled(text, unit));
        match reads.fold(0, |mask, (at, _)| mask | 1 << at) {
            0 => self.texts += 1,
            mask if self.dates == 0 => (self.dates, self.spellings) = (1, mask),
            mask => (self.dates, self.spellings) = (self.dates + 1, self.spellings & mask),
        }
    }

    fn int(&mut self, int: i64) {
        self.ints += 1;
        self.widen(int);
    }

    /// Instants have fractions, too: what counts is the whole part.
    fn float(&mut self, float: Option<f64>) {
        self.floats += 1;
        self.widen(float.map_or(i64::MAX, |float| float as i64));
    }

    fn widen(&mut self, int: i64) {
        let (low, high) = self.range.unwrap_or((int, int));
        self.range = Some((low.min(int), high.max(int)));
    }

    /// Whether there were values, all of them numbers or times.
    pub(super) fn is_never_text(&self) -> bool {
        let Self { ints, floats, bools, lists, times, dates, texts, .. } = *self;
        ints + floats + times + dates > 0 && bools + lists + texts == 0
    }

    /// The type for a column of this name. What was seen with several types, or never, is text.
    pub(super) fn kind(&self, name: &str) -> Kind {
        let Self { ints, floats, bools, lists, times, dates, .. } = *self;
        // Dates that no one spelling reads are texts.
        let (dates, texts) = if self.spellings == 0 { (0, self.texts + dates) } else { (dates, self.texts) };
        let numbers = ints + floats;
        match (numbers, bools, lists, times, texts + dates) {
            (0, 0, 0, 0, all) if all == dates && dates > 0 => self.spelled(),
            (1.., 0, 0, 0, 0) if self.zeros || is_id(name) => Kind::String,
            (1.., 0, 0, 0, 0) => match self.epoch(name) {
                Some(unit) => Kind::Timestamp(unit),
                None if floats == 0 => Kind::Int,
                None => Kind::Float,
            },
            (0, 1.., 0, 0, 0) => Kind::Bool,
            (_, _, 1.., _, _) => Kind::List,
            (0, 0, 0, 1.., 0) => Kind::Timestamp("iso"),
            _ => Kind::String,
        }
    }

    fn spelled(&self) -> Kind {
        let mut units = SPELLINGS.iter().enumerate().filter(|(at, _)| self.spellings & (1 << at) != 0);
        match (units.next(), units.next()) {
            (Some((_, one)), Some((_, other))) => Kind::Ambiguous(one, other),
            (Some((_, unit)), None) => Kind::Timestamp(unit),
            (None, _) => Kind::String,
        }
    }

    /// The unit, where the values are instants by their size and the column by its name.
    fn epoch(&self, name: &str) -> Option<&'static str> {
        let (low, high) = self.range?;
        if !is_time(name) {
            return None;
        }
        let fits = |second: i64| low / second >= FIRST_EPOCH && high / second <= LAST_EPOCH;
        EPOCHS.iter().find(|(_, second)| fits(*second)).map(|(unit, _)| *unit)
    }
}

/// `time`, `created_at`, `ts`: a column that tells when, by its name.
pub(super) fn is_time(name: &str) -> bool {
    const PARTS: [&str; 8] = ["time", "date", "stamp", "_at", "_on", "when", "created", "updated"];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) || name == "ts" || name == "t" || name.ends_with("_ts")
}

/// `id`, `user_id`, `userId`, `user`: looked up and counted, never added up.
pub(super) fn is_id(name: &str) -> bool {
    const IDS: [&str; 10] = ["id", "uid", "uuid", "guid", "user", "customer", "visitor", "member", "account", "device"];
    let last = name.rsplit(['.', '_']).next().unwrap_or(name);
    IDS.contains(&last.to_ascii_lowercase().as_str()) || last.ends_with("Id")
}

/// A date, or a date and a time, as `iso` reads it.
fn is_iso(text: &str) -> bool {
    let bytes = text.as_bytes();
    let date = bytes.len() >= 10
        && bytes[..10].iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    date && (bytes.len() == 10 || (matches!(bytes[10], b'T' | b' ') && bytes.len() >= 16 && bytes[13] == b':'))
}

/// Whether a unit reads the whole text. Years have four digits, everything else one or two.
fn is_spelled(text: &str, unit: &str) -> bool {
    let mut rest = text;
    let mut unit = unit.chars();
    while let Some(character) = unit.next() {
        if character != '%' {
            match rest.strip_prefix(character) {
                Some(after) => rest = after,
                None => return false,
            }
            continue;
        }
        let (digits, range) = match unit.next() {
            Some('Y') => (4..=4, 1_000..=9_999),
            Some('m') => (1..=2, 1..=12),
            Some('d') => (1..=2, 1..=31),
            Some('H') => (1..=2, 0..=23),
            _ => (1..=2, 0..=59),
        };
        let end = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(end);
        if !(digits.contains(&end) && number.parse::<u32>().is_ok_and(|number| range.contains(&number))) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, texts: &[&str]) -> Kind {
        let mut seen = Seen::default();
        texts.iter().for_each(|text| seen.text(text));
        seen.kind(name)
    }

    #[test]
    fn values_and_names_decide() {
        assert_eq!(kind("price", &["1", "2.5", ""]), Kind::Float);
        assert_eq!(kind("clicks", &["1", "1533120000"]), Kind::Int);
        assert_eq!(kind("created_at", &["1533120000"]), Kind::Timestamp("s"));
        assert_eq!(kind("ts", &["1533120000123"]), Kind::Timestamp("ms"));
        assert_eq!(kind("when", &["1533120000123456"]), Kind::Timestamp("us"));
        assert_eq!(kind("day", &["2018-08-01", "2018-08-01T10:40:00Z"]), Kind::Timestamp("iso"));
        assert_eq!(kind("user_id", &["17", "18"]), Kind::String);
        assert_eq!(kind("zip", &["01069"]), Kind::String);
        assert_eq!(kind("bot", &["true", "false"]), Kind::Bool);
        assert_eq!(kind("mixed", &["true", "7"]), Kind::String);
        assert_eq!(kind("never", &["", " "]), Kind::String);
        assert_eq!(kind("name", &["nan", "inf"]), Kind::String);
        assert_eq!(kind("when", &["03/04/2026 9:05", "20/11/2026 10:00"]), Kind::Timestamp("%d/%m/%Y %H:%M"));
        assert_eq!(kind("when", &["03/04/2026", "11/20/2026"]), Kind::Timestamp("%m/%d/%Y"));
        assert_eq!(kind("when", &["03/04/2026", "04/04/2026"]), Kind::Ambiguous("%d/%m/%Y", "%m/%d/%Y"));
        assert_eq!(kind("when", &["20/11/2026", "11/20/2026"]), Kind::String);
        assert_eq!(kind("when", &["20/11/2026", "later"]), Kind::String);
        assert_eq!(kind("day", &["20.11.2026 10:00:01"]), Kind::Timestamp("%d.%m.%Y %H:%M:%S"));
        assert_eq!(kind("day", &["2026/11/20"]), Kind::Timestamp("%Y/%m/%d"));
    }
}
