//! The features store, and the user database beside it.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use neartime_air::{FeaturesPlace, UdbPlace};
use neartime_stores::{ConditionalPut, FeaturesStore};
use object_store::ObjectStore;
use object_store::path::Path;

/// Where features live: what publishing, SQL and the report ask of it.
#[derive(Clone, Debug)]
pub(crate) enum FeaturesHome {
    Directory(PathBuf),
    Bucket {
        objects: Arc<dyn ObjectStore>,
        puts: Arc<dyn ConditionalPut>,
        prefix: String,
        /// A folder of this machine, for files on their way.
        scratch: PathBuf,
    },
}

impl FeaturesHome {
    pub(crate) fn store(&self) -> anyhow::Result<FeaturesStore> {
        match self {
            Self::Directory(path) => Ok(FeaturesStore::directory(path)?),
            Self::Bucket { objects, puts, prefix, scratch } => {
                let (objects, puts) = (Arc::clone(objects), Arc::clone(puts));
                Ok(FeaturesStore::bucket(objects, Path::from(prefix.as_str()), puts, scratch.join("staging")))
            }
        }
    }

    /// The same place, for the report to read.
    pub(crate) fn place(&self) -> FeaturesPlace {
        match self {
            Self::Directory(path) => FeaturesPlace::Directory(path.clone()),
            Self::Bucket { objects, prefix, .. } => {
                FeaturesPlace::Bucket { objects: Arc::clone(objects), prefix: Path::from(prefix.as_str()) }
            }
        }
    }

    /// Where the user database lies: beside the features store, under its name and `_udb`.
    pub(crate) fn udb(&self) -> UdbPlace {
        match self {
            Self::Directory(path) => UdbPlace::folder(beside(path)),
            Self::Bucket { objects, prefix, scratch, .. } => {
                // A store at the bucket's root has its user database in the hidden folder `_udb`, which no feature can be.
                let beside = Path::from(format!("{prefix}_udb"));
                UdbPlace::bucket(scratch.join("udb"), Arc::clone(objects), beside)
            }
        }
    }
}

fn beside(path: &FsPath) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push("_udb");
    path.with_file_name(name)
}
