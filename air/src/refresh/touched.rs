//! Finds the users whom something happened to between two reports, and what they count for now less what they counted
//! for before.
//!
//! Touched are the users of files that changed, and those who have a membership that ended between the two instants.
//! Nobody else is read: files tell who is in them and whose runs end when.

use std::sync::Arc;

use neartime_model::Instant;

use super::read::in_parallel;
use crate::config::Order;
use crate::count::{Counts, GroupsOf};
use crate::error::AirError;
use crate::runs::Run;
use crate::udb::{Dead, Entry, Joins, Lanes, Memberships, Settler, Snapshot, UsersFile};

/// Kinds of entries: those that were there before and still are, and those that only one of the reports has.
const BOTH: usize = 0;
const BEFORE: usize = 1;
const AFTER: usize = 2;

/// Fewer users are not worth counts of their own, which are added up in the end.
const LEAST_USERS: usize = 2_000;

/// The files of both reports.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) base: Option<Arc<Snapshot>>,
    /// Copies of files that are gone or replaced.
    pub(super) before: Vec<Arc<UsersFile>>,
    pub(super) both: Vec<Arc<UsersFile>>,
    /// Copies of files that are new or replaced others.
    pub(super) after: Vec<Arc<UsersFile>>,
}

/// The step from one report to the next.
pub(super) struct Touch<'a> {
    pub(super) files: &'a Files,
    pub(super) lanes: &'a Lanes,
    pub(super) settler: &'a Settler,
    /// How many segments, sites and groups there are.
    pub(super) sizes: [usize; 3],
    pub(super) groups: &'a GroupsOf,
    pub(super) order: Order,
    pub(super) from: Instant,
    pub(super) to: Instant,
}

/// What changes.
#[derive(Debug)]
pub(super) struct Changes {
    /// How many users were looked at.
    pub(super) touched: usize,
    /// Numbers to add to those of the report before, in parts.
    pub(super) differences: Vec<Counts>,
}

/// The parts of a snapshot, and the id of the first user of each.
#[derive(Debug, Default)]
struct Parts {
    files: Vec<Arc<UsersFile>>,
    first_ids: Vec<Vec<u8>>,
}

/// Entries of users who are known by their places in a list.
struct ByUser {
    entries: Vec<Entry>,
    /// Where each user's entries begin, and where the last one's end.
    begins: Vec<u32>,
}

/// Ids in one piece of memory.
#[derive(Debug, Default)]
struct Ids {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Touch<'_> {
    /// Finds the changes; `None` if more than `limit` users are touched, unless they are few anyway.
    pub(super) fn changes(&self, threads: usize, limit: usize) -> Result<Option<Changes>, AirError> {
        let base = self.files.base.as_deref().map_or(Ok(Parts::default()), Parts::open)?;
        let ids = self.touched(&base)?;
        let mut touched: Vec<&[u8]> = ids.iter().collect();
        // A few lists in order, one after the other: what a stable sort is quick with.
        touched.sort();
        touched.dedup();
        if touched.len() > limit.max(1_000) {
            return Ok(None);
        }
        let share = touched.len().div_ceil(threads.max(1)).max(LEAST_USERS);
        let shares: Vec<&[&[u8]]> = touched.chunks(share).collect();
        let differences = in_parallel(&shares, threads, |shares| {
            let [segments, sites, groups] = self.sizes;
            let mut difference = Counts::new(segments, sites, groups);
            for share in shares {
                self.count(share, &base, &mut difference)?;
            }
            Ok(difference)
        })?;
        Ok(Some(Changes { touched: touched.len(), differences }))
    }

    /// The users of files that changed, and those who have a run that ended between the two reports; some repeated.
    fn touched(&self, base: &Parts) -> Result<Ids, AirError> {
        let mut ids = Ids::default();
        for file in self.files.before.iter().chain(&self.files.after) {
            file.scan_ids(|id| ids.push(id))?;
        }
        for (number, class) in (0_u8..).zip(self.lanes.classes()) {
            let (Some(after), Some(until)) = (class.life.last_dead_ms(self.from), class.life.last_dead_ms(self.to))
            else {
                continue;
            };
            for part in &base.files {
                part.ending_in(number, after, until)?.iter().for_each(|id| ids.push(id));
            }
            // All users of the other recent files are touched anyway.
            let ends = |run: Run| run.last_ms > after && run.last_ms <= until;
            for file in self.files.both.iter().filter(|file| file.may_end_in(after, until)) {
                file.scan(|id, entries| {
                    if entries.iter().any(|entry| ends(entry.run)) {
                        ids.push(id);
                    }
                })?;
            }
        }
        Ok(ids)
    }

