//! An upload in parts that somebody else feeds.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::CompletedPart;
use bytes::Bytes;
use object_store::{MultipartUpload, PutMode, PutMultipartOptions, PutPayload, PutResult, Result, UploadPart};

use super::S3Store;
use super::error::Asked;
use super::put::{Condition, Labels, MARK, Outcome};

/// The least size of a part, except the last.
pub(super) const MIN_PART_BYTES: u64 = 5 << 20;

/// An upload under way. Dropped without an end, its parts stay until the bucket's own rules remove them.
#[derive(Debug)]
pub(super) struct Upload {
    state: Arc<State>,
    condition: Condition,
    parts: i32,
}

#[derive(Debug)]
struct State {
    store: S3Store,
    asked: Asked,
    upload: String,
    mark: String,
    sent: Mutex<Vec<CompletedPart>>,
}

impl Upload {
    pub(super) async fn begin(store: S3Store, key: String, options: PutMultipartOptions) -> Result<Self> {
        let asked = store.asked("s3:PutObject", &key);
        let condition = match options.extensions.get::<PutMode>() {
            Some(PutMode::Create) => Condition::Absent,
            Some(PutMode::Update(version)) => match &version.e_tag {
                Some(etag) => Condition::Matches(etag.clone()),
                None => return Err(asked.broken("an update needs the ETag to replace")),
            },
            Some(PutMode::Overwrite) | None => Condition::Always,
        };
        let mut labels = Labels::of(&options.attributes)?;
        let mark = format!("upload-{:016x}", RandomState::new().build_hasher().finish());
        labels.metadata.insert(MARK.to_owned(), mark.clone());
        let upload = store.begin_upload(&asked, &labels).await?;
        let state = State { store, asked, upload, mark, sent: Mutex::default() };
        Ok(Self { state: Arc::new(state), condition, parts: 0 })
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts += 1;
        let (state, number) = (Arc::clone(&self.state), self.parts);
        Box::pin(async move {
            let body = ByteStream::from(Bytes::from(data));
            let part = state.store.put_part(&state.asked, &state.upload, number, body).await?;
            state.sent.lock().expect("no holder panics").push(part);
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        if self.parts == 0 {
            // An object without content is one empty part.
            self.put_part(PutPayload::new()).await?;
        }
        let State { store, asked, upload, mark, sent } = &*self.state;
        let mut parts = std::mem::take(&mut *sent.lock().expect("no holder panics"));
        parts.sort_by_key(CompletedPart::part_number);
        match store.complete_upload(asked, upload, parts, &self.condition, Some(mark)).await? {
            Outcome::Done(result) => Ok(result),
            Outcome::Changed(said) if self.condition == Condition::Absent => Err(asked.already_exists(said)),
            Outcome::Changed(said) => Err(asked.precondition(said)),
            Outcome::Busy(said) => Err(asked.failed(said)),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.state.store.abort_upload(&self.state.asked, &self.state.upload).await
    }
}
