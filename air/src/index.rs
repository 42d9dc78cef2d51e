//! The index of one cell, and how far it can be trusted. Formulas only: no suppression, no testing of many cells.

/// The half-width of a 95 % interval in standard deviations.
const Z_95: f64 = 1.959964;

/// The four exact counts of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellCounts {
    /// |s∩p|: users of the segment on the site, order rule included.
    pub segment_site: u32,
    /// |S_g∩p|: users of any segment of the group on the site.
    pub group_site: u32,
    /// |s|: users alive in the segment.
    pub segment: u32,
    /// |S_g|: users alive in any segment of the group.
    pub group: u32,
}

/// What the counts of a cell say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    /// 100 · (|s∩p| / |S_g∩p|) / (|s| / |S_g|); `None` where a denominator is zero. 100 is "as expected".
    pub index: Option<f64>,
    /// How many standard deviations |s∩p| lies from what a random draw of the site's users would give; `None` where
    /// such draws cannot vary.
    pub z: Option<f64>,
    /// Lower end of the index's 95 % interval.
    pub low: Option<f64>,
    /// Upper end of the index's 95 % interval.
    pub high: Option<f64>,
}

impl CellCounts {
    /// Computes index, z and interval, taking the site's users as a draw without replacement from the group's.
    pub fn measure(self) -> Measures {
        if self.group_site == 0 || self.segment == 0 || self.group == 0 {
            return Measures::default();
        }
        let [a, site, b, group] = self.numbers();
        let index = 100.0 * (a / site) / (b / group);
        let z = self.z();
        let (low, high) = if z.is_none() || self.segment_site == self.group_site {
            (None, None)
        } else if self.segment_site == 0 {
            (Some(0.0), None)
        } else {
            let spread = (Z_95 * ((1.0 / a - 1.0 / site) * self.correction()).sqrt()).exp();
            (Some(index / spread), Some(index * spread))
        };
        Measures { index: Some(index), z, low, high }
    }

    /// Only the z score of [`CellCounts::measure`].
    pub fn z(self) -> Option<f64> {
        // Tested on the integers: rounding must not turn a variance of zero into a tiny one.
        let varies =
            self.segment > 0 && self.segment < self.group && self.group_site > 0 && self.group_site < self.group;
        let [a, site, b, group] = self.numbers();
        let expected = site * b / group;
        varies.then(|| (a - expected) / (expected * (1.0 - b / group) * self.correction()).sqrt())
    }

    /// What a draw without replacement takes off the variance.
    fn correction(self) -> f64 {
        let [_, site, _, group] = self.numbers();
        (group - site) / (group - 1.0)
    }

    fn numbers(self) -> [f64; 4] {
        [self.segment_site, self.group_site, self.segment, self.group].map(f64::from)
    }
}

/// The two-sided p-value of a z score: how often chance alone would go as far, either way.
pub fn p_value(z: f64) -> f64 {
    libm::erfc(z.abs() / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(segment_site: u32, group_site: u32, segment: u32, group: u32) -> CellCounts {
        CellCounts { segment_site, group_site, segment, group }
    }

    fn close(left: Option<f64>, right: f64) {
        let left = left.expect("a value");
        assert!((left - right).abs() <= 1e-9 * right.abs().max(1.0), "{left} is not {right}");
    }

    /// The expected figures were worked out in Python from the mean and variance of a hypergeometric draw.
    #[test]
    fn a_cell_worked_out_elsewhere() {
        let measures = cell(300, 1_000, 2_000, 10_000).measure();
        close(measures.index, 150.0);
        close(measures.z, 8.332_916_656_249_479);
        close(measures.low, 137.114_174_467_341_2);
        close(measures.high, 164.096_819_948_831_75);
    }

    #[test]
    fn a_segment_that_is_as_expected_has_index_100_and_z_0() {
        let measures = cell(20, 100, 200, 1_000).measure();
        close(measures.index, 100.0);
        assert_eq!(measures.z, Some(0.0));
    }

    #[test]
    fn nothing_varies_when_all_are_drawn_or_all_are_in_the_segment() {
        for counts in [cell(5, 10, 5, 10), cell(10, 10, 20, 20), cell(1, 1, 1, 1)] {
            let measures = counts.measure();
            assert!(measures.index.is_some());
            assert_eq!((measures.z, measures.low, measures.high), (None, None, None));
        }
    }

    #[test]
    fn none_and_all_of_the_visitors_have_open_intervals() {
        let none = cell(0, 100, 50, 1_000).measure();
        assert_eq!((none.index, none.low, none.high), (Some(0.0), Some(0.0), None));
        assert!(none.z.unwrap() < 0.0);
        let all = cell(100, 100, 500, 1_000).measure();
        assert_eq!((all.low, all.high), (None, None));
        assert!(all.z.unwrap() > 0.0);
    }

    #[test]
    fn zero_denominators_have_no_index() {
        for counts in [cell(0, 0, 5, 9), cell(0, 5, 0, 9), cell(0, 0, 0, 0)] {
            assert_eq!(counts.measure(), Measures::default());
        }
    }

    #[test]
    fn p_of_the_usual_thresholds() {
        close(Some(p_value(0.0)), 1.0);
        close(Some(p_value(1.959963984540054)), 0.05);
        close(Some(p_value(-2.5758293035489004)), 0.01);
    }
}
