//! The second kind of source: who is in which segment, and who visits which site.
//!
//! Users have a leaning, which draws them to some segments and some sites: the Audience Index Report can find it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use neartime_model::{Instant, Span};

use super::chance::{Zipf, id};
use super::files::{gzip, put};

const USERS: usize = 12_000;
const MEMBERSHIP_CHUNKS: usize = 3;
const VISIT_CHUNKS: usize = 6;
const VISITS: usize = 30_000;
/// How many of a hundred segments and visits follow the user's leaning.
const FAITHFUL: u8 = 45;

/// A segment: id, group, name.
pub(super) const SEGMENTS: [(&str, &str, &str); 12] = [
    ("11", "interest", "Cars"),
    ("12", "interest", "Homes"),
    ("13", "interest", "Sport"),
    ("14", "interest", "Travel"),
    ("15", "interest", "Fashion"),
    ("16", "interest", "Gardens"),
    ("101", "age", "18-24"),
    ("102", "age", "25-34"),
    ("103", "age", "35-54"),
    ("104", "age", "55+"),
    ("201", "intent", "In the market"),
    ("202", "intent", "Just looking"),
];
/// A site: id and name.
pub(super) const SITES: [(&str, &str); 8] = [
    ("457455", "autos.example"),
    ("1016015", "rooms.example"),
    ("1017238", "goals.example"),
    ("1018871", "trips.example"),
    ("1020144", "looks.example"),
    ("1021530", "roots.example"),
    ("1030001", "news.example"),
    ("1030002", "weather.example"),
];
const LEANINGS: usize = 6;

/// Users of each segment, and of each site.
#[derive(Debug, Default)]
pub(super) struct Audience {
    pub(super) membership_tasks: usize,
    pub(super) visit_tasks: usize,
    pub(super) segments: BTreeMap<&'static str, BTreeSet<String>>,
    pub(super) sites: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Audience {
    /// Writes memberships from `start`, and from an hour later the visits, below `reservoir`.
    pub(super) fn write(reservoir: &Path, start: Instant, rng: &mut fastrand::Rng) -> io::Result<Self> {
        let mut planted = Self { membership_tasks: MEMBERSHIP_CHUNKS, visit_tasks: VISIT_CHUNKS, ..Self::default() };
        planted.memberships(&reservoir.join("memberships"), start, rng)?;
        planted.visits(&reservoir.join("visits"), start + Span::from_mins(60), rng)?;
        Ok(planted)
    }

    /// The segments' CSV file and the sites', as `[air]` reads them.
    pub(super) fn csv_files() -> (String, String) {
        let mut segments = "id,group,name\n".to_owned();
        let mut sites = "id,name\n".to_owned();
        for (id, group, name) in SEGMENTS {
            writeln!(segments, "{id},{group},{name}").expect("writing to a String cannot fail");
        }
        for (id, name) in SITES {
            writeln!(sites, "{id},{name}").expect("writing to a String cannot fail");
        }
        (segments, sites)
    }

    /// One event a user, with all of the user's segments; some name one twice, some as a single value.
    fn memberships(&mut self, root: &Path, start: Instant, rng: &mut fastrand::Rng) -> io::Result<()> {
        let interests = Zipf::new(LEANINGS, 0.6);
        for chunk in 0..MEMBERSHIP_CHUNKS {
            let begin = start + Span::from_mins(10 * chunk as i64);
            let mut text = String::new();
            for user in (0..USERS).filter(|user| user % MEMBERSHIP_CHUNKS == chunk) {
                let interest = if rng.u8(..100) < FAITHFUL { leaning(user) } else { interests.draw(rng) };
                let mut segments = vec![SEGMENTS[interest].0, SEGMENTS[6 + rng.usize(..4)].0];
                if rng.u8(..100) < 40 {
                    segments.push(SEGMENTS[10 + rng.usize(..2)].0);
                }
                let user = id(3, user);
                for segment in &segments {
                    self.segments.entry(segment).or_default().insert(user.clone());
                }
                if rng.u8(..100) < 5 {
                    segments.push(segments[0]);
                }
                let at = begin.as_millis() + rng.i64(0..600_000);
                writeln!(text, "{{\"user\":\"{user}\",\"segments\":[{}],\"ts\":{at}}}", segments.join(","))
                    .expect("writing to a String cannot fail");
            }
            put(root, &key(begin, "memberships"), &gzip(&text)?)?;
        }
        Ok(())
    }

    fn visits(&mut self, root: &Path, start: Instant, rng: &mut fastrand::Rng) -> io::Result<()> {
        let users = Zipf::new(USERS, 0.3);
        let sites = Zipf::new(SITES.len(), 0.5);
        for chunk in 0..VISIT_CHUNKS {
            let begin = start + Span::from_mins(10 * chunk as i64);
            let mut text = String::new();
            for _ in 0..VISITS / VISIT_CHUNKS {
                let user = users.draw(rng);
                let site = if rng.u8(..100) < FAITHFUL { leaning(user) } else { sites.draw(rng) };
                let site = SITES[site].0;
                let at = begin.as_millis() + rng.i64(0..600_000);
                // Nobody's visit: no row.
                if rng.u8(..100) == 0 {
                    writeln!(text, "{{\"user\":\"\",\"pixel\":\"{site}\",\"ts\":{at}}}")
                } else {
                    self.sites.entry(site).or_default().insert(id(3, user));
                    writeln!(text, "{{\"user\":\"{}\",\"pixel\":\"{site}\",\"ts\":{at}}}", id(3, user))
                }
                .expect("writing to a String cannot fail");
            }
            put(root, &key(begin, "visits"), &gzip(&text)?)?;
        }
        Ok(())
    }
}

/// What draws a user: the first segments and sites stand in the same order.
fn leaning(user: usize) -> usize {
    user.wrapping_mul(7) / 3 % LEANINGS
}

fn key(begin: Instant, what: &str) -> String {
    let begin = begin.to_utc().expect("a time of the demo's own day");
    format!("{}-{what}.gz", begin.format("%Y/%m/%d/%H%M"))
}