    /// Counts some touched users by what is alive now instead of what was before.
    fn count(&self, users: &[&[u8]], base: &Parts, difference: &mut Counts) -> Result<(), AirError> {
        let mut found: [Vec<(u32, Entry)>; 3] = Default::default();
        let mut add = |kind: usize, at: usize, entries: &[Entry]| {
            found[kind].extend(entries.iter().map(|entry| (at as u32, *entry)));
        };
        base.look_up(users, |at, entries| add(BOTH, at, entries))?;
        let files = self.files;
        for (files, kind) in [(&files.both, BOTH), (&files.before, BEFORE), (&files.after, AFTER)] {
            files.iter().try_for_each(|file| file.look_up(users, |at, entries| add(kind, at, entries)))?;
        }
        let [both, before, after] = found.map(|found| ByUser::new(&found, users.len()));
        let dead = [self.from, self.to].map(|as_of| self.settler.dead(as_of));
        let (mut all, mut joins) = (Vec::new(), Joins::default());
        let [mut alive_before, mut alive_after] = [Memberships::default(), Memberships::default()];
        for at in 0..users.len() {
            let mut living = |one: &ByUser, dead: &Dead, alive: &mut Memberships| {
                all.clear();
                all.extend_from_slice(both.of(at));
                all.extend_from_slice(one.of(at));
                self.settler.living(&all, dead, &mut joins, alive);
                alive.sort();
            };
            living(&before, &dead[0], &mut alive_before);
            living(&after, &dead[1], &mut alive_after);
            if alive_before != alive_after {
                difference.move_user(&alive_before, &alive_after, self.groups, self.order);
            }
        }
        Ok(())
    }
}

impl Parts {
    fn open(snapshot: &Snapshot) -> Result<Self, AirError> {
        let files = snapshot.parts().collect::<Result<Vec<_>, _>>()?;
        let first_ids = files.iter().map(|file| file.first_id()).collect::<Result<_, _>>()?;
        Ok(Self { files, first_ids })
    }

    /// Reads the users among `wanted`, which is in rising order, each from the one part that can have it.
    fn look_up(&self, wanted: &[&[u8]], mut each: impl FnMut(usize, &[Entry])) -> Result<(), AirError> {
        let begins: Vec<usize> =
            self.first_ids.iter().map(|first| wanted.partition_point(|id| *id < first.as_slice())).collect();
        let ends = begins.iter().skip(1).copied().chain([wanted.len()]);
        for (file, (begin, end)) in self.files.iter().zip(begins.iter().copied().zip(ends)) {
            if begin < end {
                file.look_up(&wanted[begin..end], |at, entries| each(begin + at, entries))?;
            }
        }
        Ok(())
    }
}

impl ByUser {
    fn new(found: &[(u32, Entry)], users: usize) -> Self {
        let mut begins = vec![0; users + 1];
        let Some(&(_, any)) = found.first() else { return Self { entries: Vec::new(), begins } };
        found.iter().for_each(|(user, _)| begins[*user as usize] += 1);
        // From counts to ends; filling each user's room from its end leaves its beginning.
        let mut end = 0;
        for count in &mut begins {
            end += *count;
            *count = end;
        }
        let mut entries = vec![any; found.len()];
        for (user, entry) in found.iter().rev() {
            let begin = &mut begins[*user as usize];
            *begin -= 1;
            entries[*begin as usize] = *entry;
        }
        Self { entries, begins }
    }

    fn of(&self, user: usize) -> &[Entry] {
        &self.entries[self.begins[user] as usize..self.begins[user + 1] as usize]
    }
}

impl Ids {
    fn push(&mut self, id: &[u8]) {
        self.bytes.extend_from_slice(id);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, &end)| &self.bytes[begin..end])
    }
}
