//! Brings together what several files say of the users of one bucket.

use super::hash::stable_hash;
use super::record::Entry;

/// Whether an interval belongs to the days of a snapshot or to the chunks after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Settled = 0,
    Recent = 1,
}

/// The users of one bucket and their entries, in any order.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    /// Open addressing by hash: the user's number + 1, 0 is free. At most half full.
    slots: Vec<u32>,
    ids: Vec<u8>,
    users: Vec<Known>,
    entries: [Vec<(u32, Entry)>; 2],
}

#[derive(Clone, Copy, Debug)]
struct Known {
    hash: u64,
    begin: u32,
    end: u32,
}

/// All that is known of one user.
#[derive(Debug)]
pub(crate) struct Gathered<'a> {
    pub(crate) hash: u64,
    pub(crate) id: &'a [u8],
    pub(crate) settled: &'a mut [Entry],
    pub(crate) recent: &'a mut [Entry],
}

impl Gather {
    /// Adds entries of a user.
    pub(crate) fn add(&mut self, id: &[u8], entries: &[Entry], age: Age) {
        let user = self.number(id);
        self.entries[age as usize].extend(entries.iter().map(|entry| (user, *entry)));
    }

    /// Hands over each user once, in order of (hash, id).
    pub(crate) fn drain<E>(&mut self, mut each: impl FnMut(Gathered<'_>) -> Result<(), E>) -> Result<(), E> {
        let [settled, recent] = &self.entries;
        let (mut settled, settled_ends) = by_user(settled, self.users.len());
        let (mut recent, recent_ends) = by_user(recent, self.users.len());
        let id = |known: &Known| &self.ids[known.begin as usize..known.end as usize];
        let mut order: Vec<usize> = (0..self.users.len()).collect();
        order.sort_unstable_by(|&left, &right| {
            let (left, right) = (&self.users[left], &self.users[right]);
            left.hash.cmp(&right.hash).then_with(|| id(left).cmp(id(right)))
        });
        for user in order {
            let known = &self.users[user];
            each(Gathered {
                hash: known.hash,
                id: id(known),
                settled: &mut settled[settled_ends[user] as usize..settled_ends[user + 1] as usize],
                recent: &mut recent[recent_ends[user] as usize..recent_ends[user + 1] as usize],
            })?;
        }
        self.clear();
        Ok(())
    }

    /// Forgets all users, keeps the room.
    fn clear(&mut self) {
        self.slots.fill(0);
        self.ids.clear();
        self.users.clear();
        self.entries.iter_mut().for_each(Vec::clear);
    }

    fn number(&mut self, id: &[u8]) -> u32 {
        if self.users.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let hash = stable_hash(id);
        let mask = self.slots.len() - 1;
        // The high bits chose the bucket, the low ones are still free.
        let mut slot = hash as usize & mask;
        loop {
            let Some(at) = self.slots[slot].checked_sub(1) else { break };
            let known = &self.users[at as usize];
            if known.hash == hash && &self.ids[known.begin as usize..known.end as usize] == id {
                return at;
            }
            slot = (slot + 1) & mask;
        }
        let position = |length: usize| u32::try_from(length).expect("a bucket's ids fit into 4 GB");
        let begin = position(self.ids.len());
        self.ids.extend_from_slice(id);
        self.users.push(Known { hash, begin, end: position(self.ids.len()) });
        self.slots[slot] = position(self.users.len());
        position(self.users.len() - 1)
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(1024);
        self.slots = vec![0; size];
        for (at, known) in (1..).zip(&self.users) {
            let mut slot = known.hash as usize & (size - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            self.slots[slot] = at;
        }
    }
}

/// The entries in order of their users, and where each user's begin and end.
fn by_user(entries: &[(u32, Entry)], users: usize) -> (Vec<Entry>, Vec<u32>) {
    let mut ends = vec![0_u32; users + 1];
    entries.iter().for_each(|(user, _)| ends[*user as usize + 1] += 1);
    for user in 0..users {
        ends[user + 1] += ends[user];
    }
    let Some(&(_, any)) = entries.first() else { return (Vec::new(), ends) };
    let mut next = ends.clone();
    let mut sorted = vec![any; entries.len()];
    for (user, entry) in entries {
        let place = &mut next[*user as usize];
        sorted[*place as usize] = *entry;
        *place += 1;
    }
    (sorted, ends)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;
    use crate::runs::Run;

    #[test]
    fn every_entry_comes_back_with_its_user() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut gather = Gather::default();
        for _round in 0..2 {
            let mut expected: BTreeMap<(u64, Vec<u8>), [Vec<u32>; 2]> = BTreeMap::new();
            for item in 0..20_000 {
                let id = random.u32(0..3_000).to_string().into_bytes();
                let age = if random.bool() { Age::Settled } else { Age::Recent };
                let entry = Entry { origin: 0, item, run: Run { first_ms: 0, last_ms: 0 } };
                gather.add(&id, &[entry], age);
                expected.entry((stable_hash(&id), id)).or_default()[age as usize].push(item);
            }
            let mut found = Vec::new();
            let items = |entries: &[Entry]| entries.iter().map(|entry| entry.item).collect::<Vec<_>>();
            gather
                .drain(|user| {
                    found.push(((user.hash, user.id.to_vec()), [items(user.settled), items(user.recent)]));
                    Ok::<(), Infallible>(())
                })
                .unwrap();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
