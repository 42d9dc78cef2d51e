//! The SQL table `udb.<feature>`: the runs of the latest daily snapshot that the last report could know.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder, TimestampMillisecondBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use neartime_model::FeatureName;
use tokio::runtime::Handle;

use super::dictionary::{Dictionary, Kind, Origin};
use super::folder::{Folder, days, dictionary, state, visible};
use super::lanes::{Lanes, keys};
use super::mirror::Mirror;
use super::place::UdbPlace;
use super::record::Entry;
use super::snapshot::Snapshot;
use super::users_file::UsersFile;
use crate::config::{AirConfig, Side};
use crate::error::AirError;
use crate::state::State;

/// Rows of one batch.
const BATCH_ROWS: usize = 8 << 10;

/// How often a snapshot that is replaced while it is opened is looked for again.
const ATTEMPTS: usize = 5;

/// The runs of one membership feature as of the end of the latest day that has a snapshot, but none after the instant
/// of the last report; empty before the first.
/// Columns: the feature's keys and `item` (Utf8), `run_min` and `run_max` (Timestamp(ms, UTC)).
#[derive(Debug)]
pub struct UdbTable {
    place: UdbPlace,
    fingerprint: String,
    lane: u8,
    side: Side,
    schema: SchemaRef,
}

/// The users of one part of the snapshot.
#[derive(Debug)]
struct Part {
    table: Arc<Names>,
    file: Arc<UsersFile>,
}

/// What turns numbers back into text.
#[derive(Debug)]
struct Names {
    lane: u8,
    schema: SchemaRef,
    origins: Vec<Origin>,
    items: Vec<Arc<[u8]>>,
}

impl UdbTable {
    /// The table of a feature of the report, whose user database lies there; `None` if the report does not use it.
    pub fn new(config: &AirConfig, place: &UdbPlace, feature: &FeatureName) -> Option<Self> {
        let lanes = Lanes::new(config);
        let (number, lane) = lanes.iter().find(|(_, lane)| lane.member.table.name == *feature)?;
        let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let mut fields: Vec<Field> =
            keys(&lane.member.table).map(|key| Field::new(key, DataType::Utf8, true)).collect();
        fields.push(Field::new("item", DataType::Utf8, false));
        fields.extend(["run_min", "run_max"].map(|name| Field::new(name, time.clone(), false)));
        let schema = Arc::new(Schema::new(fields));
        let (side, fingerprint) = (lane.side, lanes.fingerprint());
        Some(Self { place: place.clone(), fingerprint, lane: number, side, schema })
    }

    /// Makes the folder what the bucket holds, unless a report is being made in it: then it just was.
    fn fetch(place: &UdbPlace, fingerprint: String, runtime: Handle) -> Result<(), AirError> {
        let Some(bucket) = &place.bucket else { return Ok(()) };
        match Folder::try_lock(&place.folder, fingerprint)? {
            Some(folder) => Mirror::new(bucket, &folder, runtime).fetch().map(drop),
            None => Ok(()),
        }
    }

