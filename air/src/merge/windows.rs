//! Cuts the blocks of many sources into windows: ranges of users that nobody is in twice.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use neartime_model::shared_prefix;

use super::block::{Block, Source, compare};
use crate::error::AirError;

/// So many blocks of a source are held ready.
const BLOCKS_AHEAD: usize = 2;

/// A window has so many users of the source that is behind, at most: what is gathered stays near the processor. Tests
/// have small blocks, which are to be cut too.
const WINDOW_USERS: usize = if cfg!(test) { 16 } else { 4 << 10 };

/// Sources being merged by any number of threads.
#[derive(Debug)]
pub(crate) struct Merge {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    lines: Vec<Line>,
    windows: u64,
    /// Some thread ended with an error, which tells why: the others stop.
    failed: bool,
}

/// A source and what was read of it.
#[derive(Debug)]
struct Line {
    /// `None` while some thread reads from it, and once it has ended.
    source: Option<Box<dyn Source>>,
    ended: bool,
    blocks: VecDeque<Arc<Block>>,
    /// The first user of the first block that is in no window yet.
    from: usize,
}

/// All rows of some users, in order of their sources.
#[derive(Debug)]
pub(crate) struct Window {
    /// Windows are numbered from 0 in order of their users' ids.
    pub(crate) number: u64,
    pub(crate) slices: Vec<Slice>,
}

/// Users of one block.
#[derive(Debug)]
pub(crate) struct Slice {
    /// The source's place in the list of them.
    pub(crate) source: usize,
    pub(crate) block: Arc<Block>,
    pub(crate) users: Range<usize>,
}

impl Window {
    /// How many bytes all ids begin with: what the first and the last one share, all between them share too.
    pub(crate) fn shared_prefix(&self) -> usize {
        let first = self.slices.iter().map(|slice| slice.block.id(slice.users.start)).min_by(|a, b| compare(a, b));
        let last = self.slices.iter().map(|slice| slice.block.id(slice.users.end - 1)).max_by(|a, b| compare(a, b));
        first.zip(last).map_or(0, |(first, last)| shared_prefix(first, last))
    }
}

enum Task {
    Read(usize, Box<dyn Source>),
    Work(Window),
    End,
}

impl Merge {
    pub(crate) fn new(sources: Vec<Box<dyn Source>>) -> Self {
        let line = |source| Line {
            source: Some(source),
            ended: false,
            blocks: VecDeque::with_capacity(BLOCKS_AHEAD),
            from: 0,
        };
        let lines = sources.into_iter().map(line).collect();
        Self { state: Mutex::new(State { lines, windows: 0, failed: false }), changed: Condvar::new() }
    }

