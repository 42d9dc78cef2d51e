//! Brings together what the sources of a window say of each user.

use std::cmp::Ordering;

use super::block::compare;
use super::windows::Window;
use crate::runs::Run;
use crate::udb::Entry;

const NOTHING: Entry = Entry { origin: 0, item: 0, run: Run { first_ms: 0, last_ms: 0 } };

/// Room for the users of one window, used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    /// Open addressing by key. At most a quarter full.
    slots: Vec<Slot>,
    /// How far a mixed key is shifted to give a slot.
    shift: u32,
    /// By user: the key, and where the id lies.
    users: Vec<User>,
    /// By user: how many entries; then where the next one goes, in the end where they end.
    ends: Vec<u32>,
    /// By user: where the entries of the first sources end.
    first_ends: Vec<u32>,
    /// The user of each slice's users in turn.
    numbers: Vec<u32>,
    /// In order of users, then of sources.
    entries: Vec<Entry>,
    order: Vec<(u64, u32)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    /// The user's number + 1, 0 is free.
    user: u32,
    id_len: u32,
}

/// Where a user was met first.
#[derive(Clone, Copy, Debug)]
struct User {
    key: u64,
    id_len: u32,
    slice: u32,
    at: u32,
}

/// All that is known of one user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gathered<'a> {
    pub(crate) id: &'a [u8],
    /// In order of sources.
    pub(crate) entries: &'a [Entry],
    /// How many of them are from the first sources.
    pub(crate) first: usize,
}

impl Gather {
    /// Hands over each user of a window once, in order of their ids. Entries of the first so many sources are told apart
    /// from the others.
    pub(crate) fn each<E>(
        &mut self,
        window: &Window,
        first_sources: usize,
        mut each: impl FnMut(Gathered<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(first) = window.slices.first() else { return Ok(()) };
        let shared = self.number_users(window);
        self.sort_users(window);
        self.sort_entries(window, first_sources);
        let mut short_id = first.block.id(first.users.start)[..shared].to_vec();
        short_id.resize(shared + 8, 0);
        let mut begin = 0;
        for &(key, number) in &self.order {
            let at = number as usize;
            let (end, first_end, id_len) = (self.ends[at], self.first_ends[at], self.users[at].id_len as usize);
            // Put together, where the key has all of it: the block that it is from has left the processor's cache.
            let id = if id_len <= short_id.len() {
                short_id[shared..].copy_from_slice(&key.to_be_bytes());
                &short_id[..id_len]
            } else {
                self.users[at].id(window)
            };
            let entries = &self.entries[begin as usize..end as usize];
            each(Gathered { id, entries, first: (first_end - begin) as usize })?;
            begin = end;
        }
        Ok(())
    }

    /// Numbers the users in the order in which they are met, and counts their entries. Tells how many bytes their ids
    /// begin with, after which their keys begin.
    fn number_users(&mut self, window: &Window) -> usize {
        // As far as both the window and each block know that ids are the same.
        let of_blocks = window.slices.iter().map(|slice| slice.block.shared_prefix()).min().unwrap_or(0);
        let shared = window.shared_prefix().min(of_blocks);
        self.slots.fill(Slot::default());
        self.users.clear();
        self.ends.clear();
        self.numbers.clear();
        for (number, slice) in (0..).zip(&window.slices) {
            let mut begin = slice.block.entries_begin(slice.users.start);
            for (at, key) in slice.users.clone().zip(slice.block.keys(slice.users.clone(), shared)) {
                let id_len = slice.block.id_len(at) as u32;
                let user = self.number(window, shared, User { key, id_len, slice: number, at: at as u32 });
                let end = slice.block.entries_end(at);
                self.ends[user as usize] += (end - begin) as u32;
                begin = end;
                self.numbers.push(user);
            }
        }
        shared
    }

    /// The number of a user who was met in a place.
    fn number(&mut self, window: &Window, shared: usize, user: User) -> u32 {
        if self.users.len() * 4 >= self.slots.len() {
            self.grow();
        }
        let User { key, id_len, .. } = user;
        let mask = self.slots.len() - 1;
        let mut place = mixed(key, self.shift);
        loop {
            let slot = &mut self.slots[place];
            let Some(found) = slot.user.checked_sub(1) else {
                *slot = Slot { key, user: self.users.len() as u32 + 1, id_len };
                self.users.push(user);
                self.ends.push(0);
                return self.users.len() as u32 - 1;
            };
            // The key holds all that the ids do not share, if they are short.
            if slot.key == key
                && slot.id_len == id_len
                && (id_len as usize <= shared + 8 || self.users[found as usize].id(window) == user.id(window))
            {
                return found;
            }
            place = (place + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(1024);
        self.shift = 64 - size.trailing_zeros();
        self.slots.clear();
        self.slots.resize(size, Slot::default());
        for (user, &User { key, id_len, .. }) in (1..).zip(&self.users) {
            let mut place = mixed(key, self.shift);
            while self.slots[place].user != 0 {
                place = (place + 1) & (size - 1);
            }
            self.slots[place] = Slot { key, user, id_len };
        }
    }

    /// Puts the entries in order of their users.
    fn sort_entries(&mut self, window: &Window, first_sources: usize) {
        let Self { ends, first_ends, numbers, entries, order, .. } = self;
        // From counts to beginnings, in order of ids: then those of each slice go to rising places.
        let mut begin = 0;
        for &(_, number) in &*order {
            begin += std::mem::replace(&mut ends[number as usize], begin);
        }
        if entries.len() < begin as usize {
            entries.resize(begin as usize, NOTHING);
        }
        let mut numbers = numbers.iter();
        let first_slices = window.slices.partition_point(|slice| slice.source < first_sources);
        for (number, slice) in window.slices.iter().enumerate() {
            if number == first_slices {
                first_ends.clone_from(ends);
            }
            let mut from = slice.block.entries_begin(slice.users.start);
            for (at, &user) in slice.users.clone().zip(&mut numbers) {
                let to = slice.block.entries_end(at);
                let end = &mut ends[user as usize];
                for entry in &slice.block.entries()[from..to] {
                    entries[*end as usize] = *entry;
                    *end += 1;
                }
                from = to;
            }
        }
        if first_slices == window.slices.len() {
            first_ends.clone_from(ends);
        }
    }

    /// Puts the users in order of their ids.
    fn sort_users(&mut self, window: &Window) {
        let Self { users, order, .. } = self;
        order.clear();
        order.extend(users.iter().map(|user| user.key).zip(0..));
        order.sort_unstable_by(|left, right| match left.0.cmp(&right.0) {
            Ordering::Equal => {
                let [left, right] = [left, right].map(|(_, number)| users[*number as usize].id(window));
                compare(left, right)
            }
            differ => differ,
        });
    }
}

impl User {
    fn id(self, window: &Window) -> &[u8] {
        window.slices[self.slice as usize].block.id(self.at as usize)
    }
}

/// A place in a table of `64 - shift` bits.
fn mixed(key: u64, shift: u32) -> usize {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift) as usize
}