    fn open(&self) -> Result<Vec<Arc<dyn PartitionStream>>, AirError> {
        let mut attempt = 1;
        loop {
            match self.open_latest() {
                // A snapshot that is made again goes away first.
                Err(AirError::DamagedUdb { .. }) if attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    fn open_latest(&self) -> Result<Vec<Arc<dyn PartitionStream>>, AirError> {
        let as_of = State::read_as_of(&state(&self.place.folder, &self.fingerprint))?;
        let mut latest: Option<Snapshot> = None;
        for folder in visible(&days(&self.place.folder, &self.fingerprint))? {
            let snapshot = Snapshot::open(&folder)?;
            // A report of the past leaves those after it, and one of the future its own.
            if as_of.is_some_and(|as_of| snapshot.end > as_of) {
                continue;
            }
            if latest.as_ref().is_none_or(|latest| latest.end < snapshot.end) {
                latest = Some(snapshot);
            }
        }
        let Some(latest) = latest else { return Ok(Vec::new()) };
        // Once they are open, the files outlive their names. The dictionary holds all that they refer to.
        let files = latest.parts().collect::<Result<Vec<_>, _>>()?;
        let dictionary = Dictionary::open(&dictionary(&self.place.folder, &self.fingerprint))?;
        if !dictionary.covers(latest.names) {
            return Err(AirError::DamagedUdb {
                path: dictionary.path().to_owned(),
                reason: "it lacks names that it had",
            });
        }
        let kind = if self.side == Side::Segment { Kind::Segment } else { Kind::Site };
        let (origins, items) = (dictionary.origins(), dictionary.names(kind));
        let names = Arc::new(Names { lane: self.lane, schema: Arc::clone(&self.schema), origins, items });
        let part = |file| Arc::new(Part { table: Arc::clone(&names), file });
        Ok(files.into_iter().map(|file| part(file) as Arc<dyn PartitionStream>).collect())
    }
}

#[async_trait]
impl TableProvider for UdbTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (place, fingerprint, runtime) = (self.place.clone(), self.fingerprint.clone(), Handle::current());
        let fetched = tokio::task::spawn_blocking(move || Self::fetch(&place, fingerprint, runtime)).await;
        fetched.map_err(|ended| DataFusionError::External(Box::new(ended)))?.map_err(external)?;
        let parts = self.open().map_err(external)?;
        let table = StreamingTable::try_new(Arc::clone(&self.schema), parts)?;
        table.scan(state, projection, filters, limit).await
    }
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.table.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.table.schema), 2);
        let (names, file, batches) = (Arc::clone(&self.table), Arc::clone(&self.file), stream.tx());
        stream.spawn_blocking(move || {
            let mut rows = Rows::new(&names);
            let mut wanted = true;
            let scanned = file.scan(|id, entries| {
                if !wanted {
                    return;
                }
                rows.push(id, entries);
                if rows.count >= BATCH_ROWS {
                    wanted = batches.blocking_send(rows.finish()).is_ok();
                }
            });
            scanned.map_err(external)?;
            if wanted && rows.count > 0 {
                // A receiver that is gone wants nothing more.
                let _ = batches.blocking_send(rows.finish());
            }
            Ok(())
        });
        stream.build()
    }
}

/// A batch in the making.
struct Rows<'a> {
    names: &'a Names,
    keys: Vec<StringBuilder>,
    item: StringBuilder,
    times: [TimestampMillisecondBuilder; 2],
    count: usize,
}

impl<'a> Rows<'a> {
    fn new(names: &'a Names) -> Self {
        let keys = names.schema.fields().len() - 3;
        let time = || TimestampMillisecondBuilder::new().with_timezone("UTC");
        Self {
            names,
            keys: (0..keys).map(|_| StringBuilder::new()).collect(),
            item: StringBuilder::new(),
            times: [time(), time()],
            count: 0,
        }
    }

    fn push(&mut self, id: &[u8], entries: &[Entry]) {
        for entry in entries {
            let origin = &self.names.origins[entry.origin as usize];
            if origin.lane != self.names.lane {
                continue;
            }
            let (entity, others) = self.keys.split_first_mut().expect("a membership has an entity");
            entity.append_value(String::from_utf8_lossy(id));
            others.iter_mut().zip(&origin.keys).for_each(|(column, key)| column.append_option(key.as_deref()));
            self.item.append_value(String::from_utf8_lossy(&self.names.items[entry.item as usize]));
            self.times[0].append_value(entry.run.first_ms);
            self.times[1].append_value(entry.run.last_ms);
            self.count += 1;
        }
    }

    fn finish(&mut self) -> Result<RecordBatch> {
        self.count = 0;
        let mut columns: Vec<ArrayRef> = self.keys.iter_mut().map(|key| Arc::new(key.finish()) as ArrayRef).collect();
        columns.push(Arc::new(self.item.finish()));
        columns.extend(self.times.iter_mut().map(|time| Arc::new(time.finish()) as ArrayRef));
        Ok(RecordBatch::try_new(Arc::clone(&self.names.schema), columns)?)
    }
}

fn external(error: AirError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
