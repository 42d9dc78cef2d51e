//! The first source: app events of classifieds sites, with all that is wrong with them in life.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use neartime_model::{Instant, Span};

use super::chance::{Zipf, id};
use super::files::{gzip, put};

const PATHS: [(&str, &str, [&str; 2]); 3] =
    [("olx", "android", ["za", "gh"]), ("olx", "ios", ["za", "ke"]), ("letgo", "android", ["cz", "us"])];
/// The events and how many of a hundred they are.
const EVENTS: [(&str, u8); 9] = [
    ("view_item", 34),
    ("view_listings", 25),
    ("search_start", 14),
    ("app_open", 10),
    ("chat_inbox", 5),
    ("on_resume", 4),
    ("login_sign_in_complete", 3),
    ("post_success", 4),
    ("ad_impression", 1),
];
const BROWSE: [&str; 6] = ["app_open", "view_listings", "view_item", "search_start", "chat_inbox", "on_resume"];
const USERS: usize = 2_000;
const CHUNKS: i64 = 6;
const FILES_A_CHUNK: i64 = 2;
const EVENTS_A_FILE: usize = 300;

/// Entity (null gives no row), country and brand.
type Keys = (String, Option<String>, String);

/// What the features must find, worked out event by event as the file is written.
#[derive(Debug, Default)]
pub(super) struct Horizontals {
    pub(super) tasks: usize,
    /// Rows that are refused, each for one reason.
    pub(super) bad_lines: usize,
    /// Posts of each user.
    pub(super) posts: BTreeMap<Keys, i64>,
    /// Last browse of each device, epoch seconds.
    pub(super) browses: BTreeMap<Keys, i64>,
    /// Last login of each user, epoch seconds.
    pub(super) logins: BTreeMap<Keys, i64>,
    /// Views of each country and brand, for the feature that the configuration alone defines.
    pub(super) views: BTreeMap<(String, String), i64>,
    late: Option<(String, Vec<u8>)>,
}

/// One event before it becomes a line.
struct Event {
    name: &'static str,
    user: Option<String>,
    device: String,
    country: Option<String>,
    at: Instant,
}

impl Horizontals {
    /// Writes the source's files below `root`, all but the late one; `start` is the first chunk's.
    pub(super) fn write(root: &Path, start: Instant, rng: &mut fastrand::Rng) -> io::Result<Self> {
        let mut planted = Self::default();
        let users = Zipf::new(USERS, 1.05);
        for (path, (brand, platform, countries)) in PATHS.into_iter().enumerate() {
            for chunk in 0..CHUNKS {
                planted.tasks += 1;
                let begin = start + Span::from_mins(10 * chunk);
                for file in 0..FILES_A_CHUNK {
                    let named_at = begin + Span::from_secs(154 + 300 * file);
                    let key = key(brand, platform, named_at);
                    let is_broken = path == 2 && chunk == 4 && file == 1;
                    let events = events(begin, countries, &users, rng);
                    let mut text = String::new();
                    for event in &events {
                        line(&mut text, event, rng);
                    }
                    if path == 0 && chunk == 2 && file == 0 {
                        planted.bad_lines += bad_lines(&mut text, begin);
                    }
                    let mut bytes = gzip(&text)?;
                    if is_broken {
                        bytes.truncate(bytes.len() * 2 / 3);
                    } else {
                        planted.count(brand, &events);
                    }
                    put(root, &key, &bytes)?;
                }
            }
        }
        planted.make_late_file(start, &users, rng)?;
        Ok(planted)
    }

    /// Writes the file that arrives after its chunk was processed.
    pub(super) fn write_late_file(&self, root: &Path) -> io::Result<()> {
        match &self.late {
            Some((key, bytes)) => put(root, key, bytes),
            None => Ok(()),
        }
    }

    fn make_late_file(&mut self, start: Instant, users: &Zipf, rng: &mut fastrand::Rng) -> io::Result<()> {
        let (brand, platform, countries) = PATHS[0];
        let begin = start + Span::from_mins(10);
        let events = events(begin, countries, users, rng);
        let mut text = String::new();
        for event in &events {
            line(&mut text, event, rng);
        }
        self.count(brand, &events);
        self.late = Some((key(brand, platform, begin + Span::from_secs(599)), gzip(&text)?));
        Ok(())
    }

    fn count(&mut self, brand: &str, events: &[Event]) {
        for event in events {
            let keys = |id: &str| (id.to_owned(), event.country.clone(), brand.to_owned());
            let at = event.at.as_secs();
            let last = |times: &mut BTreeMap<Keys, i64>, id: &str| {
                times.entry(keys(id)).and_modify(|last| *last = at.max(*last)).or_insert(at);
            };
            if BROWSE.contains(&event.name) {
                last(&mut self.browses, &event.device);
            }
            if let (Some(country), "view_item") = (&event.country, event.name) {
                *self.views.entry((country.clone(), brand.to_owned())).or_default() += 1;
            }
            match (event.name, &event.user) {
                ("post_success", Some(user)) => *self.posts.entry(keys(user)).or_default() += 1,
                ("login_sign_in_complete", Some(user)) => last(&mut self.logins, user),
                _ => {}
            }
        }
    }
}

