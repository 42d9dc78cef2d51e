//! Remembering what configurations declare, and refusing what contradicts it.

use async_trait::async_trait;
use neartime_model::{ChunkWidth, FeatureVersion, FileKey, Instant, SourceName, Span};
use sqlx::FromRow;

use super::fault::{Step, damaged};
use super::records::{feature_version, text_list};
use super::session::{Session, Statement, statement};
use super::{Tasks, Write};
use crate::{
    FeatureDeclaration, Intake, KnownFeature, Registered, Registration, Result, SourceDeclaration, TasksError,
    WorkerSource,
};

const SOURCE_READ: Statement = statement!("source_read");
const SOURCE_WRITE: Statement = statement!("source_write");
const FEATURE_READ: Statement = statement!("feature_read");
const FEATURE_WRITE: Statement = statement!("feature_write");
const UNREGISTERED: Statement = statement!("unregistered");
pub(super) const LOCK_COMPLETIONS: Statement = statement!(postgres "lock_completions");

#[async_trait]
impl Intake for Tasks {
    async fn declare_sources(&self, sources: &[SourceDeclaration]) -> Result<()> {
        let declare = async || {
            let mut write = self.write().await?;
            for source in sources {
                check_source(write.conn(), source).await?;
                write.source(source).await?;
            }
            write.commit().await
        };
        self.again("declare sources", declare).await
    }

    async fn declare_features(&self, features: &[FeatureDeclaration]) -> Result<Vec<KnownFeature>> {
        let declare = async || {
            let mut write = self.write().await?;
            write.lock(LOCK_COMPLETIONS.call()).await?;
            let mut known = Vec::new();
            for feature in features {
                check_feature(write.conn(), feature).await?;
                known.push(write.feature(feature).await?);
            }
            write.commit().await?;
            Ok(known)
        };
        self.again("declare features", declare).await
    }

    async fn check(&self, sources: &[SourceDeclaration], features: &[FeatureDeclaration]) -> Result<()> {
        let check = async || {
            let mut tx = self.read().await?;
            for source in sources {
                check_source(tx.session(), source).await?;
            }
            for feature in features {
                check_feature(tx.session(), feature).await?;
            }
            Ok(())
        };
        self.again("check sources and features", check).await
    }

    async fn register(&self, registration: &Registration) -> Result<Registered> {
        self.again("register files", || self.try_register(registration)).await
    }

    async fn arm_missing_runs(&self, source: &WorkerSource) -> Result<u64> {
        self.arm_pages_of_missing_runs(source).await
    }

    async fn unregistered(&self, source: &SourceName, keys: &[FileKey]) -> Result<Vec<FileKey>> {
        let list = text_list(keys.iter().map(FileKey::as_str));
        let query = UNREGISTERED.bind(source.as_str()).bind(list);
        let look = async || query.clone().all(self.read().await?.session()).await;
        let places: Vec<(i64,)> = self.again("look for unregistered files", look).await?;
        let find = |(place,): (i64,)| usize::try_from(place).ok().and_then(|place| keys.get(place).cloned());
        Ok(places.into_iter().filter_map(find).collect())
    }
}

impl Write {
    async fn source(&mut self, source: &SourceDeclaration) -> Step<()> {
        let width = source.width.span().as_micros();
        let query = SOURCE_WRITE.bind(source.name.as_str()).bind(width).bind(source.layout.as_str());
        query.bind(self.now_micros()).run(self.conn()).await?;
        Ok(())
    }

    async fn feature(&mut self, feature: &FeatureDeclaration) -> Step<KnownFeature> {
        let query = FEATURE_WRITE
            .bind(feature.name.as_str())
            .bind(i64::from(feature.version.0))
            .bind(feature.source.as_str())
            .bind(feature.engine.as_str())
            .bind(keys_json(feature)?)
            .bind(columns_json(feature)?)
            .bind(feature.definition.as_str())
            .bind(self.now_micros());
        query.run(self.conn()).await?;
        let known = known_versions(self.conn(), feature).await?;
        let this = known.iter().find(|record| record.version == i64::from(feature.version.0));
        let first_seen_at = this.map(|record| Instant::from_micros(record.first_seen_at));
        let newest = known.last().map_or(Ok(feature.version), |record| feature_version(record.version))?;
        Ok(KnownFeature {
            name: feature.name.clone(),
            version: feature.version,
            newest,
            first_seen_at: first_seen_at.unwrap_or(self.now),
        })
    }
}

async fn check_source(conn: Session<'_>, source: &SourceDeclaration) -> Step<()> {
    let query = SOURCE_READ.bind(source.name.as_str());
    let known: Option<(i64, String, bool)> = query.optional(conn).await?;
    let Some((width, layout, true)) = known else { return Ok(()) };
    let width = ChunkWidth::new(Span::from_micros(width)).map_err(damaged)?;
    let change = if width != source.width {
        format!("chunk = \"{width}\", and the configuration now says \"{}\"", source.width)
    } else if layout != source.layout {
        format!("layout = \"{layout}\", and the configuration now says \"{}\"", source.layout)
    } else {
        return Ok(());
    };
    let refusal = format!(
        "source `{}` has tasks that were cut with {change}: put the old value back, or give the source and its \
         features new names",
        source.name
    );
    Err(TasksError::Refused(refusal).into())
}

