//! A running total that loses nothing.

use datafusion::common::exec_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use smallvec::SmallVec;

use super::wide::Wide;

/// A running total: empty at first, then exact.
pub(super) trait Total: Default + Send + 'static {
    /// The type of the summands and of the sum.
    type Native: Copy;

    /// Adds one summand.
    fn add(&mut self, summand: Self::Native);

    /// Adds the total that [`state`](Total::state) wrote.
    fn merge(&mut self, state: &[u8]) -> Result<()>;

    /// The total as bytes; `None` of an empty one.
    fn state(&self) -> Option<Vec<u8>>;

    /// The sum, rounded once; `None` of an empty total. An error if it does not fit.
    fn value(&self) -> Result<Option<Self::Native>>;

    /// Bytes that it holds on the heap.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// A total of ints; 2^63 rows of the largest int fit.
#[derive(Default)]
pub(super) struct IntTotal {
    sum: i128,
    seen: bool,
}

impl Total for IntTotal {
    type Native = i64;

    fn add(&mut self, summand: i64) {
        self.sum += i128::from(summand);
        self.seen = true;
    }

    fn merge(&mut self, state: &[u8]) -> Result<()> {
        let bytes = state.try_into().map_err(|_| corrupt())?;
        self.sum += i128::from_le_bytes(bytes);
        self.seen = true;
        Ok(())
    }

    fn state(&self) -> Option<Vec<u8>> {
        self.seen.then(|| self.sum.to_le_bytes().to_vec())
    }

    fn value(&self) -> Result<Option<i64>> {
        match i64::try_from(self.sum) {
            Ok(sum) => Ok(self.seen.then_some(sum)),
            Err(_) => Err(overflow(self.sum)),
        }
    }
}

/// What to say of a sum of ints that does not fit.
pub(crate) fn overflow(sum: i128) -> DataFusionError {
    exec_datafusion_err!(
        "integer overflow: the sum {sum} does not fit 64 bits; cast the measure to a float to sum it inexactly"
    )
}

/// A total of floats.
pub(super) enum FloatTotal {
    /// The total is the exact sum of these, which do not overlap and grow in magnitude (Shewchuk, "Adaptive precision
    /// floating-point arithmetic", 1997); all finite, none above [`LIMIT`] but perhaps the last. Empty at first.
    Parts(SmallVec<[f64; 2]>),
    /// For what parts cannot hold: sums beyond the range of doubles, infinities, NaN.
    Wide(Box<Wide>),
}

/// Below this magnitude the sum of two doubles is finite.
const LIMIT: f64 = f64::MAX / 4.0;

const PARTS: u8 = 0;
const WIDE: u8 = 1;

impl Default for FloatTotal {
    fn default() -> Self {
        Self::Parts(SmallVec::new())
    }
}

impl FloatTotal {
    fn widen(&mut self) -> &mut Wide {
        if let Self::Parts(parts) = self {
            let mut wide = Wide::default();
            parts.iter().for_each(|part| wide.add(*part));
            *self = Self::Wide(Box::new(wide));
        }
        match self {
            Self::Wide(wide) => wide,
            Self::Parts(_) => unreachable!("it was widened above"),
        }
    }
}

impl Total for FloatTotal {
    type Native = f64;

    fn add(&mut self, summand: f64) {
        match self {
            // False for NaN too.
            Self::Parts(parts) if summand.abs() < LIMIT && parts.last().is_none_or(|largest| largest.abs() < LIMIT) => {
                grow(parts, summand);
            }
            _ => self.widen().add(summand),
        }
    }

    fn merge(&mut self, state: &[u8]) -> Result<()> {
        match state.split_first() {
            Some((&PARTS, parts)) if parts.len() % 8 == 0 => {
                parts.as_chunks::<8>().0.iter().for_each(|part| self.add(f64::from_le_bytes(*part)));
            }
            Some((&WIDE, wide)) => {
                let wide = Wide::from_bytes(wide).ok_or_else(corrupt)?;
                self.widen().merge(&wide);
            }
            _ => return Err(corrupt()),
        }
        Ok(())
    }

    fn state(&self) -> Option<Vec<u8>> {
        match self {
            Self::Parts(parts) if parts.is_empty() => None,
            Self::Parts(parts) => {
                Some([PARTS].into_iter().chain(parts.iter().flat_map(|part| part.to_le_bytes())).collect())
            }
            Self::Wide(wide) => Some([WIDE].into_iter().chain(wide.to_bytes()).collect()),
        }
    }

    fn value(&self) -> Result<Option<f64>> {
        Ok(match self {
            Self::Parts(parts) => match parts.as_slice() {
                [] => None,
                // Adding zero turns the negative zero into the one zero.
                [sum] => Some(sum + 0.0),
                // One addition rounds once.
                [low, high] => Some(low + high + 0.0),
                parts => {
                    let mut wide = Wide::default();
                    parts.iter().for_each(|part| wide.add(*part));
                    Some(wide.round())
                }
            },
            Self::Wide(wide) => Some(wide.round()),
        })
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Parts(parts) if parts.spilled() => parts.capacity() * size_of::<f64>(),
            Self::Parts(_) => 0,
            Self::Wide(_) => size_of::<Wide>(),
        }
    }
}

/// Adds `summand` to the expansion, exactly: what one addition rounds off is kept as a smaller part.
fn grow(parts: &mut SmallVec<[f64; 2]>, summand: f64) {
    let mut carry = summand;
    let mut kept = 0;
    for at in 0..parts.len() {
        let (sum, lost) = two_sum(carry, parts[at]);
        if lost != 0.0 {
            parts[kept] = lost;
            kept += 1;
        }
        carry = sum;
    }
    parts.truncate(kept);
    // A sum of zero stays as the one part if there is no other: it tells a total of zero from an empty one.
    if carry != 0.0 || parts.is_empty() {
        parts.push(carry);
    }
}

/// The rounded sum of two doubles, and exactly what was rounded off (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_share = sum - a;
    let a_share = sum - b_share;
    (sum, (a - a_share) + (b - b_share))
}

fn corrupt() -> DataFusionError {
    DataFusionError::Execution("the spilled state of exact_sum does not read back".to_owned())
}
