//! Brings together what several files say of the users of one bucket.

use super::hash::stable_hash;
use super::record::Entry;

/// Users and their entries, in any order. Entries come in so many `KINDS`, which the caller tells apart.
#[derive(Debug)]
pub(crate) struct Gather<const KINDS: usize> {
    /// Open addressing by hash: the user's number + 1, 0 is free. At most half full.
    slots: Vec<u32>,
    ids: Vec<u8>,
    users: Vec<Known>,
    entries: [Vec<(u32, Entry)>; KINDS],
    /// The entries in order of their users: kept from bucket to bucket for their room.
    sorted: [Sorted; KINDS],
}

#[derive(Debug, Default)]
struct Sorted {
    entries: Vec<Entry>,
    /// Where each user's entries begin, and where the last one's end.
    begins: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    hash: u64,
    begin: u32,
    end: u32,
}

/// All that is known of one user.
#[derive(Debug)]
pub(crate) struct Gathered<'a, const KINDS: usize> {
    pub(crate) hash: u64,
    pub(crate) id: &'a [u8],
    /// By kind.
    pub(crate) entries: [&'a mut [Entry]; KINDS],
}

impl<const KINDS: usize> Default for Gather<KINDS> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            ids: Vec::new(),
            users: Vec::new(),
            entries: std::array::from_fn(|_| Vec::new()),
            sorted: std::array::from_fn(|_| Sorted::default()),
        }
    }
}

impl<const KINDS: usize> Gather<KINDS> {
    /// Adds a user, and entries of a kind.
    pub(crate) fn add(&mut self, id: &[u8], entries: &[Entry], kind: usize) {
        let user = self.number(id);
        self.entries[kind].extend(entries.iter().map(|entry| (user, *entry)));
    }

    /// Adds entries of a kind, if the user was added before.
    pub(crate) fn add_to_known(&mut self, id: &[u8], entries: &[Entry], kind: usize) {
        if !self.slots.is_empty()
            && let Ok(user) = self.find(stable_hash(id), id)
        {
            self.entries[kind].extend(entries.iter().map(|entry| (user, *entry)));
        }
    }

    /// The hashes of all users, rising, each once.
    pub(crate) fn hashes(&self) -> Vec<u64> {
        let mut hashes: Vec<u64> = self.users.iter().map(|known| known.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    /// How many users there are.
    pub(crate) fn users(&self) -> usize {
        self.users.len()
    }

    /// Hands over each user once, in order of (hash, id).
    pub(crate) fn drain<E>(&mut self, mut each: impl FnMut(Gathered<'_, KINDS>) -> Result<(), E>) -> Result<(), E> {
        for (sorted, entries) in self.sorted.iter_mut().zip(&self.entries) {
            sorted.sort(entries, self.users.len());
        }
        let id = |user: usize| &self.ids[self.users[user].begin as usize..self.users[user].end as usize];
        let mut order: Vec<(u64, usize)> = self.users.iter().map(|known| known.hash).zip(0..).collect();
        order.sort_unstable();
        for same_hash in order.chunk_by_mut(|left, right| left.0 == right.0) {
            if same_hash.len() > 1 {
                same_hash.sort_unstable_by_key(|&(_, user)| id(user));
            }
        }
        for (hash, user) in order {
            each(Gathered { hash, id: id(user), entries: self.sorted.each_mut().map(|sorted| sorted.of(user)) })?;
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
        let slot = match self.find(hash, id) {
            Ok(user) => return user,
            Err(slot) => slot,
        };
        let position = |length: usize| u32::try_from(length).expect("a bucket's ids fit into 4 GB");
        let begin = position(self.ids.len());
        self.ids.extend_from_slice(id);
        self.users.push(Known { hash, begin, end: position(self.ids.len()) });
        self.slots[slot] = position(self.users.len());
        position(self.users.len() - 1)
    }

    /// The user's number, or the slot for a new one. There must be slots.
    fn find(&self, hash: u64, id: &[u8]) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        // The high bits chose the bucket, the low ones are still free.
        let mut slot = hash as usize & mask;
        while let Some(at) = self.slots[slot].checked_sub(1) {
            let known = &self.users[at as usize];
            if known.hash == hash && &self.ids[known.begin as usize..known.end as usize] == id {
                return Ok(at);
            }
            slot = (slot + 1) & mask;
        }
        Err(slot)
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

impl Sorted {
    fn sort(&mut self, entries: &[(u32, Entry)], users: usize) {
        self.begins.clear();
        self.begins.resize(users + 1, 0);
        self.entries.clear();
        let Some(&(_, any)) = entries.first() else { return };
        entries.iter().for_each(|(user, _)| self.begins[*user as usize] += 1);
        // From counts to ends; filling each user's room from its end leaves its beginning.
        let mut end = 0;
        for count in &mut self.begins {
            end += *count;
            *count = end;
        }
        self.entries.resize(entries.len(), any);
        for (user, entry) in entries.iter().rev() {
            let begin = &mut self.begins[*user as usize];
            *begin -= 1;
            self.entries[*begin as usize] = *entry;
        }
    }

    fn of(&mut self, user: usize) -> &mut [Entry] {
        &mut self.entries[self.begins[user] as usize..self.begins[user + 1] as usize]
    }
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
        let mut gather = Gather::<2>::default();
        for _round in 0..2 {
            let mut expected: BTreeMap<(u64, Vec<u8>), [Vec<u32>; 2]> = BTreeMap::new();
            for item in 0..20_000 {
                let id = random.u32(0..3_000).to_string().into_bytes();
                let kind = random.usize(0..2);
                let entry = Entry { origin: 0, item, run: Run { first_ms: 0, last_ms: 0 } };
                gather.add(&id, &[entry], kind);
                gather.add_to_known(b"stranger", &[entry], kind);
                expected.entry((stable_hash(&id), id)).or_default()[kind].push(item);
            }
            assert_eq!(gather.hashes(), expected.keys().map(|(hash, _)| *hash).collect::<Vec<_>>());
            let mut found = Vec::new();
            let items = |entries: &[Entry]| entries.iter().map(|entry| entry.item).collect::<Vec<_>>();
            gather
                .drain(|user| {
                    found.push(((user.hash, user.id.to_vec()), user.entries.map(|entries| items(entries))));
                    Ok::<(), Infallible>(())
                })
                .unwrap();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
