//! Seeded chance: the same reservoir on every machine.

/// Draws small indexes often and large ones seldom, as users, segments and sites are met in life: the weight of
/// index `i` is `1 / (i + 1)^exponent`.
pub(super) struct Zipf {
    /// Running sums of the weights.
    sums: Vec<f64>,
}

impl Zipf {
    pub(super) fn new(size: usize, exponent: f64) -> Self {
        let sums = (0..size).scan(0.0, |sum, index| {
            *sum += ((index + 1) as f64).powf(-exponent);
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    pub(super) fn draw(&self, rng: &mut fastrand::Rng) -> usize {
        let total = self.sums.last().copied().unwrap_or_default();
        let at = rng.f64() * total;
        self.sums.partition_point(|&sum| sum <= at).min(self.sums.len() - 1)
    }
}

/// An id of ten hexadecimal digits that tells nothing of `number`; `kind` keeps users apart from devices.
pub(super) fn id(kind: u64, number: usize) -> String {
    // The finaliser of splitmix64.
    let mut mixed = (number as u64).wrapping_add(kind << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    format!("{:010x}", (mixed ^ (mixed >> 31)) & 0xFF_FFFF_FFFF)
}
