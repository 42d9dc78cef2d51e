//! Transfers that break off, from a bucket made for it.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use super::*;

/// A bucket that counts its transfers, of which so many break off after a few bytes.
#[derive(Debug, Default)]
pub(super) struct Counting {
    inner: InMemory,
    breaks: AtomicUsize,
    pub(super) transfers: AtomicUsize,
}

impl std::fmt::Display for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("counting")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let got = self.inner.get_opts(at, options).await?;
        self.transfers.fetch_add(usize::from(!head), Ordering::SeqCst);
        let more = self.breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if head || more.is_err() {
            return Ok(got);
        }
        let (meta, range, attributes) = (got.meta.clone(), got.range.clone(), got.attributes.clone());
        let bytes = got.bytes().await?;
        let torn = object_store::Error::Generic { store: "counting", source: "connection reset".into() };
        let pieces = vec![Ok(bytes.slice(..bytes.len() / 3)), Err(torn)];
        let payload = GetResultPayload::Stream(futures::stream::iter(pieces).boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(at, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn read_with_breaks(breaks: usize) -> Result<(Vec<String>, ReadReport), ReadError> {
    let mut raw = Raw::json(&[("a", "int")]);
    let store = Arc::new(Counting::default());
    raw.spec.location = crate::Location::bucket("s3://raw", Arc::<Counting>::clone(&store)).unwrap();
    let text: String = (0..1_000).map(|n| format!("{{\"a\":{n}}}\n")).collect();
    let path = raw.spec.location.object_path(&FileKey::new(KEY));
    store.put(&path, gzip(text.as_bytes()).into()).await.unwrap();
    let meta = store.head(&path).await.unwrap();
    let version = raw.spec.location.version_of(&meta);
    raw.files = vec![InputFile { key: FileKey::new(KEY), version, size: meta.size }];
    store.breaks.store(breaks, Ordering::SeqCst);
    raw.read().await
}

#[tokio::test]
async fn a_transfer_is_taken_up_where_it_broke() {
    let (rows, report) = read_with_breaks(3).await.unwrap();
    assert_eq!((rows.len(), report.rows), (1_000, 1_000));
}

#[tokio::test]
async fn a_transfer_that_always_breaks_is_a_location_that_is_away() {
    assert_eq!(read_with_breaks(1_000).await.unwrap_err().kind(), ErrorKind::Unavailable);
}