/// A version of a feature as it was declared first.
#[derive(FromRow)]
struct FeatureRecord {
    version: i64,
    source: String,
    engine: String,
    keys: String,
    columns: String,
    definition: String,
    first_seen_at: i64,
}

async fn known_versions(conn: Session<'_>, feature: &FeatureDeclaration) -> Step<Vec<FeatureRecord>> {
    FEATURE_READ.bind(feature.name.as_str()).all(conn).await
}

async fn check_feature(conn: Session<'_>, feature: &FeatureDeclaration) -> Step<()> {
    for known in known_versions(conn, feature).await? {
        if let Some(change) = contradiction(&known, feature)? {
            let FeatureDeclaration { name, version, .. } = feature;
            return Err(TasksError::Refused(format!("feature `{name}` version {version}: {change}")).into());
        }
    }
    Ok(())
}

/// What of a declaration contradicts a version that was declared before, and what to do about it.
fn contradiction(known: &FeatureRecord, feature: &FeatureDeclaration) -> Step<Option<String>> {
    let version = feature_version(known.version)?;
    let rename = "give it a new name";
    // Its rows are filed by source: those of the old one would stay beside the new one's, and count twice.
    if known.source != feature.source.as_str() {
        let (old, new) = (&known.source, &feature.source);
        return Ok(Some(format!("version {version} reads source `{old}`, this one `{new}`: {rename}")));
    }
    if known.engine != feature.engine {
        let (old, new) = (&known.engine, &feature.engine);
        return Ok(Some(format!("version {version} has engine `{old}`, this one `{new}`: {rename}")));
    }
    if known.keys != keys_json(feature)? {
        let (old, new) = (&known.keys, keys_json(feature)?);
        return Ok(Some(format!("version {version} has keys {old}, this one {new}: {rename}")));
    }
    let old_columns: Vec<(String, String)> = serde_json::from_str(&known.columns).map_err(damaged)?;
    for column in &feature.columns {
        let old = old_columns.iter().find(|(name, _)| *name == column.name);
        if let Some((name, old)) = old.filter(|(_, old)| *old != column.data_type) {
            let new = &column.data_type;
            return Ok(Some(format!("column `{name}` is {old} in version {version}, {new} in this one: {rename}")));
        }
    }
    if version != feature.version {
        return Ok(None);
    }
    changed_under_same_version(known, feature, version)
}

fn changed_under_same_version(
    known: &FeatureRecord,
    feature: &FeatureDeclaration,
    version: FeatureVersion,
) -> Step<Option<String>> {
    let raise = format!("raise its version to {}", version.0.saturating_add(1));
    if known.columns != columns_json(feature)? {
        let (old, new) = (&known.columns, columns_json(feature)?);
        return Ok(Some(format!("its columns were {old} under this version, now {new}: {raise}")));
    }
    // A Rust feature's code cannot be compared: it vouches with its version alone.
    let comparable = !known.definition.is_empty() && !feature.definition.is_empty();
    if comparable && known.definition != feature.definition {
        let change = differences(&known.definition, &feature.definition);
        return Ok(Some(format!("its definition changed under this version ({change}): {raise}")));
    }
    Ok(None)
}

/// What two definitions differ in: of lines `key = value`, those that are not the same in both.
fn differences(old: &str, new: &str) -> String {
    fn pairs(text: &str) -> Option<Vec<(&str, &str)>> {
        text.lines().map(|line| line.split_once(" = ")).collect()
    }
    fn value<'a>(pairs: &[(&str, &'a str)], key: &str) -> Option<&'a str> {
        pairs.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }
    let (Some(old), Some(new)) = (pairs(old), pairs(new)) else { return format!("it was `{old}`, now `{new}`") };
    let changed = old.iter().filter_map(|(key, before)| match value(&new, key) {
        Some(now) if now == *before => None,
        Some(now) => Some(format!("{key} was {before}, now {now}")),
        None => Some(format!("{key} was {before}, now it is gone")),
    });
    let added = new.iter().filter(|(key, _)| value(&old, key).is_none());
    changed.chain(added.map(|(key, now)| format!("{key} is new: {now}"))).collect::<Vec<_>>().join("; ")
}

fn keys_json(feature: &FeatureDeclaration) -> Step<String> {
    serde_json::to_string(&feature.keys).map_err(damaged)
}

fn columns_json(feature: &FeatureDeclaration) -> Step<String> {
    let pairs: Vec<(&str, &str)> = feature.columns.iter().map(|c| (c.name.as_str(), c.data_type.as_str())).collect();
    serde_json::to_string(&pairs).map_err(damaged)
}