fn key(brand: &str, platform: &str, at: Instant) -> String {
    let at = at.to_utc().expect("a time of the demo's own day");
    format!("{brand}/{platform}/{}", at.format("%Y/%m/%d/%Y%m-%d-%H%M%S.gz"))
}

fn events(begin: Instant, countries: [&str; 2], users: &Zipf, rng: &mut fastrand::Rng) -> Vec<Event> {
    let event = |rng: &mut fastrand::Rng| {
        let user = users.draw(rng);
        let name = event_name(rng);
        let is_known = name == "post_success" || name == "login_sign_in_complete" || rng.u8(..100) < 60;
        let country = countries[usize::from(rng.u8(..100) < 30)];
        // A few are late by some seconds, so that they lie in the file of the next chunk.
        let offset = rng.i64(-20..600);
        Event {
            name,
            user: (is_known && rng.u8(..100) < 98).then(|| user_id(user)),
            device: id(2, user * 3 + usize::from(rng.u8(..3))),
            country: (rng.u8(..100) < 97).then(|| country.to_owned()),
            at: begin + Span::from_secs(offset),
        }
    };
    (0..EVENTS_A_FILE).map(|_| event(rng)).collect()
}

/// One user in ten has a number for an id.
fn user_id(user: usize) -> String {
    if user % 10 == 7 { (700_000 + user).to_string() } else { id(1, user) }
}

fn event_name(rng: &mut fastrand::Rng) -> &'static str {
    let mut at = rng.u8(..100);
    for (name, share) in EVENTS {
        match at.checked_sub(share) {
            Some(less) => at = less,
            None => return name,
        }
    }
    EVENTS[0].0
}

/// One line of JSON; what is written in several ways in life is written in several ways here.
fn line(text: &mut String, event: &Event, rng: &mut fastrand::Rng) {
    let secs = event.at.as_secs();
    let timestamp = match rng.u8(..20) {
        0 => format!("\"{secs}\""),
        1 => format!("{secs}.25"),
        _ => secs.to_string(),
    };
    let user = match (&event.user, rng.u8(..10)) {
        (None, 0..3) => "\"user_id\":null,".to_owned(),
        (None, 3..6) => "\"user_id\":\"\",".to_owned(),
        (None, _) => String::new(),
        (Some(user), 0) => format!("\"user_id\":\"  {user} \","),
        (Some(user), _) if user.len() == 6 => format!("\"user_id\":{user},"),
        (Some(user), _) => format!("\"user_id\":\"{user}\","),
    };
    let country = match (&event.country, rng.bool()) {
        (None, true) => "\"country\":\"\",".to_owned(),
        (None, false) => String::new(),
        (Some(country), _) => format!("\"country\":\"{country}\","),
    };
    let (name, device, serial) = (event.name, &event.device, rng.u64(..));
    writeln!(
        text,
        "{{\"event_id\":\"{serial:016x}\",\"event_name\":\"{name}\",{user}\"device_id\":\"{device}\",{country}\
         \"timestamp\":{timestamp},\"app_version\":\"6.{}.{}\",\"language\":\"en\",\"session_length\":{},\
         \"ctx\":{{\"url\":\"https://example.com/item/{}\",\"referrer\":null}}}}",
        rng.u8(..40),
        rng.u8(..9),
        rng.u16(..900),
        rng.u32(..),
    )
    .expect("writing to a String cannot fail");
}

/// Lines that must be refused and shown, one for each way of being bad.
fn bad_lines(text: &mut String, begin: Instant) -> usize {
    let secs = begin.as_secs();
    let lines = [
        "GET /health 200".to_owned(),
        "[\"event_name\",\"view_item\"]".to_owned(),
        format!(
            "{{\"event_id\":\"cut\",\"event_name\":\"post_success\",\"timestamp\":{secs},\"ctx\":{{\"url\":\"https://exa"
        ),
        "{\"event_id\":\"timeless\",\"event_name\":\"post_success\",\"user_id\":\"nobody\"}".to_owned(),
        format!(
            "{{\"event_id\":\"future\",\"event_name\":\"post_success\",\"user_id\":\"nobody\",\"timestamp\":{}}}",
            secs + 400 * 86_400
        ),
    ];
    for line in &lines {
        text.push_str(line);
        text.push('\n');
    }
    lines.len()
}
