//! A small features store on disk, and a report over it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use neartime_engine::{Aggregate, FeatureTable, OnlineLayout, OutputColumn, OutputSchema, Role};
use neartime_model::{
    Chunk, ChunkWidth, FeatureName, FeatureVersion, Fence, Instant, OutputName, Partition, SourceName, Span,
    SystemClock,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::{
    Air, AirConfig, Alive, Effort, FeaturesPlace, Membership, Order, Progress, Report, SqlitePublisher, Thresholds,
    UdbPlace,
};

/// A row of a membership file: user, other keys, item, first and last time in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) user: String,
    pub(super) keys: Vec<Option<String>>,
    pub(super) item: String,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
}

/// Files by feature, chunk and stem: what a naive report reads.
pub(super) type Files = BTreeMap<(String, Chunk, String), Vec<Row>>;

pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) air: Air,
    pub(super) files: Files,
    fence: AtomicI64,
}

/// A membership feature with these keys.
pub(super) fn table(name: &str, keys: &[&str], width: ChunkWidth) -> Arc<FeatureTable> {
    let column = |name: &str, data_type, role| OutputColumn { name: OutputName::new(name).unwrap(), data_type, role };
    let time = || DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let mut columns = vec![column(keys[0], DataType::Utf8, Role::Entity)];
    columns.extend(keys[1..].iter().map(|key| column(key, DataType::Utf8, Role::Key)));
    columns.push(column("item", DataType::Utf8, Role::Item));
    columns.push(column("min_ts", time(), Role::Value(Aggregate::Min)));
    columns.push(column("max_ts", time(), Role::Value(Aggregate::Max)));
    Arc::new(FeatureTable {
        name: FeatureName::new(name).unwrap(),
        version: FeatureVersion(1),
        engine: "segment_membership",
        source: SourceName::new("events").unwrap(),
        width,
        output: OutputSchema::new(columns),
        online: OnlineLayout::PerChunk,
        retention: None,
        ratios: Vec::new(),
    })
}

pub(super) fn member(table: Arc<FeatureTable>, alive: Alive, max_behind: Span) -> Membership {
    Membership { table, alive, max_behind: Some(max_behind) }
}

/// One feature a side, 30 days alive, nothing hidden.
pub(super) fn plain_config() -> AirConfig {
    let days = Span::from_days(30);
    let side = |name| vec![member(table(name, &["id"], ChunkWidth::HOUR), Alive::For(days), days)];
    AirConfig {
        segments: side("user_segments"),
        sites: side("user_sites"),
        groups: None,
        site_names: None,
        order: Order::Before,
        thresholds: Thresholds { min_overlap: 0, min_site_audience: 0 },
    }
}

impl World {
    pub(super) async fn new(config: AirConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let publisher = SqlitePublisher::open(folder.path().join("air.db")).await.unwrap();
        let air = Air {
            config,
            features_store: FeaturesPlace::Directory(folder.path().join("features_store")),
            udb: UdbPlace::folder(folder.path().join("udb")),
            publisher: Arc::new(publisher),
            effort: Effort { threads: 2, memory_bytes: 1 << 20 },
            progress: Progress::default(),
            clock: Arc::new(SystemClock),
        };
        Self { folder, air, files: Files::new(), fence: AtomicI64::new(1) }
    }

    /// The same features store with a user database that knows nothing yet.
    pub(super) fn anew(&self) -> Air {
        let udb = self.folder.path().join(format!("scratch-{}", self.fence().0));
        Air { udb: UdbPlace::folder(udb), ..self.air.clone() }
    }

    pub(super) fn fence(&self) -> Fence {
        Fence(self.fence.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) async fn compute(&self, as_of: Instant) -> Report {
        self.air.compute(as_of, self.fence()).await.unwrap()
    }

    pub(super) fn path(&self, table: &FeatureTable, chunk: Chunk, stem: &str) -> PathBuf {
        let folder = self
            .folder
            .path()
            .join("features_store")
            .join(table.name.as_str())
            .join(Partition::of(chunk).unwrap().to_string());
        folder.join(format!("{stem}.parquet"))
    }

    /// Publishes a file as the features store does.
    pub(super) fn write(&mut self, table: &FeatureTable, chunk: Chunk, stem: &str, generation: i64, rows: Vec<Row>) {
        assert_eq!(chunk.width(), table.width);
        let path = self.path(table, chunk, stem);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let hidden = path.with_file_name(format!(".{stem}"));
        let pair = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
        let metadata = vec![
            pair("neartime.version", table.version.to_string()),
            pair("neartime.generation", generation.to_string()),
        ];
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(Default::default()))
            .set_key_value_metadata(Some(metadata))
            .build();
        let mut sorted = rows;
        sorted.sort();
        let file = std::fs::File::create(&hidden).unwrap();
        let mut writer = ArrowWriter::try_new(file, table.output.arrow(), Some(properties)).unwrap();
        writer.write(&batch(table, &sorted)).unwrap();
        writer.close().unwrap();
        std::fs::rename(&hidden, &path).unwrap();
        self.files.insert((table.name.to_string(), chunk, stem.to_owned()), sorted);
    }

    /// A file of some users' intervals in seconds, in the chunk that holds the last of them.
    pub(super) fn write_secs(&mut self, side: &str, rows: &[(&str, &str, i64, i64)]) {
        let table = if side == "sites" { &self.air.config.sites[0] } else { &self.air.config.segments[0] };
        let table = Arc::clone(&table.table);
        let last = rows.iter().map(|row| row.3).max().unwrap();
        let chunk = table.width.chunk_of(Instant::from_secs(last));
        let rows = rows.iter().map(|&(user, item, first, last)| Row {
            user: user.to_owned(),
            keys: Vec::new(),
            item: item.to_owned(),
            first_ms: first * 1_000,
            last_ms: last * 1_000,
        });
        let stem = format!("events.{}", self.files.len());
        self.write(&table, chunk, &stem, 1, rows.collect());
    }
}

fn batch(table: &FeatureTable, rows: &[Row]) -> RecordBatch {
    let texts =
        |text: &dyn Fn(&Row) -> Option<&str>| -> ArrayRef { Arc::new(rows.iter().map(text).collect::<StringArray>()) };
    let times = |time: &dyn Fn(&Row) -> i64| -> ArrayRef {
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(time)).with_timezone("UTC"))
    };
    let mut columns = vec![texts(&|row| Some(&row.user))];
    let others = table.output.columns().iter().filter(|column| column.role == Role::Key).count();
    columns.extend((0..others).map(|at| texts(&move |row| row.keys[at].as_deref())));
    columns.push(texts(&|row| Some(&row.item)));
    columns.push(times(&|row| row.first_ms));
    columns.push(times(&|row| row.last_ms));
    RecordBatch::try_new(table.output.arrow(), columns).unwrap()
}
