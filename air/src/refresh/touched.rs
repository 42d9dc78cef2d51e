//! Finds the users whom something happened to between two reports, and what each counted for before and after.
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
    pub(super) from: Instant,
    pub(super) to: Instant,
}

/// What changes.
#[derive(Debug)]
pub(super) struct Changes {
    /// How many users were looked at.
    pub(super) touched: usize,
    /// Those of them who count for something else now.
    pub(super) users: Vec<UserChange>,
}

/// One user's living memberships before and after.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UserChange {
    before: Memberships,
    after: Memberships,
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

impl UserChange {
    pub(super) fn apply(&self, counts: &mut Counts, groups: &GroupsOf, order: Order) {
        counts.move_user(&self.before, &self.after, groups, order);
    }
}

impl Touch<'_> {
    /// Finds the changes; `None` if more than `limit` users are touched, unless they are few anyway.
    pub(super) fn changes(&self, threads: usize, limit: usize) -> Result<Option<Changes>, AirError> {
        let ids = self.touched()?;
        let mut touched: Vec<&[u8]> = ids.iter().collect();
        // A few lists in order, one after the other: what a stable sort is quick with.
        touched.sort();
        touched.dedup();
        if touched.len() > limit.max(1_000) {
            return Ok(None);
        }
        let shares: Vec<&[&[u8]]> = touched.chunks(touched.len().div_ceil(threads.max(1)).max(1)).collect();
        let users = in_parallel(&shares, threads, |shares| {
            shares.map(|share| self.changes_of(share)).collect::<Result<Vec<_>, _>>()
        })?;
        let users = users.into_iter().flatten().flatten().collect();
        Ok(Some(Changes { touched: touched.len(), users }))
    }

    /// The users of files that changed, and those who have a run that ended between the two reports; some repeated.
    fn touched(&self) -> Result<Ids, AirError> {
        let mut ids = Ids::default();
        for file in self.files.before.iter().chain(&self.files.after) {
            file.scan_ids(|id| ids.push(id))?;
        }
        for (number, class) in (0_u8..).zip(self.lanes.classes()) {
            let (Some(after), Some(until)) = (class.life.last_dead_ms(self.from), class.life.last_dead_ms(self.to))
            else {
                continue;
            };
            for part in self.files.base.iter().flat_map(|base| base.parts()) {
                part?.ending_in(number, after, until)?.iter().for_each(|id| ids.push(id));
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

    /// What changes of some touched users.
    fn changes_of(&self, users: &[&[u8]]) -> Result<Vec<UserChange>, AirError> {
        let mut found: [Vec<(u32, Entry)>; 3] = Default::default();
        let mut look_up = |file: &UsersFile, kind: usize| {
            file.look_up(users, |at, entries| found[kind].extend(entries.iter().map(|entry| (at as u32, *entry))))
        };
        let files = self.files;
        for part in files.base.iter().flat_map(|base| base.parts()) {
            look_up(&*part?, BOTH)?;
        }
        for (files, kind) in [(&files.both, BOTH), (&files.before, BEFORE), (&files.after, AFTER)] {
            files.iter().try_for_each(|file| look_up(file, kind))?;
        }
        let [both, before, after] = found.map(|found| ByUser::new(&found, users.len()));
        let dead = [self.from, self.to].map(|as_of| self.settler.dead(as_of));
        let (mut all, mut joins, mut changes) = (Vec::new(), Joins::default(), Vec::new());
        for at in 0..users.len() {
            let mut living = |one: &ByUser, dead: &Dead| {
                all.clear();
                all.extend_from_slice(both.of(at));
                all.extend_from_slice(one.of(at));
                let mut alive = Memberships::default();
                self.settler.living(&all, dead, &mut joins, &mut alive);
                alive.sort();
                alive
            };
            let change = UserChange { before: living(&before, &dead[0]), after: living(&after, &dead[1]) };
            if change.before != change.after {
                changes.push(change);
            }
        }
        Ok(changes)
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
