//! Numbers from text, exactly.

/// A decimal number as written: `mantissa · 10^scale`, and whether digits beyond the mantissa's room were not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    mantissa: u128,
    scale: i64,
    inexact: bool,
}

/// Below this a mantissa has room for one digit more.
const MANTISSA_ROOM: u128 = 10_u128.pow(37);
/// Exponents beyond this are as good as infinite: no line has so many digits.
const MAX_EXPONENT: i64 = 1_000_000_000;

/// The whole number that `text` holds, if it holds exactly one that fits 64 bits: `42`, `1540919166796.0`, `1e3`.
#[inline]
pub(super) fn int(text: &str) -> Option<i64> {
    small_int(text.as_bytes()).or_else(|| Decimal::parse(text)?.to_int())
}

/// The finite number that `text` holds, if it holds exactly one.
#[inline]
pub(super) fn float(text: &str) -> Option<f64> {
    // The standard library also reads `inf`, `NaN` and the like, which are no numbers in JSON.
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E'));
    let number: f64 = if plain { text.parse().ok()? } else { return None };
    number.is_finite().then_some(number)
}

/// Up to 18 digits, perhaps with a sign: what nearly all whole numbers are.
#[inline]
pub(super) fn small_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let (mut number, mut rest) = (0, digits);
    while let Some((eight, behind)) = rest.split_first_chunk() {
        number = number * 100_000_000 + i64::from(eight_digits(*eight)?);
        rest = behind;
    }
    for byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(if negative { -number } else { number })
}

/// Eight digits as a number, all at once: neighbours are joined to twos, those to fours, those to all eight.
#[inline(always)]
fn eight_digits(text: [u8; 8]) -> Option<u32> {
    const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);
    const HIGH_HALVES: u64 = u64::from_ne_bytes([0xf0; 8]);
    const SIXES: u64 = u64::from_ne_bytes([6; 8]);
    let text = u64::from_le_bytes(text);
    // A byte is a digit if its high half is 3, and still is when 6 is added.
    if (text & HIGH_HALVES) | ((text.wrapping_add(SIXES) & HIGH_HALVES) >> 4) != ZEROS | (ZEROS >> 4) {
        return None;
    }
    let digits = text - ZEROS;
    let twos = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_ffff_0000_ffff;
    let eight = fours * 10_000 + (fours >> 32);
    Some(eight as u32)
}

impl Decimal {
    /// Reads digits with a sign, a point and an exponent, each of them optional.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let mut number = Self { negative, mantissa: 0, scale: 0, inexact: false };
        let (whole, rest) = leading_digits(rest);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => leading_digits(rest),
            rest => (&[][..], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        whole.iter().for_each(|digit| number.push(digit - b'0', false));
        fraction.iter().for_each(|digit| number.push(digit - b'0', true));
        match rest {
            [] => {}
            [b'e' | b'E', exponent @ ..] => number.scale += parse_exponent(exponent)?,
            _ => return None,
        }
        Some(number)
    }

    fn push(&mut self, digit: u8, fraction: bool) {
        if self.mantissa < MANTISSA_ROOM {
            self.mantissa = self.mantissa * 10 + u128::from(digit);
            self.scale -= i64::from(fraction);
        } else {
            self.inexact |= digit != 0;
            self.scale += i64::from(!fraction);
        }
    }

    /// The number, if it is whole and fits.
    fn to_int(self) -> Option<i64> {
        let (quotient, rest) = self.scaled(0)?;
        if rest { None } else { self.signed(quotient) }
    }

    /// The number times `10^power`, floored, if that fits.
    pub(super) fn floor_scaled(self, power: i64) -> Option<i64> {
        let (quotient, rest) = self.scaled(power)?;
        self.signed(quotient.checked_add(u128::from(self.negative && rest))?)
    }

    /// The amount times `10^power`, cut at the point, and whether anything was cut off.
    fn scaled(self, power: i64) -> Option<(u128, bool)> {
        let scale = self.scale + power;
        if self.mantissa == 0 {
            return Some((0, self.inexact));
        }
        let factor = u32::try_from(scale.unsigned_abs()).ok().and_then(|exponent| 10_u128.checked_pow(exponent));
        match (factor, scale >= 0) {
            (Some(factor), true) => Some((self.mantissa.checked_mul(factor)?, self.inexact)),
            (None, true) => None,
            (Some(factor), false) => {
                Some((self.mantissa / factor, self.inexact || !self.mantissa.is_multiple_of(factor)))
            }
            (None, false) => Some((0, true)),
        }
    }

    fn signed(self, amount: u128) -> Option<i64> {
        let amount = i128::try_from(amount).ok()?;
        i64::try_from(if self.negative { -amount } else { amount }).ok()
    }
}

fn leading_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let exponent = digits.iter().fold(0, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(MAX_EXPONENT));
    Some(if negative { -exponent } else { exponent })
}
