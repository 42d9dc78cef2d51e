//! One pass over the users, bucket by bucket: runs are joined, a snapshot is written, the living are counted.

use std::sync::Arc;

use neartime_model::{Instant, Span};

use super::gather::{Gather, Gathered};
use super::hash::hashes_of;
use super::lanes::{Class, Lanes};
use super::record::Entry;
use super::settle::{ByItem, Dead, Living, Reach, Settler};
use super::snapshot::{Draft, Snapshot};
use super::users_file::{UsersFile, UsersWriter};
use crate::config::Order;
use crate::count::{Bucketed, Change, Counts, GroupsOf};
use crate::durable::Syncs;
use crate::error::AirError;
use crate::input::Spool;
use crate::progress::Steps;

/// For so long after its end a snapshot knows whose memberships end when. Later reports count all users again.
pub(crate) const EXPIRY_KNOWN: Span = Span::from_days(2);

/// Kinds of entries: of the snapshot's days, and of the chunks after them.
const SETTLED: usize = 0;
const RECENT: usize = 1;

/// What is folded, and into what.
#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) lanes: Lanes,
    pub(crate) settler: Settler,
    pub(crate) buckets: usize,
    /// The snapshot to start from.
    pub(crate) base: Option<Arc<Snapshot>>,
    /// What the days after it brought.
    pub(crate) days: Option<Spool>,
    /// The snapshot to write, of the base and those days.
    pub(crate) draft: Option<Arc<Draft>>,
    /// Copies of the chunks after those days.
    pub(crate) recent: Vec<Arc<UsersFile>>,
    /// Whom to count, if anyone.
    pub(crate) counting: Option<Counting>,
    /// Told of each bucket that is done.
    pub(crate) steps: Steps,
}

/// Who counts.
#[derive(Clone, Debug)]
pub(crate) struct Counting {
    pub(crate) as_of: Instant,
    pub(crate) order: Order,
    pub(crate) groups: Arc<GroupsOf>,
    /// How many sites the dictionary knows.
    pub(crate) sites: usize,
}

/// Lists that are used for one user after the other.
#[derive(Debug, Default)]
struct Scratch {
    kept: Vec<Entry>,
    ends: Vec<(u8, i64)>,
    all: Vec<Entry>,
    by_item: ByItem,
    segments: Vec<Living>,
    sites: Vec<Living>,
}

impl Bucketed for Fold {
    fn buckets(&self) -> usize {
        self.buckets
    }

    fn nobody(&self) -> Counts {
        match &self.counting {
            Some(counting) => counting.nobody(),
            None => Counts::new(0, 0, 0),
        }
    }

    fn count(&self, buckets: &mut dyn Iterator<Item = usize>, counts: &mut Counts) -> Result<(), AirError> {
        let (mut gather, mut scratch) = (Gather::default(), Scratch::default());
        let dead = self.counting.as_ref().map(|counting| self.settler.dead(counting.as_of));
        let reach = self.draft.as_ref().map(|draft| self.settler.reach(draft.end));
        let dying = self.draft.as_ref().map_or(Vec::new(), |draft| self.dying_after(draft.end));
        let syncs = Syncs::begin();
        for bucket in buckets {
            self.gather(bucket, &mut gather)?;
            let mut writer = match &self.draft {
                Some(draft) => {
                    let classes = self.lanes.classes().len();
                    Some(UsersWriter::create(&draft.bucket_path(bucket), draft.end.as_millis(), classes)?)
                }
                None => None,
            };
            gather.drain(|user| {
                let counted = self.counting.as_ref().zip(dead.as_ref());
                if let (Some(reach), Some(writer)) = (&reach, &mut writer) {
                    self.keep(&user, (reach, &dying), writer, counted.map(|(_, dead)| dead), &mut scratch)?;
                }
                if let Some((counting, dead)) = counted {
                    self.count_user(user, counting, dead, &mut scratch, counts);
                }
                Ok::<(), AirError>(())
            })?;
            if let Some(writer) = writer {
                syncs.push(writer.finish()?);
            }
            self.steps.step();
        }
        syncs.end()
    }
}

impl Counting {
    /// Counts of nobody, with room for all that the dictionary knows.
    pub(crate) fn nobody(&self) -> Counts {
        Counts::new(self.groups.segments(), self.sites, self.groups.count())
    }
}

impl Fold {
    fn gather(&self, bucket: usize, gather: &mut Gather<2>) -> Result<(), AirError> {
        if let Some(base) = &self.base {
            let each = |id: &[u8], entries: &[Entry]| gather.add(id, entries, SETTLED);
            base.bucket(bucket)?.scan(each)?;
        }
        if let Some(days) = &self.days {
            days.read(bucket, |id, entries| gather.add(id, entries, SETTLED))?;
        }
        let range = hashes_of(bucket, self.buckets);
        self.recent.iter().try_for_each(|file| file.scan_hashes(&range, |id, entries| gather.add(id, entries, RECENT)))
    }

    /// By class: the ends of the runs that die while the snapshot's list of them is known.
    fn dying_after(&self, end: Instant) -> Vec<Option<(i64, i64)>> {
        let dead = |class: &Class, at: Instant| class.life.last_dead_ms(at);
        let of = |class: &Class| dead(class, end).zip(dead(class, end + EXPIRY_KNOWN));
        self.lanes.classes().iter().map(of).collect()
    }

    /// Writes what a snapshot keeps of a user, and collects who of them is alive, as far as the days tell.
    fn keep(
        &self,
        user: &Gathered<'_, 2>,
        (reach, dying): (&Reach, &[Option<(i64, i64)>]),
        writer: &mut UsersWriter,
        dead: Option<&Dead>,
        scratch: &mut Scratch,
    ) -> Result<(), AirError> {
        let Scratch { kept, ends, by_item, segments, sites, .. } = scratch;
        kept.clear();
        ends.clear();
        segments.clear();
        sites.clear();
        self.settler.keep(user.entries[SETTLED], reach, by_item, kept, |class, item, last| {
            if let Some((dead_ms, dead_later_ms)) = dying[usize::from(class)]
                && last.last_ms > dead_ms
                && last.last_ms <= dead_later_ms
            {
                ends.push((class, last.last_ms));
            }
            if let Some(dead) = dead {
                self.settler.add_living(class, item, last, dead, segments, sites);
            }
        });
        self.settler.end_living(segments, sites);
        if kept.is_empty() {
            return Ok(());
        }
        writer.push(user.hash, user.id, kept)?;
        ends.iter().for_each(|&(class, last_ms)| writer.expires(class, last_ms));
        Ok(())
    }

    fn count_user(
        &self,
        user: Gathered<'_, 2>,
        counting: &Counting,
        dead: &Dead,
        scratch: &mut Scratch,
        counts: &mut Counts,
    ) {
        let Scratch { all, by_item, segments, sites, .. } = scratch;
        let [settled, recent] = user.entries;
        if !recent.is_empty() {
            all.clear();
            all.extend_from_slice(settled);
            all.extend_from_slice(recent);
            self.settler.living(all, dead, by_item, segments, sites);
        } else if self.draft.is_none() {
            self.settler.living(settled, dead, by_item, segments, sites);
        }
        // Else they were collected when the user was kept.
        counts.change(segments, sites, &counting.groups, counting.order, Change::Add);
    }
}
