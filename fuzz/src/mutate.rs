//! Mutations that keep lines of JSON what they are: random bytes break nearly all of them.

/// Keys that the targets want, and some that they do not.
const KEYS: [&str; 16] = [
    "a",
    "b",
    "ab",
    "key_of_a_longer_name_than_16",
    "key_of_a_key_that_no_shape_can_hold_as_a_whole",
    "never",
    "s",
    "i",
    "f",
    "t",
    "l",
    "o",
    "c",
    "\\u0061",
    "a\\u0062",
    "",
];

const VALUES: [&str; 18] = [
    "1",
    "-0.5e+7",
    "12345678901234567",
    "1540919166796",
    "null",
    "true",
    "false",
    "\"\"",
    "\"text of more than sixteen bytes\"",
    "\"\\n\\ud83d\\ude00\\\\\"",
    "\"\\ud800\"",
    "\"é\"",
    "{}",
    "[]",
    "[1,[\"a\",{\"s\":2}],null]",
    "{\"b\":1,\"a\":{\"b\":2}}",
    "{\"ab\":[{}],\"s\":\"x\"}",
    "[{\"s\":[{\"i\":1}]},{\"i\":2}]",
];

const SPACES: [&str; 6] = ["", "", "", " ", "\t", " \r "];

/// Small numbers by chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % end.max(1)
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// A position of one of these bytes, if there is any.
    fn place(&mut self, text: &[u8], bytes: &[u8]) -> Option<usize> {
        let places: Vec<usize> = (0..text.len()).filter(|at| bytes.contains(&text[*at])).collect();
        places.get(self.below(places.len())).copied()
    }
}

/// The lines with one change: a member more, another value, or a line again with such a change.
pub fn json_lines(text: &[u8], seed: u32) -> Vec<u8> {
    let mut chance = Chance(u64::from(seed) << 16 | 0x9e37);
    let mut lines: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let mut at = chance.below(lines.len());
    if chance.below(3) == 0 {
        let copied = lines[at].clone();
        at = chance.below(lines.len() + 1);
        lines.insert(at, copied);
    }
    let line = &mut lines[at];
    if !line.starts_with(b"{") && chance.below(4) > 0 {
        *line = b"{}".to_vec();
    }
    match chance.below(4) {
        // A member before another one.
        0 | 1 => {
            if let Some(brace) = chance.place(line, b"{,") {
                let last = line[brace + 1..].trim_ascii_start().starts_with(b"}");
                let [space, around] = [chance.of(&SPACES), chance.of(&SPACES)];
                let member = format!("{space}\"{}\"{around}:{space}{}{around}", chance.of(&KEYS), chance.of(&VALUES));
                let member = if last { member } else { format!("{member},") };
                line.splice(brace + 1..brace + 1, member.into_bytes());
            }
        }
        // Another value.
        2 => {
            if let Some(colon) = chance.place(line, b":[") {
                let rest = &line[colon + 1..];
                let end = rest.iter().position(|byte| b",]}".contains(byte)).unwrap_or(rest.len());
                line.splice(colon + 1..colon + 1 + end, chance.of(&VALUES).bytes());
            }
        }
        // A member less.
        _ => {
            if let (Some(from), Some(to)) = (chance.place(line, b"{,"), chance.place(line, b",}"))
                && from < to
            {
                line.drain(from + 1..to);
            }
        }
    }
    lines.join(&b'\n')
}
