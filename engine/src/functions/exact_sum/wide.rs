//! A fixed-point number wide enough for every sum of doubles.

/// Bits per limb.
const LIMB: usize = 64;
/// A double is a multiple of 2^-1074 below 2^1024: 2098 bits, and 78 more for the carries of 2^77 summands and a sign.
const LIMBS: usize = 34;
/// Bits of a double's significand, the hidden one included.
const SIGNIFICAND: usize = 53;

/// The exact sum of any doubles: a two's complement integer, least limb first, in units of 2^-1074.
///
/// Infinities and NaN are summed beside it as IEEE 754 does, which is associative for them.
pub(super) struct Wide {
    limbs: [u64; LIMBS],
    special: f64,
}

impl Default for Wide {
    fn default() -> Self {
        Self { limbs: [0; LIMBS], special: 0.0 }
    }
}

impl Wide {
    /// Adds one double.
    pub(super) fn add(&mut self, summand: f64) {
        if !summand.is_finite() {
            self.special += summand;
            return;
        }
        let bits = summand.to_bits();
        let exponent = usize::try_from((bits >> 52) & 0x7ff).expect("11 bits fit");
        let fraction = bits & ((1 << 52) - 1);
        let (significand, shift) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let (limb, offset) = (shift / LIMB, shift % LIMB);
        let spread = u128::from(significand) << offset;
        let mut addend = [0; LIMBS];
        addend[limb] = low_half(spread);
        addend[limb + 1] = low_half(spread >> LIMB);
        if summand.is_sign_negative() {
            negate(&mut addend);
        }
        self.add_limbs(&addend);
    }

    /// Adds another total.
    pub(super) fn merge(&mut self, other: &Self) {
        self.add_limbs(&other.limbs);
        self.special += other.special;
    }

    fn add_limbs(&mut self, addend: &[u64; LIMBS]) {
        let mut carry = false;
        for (limb, addend) in self.limbs.iter_mut().zip(addend) {
            let (sum, first) = limb.overflowing_add(*addend);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = first || second;
        }
    }

    /// The nearest double, ties to even; beyond the largest it is an infinity.
    pub(super) fn round(&self) -> f64 {
        // Also true of NaN.
        if self.special != 0.0 {
            return if self.special.is_nan() { f64::NAN } else { self.special };
        }
        let mut magnitude = self.limbs;
        let negative = magnitude[LIMBS - 1] >> (LIMB - 1) == 1;
        if negative {
            negate(&mut magnitude);
        }
        let rounded = round_magnitude(&magnitude);
        if negative { -rounded } else { rounded }
    }

    /// Limbs, then the special sum, all little-endian.
    pub(super) fn to_bytes(&self) -> impl Iterator<Item = u8> {
        self.limbs.iter().copied().chain([self.special.to_bits()]).flat_map(u64::to_le_bytes)
    }

    /// Reads what [`to_bytes`](Wide::to_bytes) wrote.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let (special, limbs) = words.split_last()?;
        let limbs: &[[u8; 8]; LIMBS] = limbs.try_into().ok()?;
        let wide = Self { limbs: limbs.map(u64::from_le_bytes), special: f64::from_le_bytes(*special) };
        rest.is_empty().then_some(wide)
    }
}

fn round_magnitude(limbs: &[u64; LIMBS]) -> f64 {
    let Some(top) = limbs.iter().rposition(|limb| *limb != 0) else {
        return 0.0;
    };
    let length = (top + 1) * LIMB - limbs[top].leading_zeros() as usize;
    // An integer of at most 53 bits in units of 2^-1074 has the bit pattern of its double.
    let Some(shift) = length.checked_sub(SIGNIFICAND).filter(|shift| *shift > 0) else {
        return f64::from_bits(limbs[0]);
    };
    let mut significand = bits_from(limbs, shift) & ((1 << SIGNIFICAND) - 1);
    let half = bits_from(limbs, shift - 1) & 1 == 1;
    let sticky = (0..shift - 1).any(|bit| limbs[bit / LIMB] >> (bit % LIMB) & 1 == 1);
    if half && (sticky || significand & 1 == 1) {
        significand += 1;
    }
    // A carry out of the significand raises the exponent by itself, the fraction being zero then.
    let exponent = u64::try_from(shift).expect("below 2176") << 52;
    let bits = exponent + significand;
    if bits >= f64::INFINITY.to_bits() { f64::INFINITY } else { f64::from_bits(bits) }
}

/// The 64 bits that begin at bit `at`.
fn bits_from(limbs: &[u64; LIMBS], at: usize) -> u64 {
    let (limb, offset) = (at / LIMB, at % LIMB);
    let high = limbs.get(limb + 1).copied().unwrap_or(0);
    low_half((u128::from(high) << LIMB | u128::from(limbs[limb])) >> offset)
}

fn negate(limbs: &mut [u64; LIMBS]) {
    let mut carry = true;
    for limb in limbs {
        (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
fn low_half(wide: u128) -> u64 {
    wide as u64
}
