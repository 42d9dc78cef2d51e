use datafusion::arrow::array::{AsArray, Float64Array, Int64Array};
use datafusion::logical_expr::EmitTo;
use proptest::prelude::*;

use super::total::Total;
use super::*;

/// The exact sum by schoolbook arithmetic: a signed list of decimal-free big integers in units of 2^-1074, one bit a
/// place, rounded by comparing with the neighbouring doubles.
fn reference(summands: &[f64]) -> f64 {
    let mut bits = vec![0_i64; 2_200];
    for summand in summands {
        let raw = summand.to_bits();
        let exponent = (raw >> 52 & 0x7ff) as usize;
        let fraction = raw & ((1 << 52) - 1);
        let (significand, shift) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        for bit in 0..53 {
            let sign = if summand.is_sign_negative() { -1 } else { 1 };
            bits[shift + bit] += sign * (significand >> bit & 1) as i64;
        }
    }
    let negative = normalise(&mut bits);
    let length = bits.iter().rposition(|bit| *bit == 1).map_or(0, |top| top + 1);
    let shift = length.saturating_sub(53);
    let mut significand = (shift..length).fold(0_u64, |sum, at| sum | (bits[at] as u64) << (at - shift));
    if shift > 0 && bits[shift - 1] == 1 && (significand & 1 == 1 || bits[..shift - 1].contains(&1)) {
        significand += 1;
    }
    // Exact: the significand has at most 54 bits, and scaling by powers of two in two steps stays in range.
    let power = shift as i32 - 1074;
    let value = significand as f64 * 2_f64.powi(power / 2) * 2_f64.powi(power - power / 2);
    if negative { -value } else { value }
}

/// Carries until every place is 0 or 1; tells whether the number was negative (its magnitude is left).
fn normalise(bits: &mut [i64]) -> bool {
    let carry = |bits: &mut [i64]| {
        let mut carried = 0;
        for bit in bits.iter_mut() {
            let sum = *bit + carried;
            *bit = sum.rem_euclid(2);
            carried = sum.div_euclid(2);
        }
        carried
    };
    let mut copy = bits.to_vec();
    if carry(&mut copy) < 0 {
        bits.iter_mut().for_each(|bit| *bit = -*bit);
        carry(bits);
        return true;
    }
    carry(bits);
    false
}

fn total(summands: &[f64]) -> FloatTotal {
    let mut total = FloatTotal::default();
    summands.iter().for_each(|summand| total.add(*summand));
    total
}

fn sum(summands: &[f64]) -> Option<f64> {
    total(summands).value().unwrap()
}

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |x| x.is_finite()),
        -1e3..1e3,
        (-1_000_000..1_000_000_i64).prop_map(|cents| cents as f64 / 100.0),
        Just(f64::MAX),
        Just(-f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(5e-324),
        Just(-0.0),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn is_the_exact_sum_rounded_once(summands in prop::collection::vec(finite(), 1..40)) {
        let expected = reference(&summands);
        prop_assert_eq!(sum(&summands).unwrap().to_bits(), (expected + 0.0).to_bits(), "{:?}", summands);
    }

    #[test]
    fn has_the_same_bits_in_any_order_and_in_any_parts(
        summands in prop::collection::vec(finite(), 1..40),
        seed in any::<u64>(),
        parts in 1..6_usize,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut shuffled = summands.clone();
        random.shuffle(&mut shuffled);
        let mut whole = FloatTotal::default();
        for part in shuffled.chunks(shuffled.len().div_ceil(parts)) {
            whole.merge(&total(part).state().unwrap()).unwrap();
        }
        prop_assert_eq!(whole.value().unwrap().unwrap().to_bits(), sum(&summands).unwrap().to_bits());
    }
}

#[test]
fn cancels_without_loss() {
    assert_eq!(sum(&[1e100, 1.0, -1e100]), Some(1.0));
    assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX, -f64::MAX, 0.5]), Some(0.5));
    assert_eq!(sum(&[0.1; 10]), Some(1.0));
    assert_eq!(sum(&[-0.0]).map(f64::to_bits), Some(0));
    assert_eq!(sum(&[]), None);
}

#[test]
fn sums_beyond_doubles_are_infinite_only_in_the_end() {
    assert_eq!(sum(&[f64::MAX, f64::MAX]), Some(f64::INFINITY));
    assert_eq!(sum(&[f64::INFINITY, -1e308]), Some(f64::INFINITY));
    assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).unwrap().is_nan());
    assert!(sum(&[f64::NAN, 1.0]).unwrap().is_nan());
}

#[test]
fn groups_ignore_nulls_and_a_group_of_nulls_is_null() {
    let mut groups = GroupSums::<Float64Type, FloatTotal>::default();
    let values: Float64Array = vec![Some(1.0), None, None, Some(2.5)].into();
    groups.update_batch(&[Arc::new(values)], &[0, 0, 1, 0], None, 3).unwrap();
    assert_eq!(groups.evaluate(EmitTo::First(1)).unwrap().as_primitive(), &Float64Array::from(vec![3.5]));
    let state = groups.state(EmitTo::All).unwrap();
    let mut merged = GroupSums::<Float64Type, FloatTotal>::default();
    merged.merge_batch(&state, &[0, 1], 2).unwrap();
    assert_eq!(merged.evaluate(EmitTo::All).unwrap().as_primitive(), &Float64Array::from(vec![None, None]));
}

#[test]
fn ints_must_fit_in_the_end_but_not_on_the_way() {
    let sum = |summands: Vec<i64>| {
        let mut groups = GroupSums::<Int64Type, IntTotal>::default();
        let rows = summands.len();
        groups.update_batch(&[Arc::new(Int64Array::from(summands))], &vec![0; rows], None, 1).unwrap();
        groups.evaluate(EmitTo::All)
    };
    let fits = sum(vec![i64::MAX, i64::MAX, -i64::MAX]).unwrap();
    assert_eq!(fits.as_primitive(), &Int64Array::from(vec![i64::MAX]));
    let error = sum(vec![i64::MAX, 1]).unwrap_err().to_string();
    assert!(error.contains("integer overflow: the sum 9223372036854775808 does not fit"), "{error}");
}
