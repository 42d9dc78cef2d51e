//! The walker over JSON lines: finds the wanted values of a line and looks at nothing behind the last of them.
//!
//! It is no JSON parser: it checks the grammar of all that it passes, notes where the wanted values stand, and stops
//! once it has them all; of the rest only the closing brace is looked at. Nothing is unescaped or converted here.

use super::Raw;
use super::paths::{Paths, Target};
use super::scan::{self, Breach};
use super::shape::Shape;
use crate::report::Reason;

/// Where a wanted value stands in its line.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    kind: Kind,
    start: u32,
    end: u32,
}

/// What begins at a value's first byte. Strings are noted without their quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Absent,
    Null,
    Text,
    Escaped,
    Number,
    Bool,
    Container,
}

/// Finds the values of all wanted paths, line by line; allocates nothing for a line once it is warm.
#[derive(Debug)]
pub(crate) struct Walker {
    paths: Paths,
    slots: Vec<Slot>,
    /// For each key of the paths the last line that had it: of a repeated key the first counts.
    seen_on: Vec<u64>,
    line: u64,
    /// Wanted values that may still come on this line.
    open: usize,
    /// The containers that are open around the position, innermost last: whether each is an object.
    stack: Vec<bool>,
    key: Vec<u8>,
    shape: Shape,
}

/// How the walk over an object ended.
enum Walk {
    /// Nothing more is wanted of the line.
    Done,
    /// At the position after its closing brace.
    Closed(usize),
}

impl Walker {
    pub(crate) fn new(paths: Paths) -> Self {
        Self {
            slots: vec![Slot::default(); paths.slots()],
            seen_on: vec![0; paths.keys()],
            paths,
            line: 0,
            open: 0,
            stack: Vec::new(),
            key: Vec::new(),
            shape: Shape::default(),
        }
    }

    /// Walks over a line without white space round it.
    pub(crate) fn walk(&mut self, line: &[u8]) -> Result<(), Reason> {
        self.slots.fill(Slot::default());
        self.line += 1;
        self.open = self.paths.slots();
        match line {
            [b'{', .., b'}'] => {}
            [b'{', ..] => return Err(Reason::LineCutOff),
            _ => return Err(Reason::NotJsonObject),
        }
        match self.object(line, 1, Paths::ROOT) {
            Ok(Walk::Done) => Ok(()),
            Ok(Walk::Closed(end)) if end == line.len() => Ok(()),
            Ok(Walk::Closed(_)) | Err(Breach) => Err(Reason::BadJson),
        }
    }

