//! What lines are and what their values are, against a reading byte by byte, which is itself held against serde_json.
//! The input is cut at newlines, as a file is: what one line was like must change nothing about the next.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use neartime_fuzz::json::{Raw, Reason, Walker, unescaped};
use neartime_fuzz::mutate::json_lines;
use serde::de::IgnoredAny;

/// What is wanted: everything on a line, the first of it, and what stands inside of objects.
const WANTED: [&[&[&str]]; 4] = [
    &[&["a"], &["b"], &["ab"], &["key_of_a_longer_name_than_16"], &["never"]],
    &[&["a"], &["b"]],
    &[&["a", "b"], &["a", "a", "key_of_a_longer_name_than_16"], &["b"]],
    &[&["a"], &["a", "ab"], &["b", "a", "b"], &["a"], &["key_of_a_key_that_no_shape_can_hold_as_a_whole"]],
];

/// Where a value stands, and the members of an object as far as the grammar holds.
#[derive(Debug)]
struct Node {
    start: usize,
    end: usize,
    members: Option<Vec<(Option<String>, Node)>>,
}

/// Reads JSON by the book; `broken` once it is none.
struct Naive<'a> {
    text: &'a [u8],
    at: usize,
    broken: bool,
}

impl Naive<'_> {
    fn peek(&self) -> u8 {
        if self.broken { 0 } else { self.text.get(self.at).copied().unwrap_or(0) }
    }

    fn take(&mut self, wanted: u8) {
        self.broken |= self.peek() != wanted || wanted == 0;
        self.at += 1;
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
    }

    fn string(&mut self) {
        self.take(b'"');
        loop {
            match self.peek() {
                0..0x20 => self.broken = true,
                b'"' => break self.at += 1,
                b'\\' => {
                    self.at += 1;
                    match self.peek() {
                        b'u' => (0..4).for_each(|_| {
                            self.at += 1;
                            self.broken |= !self.peek().is_ascii_hexdigit();
                        }),
                        other => self.broken |= !b"\"\\/bfnrt".contains(&other),
                    }
                    self.at += 1;
                }
                _ => self.at += 1,
            }
            if self.broken {
                return;
            }
        }
    }

    fn digits(&mut self) {
        self.broken |= !self.peek().is_ascii_digit();
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }

    fn number(&mut self) {
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1
        } else {
            self.digits()
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits();
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits();
        }
    }

    /// Each member is noted before it is known whether the one after it is any.
    fn value(&mut self) -> Node {
        let mut node = Node { start: self.at, end: usize::MAX, members: None };
        match self.peek() {
            b'{' => {
                let mut members = Vec::new();
                self.list(b'}', |naive| {
                    let start = naive.at;
                    naive.string();
                    if naive.broken {
                        return;
                    }
                    let name = serde_json::from_slice(&naive.text[start..naive.at]).ok();
                    naive.space();
                    naive.take(b':');
                    naive.space();
                    if !naive.broken {
                        members.push((name, naive.value()));
                    }
                });
                node.members = Some(members);
            }
            b'[' => self.list(b']', |naive| drop(naive.value())),
            b'"' => self.string(),
            b't' => b"true".iter().for_each(|byte| self.take(*byte)),
            b'f' => b"false".iter().for_each(|byte| self.take(*byte)),
            b'n' => b"null".iter().for_each(|byte| self.take(*byte)),
            _ => self.number(),
        }
        if !self.broken {
            node.end = self.at;
        }
        node
    }

    fn list(&mut self, close: u8, mut one: impl FnMut(&mut Self)) {
        self.at += 1;
        self.space();
        if self.peek() == close {
            self.at += 1;
            return;
        }
        loop {
            one(self);
            self.space();
            if self.peek() == close {
                self.at += 1;
                return;
            }
            self.take(b',');
            self.space();
            if self.broken {
                return;
            }
        }
    }
}

