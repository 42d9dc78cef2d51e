//! One read for all features: every batch goes to every feature's bounded channel.
//!
//! A feature that has stopped listening (it failed) is passed over; one that listens slowly slows the read down, so
//! that memory stays bounded. A stream ends well only after the read has said that it did: a reader that dies, or a
//! file that proves broken after its rows went out, ends every stream with an error, so that nobody publishes half.

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use tokio::sync::mpsc;

/// Batches that one feature may lag behind the read.
const LAG_BATCHES: usize = 4;

enum Item {
    Batch(RecordBatch),
    /// The read ended well: there are no more batches.
    End,
}

/// The sending ends of all features' streams.
pub(crate) struct Fanout {
    taps: Vec<mpsc::Sender<Item>>,
}

impl Fanout {
    /// Makes a fan-out with `features` streams of `schema`.
    pub(crate) fn new(schema: &SchemaRef, features: usize) -> (Self, Vec<SendableRecordBatchStream>) {
        let (taps, ends): (Vec<_>, Vec<_>) = (0..features).map(|_| mpsc::channel(LAG_BATCHES)).unzip();
        (Self { taps }, ends.into_iter().map(|end| stream(schema.clone(), end)).collect())
    }

    /// Hands `batch` to every feature that still listens.
    pub(crate) async fn send(&mut self, batch: RecordBatch) {
        let mut listening = Vec::with_capacity(self.taps.len());
        for tap in self.taps.drain(..) {
            if tap.send(Item::Batch(batch.clone())).await.is_ok() {
                listening.push(tap);
            }
        }
        self.taps = listening;
    }

    /// Ends every stream well. Dropping the fan-out instead ends them with an error.
    pub(crate) async fn finish(self) {
        // Not one after the other: a feature that lags behind would keep the others from ending.
        let ends = self.taps.iter().map(|tap| tap.send(Item::End));
        // A feature that has failed meanwhile has no use for the end.
        let _ = futures::future::join_all(ends).await;
    }
}

fn stream(schema: SchemaRef, end: mpsc::Receiver<Item>) -> SendableRecordBatchStream {
    let items = futures::stream::try_unfold(end, |mut end| async move {
        match end.recv().await {
            Some(Item::Batch(batch)) => Ok(Some((batch, end))),
            Some(Item::End) => Ok(None),
            None => Err(unfinished()),
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, items))
}

fn unfinished() -> DataFusionError {
    DataFusionError::External("the read of the chunk did not end well".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use futures::StreamExt;

    use datafusion::error::Result;

    use super::*;

    fn batch(value: i64) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![value]))]).unwrap()
    }

    async fn rows(stream: SendableRecordBatchStream) -> Vec<Result<usize>> {
        stream.map(|batch| batch.map(|batch| batch.num_rows())).collect().await
    }

    #[tokio::test]
    async fn every_feature_sees_every_batch() -> Result<()> {
        let (mut fanout, streams) = Fanout::new(&batch(0).schema(), 3);
        let reading: Vec<_> = streams.into_iter().map(|stream| tokio::spawn(rows(stream))).collect();
        for value in 0..20 {
            fanout.send(batch(value)).await;
        }
        fanout.finish().await;
        for feature in reading {
            let seen = feature.await.unwrap().into_iter().collect::<Result<Vec<_>>>()?;
            assert_eq!(seen.len(), 20);
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_feature_that_stopped_listening_holds_nobody_up() -> Result<()> {
        let (mut fanout, mut streams) = Fanout::new(&batch(0).schema(), 2);
        drop(streams.remove(0));
        let reading = tokio::spawn(rows(streams.remove(0)));
        for value in 0..20 {
            fanout.send(batch(value)).await;
        }
        fanout.finish().await;
        assert_eq!(reading.await.unwrap().len(), 20);
        Ok(())
    }

    #[tokio::test]
    async fn a_read_that_dies_ends_the_streams_with_an_error() {
        let (mut fanout, mut streams) = Fanout::new(&batch(0).schema(), 1);
        fanout.send(batch(1)).await;
        drop(fanout);
        let seen = rows(streams.remove(0)).await;
        assert!(seen[0].is_ok() && seen[1].is_err());
    }
}