    /// The value of `slot` on `line`, the line that was walked over last.
    #[inline(always)]
    pub(crate) fn raw<'a>(&self, line: &'a [u8], slot: usize) -> Raw<'a> {
        let slot = self.slots[slot];
        let text = &line[slot.start as usize..slot.end as usize];
        match slot.kind {
            Kind::Absent => Raw::Absent,
            Kind::Null => Raw::Null,
            Kind::Text => Raw::Text(text),
            Kind::Escaped => Raw::Escaped(text),
            Kind::Number => Raw::Number(text),
            Kind::Bool => Raw::Bool(text),
            Kind::Container => Raw::Container(text),
        }
    }

    /// Walks over the members of an object from behind its opening brace.
    fn object(&mut self, line: &[u8], mut pos: usize, node: usize) -> Result<Walk, Breach> {
        pos = scan::skip_space(line, pos);
        if scan::byte(line, pos) == b'}' {
            return Ok(Walk::Closed(pos + 1));
        }
        for place in 0.. {
            let target;
            (target, pos) = self.key(line, pos, node, place)?;
            pos = scan::skip_space(line, pos);
            match target {
                Some(target) => match self.value(line, pos, target)? {
                    Walk::Done => return Ok(Walk::Done),
                    Walk::Closed(end) => pos = end,
                },
                None if scan::byte(line, pos) == b'"' => pos = scan::string(line, pos)?.end,
                None => pos = scan::skip_value(line, pos, &mut self.stack)?,
            }
            pos = scan::skip_space(line, pos);
            match scan::byte(line, pos) {
                b',' => pos = scan::skip_space(line, pos + 1),
                b'}' => return Ok(Walk::Closed(pos + 1)),
                _ => return Err(Breach),
            }
        }
        unreachable!("a line has fewer members than there are numbers")
    }

    /// Passes a key and its colon: where it leads to, if that is wanted and it has not stood here before, and the
    /// position behind.
    #[inline(always)]
    fn key(&mut self, line: &[u8], pos: usize, node: usize, place: usize) -> Result<(Option<Target>, usize), Breach> {
        let known = if node == Paths::ROOT { self.shape.find(place, line, pos) } else { None };
        let (target, end) = match known {
            Some(known) => known,
            None => self.unknown_key(line, pos, node, place)?,
        };
        Ok((target.and_then(|target| self.first(target)), end))
    }

    /// The same for a key that is not the one which stood at this place on the line before.
    fn unknown_key(
        &mut self,
        line: &[u8],
        pos: usize,
        node: usize,
        place: usize,
    ) -> Result<(Option<Target>, usize), Breach> {
        let key = scan::string(line, pos)?;
        let target = self.wanted(node, &line[pos + 1..key.end - 1], key.escaped);
        let end = scan::expect(line, scan::skip_space(line, key.end), b':')?;
        if node == Paths::ROOT && !key.escaped && end == key.end + 1 {
            self.shape.note(place, &line[pos..end], target);
        }
        Ok((target, end))
    }

    /// The key of the paths that is called `name`.
    #[inline]
    fn wanted(&mut self, node: usize, name: &[u8], escaped: bool) -> Option<Target> {
        if escaped {
            self.key.clear();
            scan::unescape(name, &mut self.key).ok()?;
            self.paths.find(node, &self.key)
        } else {
            self.paths.find(node, name)
        }
    }

    /// The target, unless its key has stood on this line before: of a repeated key the first counts.
    #[inline(always)]
    fn first(&mut self, target: Target) -> Option<Target> {
        let seen_on = &mut self.seen_on[target.key];
        let first = *seen_on != self.line;
        *seen_on = self.line;
        first.then_some(target)
    }

    /// Notes the value of a wanted key, or walks into it.
    fn value(&mut self, line: &[u8], pos: usize, target: Target) -> Result<Walk, Breach> {
        let open = self.open;
        let (noted, end) = match target.child {
            Some(child) if scan::byte(line, pos) == b'{' => match self.object(line, pos + 1, child)? {
                // Then the object itself is not wanted: it would still be open.
                Walk::Done => return Ok(Walk::Done),
                Walk::Closed(end) => (Slot { kind: Kind::Container, start: offset(pos), end: offset(end) }, end),
            },
            _ => self.note(line, pos)?,
        };
        if let Some(slot) = target.slot {
            self.slots[slot] = noted;
        }
        // Whatever of this key was not found is not on this line.
        self.open = open - target.below;
        Ok(if self.open == 0 { Walk::Done } else { Walk::Closed(end) })
    }

    /// Where the value at `pos` stands, and the position behind it.
    #[inline]
    fn note(&mut self, line: &[u8], pos: usize) -> Result<(Slot, usize), Breach> {
        let (kind, start, end, after) = match scan::byte(line, pos) {
            b'"' => {
                let string = scan::string(line, pos)?;
                let kind = if string.escaped { Kind::Escaped } else { Kind::Text };
                (kind, pos + 1, string.end - 1, string.end)
            }
            first => {
                let end = scan::skip_value(line, pos, &mut self.stack)?;
                let kind = match first {
                    b'n' => Kind::Null,
                    b't' | b'f' => Kind::Bool,
                    b'{' | b'[' => Kind::Container,
                    _ => Kind::Number,
                };
                (kind, pos, end, end)
            }
        };
        Ok((Slot { kind, start: offset(start), end: offset(end) }, after))
    }
}

fn offset(pos: usize) -> u32 {
    u32::try_from(pos).expect("a line is at most 10 MB")
}

#[cfg(test)]
mod tests;