/// What the rule says of a line: where each wanted value stands, or that the line is bad.
fn expected<'l>(line: &'l [u8], root: &Node, wanted: &[&[&str]]) -> Result<Vec<Raw<'l>>, Reason> {
    match line {
        [b'{', .., b'}'] => {}
        [b'{', ..] => return Err(Reason::LineCutOff),
        _ => return Err(Reason::NotJsonObject),
    }
    let mut search = Search { line, wanted, left: wanted.to_vec(), values: vec![Raw::Absent; wanted.len()] };
    // Behind the last wanted value nothing is checked.
    if search.find(root, &[]) || root.end == line.len() { Ok(search.values) } else { Err(Reason::BadJson) }
}

struct Search<'l, 'w> {
    line: &'l [u8],
    wanted: &'w [&'w [&'w str]],
    /// What may still come.
    left: Vec<&'w [&'w str]>,
    values: Vec<Raw<'l>>,
}

impl Search<'_, '_> {
    /// Looks into the object that `path` leads to; whether nothing is left to look for. Of a repeated key the first
    /// counts, and whatever of a path it does not hold is not on the line.
    fn find(&mut self, object: &Node, path: &[&str]) -> bool {
        let members = object.members.as_deref().unwrap_or_default();
        for (index, (name, member)) in members.iter().enumerate() {
            let Some(name) = name else { continue };
            let path = [path, &[name.as_str()]].concat();
            let repeated = members[..index].iter().any(|(earlier, _)| earlier.as_ref() == Some(name));
            if repeated || !self.left.iter().any(|wanted| wanted.starts_with(&path)) {
                continue;
            }
            if self.find(member, &path) {
                return true;
            }
            if member.end == usize::MAX {
                return false;
            }
            for (wanted, value) in self.wanted.iter().zip(&mut self.values) {
                if **wanted == path[..] {
                    *value = raw(self.line, member);
                }
            }
            self.left.retain(|wanted| !wanted.starts_with(&path));
            if self.left.is_empty() {
                return true;
            }
        }
        false
    }
}

fn raw<'l>(line: &'l [u8], node: &Node) -> Raw<'l> {
    let text = &line[node.start..node.end];
    match text[0] {
        b'"' if text.contains(&b'\\') => Raw::Escaped(&text[1..text.len() - 1]),
        b'"' => Raw::Text(&text[1..text.len() - 1]),
        b'{' | b'[' => Raw::Container(text),
        b't' | b'f' => Raw::Bool(text),
        b'n' => Raw::Null,
        _ => Raw::Number(text),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut walkers = WANTED.map(Walker::new);
    for line in data.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        let shown = String::from_utf8_lossy(line);
        let mut naive = Naive { text: line, at: 0, broken: false };
        let root = naive.value();
        let whole = !naive.broken && naive.at == line.len();
        assert_eq!(whole, serde_json::from_slice::<IgnoredAny>(line).is_ok(), "the naive reading of {shown:?}");
        for (walker, wanted) in walkers.iter_mut().zip(WANTED) {
            let ours = walker.walk(line);
            let found = ours.map(|()| (0..wanted.len()).map(|at| walker.value(line, at)).collect::<Vec<_>>());
            assert_eq!(found, expected(line, &root, wanted), "{wanted:?} of {shown:?}");
            for raw in found.unwrap_or_default() {
                let (body, text) = match raw {
                    Raw::Text(body) => (body, String::from_utf8(body.to_vec()).ok()),
                    Raw::Escaped(body) => (body, unescaped(body)),
                    _ => continue,
                };
                assert_eq!(text, serde_json::from_slice(&[b"\"", body, b"\""].concat()).ok(), "{raw:?} of {shown:?}");
            }
        }
    }
});

// Half of the mutations are the fuzzer's own.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed.is_multiple_of(2) {
        return fuzzer_mutate(data, size, max_size);
    }
    let changed = json_lines(&data[..size], seed);
    let size = changed.len().min(max_size);
    data[..size].copy_from_slice(&changed[..size]);
    size
});
