//! Which of many tested cells are significant: Benjamini–Hochberg, the expected share of false ones held at a rate.

/// The largest p-value that is still significant at `rate` among so many `tests`; `None` if none is. Of the p-values,
/// those above the rate may be left out: they never are.
///
/// With the p-values in ascending order, the largest `p(k) ≤ k / m · rate` and all below it are significant
/// (Benjamini and Hochberg 1995).
pub(crate) fn significance_threshold(mut p_values: Vec<f64>, tests: usize, rate: f64) -> Option<f64> {
    let tests = tests as f64;
    // Of so many, only those can pass that the last rank would let pass; of those that are left, only … No rank that
    // passes is ever lost on the way, and few rounds are needed where sorting would take many.
    loop {
        let before = p_values.len();
        p_values.retain(|p| p * tests <= before as f64 * rate);
        if p_values.len() == before {
            return p_values.into_iter().max_by(f64::total_cmp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the 1995 paper: 15 p-values, of which the first four are rejected at 0.05.
    #[test]
    fn the_example_of_the_paper() {
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.0000,
        ];
        assert_eq!(significance_threshold(p.into_iter().rev().collect(), 15, 0.05), Some(0.0095));
        let low = p.into_iter().filter(|p| *p <= 0.05);
        assert_eq!(significance_threshold(low.collect(), 15, 0.05), Some(0.0095));
    }

    #[test]
    fn a_later_pass_carries_earlier_failures() {
        // p(1) = 0.04 > 0.025, but p(2) = 0.05 ≤ 0.05: both are significant.
        assert_eq!(significance_threshold(vec![0.05, 0.04], 2, 0.05), Some(0.05));
    }

    #[test]
    fn nothing_tested_or_nothing_found() {
        assert_eq!(significance_threshold(Vec::new(), 0, 0.05), None);
        assert_eq!(significance_threshold(vec![0.2, 0.9], 2, 0.05), None);
    }

    #[test]
    fn as_found_by_sorting() {
        let mut random = fastrand::Rng::with_seed(9);
        for _ in 0..2_000 {
            let tests = random.usize(1..60);
            let p: Vec<f64> = (0..tests).map(|_| (random.f64() * 40.0).round() / 40.0 * random.f64().round()).collect();
            let mut sorted = p.clone();
            sorted.sort_by(f64::total_cmp);
            let passes = |rank: &usize| sorted[*rank] * tests as f64 <= (*rank + 1) as f64 * 0.2;
            let expected = (0..tests).rev().find(passes).map(|rank| sorted[rank]);
            assert_eq!(significance_threshold(p, tests, 0.2), expected);
        }
    }
}
