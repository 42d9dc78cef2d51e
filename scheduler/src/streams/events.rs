//! Records that are events: cut into raw files, which are put before they are registered.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use neartime_ingest::channel::{Page, Place, ShardId};
use neartime_ingest::reservoir::{CutLimits, Cutter, RawFile, Reservoir, put};
use neartime_model::Clock;

use super::StreamError;
use super::intake::{Done, Intake, Taken};

/// The raw files that are made of one shard.
pub(super) struct Events {
    reservoir: Reservoir,
    clock: Arc<dyn Clock>,
    /// Away only while records are packed.
    cutter: Option<Cutter>,
    /// Where the last page ended.
    end: Option<Place>,
    done: Option<Done>,
}

impl Events {
    pub(super) fn new(reservoir: Reservoir, shard: ShardId, clock: Arc<dyn Clock>) -> Self {
        let limits = CutLimits::of(reservoir.source());
        let cutter = Cutter::new(reservoir.clone(), shard, limits);
        Self { reservoir, clock, cutter: Some(cutter), end: None, done: None }
    }

    /// Packs on a thread that may block, and puts the files that are complete.
    async fn cut<F>(&mut self, work: F) -> Result<(), StreamError>
    where
        F: FnOnce(&mut Cutter) -> Result<Vec<RawFile>, StreamError> + Send + 'static,
    {
        let mut cutter = self.cutter.take().expect("a cut that broke off ends the reading");
        let packing = tokio::task::spawn_blocking(move || {
            let files = work(&mut cutter);
            (cutter, files)
        });
        let (cutter, files) = packing.await.map_err(super::panicked)?;
        self.cutter = Some(cutter);
        for file in files? {
            let found = put(&self.reservoir, &file, self.clock.now()).await?;
            let mut files = self.done.take().map(|done| done.files).unwrap_or_default();
            files.push(found);
            self.done = Some(Done { place: file.last, files });
        }
        if !self.holds()
            && let Some(place) = self.end.clone()
        {
            // Nothing is under way: empty records at the end of a page, or of an aggregate, are done with too.
            let files = self.done.take().map(|done| done.files).unwrap_or_default();
            self.done = Some(Done { place, files });
        }
        Ok(())
    }
}

#[async_trait]
impl Intake for Events {
    async fn take(&mut self, page: &Page) -> Result<Taken, StreamError> {
        let Some(end) = page.end.clone() else { return Ok(Taken::default()) };
        let records = page.records.clone();
        let taken = records.iter().filter(|record| !record.data.is_empty()).count() as u64;
        let ignored = records.len() as u64 - taken;
        self.end = Some(end);
        self.cut(move |cutter| {
            let mut files = Vec::new();
            for record in &records {
                files.extend(cutter.add(record, Instant::now())?);
            }
            Ok(files)
        })
        .await?;
        Ok(Taken { taken, ignored, refused: 0 })
    }

    async fn done(&mut self, all: bool) -> Result<Option<Done>, StreamError> {
        let due = self.cutter.as_ref().and_then(Cutter::due);
        if due.is_some_and(|due| all || due <= Instant::now()) {
            self.cut(|cutter| Ok(cutter.flush()?.into_iter().collect())).await?;
        }
        Ok(self.done.take())
    }

    fn holds(&self) -> bool {
        self.cutter.as_ref().is_some_and(|cutter| cutter.due().is_some())
    }
}
