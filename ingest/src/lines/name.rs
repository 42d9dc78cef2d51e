//! Short texts that many others are compared with: keys of objects, values that a filter asks for.

/// A text that is told from others by its length and two numbers, without a call to compare them unless it is long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    ends: Ends,
    text: Box<[u8]>,
}

/// The ends of a text: of one of up to 16 bytes, together with its length, all there is to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    first: u64,
    last: u64,
}

impl Name {
    pub(crate) fn new(text: &[u8]) -> Self {
        Self { ends: Ends::of(text), text: text.into() }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether `text`, which has these `ends`, is the same.
    #[inline(always)]
    pub(crate) fn is(&self, text: &[u8], ends: Ends) -> bool {
        let alike = self.ends == ends && self.text.len() == text.len();
        alike && (text.len() <= 16 || middle(&self.text) == middle(text))
    }
}

impl Ends {
    /// The first eight bytes and the last eight; of a shorter text all bytes, some twice, and nothing.
    #[inline(always)]
    pub(crate) fn of(text: &[u8]) -> Self {
        let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
        match (text.first_chunk::<8>(), text.last_chunk::<8>(), text.first_chunk::<4>(), text.last_chunk::<4>()) {
            (Some(first), Some(last), ..) => {
                Self { first: u64::from_le_bytes(*first), last: u64::from_le_bytes(*last) }
            }
            (.., Some(first), Some(last)) => Self { first: half(first) | half(last) << 32, last: 0 },
            _ => Self { first: text.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), last: 0 },
        }
    }
}

/// What the ends of a text of more than 16 bytes leave out.
fn middle(text: &[u8]) -> &[u8] {
    &text[8..text.len() - 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_itself_and_nothing_else() {
        for len in 0..40 {
            let text: Vec<u8> = (0..len).collect();
            let name = Name::new(&text);
            assert!(name.is(&text, Ends::of(&text)), "{len}");
            for at in 0..text.len() {
                let mut other = text.clone();
                other[at] ^= 0x80;
                assert!(!name.is(&other, Ends::of(&other)), "{len} but for byte {at}");
            }
            for other in [[&text[..], &[0]].concat(), [&[0], &text[..]].concat()] {
                assert!(!name.is(&other, Ends::of(&other)), "{len} and one more");
            }
        }
    }
}
