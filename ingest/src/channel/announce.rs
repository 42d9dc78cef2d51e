//! From objects that were told of to files of sources.

use futures::stream::{self, StreamExt, TryStreamExt};
use neartime_model::{Chunk, FileKey, FilePath, FileVersion};
use object_store::ObjectStoreExt;

use super::{ChannelError, ObjectNotice};
use crate::discover::Found;
use crate::source::Source;

/// Objects that are asked about at once.
const ASKED_AT_ONCE: usize = 8;

/// What an object means to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is one of its files.
    File(FileAt),
    /// It lies at its location but is no file of it: not of the layout, hidden, or older than `since`.
    Unwanted,
    /// It lies in another bucket or below another prefix: whoever told of it, the source does not look there.
    Elsewhere,
}

/// Where a file of a source belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAt {
    /// Its key below the location.
    pub key: FileKey,
    /// Its path.
    pub path: FilePath,
    /// Its chunk.
    pub chunk: Chunk,
}

/// Files that were told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// The files of each source, in the order of the sources; an object may be a file of several.
    pub files: Vec<Vec<Found>>,
    /// Objects at a location of a source that are no file of any.
    pub unwanted: u64,
    /// Objects where no source looks.
    pub elsewhere: u64,
    /// Files that were gone already when they were asked for their version.
    pub gone: u64,
}

/// Tells what an object means to a source. Only the source's own bucket and prefix count.
pub fn place(source: &Source, object: &ObjectNotice) -> Placed {
    let Some(key) = source.location.key_in_bucket(object.bucket.as_deref(), &object.key) else {
        return Placed::Elsewhere;
    };
    let matched = source.layout.match_key(key).filter(|matched| source.since.is_none_or(|since| since <= matched.at));
    match matched {
        None => Placed::Unwanted,
        Some(matched) => Placed::File(FileAt {
            path: source.location.file_path(&source.layout.path_part(&matched.path_captures)),
            chunk: source.width.chunk_of(matched.at),
            key: FileKey::new(key),
        }),
    }
}

/// Finds the files of `sources` among objects that were told of; those told without version or size are asked for it.
///
/// A queue that several sources share must be read for all of them at once, as deleting a message deletes it for all.
pub async fn announced(sources: &[&Source], objects: &[ObjectNotice]) -> Result<Announced, ChannelError> {
    let mut announced = Announced { files: vec![Vec::new(); sources.len()], ..Announced::default() };
    let mut files = Vec::new();
    for object in objects {
        let mut elsewhere = true;
        let before = files.len();
        for (index, source) in sources.iter().enumerate() {
            match place(source, object) {
                Placed::File(at) => files.push((index, *source, at, object)),
                Placed::Unwanted => elsewhere = false,
                Placed::Elsewhere => {}
            }
        }
        if files.len() == before {
            *(if elsewhere { &mut announced.elsewhere } else { &mut announced.unwanted }) += 1;
        }
    }
    // Made before they are awaited: a closure that lives across an await keeps callers from spawning this.
    let asking = files
        .into_iter()
        .map(|(index, source, at, object)| async move { Ok((index, found(source, at, object).await?)) });
    let mut found = stream::iter(asking.collect::<Vec<_>>()).buffered(ASKED_AT_ONCE);
    while let Some((index, found)) = found.try_next().await? {
        match found {
            Some(found) => announced.files[index].push(found),
            None => announced.gone += 1,
        }
    }
    Ok(announced)
}

/// The file with version and size, asked of the bucket where they were not told; `None` if it is gone.
async fn found(source: &Source, at: FileAt, object: &ObjectNotice) -> Result<Option<Found>, ChannelError> {
    let told = object.etag.as_ref().zip(object.size_bytes);
    let (version, size) = match told {
        Some((etag, size)) => (FileVersion::new(etag), size),
        None => match asked(source, &at.key).await? {
            Some(answer) => answer,
            None => return Ok(None),
        },
    };
    let FileAt { key, path, chunk } = at;
    let source_bucket = source.location.source_bucket().to_owned();
    Ok(Some(Found { key, version, size, path, source_bucket, chunk }))
}

async fn asked(source: &Source, key: &FileKey) -> Result<Option<(FileVersion, u64)>, ChannelError> {
    let location = &source.location;
    let cause = match location.store().head(&location.object_path(key)).await {
        Ok(meta) => return Ok(Some((location.version_of(&meta), meta.size))),
        // A bucket that is not there answers the same: the file is gone only if the bucket is not.
        Err(object_store::Error::NotFound { .. }) => match location.check().await {
            Ok(()) => return Ok(None),
            Err(cause) => cause,
        },
        Err(cause) => cause,
    };
    Err(ChannelError::Unavailable {
        doing: format!("ask `{location}` for the version of `{key}`"),
        reason: "the location cannot be reached or refuses us".to_owned(),
        source: Box::new(cause),
    })
}
