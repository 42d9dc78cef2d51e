//! A small disk for one folder: a file system in memory, mounted where only the processes that enter it see it.
//!
//! No rights are needed where the system lets users make namespaces. Elsewhere there is none, and who needs one says
//! so and skips.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const BALLAST: &str = ".ballast";

/// Holds the mount as long as it lives.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Child,
    folder: PathBuf,
}

impl SmallDisk {
    /// Puts an empty disk over `folder`; `None` where nobody may mount.
    pub fn over(folder: &Path, kilobytes: u32) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("the folder is made");
        let script = format!("mount -t tmpfs -o size={kilobytes}k small \"$0\" && echo mounted && exec cat");
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(folder);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut disk = Self { holder: unshare.spawn().ok()?, folder: folder.to_owned() };
        let mut said = [0; "mounted".len()];
        let mounted = disk.holder.stdout.as_mut().expect("it is a pipe").read_exact(&mut said).is_ok();
        mounted.then_some(disk)
    }

    /// Where `path` is seen from outside as it is inside.
    pub fn seen(&self, path: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(path.strip_prefix("/").expect("an absolute path"))
    }

    /// Fills the disk but for so many bytes.
    pub fn fill(&self, but: u64) {
        let mut ballast = File::create(self.seen(&self.folder).join(BALLAST)).expect("the disk takes a file");
        while ballast.write_all(&[0; 4096]).is_ok() {}
        let full = ballast.metadata().expect("the ballast is there").len();
        ballast.set_len(full.checked_sub(but).expect("the disk is larger")).expect("the ballast is cut");
    }

    /// Gives back the room that was filled.
    pub fn clear(&self) {
        std::fs::remove_file(self.seen(&self.folder).join(BALLAST)).expect("the ballast is taken away");
    }

    /// A command that sees the disk, run in `directory`.
    pub fn command(&self, binary: &Path, directory: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--user", "--mount", "--preserve-credentials"]);
        command.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(directory).arg(binary);
        command
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
