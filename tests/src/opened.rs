//! How often the files of a folder are opened, by whomever: what the operating system tells, not the program under test.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

/// Watches one folder, not those below it.
#[derive(Debug)]
pub struct Opened(OwnedFd);

impl Opened {
    pub fn watch(folder: &Path) -> Self {
        let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("the system tells of opened files");
        // Without the closing between them, two openings of one file would be told as one.
        let flags = WatchFlags::OPEN | WatchFlags::CLOSE_NOWRITE;
        add_watch(&watch, folder, flags).expect("the folder can be watched");
        Self(watch)
    }

    /// How often each file was opened since the watch began.
    pub fn times(self) -> BTreeMap<String, usize> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(self.0, &mut buffer);
        let mut times = BTreeMap::new();
        loop {
            let event = match events.next() {
                Err(Errno::WOULDBLOCK) => return times,
                event => event.expect("what was watched can be read"),
            };
            if let (true, Some(name)) = (event.events().contains(ReadFlags::OPEN), event.file_name()) {
                *times.entry(name.to_string_lossy().into_owned()).or_default() += 1;
            }
        }
    }
}