    /// Works until nothing is left. Any number of threads may do so at once; each window goes to one of them.
    pub(crate) fn work(&self, mut each: impl FnMut(Window) -> Result<(), AirError>) -> Result<(), AirError> {
        let all = || loop {
            match self.next() {
                Task::Read(at, mut source) => {
                    let block = source.next()?;
                    self.put_back(at, source, block);
                }
                Task::Work(window) => each(window)?,
                Task::End => return Ok(()),
            }
        };
        // The other threads must not wait for what this one took with it.
        let result = std::panic::catch_unwind(AssertUnwindSafe(all));
        if !matches!(result, Ok(Ok(()))) {
            self.lock().failed = true;
            self.changed.notify_all();
        }
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn next(&self) -> Task {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.task() {
                return task;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put_back(&self, at: usize, source: Box<dyn Source>, block: Option<Block>) {
        let mut state = self.lock();
        let line = &mut state.lines[at];
        match block {
            Some(block) => {
                line.blocks.push_back(Arc::new(block));
                line.source = Some(source);
            }
            None => line.ended = true,
        }
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in it is changed halfway where anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A user of a block.
struct Bound {
    block: Arc<Block>,
    at: usize,
}

impl Bound {
    fn last(block: &Arc<Block>) -> Self {
        Self { block: Arc::clone(block), at: block.len() - 1 }
    }

    fn id(&self) -> &[u8] {
        self.block.id(self.at)
    }
}

impl Line {
    /// The user before whom a window ends, of those in the first block.
    fn near(&self) -> Option<Bound> {
        let block = Arc::clone(self.blocks.front()?);
        let at = (self.from + WINDOW_USERS).min(block.len() - 1);
        Some(Bound { block, at })
    }
}

impl State {
    /// What is wanted most; `None` if other threads have all of it in hand.
    fn task(&mut self) -> Option<Task> {
        if self.failed {
            return Some(Task::End);
        }
        let short = |at: &usize| {
            let line = &self.lines[*at];
            line.source.is_some() && line.blocks.len() < BLOCKS_AHEAD
        };
        let next = self.first_by((0..self.lines.len()).filter(short), VecDeque::back);
        if let Some(at) = next {
            return self.read(at);
        }
        if self.lines.iter().any(|line| !line.ended && line.blocks.is_empty()) {
            return None;
        }
        let open = || (0..self.lines.len()).filter(|&at| !self.lines[at].ended);
        // Usually some users of the source that is behind are taken, and their next block is there already. A user may
        // fill more than a block.
        let behind = self.first_by(open(), VecDeque::front);
        let far_behind = self.first_by(open(), VecDeque::back);
        let near = behind.and_then(|at| self.lines[at].near());
        let front = behind.and_then(|at| self.lines[at].blocks.front().map(Bound::last));
        let back = far_behind.and_then(|at| self.lines[at].blocks.back().map(Bound::last));
        for bound in [near, front, back] {
            let slices = self.cut(bound);
            if !slices.is_empty() {
                self.windows += 1;
                return Some(Task::Work(Window { number: self.windows - 1, slices }));
            }
        }
        match far_behind {
            Some(at) => self.read(at),
            None => Some(Task::End),
        }
    }

    /// The line whose first or last block has the lowest last id.
    fn first_by(
        &self,
        lines: impl Iterator<Item = usize>,
        block: impl Fn(&VecDeque<Arc<Block>>) -> Option<&Arc<Block>>,
    ) -> Option<usize> {
        let last_id = |at: usize| block(&self.lines[at].blocks).map_or(&[][..], |block| block.last_id());
        lines.min_by(|&left, &right| compare(last_id(left), last_id(right)))
    }

    fn read(&mut self, at: usize) -> Option<Task> {
        self.lines[at].source.take().map(|source| Task::Read(at, source))
    }

    /// Takes the users before one of a block, who may have more rows; all users if there is none.
    fn cut(&mut self, bound: Option<Bound>) -> Vec<Slice> {
        let bound = bound.as_ref().map(Bound::id);
        let mut slices = Vec::with_capacity(self.lines.len());
        for (source, line) in self.lines.iter_mut().enumerate() {
            while let Some(block) = line.blocks.front() {
                let to = bound.map_or(block.len(), |bound| block.first_not_below(bound, line.from));
                if to > line.from {
                    slices.push(Slice { source, block: Arc::clone(block), users: line.from..to });
                }
                line.from = to;
                if to < block.len() {
                    break;
                }
                line.blocks.pop_front();
                line.from = 0;
            }
        }
        slices
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(at, _) => write!(f, "Read({at})"),
            Self::Work(window) => write!(f, "Work({})", window.number),
            Self::End => f.write_str("End"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::block::User;
    use super::super::gather::Gather;
    use super::*;
    use crate::runs::Run;
    use crate::udb::Entry;

    /// Blocks that were cut beforehand, then an error or the end.
    #[derive(Debug)]
    struct Cut {
        blocks: VecDeque<Vec<(String, u32)>>,
        breaks: bool,
    }

    impl Source for Cut {
        fn next(&mut self) -> Result<Option<Block>, AirError> {
            let Some(rows) = self.blocks.pop_front() else {
                return if self.breaks { Err(AirError::Unsettled) } else { Ok(None) };
            };
            let ids: String = rows.iter().map(|(id, _)| id.as_str()).collect();
            let (mut users, mut entries, mut id_begin) = (Vec::new(), Vec::new(), 0);
            for (entries_end, (id, item)) in (1..).zip(rows) {
                entries.push(Entry { origin: 0, item, run: Run { first_ms: 0, last_ms: 0 } });
                let id_len = u32::try_from(id.len()).unwrap();
                users.push(User { bytes: 0, id_begin, id_len, entries_end });
                id_begin += id_len;
            }
            Ok(Block::new(vec![ids.into_bytes().into()], users, entries))
        }
    }

    type Found = BTreeMap<String, Vec<u32>>;
    type Windows = BTreeMap<u64, Vec<(String, Vec<u32>)>>;

    fn random(seed: u64) -> (Vec<Box<dyn Source>>, Found) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut expected = Found::new();
        let mut item = 0;
        let sources = (0..random.usize(0..9)).map(|_| {
            let users = [1, 3, 300][random.usize(0..3)];
            let mut rows: Vec<(String, u32)> = (0..random.usize(0..400))
                .map(|_| {
                    item += 1;
                    (random.u32(0..users).to_string(), item)
                })
                .collect();
            rows.sort();
            rows.iter().for_each(|(id, item)| expected.entry(id.clone()).or_default().push(*item));
            let size = random.usize(1..50);
            let blocks = rows.chunks(size).map(<[_]>::to_vec).collect();
            Box::new(Cut { blocks, breaks: false }) as Box<dyn Source>
        });
        (sources.collect(), expected)
    }

    /// The users of each window, by its number.
    fn merged(sources: Vec<Box<dyn Source>>, threads: usize) -> Result<Windows, AirError> {
        let merge = Merge::new(sources);
        let found = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            let work = || {
                let mut gather = Gather::default();
                merge.work(|window| {
                    let mut users = Vec::new();
                    gather.each(&window, usize::MAX, |user| {
                        let items = user.entries.iter().map(|entry| entry.item).collect();
                        users.push((String::from_utf8(user.id.to_vec()).unwrap(), items));
                        Ok::<(), AirError>(())
                    })?;
                    assert!(found.lock().unwrap().insert(window.number, users).is_none());
                    Ok(())
                })
            };
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap())
        })?;
        Ok(found.into_inner().unwrap())
    }

    #[test]
    fn every_user_comes_once_with_all_entries_in_order_of_ids_and_sources() {
        for seed in 0..200 {
            for threads in [1, 3] {
                let (sources, expected) = random(seed);
                let found: Vec<_> = merged(sources, threads).unwrap().into_values().flatten().collect();
                assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "seed {seed}");
            }
        }
    }

    #[test]
    fn an_error_ends_all_threads() {
        let (mut sources, _) = random(1);
        let blocks = VecDeque::from([vec![("1".to_owned(), 1)]]);
        sources.push(Box::new(Cut { blocks, breaks: true }));
        assert!(matches!(merged(sources, 4), Err(AirError::Unsettled)));
    }
}
