//! Records that name raw files: each page is done with as soon as its files are known.

use async_trait::async_trait;
use neartime_ingest::channel::{Page, announced, keys_of_record};
use neartime_model::chain;

use super::StreamError;
use super::intake::{Done, Intake, Taken};
use crate::ShardLabel;
use crate::edges::SourceWork;

/// The files that the records of one shard name.
pub(super) struct Keys {
    source: SourceWork,
    label: ShardLabel,
    done: Option<Done>,
}

impl Keys {
    pub(super) fn new(source: SourceWork, label: ShardLabel) -> Self {
        Self { source, label, done: None }
    }
}

#[async_trait]
impl Intake for Keys {
    /// A record that is not understood is told of and passed over: a stream has no place to leave it.
    async fn take(&mut self, page: &Page) -> Result<Taken, StreamError> {
        let mut taken = Taken::default();
        let mut objects = Vec::new();
        for record in &page.records {
            let notice = keys_of_record(&record.data);
            match (notice.is_understood(), notice.objects.is_empty()) {
                (false, _) => taken.refused += 1,
                (true, true) => taken.ignored += 1,
                (true, false) => taken.taken += 1,
            }
            for part in &notice.unparseable {
                let (source, shard) = (&self.label.source, &self.label.shard);
                tracing::warn!(%source, shard, place = %record.place, reason = chain(part), "a record is not understood");
            }
            objects.extend(notice.objects);
        }
        let files = announced(&[self.source.source.as_ref()], &objects).await?.files.pop().unwrap_or_default();
        if let Some(place) = page.end.clone() {
            let mut before = self.done.take().map(|done| done.files).unwrap_or_default();
            before.extend(files);
            self.done = Some(Done { place, files: before });
        }
        Ok(taken)
    }

    async fn done(&mut self, _all: bool) -> Result<Option<Done>, StreamError> {
        Ok(self.done.take())
    }

    fn holds(&self) -> bool {
        self.done.is_some()
    }
}
