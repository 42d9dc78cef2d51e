//! SQLite files: on a local disk, in WAL mode, shared by the processes of one machine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

/// How long to wait before a file is opened again.
const RETRY: Duration = Duration::from_millis(20);

/// A file where SQLite's locks cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} lies on a network file system ({kind}), where SQLite can be damaged: put it on a local disk", .path.display()
)]
pub struct NetworkFileSystem {
    /// The file.
    pub path: PathBuf,
    /// What it lies on: `NFS`.
    pub kind: &'static str,
}

/// Refuses a file on a network file system: SQLite's locks do not hold across machines, and on some not even on one.
pub fn refuse_network_file_system(path: &Path) -> Result<(), NetworkFileSystem> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match network_file_system(folder) {
        Some(kind) => Err(NetworkFileSystem { path: path.to_owned(), kind }),
        None => Ok(()),
    }
}

/// The file, made if need be (its folder is not), in WAL mode. What is committed outlives a loss of power.
pub fn options(path: &Path, busy_timeout: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // In WAL mode NORMAL can lose the last commits at a power loss.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(busy_timeout)
        .disable_statement_logging()
}

/// A pool of so many connections.
pub fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        // Where the disk is full SQLite ends the transaction by itself, and sqlx counts it as open ever after.
        .before_acquire(|conn, _| Box::pin(async { Ok(!conn.is_in_transaction()) }))
}

/// Opens a file, and tries again for `patience` while another process is in the way: processes that start at once on a
/// new file meet while it changes to WAL, where SQLite heeds no busy timeout.
pub async fn open_patiently<T, E, F>(
    patience: Duration,
    is_busy: impl Fn(&E) -> bool,
    mut open: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match open().await {
            Err(error) if is_busy(&error) && Instant::now() < deadline => tokio::time::sleep(RETRY).await,
            opened => return opened,
        }
    }
}

/// Whether another connection to the file is in the way: SQLITE_BUSY, SQLITE_LOCKED.
pub fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(5 | 6))
}

/// SQLite's primary result code; `None` for an error of another database.
pub fn primary_code(error: &sqlx::Error) -> Option<u32> {
    // Postgres' codes have five letters and digits; SQLite's are shorter.
    let code = error.as_database_error()?.code().filter(|code| code.len() < 5)?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

#[cfg(target_os = "linux")]
fn network_file_system(folder: &Path) -> Option<&'static str> {
    // A folder that is not there fails with a better message when the file is opened.
    let found = rustix::fs::statfs(folder).ok()?.f_type;
    // The kernel's word is signed on some machines; the magic numbers are 32 bits.
    network_name((found as u64) & 0xffff_ffff)
}

/// The numbers of linux/magic.h and statfs(2).
#[cfg(target_os = "linux")]
fn network_name(magic: u64) -> Option<&'static str> {
    const NAMES: [(u64, &str); 11] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x564c, "NCP"),
        (0x5346_414f, "AFS"),
        (0x7375_7245, "Coda"),
        (0x00c3_6400, "Ceph"),
        (0x0bd0_0bd0, "Lustre"),
        (0x4750_4653, "GPFS"),
        (0x1983_0326, "BeeGFS"),
    ];
    NAMES.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_folder: &Path) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn network_file_systems_are_told_by_their_number() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xff53_4d42), Some("CIFS"));
        assert_eq!(network_name(0x00c3_6400), Some("Ceph"));
        assert_eq!(network_name(0xef53), None, "ext4");
        assert_eq!(network_file_system(Path::new("/proc")), None);
        refuse_network_file_system(Path::new("tasks.db")).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn connections_that_meet_on_a_new_file_all_open_it() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(&folder.path().join("new.db"), Duration::from_secs(1));
        let opening = (0..8).map(|_| {
            let options = options.clone();
            let open = move || pool(1).connect_with(options.clone());
            tokio::spawn(open_patiently(Duration::from_secs(30), is_busy, open))
        });
        for opened in opening.collect::<Vec<_>>() {
            opened.await.unwrap().unwrap();
        }
    }
}
