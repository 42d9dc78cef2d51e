//! Finds the users whom something happened to between two reports, and what each counted for before and after.
//!
//! Touched are the users of files that changed, and those who have a membership that ended between the two instants.
//! Nobody else is read: files tell who is in them and whose runs end when.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use neartime_model::Instant;

use super::read::in_parallel;
use crate::count::{Change, Counts};
use crate::error::AirError;
use crate::udb::{ByItem, Counting, Dead, Entry, Gather, Lanes, Living, Settler, Snapshot, UsersFile, hashes_of};

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

/// One user's living memberships before and after, segments and sites.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UserChange {
    before: [Vec<Living>; 2],
    after: [Vec<Living>; 2],
}

impl UserChange {
    pub(super) fn apply(&self, counts: &mut Counts, counting: &Counting) {
        for ([segments, sites], change) in [(&self.before, Change::Take), (&self.after, Change::Add)] {
            counts.change(segments, sites, &counting.groups, counting.order, change);
        }
    }
}

impl Touch<'_> {
    /// Finds the changes; `None` if more than `limit` users are touched, unless they are few anyway.
    pub(super) fn changes(&self, threads: usize, limit: usize) -> Result<Option<Changes>, AirError> {
        let buckets = self.files.base.as_ref().map_or(16, |base| base.buckets);
        // Shards are whole buckets; each thread takes one, and reads the hashes of all recent files for it.
        let shards = threads.next_power_of_two().min(buckets);
        let numbers: Vec<usize> = (0..shards).collect();
        let limit = limit.max(1_000) / shards + 1;
        let parts = in_parallel(&numbers, threads, |numbers| {
            let mut changes = Changes { touched: 0, users: Vec::new() };
            for &shard in numbers {
                let buckets = shard * buckets / shards..(shard + 1) * buckets / shards;
                if !self.shard(&hashes_of(shard, shards), buckets, limit, &mut changes)? {
                    return Ok(None);
                }
            }
            Ok(Some(changes))
        })?;
        let mut all = Changes { touched: 0, users: Vec::new() };
        for part in parts {
            let Some(part) = part else { return Ok(None) };
            all.touched += part.touched;
            all.users.extend(part.users);
        }
        Ok(Some(all))
    }

    /// Looks through one range of hashes; false if too many users of it are touched.
    fn shard(
        &self,
        range: &RangeInclusive<u64>,
        buckets: std::ops::Range<usize>,
        limit: usize,
        changes: &mut Changes,
    ) -> Result<bool, AirError> {
        let mut gather = Gather::<3>::default();
        let bases = match &self.files.base {
            Some(base) => buckets.map(|bucket| Ok((bucket, base.bucket(bucket)?))).collect::<Result<_, AirError>>()?,
            None => Vec::new(),
        };
        for file in self.files.before.iter().chain(&self.files.after) {
            file.scan_hashes(range, |id, _| gather.add(id, &[], BOTH))?;
        }
        self.ended(range, &bases, &mut gather)?;
        if gather.users() > limit {
            return Ok(false);
        }
        let wanted = gather.hashes();
        if let Some(base) = &self.files.base {
            for (bucket, file) in &bases {
                let range = hashes_of(*bucket, base.buckets);
                let from = wanted.partition_point(|hash| hash < range.start());
                let to = wanted.partition_point(|hash| hash <= range.end());
                look_up(file, &wanted[from..to], &range, BOTH, &mut gather)?;
            }
        }
        let files = &self.files;
        for (files, kind) in [(&files.both, BOTH), (&files.before, BEFORE), (&files.after, AFTER)] {
            files.iter().try_for_each(|file| look_up(file, &wanted, &(0..=u64::MAX), kind, &mut gather))?;
        }
        changes.touched += gather.users();
        let dead = [self.from, self.to].map(|as_of| self.settler.dead(as_of));
        gather.drain(|user| {
            let [both, before, after] = user.entries;
            let change =
                UserChange { before: self.living(both, before, &dead[0]), after: self.living(both, after, &dead[1]) };
            if change.before != change.after {
                changes.users.push(change);
            }
            Ok::<(), AirError>(())
        })?;
        Ok(true)
    }

    /// Adds the users who have a run that ended between the two reports.
    fn ended(
        &self,
        range: &RangeInclusive<u64>,
        bases: &[(usize, UsersFile)],
        gather: &mut Gather<3>,
    ) -> Result<(), AirError> {
        for (number, class) in (0_u8..).zip(self.lanes.classes()) {
            let (Some(after), Some(until)) = (class.life.last_dead_ms(self.from), class.life.last_dead_ms(self.to))
            else {
                continue;
            };
            for (_, file) in bases {
                let places: BTreeSet<u32> = file.ending_in(number, after, until)?.into_iter().collect();
                for place in places {
                    file.user_at(place as usize, |id, _| gather.add(id, &[], BOTH))?;
                }
            }
            // All users of the other recent files are touched anyway.
            for file in self.files.both.iter().filter(|file| file.may_end_in(after, until)) {
                file.scan_hashes(range, |id, entries| {
                    if entries.iter().any(|entry| entry.run.last_ms > after && entry.run.last_ms <= until) {
                        gather.add(id, &[], BOTH);
                    }
                })?;
            }
        }
        Ok(())
    }

    fn living(&self, both: &[Entry], one: &[Entry], dead: &Dead) -> [Vec<Living>; 2] {
        let entries = [both, one].concat();
        let (mut segments, mut sites) = (Vec::new(), Vec::new());
        self.settler.living(&entries, dead, &mut ByItem::default(), &mut segments, &mut sites);
        [segments, sites]
    }
}

/// Adds what a file says of the users who have one of the `wanted` hashes.
fn look_up(
    file: &UsersFile,
    wanted: &[u64],
    range: &RangeInclusive<u64>,
    kind: usize,
    gather: &mut Gather<3>,
) -> Result<(), AirError> {
    for (_, place) in file.find(wanted, range)? {
        // Another user may have the same hash.
        file.user_at(place, |id, entries| gather.add_to_known(id, entries, kind))?;
    }
    Ok(())
}
