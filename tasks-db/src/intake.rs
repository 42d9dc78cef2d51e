//! Files on their way into the task table.

use neartime_model::{Chunk, FileKey, FilePath, FileVersion, Generation, Instant, SourceName, Span};

/// When a chunk becomes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueRule {
    /// At the end of the chunk plus this delay.
    End {
        /// How long after the chunk's end.
        delay: Span,
    },
    /// When its first file is registered, and again at every later one.
    Landing,
}

/// Files of one source to register in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The source, declared before.
    pub source: SourceName,
    /// When its chunks become due.
    pub due: DueRule,
    /// The files, in the order in which they were seen. A few thousand in one call are quick; tens of thousands keep
    /// other writers waiting for a while if many of them changed.
    pub files: Vec<FileRegistration>,
}

/// One version of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRegistration {
    /// Its key.
    pub key: FileKey,
    /// Which content of that key.
    pub version: FileVersion,
    /// Its size as stored, in bytes.
    pub size_bytes: u64,
    /// The bucket or directory as written: `s3://raw-data-reservoir`.
    pub source_bucket: String,
    /// Its path: `in/horizontals/olx/android/`.
    pub file_path: FilePath,
    /// Its chunk, of the source's width.
    pub chunk: Chunk,
}

/// What a registration changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// File versions that were new.
    pub files: u64,
    /// Tasks created.
    pub created: u64,
    /// Tasks that were there and have a new generation.
    pub rearmed: u64,
}

/// A file of a task's input: the newest version of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// Its key.
    pub key: FileKey,
    /// Its newest registered version.
    pub version: FileVersion,
    /// Its size as stored, in bytes.
    pub size_bytes: u64,
}

/// How a registered file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It is part of the input.
    Present,
    /// It is broken; the last run went on without it, the next tries it again.
    Quarantined,
    /// It was gone when it was to be read; its task is parked until it is registered again.
    Missing,
    /// It is gone and an operator accepted that: no longer part of the input until it is registered again.
    Accepted,
}

impl FileState {
    /// As the database writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Quarantined => "quarantined",
            Self::Missing => "missing",
            Self::Accepted => "accepted",
        }
    }
}

/// A registered file as `tasks show` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    /// Key, newest version and size.
    pub file: InputFile,
    /// How it stands.
    pub state: FileState,
    /// The generation that this version made.
    pub generation: Generation,
    /// When this version was registered.
    pub registered_at: Instant,
    /// Why it is quarantined or missing.
    pub reason: Option<String>,
}
