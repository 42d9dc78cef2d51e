//! One feature over one chunk: its rows are computed, published offline, then online.

use std::sync::Arc;

use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt as _;
use neartime_engine::{CompiledFeature, Computed, Counts};
use neartime_model::{Classify, ContentOrder, ErrorKind, Fence};
use neartime_stores::{OnlineStore, PartitionFile, Published, StoreError, publish_online};
use neartime_tasks_db::{ReasonCount, RunEnd};

use crate::edges::Edges;
use crate::step::step;
use crate::{Step, TaskLabel};

/// One feature over one chunk.
pub(crate) struct Run {
    pub(crate) edges: Arc<Edges>,
    pub(crate) context: Arc<TaskContext>,
    pub(crate) feature: Arc<CompiledFeature>,
    pub(crate) file: PartitionFile,
    pub(crate) order: ContentOrder,
    pub(crate) fence: Fence,
    pub(crate) task: TaskLabel,
}

/// How a run ended that was not stopped by an error.
pub(crate) struct Ran {
    pub(crate) end: RunEnd,
    pub(crate) dropped: Vec<ReasonCount>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("the feature could not be computed")]
    Compute(#[source] datafusion::error::DataFusionError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the feature panicked: {0}")]
    Panicked(String),
}

impl Classify for RunError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Compute(_) | Self::Panicked(_) => ErrorKind::Failed,
        }
    }
}

impl Run {
    /// Computes the rows, publishes them offline, then online.
    #[tracing::instrument(name = "run", skip_all, fields(feature = %self.file.table.name))]
    pub(crate) async fn publish(self, events: SendableRecordBatchStream) -> Result<Ran, RunError> {
        let (computed, prepared) =
            futures::join!(self.step(Step::Compute, self.compute(events)), self.edges.offline.prepare(&self.file));
        let Computed { rows, counts } = computed?;
        prepared?;
        let offline = self.edges.offline.publish(&self.file, self.order, self.fence, rows);
        let end = match self.step(Step::PublishOffline, offline).await? {
            Published::Superseded { found } => RunEnd::Superseded { found },
            Published::Written { rows, size_bytes } => {
                if let Some(online) = &self.edges.online {
                    self.step(Step::PublishOnline, self.publish_online(online.as_ref())).await?;
                }
                RunEnd::Done { rows, bytes: size_bytes }
            }
        };
        Ok(Ran { end, dropped: dropped(&counts) })
    }

    /// Computes until the first row is there; the others follow as they are asked for.
    async fn compute(&self, events: SendableRecordBatchStream) -> Result<Computed, RunError> {
        let computed = self.feature.compute(Arc::clone(&self.context), events).await.map_err(RunError::Compute)?;
        let schema = computed.rows.schema();
        let mut rows = Box::pin(computed.rows.peekable());
        rows.as_mut().peek().await;
        Ok(Computed { rows: Box::pin(RecordBatchStreamAdapter::new(schema, rows)), counts: computed.counts })
    }

    async fn publish_online(&self, online: &dyn OnlineStore) -> Result<(), StoreError> {
        publish_online(&self.edges.offline, online, &self.file, self.fence).await.map(drop)
    }

    async fn step<T, E: Into<RunError>>(
        &self,
        part: Step,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, RunError> {
        step(self.edges.observer.as_ref(), &self.task, part, work).await.map_err(Into::into)
    }
}

/// Rows that gave no output and values that became null, by reason.
fn dropped(counts: &Counts) -> Vec<ReasonCount> {
    let count = |(reason, count): (&str, u64)| ReasonCount { reason: reason.to_owned(), count };
    counts.dropped().into_iter().chain(counts.nulls()).map(count).collect()
}
