//! The third source: what an ad network delivered, a day a file, counted beforehand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use neartime_model::{Instant, Span};

use super::files::{gzip, put};

const DAYS: i64 = 2;
const NETWORKS: [u32; 3] = [10, 20, 30];
const ROWS_A_DAY: usize = 120;

/// Sums by network. All amounts are multiples of a quarter, so that their sums are exact in any order.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    pub(super) tasks: usize,
    pub(super) bad_values: usize,
    pub(super) networks: BTreeMap<u32, Sums>,
}

#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) impressions: i64,
    pub(super) revenue: f64,
    pub(super) spend: f64,
}

impl Deliveries {
    /// Writes the files of the days before `today` below `root`.
    pub(super) fn write(root: &Path, today: Instant, rng: &mut fastrand::Rng) -> io::Result<Self> {
        let mut planted = Self::default();
        for day in 1..=DAYS {
            planted.tasks += 1;
            let begin = (today - Span::from_days(day)).to_utc().expect("a time of the demo's own day");
            let date = begin.format("%Y-%m-%d");
            let mut text = "date|ad_network_id|ads_impressions|ads_revenue|ecpm\n".to_owned();
            for row in 0..ROWS_A_DAY {
                let network = NETWORKS[rng.usize(..NETWORKS.len())];
                let impressions = rng.i64(50..5_000);
                let (revenue, ecpm) = (f64::from(rng.u16(..4_000)) / 4.0, f64::from(rng.u16(4..60)) / 4.0);
                let sums = planted.networks.entry(network).or_default();
                // One count is no number: it is null, so it and the spend that needs it are not in the sums.
                let is_bad = day == 1 && row == 17;
                let written = if is_bad { "n/a".to_owned() } else { impressions.to_string() };
                sums.revenue += revenue;
                if is_bad {
                    planted.bad_values += 1;
                } else {
                    sums.impressions += impressions;
                    sums.spend += impressions as f64 * ecpm;
                }
                writeln!(text, "{date}|{network}|{written}|{revenue}|{ecpm}").expect("writing to a String cannot fail");
            }
            put(root, &format!("{}/part-0.gz", begin.format("y=%Y/m=%m/d=%d")), &gzip(&text)?)?;
        }
        Ok(planted)
    }
}
