//! What was planted, and so what every question must answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use neartime_model::Instant;

use super::audience::Audience;
use super::deliveries::Deliveries;
use super::files;
use super::horizontals::Horizontals;

/// The demo's own day; long past, so that everything is due.
pub(super) const TODAY: &str = "2018-08-01";
const FIRST_CHUNK: &str = "2018-08-01T10:00:00Z";
const SEED: u64 = 20_180_801;

/// The raw reservoir and the truth about it.
#[derive(Debug)]
pub(super) struct Planted {
    horizontals: Horizontals,
    audience: Audience,
    deliveries: Deliveries,
}

/// A question in SQL and the rows that must come out.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) title: &'static str,
    pub(super) sql: &'static str,
    pub(super) rows: Vec<Vec<String>>,
}

impl Planted {
    /// Writes the reservoir below `dir`, all but the late file.
    pub(super) fn write(dir: &Path) -> io::Result<Self> {
        let mut rng = fastrand::Rng::with_seed(SEED);
        let reservoir = dir.join("raw-data-reservoir/in");
        let (today, first): (Instant, Instant) = (instant(TODAY), instant(FIRST_CHUNK));
        let planted = Self {
            horizontals: Horizontals::write(&reservoir.join("horizontals"), first, &mut rng)?,
            audience: Audience::write(&reservoir, first, &mut rng)?,
            deliveries: Deliveries::write(&reservoir.join("deliveries"), today, &mut rng)?,
        };
        let (segments, sites) = Audience::csv_files();
        files::put(dir, "segments.csv", segments.as_bytes())?;
        files::put(dir, "pixels.csv", sites.as_bytes())?;
        Ok(planted)
    }

    /// Writes the file that comes after its chunk was processed.
    pub(super) fn write_late_file(&self, dir: &Path) -> io::Result<()> {
        self.horizontals.write_late_file(&dir.join("raw-data-reservoir/in/horizontals"))
    }

    /// Tasks that there must be, all done.
    pub(super) fn tasks(&self) -> u64 {
        let Self { horizontals, audience, deliveries } = self;
        (horizontals.tasks + audience.membership_tasks + audience.visit_tasks + deliveries.tasks) as u64
    }

    /// Quarantine entries that there must be: bad lines, bad values, and the broken file.
    pub(super) fn quarantined(&self) -> usize {
        self.horizontals.bad_lines + self.deliveries.bad_values + 1
    }

    /// The user with most posts, to look up.
    pub(super) fn busiest_poster(&self) -> &str {
        let mut posts: BTreeMap<&str, i64> = BTreeMap::new();
        for ((user, ..), count) in &self.horizontals.posts {
            *posts.entry(user).or_default() += count;
        }
        posts.into_iter().max_by_key(|&(_, count)| count).map_or("", |(user, _)| user)
    }

    /// A user who visited the best known site, to look up.
    pub(super) fn busiest_visitor(&self) -> &str {
        let sites = self.audience.sites.values().max_by_key(|users| users.len());
        sites.and_then(BTreeSet::first).map_or("", String::as_str)
    }

    /// How many users of a segment visited a site: all memberships began before the first visit.
    pub(super) fn users_of(&self, segment: &str, site: &str) -> usize {
        match (self.audience.segments.get(segment), self.audience.sites.get(site)) {
            (Some(segment), Some(site)) => segment.intersection(site).count(),
            _ => 0,
        }
    }

    /// A user's posts by country and brand, as a lookup must answer.
    pub(super) fn posts_of(&self, user: &str) -> Vec<Vec<String>> {
        let of_user = self.horizontals.posts.iter().filter(|((id, ..), _)| id == user);
        let row = |((id, country, brand), count): (&(String, Option<String>, String), &i64)| {
            vec![id.clone(), country.clone().unwrap_or_default(), brand.clone(), count.to_string()]
        };
        of_user.map(row).collect()
    }

    /// The questions that the demo asks.
    pub(super) fn questions(&self) -> Vec<Question> {
        vec![
            Question {
                title: "Devices that browsed, by brand and country",
                sql: "select brand, country, count(distinct(id)) cnt from features_store.device_last_browse \
                      where year='2018' and month = '08' and day = '01' group by 1,2 order by 3 desc, 1, 2",
                rows: self.browsers(),
            },
            Question {
                title: "Posts and posting users, by brand",
                sql: "select brand, sum(actions_count) posts, count(distinct id) users \
                      from features_store.user_num_posts group by 1 order by 1",
                rows: self.posts(),
            },
            Question {
                title: "Users that logged in, and the last of them, by brand",
                sql: "select brand, count(distinct id) users, max(last_action_timestamp) last_at \
                      from features_store.user_last_login group by 1 order by 1",
                rows: self.logins(),
            },
            Question {
                title: "Views by country (the feature without Rust)",
                sql: "select country, brand, sum(actions_count) views \
                      from features_store.views_by_country group by 1, 2 order by 3 desc, 1, 2",
                rows: self.views(),
            },
            Question {
                title: "Users by segment",
                sql: "select item segment, count(distinct id) users \
                      from features_store.user_segments group by 1 order by 2 desc, 1",
                rows: counted(&self.audience.segments),
            },
            Question {
                title: "Users by site",
                sql: "select item site, count(distinct id) users \
                      from features_store.user_sites group by 1 order by 2 desc, 1",
                rows: counted(&self.audience.sites),
            },
            Question {
                title: "What the ad networks delivered: ratios are made of sums, never of ratios",
                sql: "select ad_network_id, sum(ads_impressions) impressions, sum(ads_revenue) revenue, \
                      sum(ad_spend) spend, ratio(sum(ad_spend), sum(ads_impressions)) ecpm \
                      from features_store.ad_network_spend group by 1 order by 1",
                rows: self.spend(),
            },
        ]
    }

