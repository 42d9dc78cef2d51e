//! Which files of the tree are published ones.

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, future};
use neartime_model::{Chunk, ChunkWidth, Partition};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

/// A published file, found by listing.
#[derive(Clone, Debug)]
pub(crate) struct ListedFile {
    pub(crate) meta: ObjectMeta,
    pub(crate) chunk: Chunk,
    /// The file's name without extension.
    pub(crate) stem: String,
}

impl ListedFile {
    /// Tells a published file from everything else that lies in a feature's folder: dot-files are ours but hidden, and
    /// what is in no partition of `width` is none of ours.
    pub(crate) fn recognise(folder: &Path, width: ChunkWidth, meta: ObjectMeta) -> Option<Self> {
        let below: Vec<String> = meta.location.prefix_match(folder)?.map(|part| part.as_ref().to_owned()).collect();
        let (name, partition) = below.split_last()?;
        let stem = name.strip_suffix(".parquet").filter(|stem| !stem.is_empty() && !stem.starts_with('.'))?;
        let chunk = Partition::parse(&partition.join("/"), width).ok()?;
        Some(Self { chunk, stem: stem.to_owned(), meta })
    }
}

/// Lists the published files at any depth below `prefix`, which is `folder` or a partition folder below it.
pub(crate) fn list_files(
    objects: &dyn ObjectStore,
    folder: Path,
    width: ChunkWidth,
    prefix: &Path,
) -> BoxStream<'static, object_store::Result<ListedFile>> {
    let listed = objects.list(Some(prefix));
    listed.try_filter_map(move |meta| future::ok(ListedFile::recognise(&folder, width, meta))).boxed()
}
