//! The shape of lines: the keys that the lines before had, in their order. Lines of one writer are alike, so that most
//! keys need only be compared, not read and looked up.

use super::paths::Target;

/// Longest text that is compared: a key with its quotes and its colon.
const TEXT_BYTES: usize = 32;
/// Members beyond this are read as if there was no shape.
const MAX_MEMBERS: usize = 256;

/// The keys of the last lines' own objects, by their place among the members.
#[derive(Debug, Default)]
pub(super) struct Shape {
    members: Vec<Member>,
}

/// One key, as it was written.
#[derive(Debug)]
struct Member {
    /// The key, its quotes and its colon, in two numbers.
    text: [u128; 2],
    /// The bits of them that count.
    mask: [u128; 2],
    len: usize,
    target: Option<Target>,
}

impl Shape {
    /// Where the key at `pos` leads to and the position behind its colon, if it is the one that stood at this place.
    #[inline(always)]
    pub(super) fn find(&self, place: usize, line: &[u8], pos: usize) -> Option<(Option<Target>, usize)> {
        let member = self.members.get(place)?;
        let [first, second] = halves(line.get(pos..)?.first_chunk()?);
        let differs = (first ^ member.text[0]) & member.mask[0] | (second ^ member.text[1]) & member.mask[1];
        (differs == 0).then_some((member.target, pos + member.len))
    }

    /// Takes note of the key at a place, written as `text`: quotes, no escapes, and the colon right behind.
    pub(super) fn note(&mut self, place: usize, text: &[u8], target: Option<Target>) {
        if text.len() > TEXT_BYTES || place > self.members.len() || place >= MAX_MEMBERS {
            return;
        }
        let (mut bytes, mut mask) = ([0; TEXT_BYTES], [0; TEXT_BYTES]);
        bytes[..text.len()].copy_from_slice(text);
        mask[..text.len()].fill(u8::MAX);
        let member = Member { text: halves(&bytes), mask: halves(&mask), len: text.len(), target };
        match self.members.get_mut(place) {
            Some(other) => *other = member,
            None => self.members.push(member),
        }
    }
}

#[inline(always)]
fn halves(bytes: &[u8; TEXT_BYTES]) -> [u128; 2] {
    let half = |at: usize| u128::from_le_bytes(*bytes[at..].first_chunk().expect("16 of 32 bytes"));
    [half(0), half(16)]
}