    fn browsers(&self) -> Vec<Vec<String>> {
        let mut devices: BTreeMap<(&str, Option<&str>), u64> = BTreeMap::new();
        for (_, country, brand) in self.horizontals.browses.keys() {
            *devices.entry((brand, country.as_deref())).or_default() += 1;
        }
        let mut rows: Vec<_> = devices.into_iter().collect();
        // SQL sorts null last.
        rows.sort_by_key(|&((brand, country), count)| (std::cmp::Reverse(count), brand, country.is_none(), country));
        let row = |((brand, country), count): ((&str, Option<&str>), u64)| {
            vec![brand.to_owned(), country.unwrap_or_default().to_owned(), count.to_string()]
        };
        rows.into_iter().map(row).collect()
    }

    fn posts(&self) -> Vec<Vec<String>> {
        let mut brands: BTreeMap<&str, (i64, BTreeSet<&str>)> = BTreeMap::new();
        for ((user, _, brand), count) in &self.horizontals.posts {
            let (posts, users) = brands.entry(brand).or_default();
            *posts += count;
            users.insert(user);
        }
        let row = |(brand, (posts, users)): (&str, (i64, BTreeSet<&str>))| {
            vec![brand.to_owned(), posts.to_string(), users.len().to_string()]
        };
        brands.into_iter().map(row).collect()
    }

    fn logins(&self) -> Vec<Vec<String>> {
        let mut brands: BTreeMap<&str, (BTreeSet<&str>, i64)> = BTreeMap::new();
        for ((user, _, brand), &at) in &self.horizontals.logins {
            let (users, last) = brands.entry(brand).or_default();
            users.insert(user);
            *last = at.max(*last);
        }
        let row = |(brand, (users, last)): (&str, (BTreeSet<&str>, i64))| {
            vec![brand.to_owned(), users.len().to_string(), last.to_string()]
        };
        brands.into_iter().map(row).collect()
    }

    fn views(&self) -> Vec<Vec<String>> {
        let mut rows: Vec<_> = self.horizontals.views.iter().collect();
        rows.sort_by_key(|&(keys, count)| (std::cmp::Reverse(*count), keys));
        rows.into_iter()
            .map(|((country, brand), count)| vec![country.clone(), brand.clone(), count.to_string()])
            .collect()
    }

    fn spend(&self) -> Vec<Vec<String>> {
        let row = |(network, sums): (&u32, &super::deliveries::Sums)| {
            let ecpm = sums.spend / sums.impressions as f64;
            vec![
                network.to_string(),
                sums.impressions.to_string(),
                format!("{:?}", sums.revenue),
                format!("{:?}", sums.spend),
                format!("{ecpm:?}"),
            ]
        };
        self.deliveries.networks.iter().map(row).collect()
    }
}

/// Names with the number of their users, most first.
fn counted(users: &BTreeMap<&'static str, BTreeSet<String>>) -> Vec<Vec<String>> {
    let mut rows: Vec<_> = users.iter().map(|(name, users)| (std::cmp::Reverse(users.len()), *name)).collect();
    rows.sort();
    rows.into_iter().map(|(count, name)| vec![name.to_owned(), count.0.to_string()]).collect()
}

fn instant(text: &str) -> Instant {
    text.parse().expect("a constant of the demo")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reservoir_is_the_same_every_time() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (first, second) = (Planted::write(one.path()).unwrap(), Planted::write(other.path()).unwrap());
        assert_eq!(format!("{:?}", first.questions()), format!("{:?}", second.questions()));
        let file = "raw-data-reservoir/in/horizontals/olx/android/2018/08/01/201808-01-100234.gz";
        assert_eq!(std::fs::read(one.path().join(file)).unwrap(), std::fs::read(other.path().join(file)).unwrap());
    }

    #[test]
    fn every_question_has_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let planted = Planted::write(dir.path()).unwrap();
        for question in planted.questions() {
            assert!(!question.rows.is_empty(), "{}", question.title);
        }
        assert!(!planted.posts_of(planted.busiest_poster()).is_empty());
        assert_eq!(planted.quarantined(), 7);
    }
}
