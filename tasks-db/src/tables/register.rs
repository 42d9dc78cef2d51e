//! Registering files: the one way in for every channel of discovery.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use neartime_model::Instant;
use serde_json::{Value, json};

use super::fault::{Step, damaged};
use super::records::{number_list, stored, text_list};
use super::session::{Session, Statement, statement};
use super::{Tasks, Write};
use crate::{DueRule, FileRegistration, Registered, Registration};

const CHANGED_FILES: Statement = statement!("changed_files");
const LOCK_PATHS: Statement = statement!(postgres "lock_paths");
const REGISTER_PATHS: Statement = statement!("register_paths");
const REGISTER_TASKS: Statement = statement!("register_tasks");
const REGISTER_FILES: Statement = statement!("register_files");
const REGISTER_RUNS: Statement = statement!("register_runs");

/// What a task is known by within its source: path, and start of the chunk in microseconds.
type TaskKey<'a> = (&'a str, i64);

impl Tasks {
    pub(super) async fn try_register(&self, registration: &Registration) -> Step<Registered> {
        let all: Vec<&FileRegistration> = registration.files.iter().collect();
        if all.is_empty() || self.are_known(registration, &all).await? {
            return Ok(Registered::default());
        }
        let mut write = self.write().await?;
        let registered = write.register(registration).await?;
        write.commit().await?;
        Ok(registered)
    }

    /// Most listings bring no news: that is found out without the write lock.
    async fn are_known(&self, registration: &Registration, files: &[&FileRegistration]) -> Step<bool> {
        let distinct: HashSet<&str> = files.iter().map(|file| file.key.as_str()).collect();
        Ok(distinct.len() == files.len()
            && changed(self.read().await?.session(), registration, files).await?.is_empty())
    }
}

/// Cuts the list so that no part has a key twice, in order.
fn waves<'a>(files: &[&'a FileRegistration]) -> Vec<Vec<&'a FileRegistration>> {
    let mut waves = vec![Vec::new()];
    let mut seen = HashSet::new();
    for file in files {
        if !seen.insert(file.key.as_str()) {
            waves.push(Vec::new());
            seen = HashSet::from([file.key.as_str()]);
        }
        waves.last_mut().expect("there is a first wave").push(*file);
    }
    waves
}

async fn changed<'a>(
    conn: Session<'_>,
    registration: &Registration,
    files: &[&'a FileRegistration],
) -> Step<Vec<&'a FileRegistration>> {
    let versions = files.iter().map(|file| json!([file.key.as_str(), file.version.as_str()]));
    let versions = Value::Array(versions.collect()).to_string();
    let query = CHANGED_FILES.bind(registration.source.as_str()).bind(versions);
    let places: Vec<(i64,)> = query.all(conn).await?;
    let find = |(place,): (i64,)| usize::try_from(place).ok().and_then(|place| files.get(place).copied());
    places.into_iter().map(|place| find(place).ok_or_else(|| damaged("a place beyond the list"))).collect()
}

impl Write {
    /// Registers files as part of this transaction.
    pub(super) async fn register(&mut self, registration: &Registration) -> Step<Registered> {
        let all: Vec<&FileRegistration> = registration.files.iter().collect();
        let mut registered = Registered::default();
        // Of two who see the same new version one must find it known.
        let paths: BTreeSet<&str> = all.iter().map(|file| file.file_path.as_str()).collect();
        self.lock(LOCK_PATHS.bind(registration.source.as_str()).bind(text_list(paths))).await?;
        // Two versions of one key in one call are two changes, one after the other.
        for wave in waves(&all) {
            let changed = changed(self.conn(), registration, &wave).await?;
            if !changed.is_empty() {
                self.register_changed(registration, &changed, &mut registered).await?;
            }
        }
        Ok(registered)
    }

    async fn register_changed(
        &mut self,
        registration: &Registration,
        files: &[&FileRegistration],
        registered: &mut Registered,
    ) -> Step<()> {
        let mut by_task: BTreeMap<TaskKey<'_>, Vec<&FileRegistration>> = BTreeMap::new();
        for file in files {
            by_task.entry((file.file_path.as_str(), file.chunk.start().as_micros())).or_default().push(file);
        }
        let armed = self.arm_tasks(registration, &by_task).await?;
        self.write_files(registration, &by_task, &armed).await?;
        let rearmed = number_list(armed.iter().filter(|task| !task.is_new()).map(|task| task.task_id));
        REGISTER_RUNS.bind(rearmed).run(self.conn()).await?;
        registered.files += stored_len(files.len());
        registered.created += stored_len(armed.iter().filter(|task| task.is_new()).count());
        registered.rearmed += stored_len(armed.iter().filter(|task| !task.is_new()).count());
        Ok(())
    }

    /// Makes the tasks that are new and arms the others again; each with its new generation.
    async fn arm_tasks(
        &mut self,
        registration: &Registration,
        by_task: &BTreeMap<TaskKey<'_>, Vec<&FileRegistration>>,
    ) -> Step<Vec<ArmedTask>> {
        let source = registration.source.as_str();
        let paths = text_list(by_task.keys().map(|(path, _)| *path).collect::<HashSet<_>>());
        REGISTER_PATHS.bind(source).bind(paths).run(self.conn()).await?;
        let tasks = by_task.iter().filter_map(|((path, data_chunk), files)| {
            let file = files.last()?;
            let width = file.chunk.width().span().as_micros();
            let due = due(registration.due, file, self.now).as_micros();
            Some(json!([path, file.source_bucket, data_chunk, width, due, files.len()]))
        });
        let tasks = Value::Array(tasks.collect()).to_string();
        let rows: Vec<(i64, String, i64, i64)> = REGISTER_TASKS.bind(source).bind(tasks).all(self.conn()).await?;
        let decode = |(task_id, file_path, data_chunk, generation): (i64, String, i64, i64)| {
            let key = (file_path, data_chunk);
            let files =
                by_task.get(&(key.0.as_str(), key.1)).ok_or_else(|| damaged("a task that was not asked for"))?;
            let before = generation - stored(stored_len(files.len()));
            Ok(ArmedTask { task_id, key, before })
        };
        rows.into_iter().map(decode).collect()
    }

    async fn write_files(
        &mut self,
        registration: &Registration,
        by_task: &BTreeMap<TaskKey<'_>, Vec<&FileRegistration>>,
        armed: &[ArmedTask],
    ) -> Step<()> {
        let mut rows = Vec::new();
        for task in armed {
            let files = by_task.get(&(task.key.0.as_str(), task.key.1)).map_or(&[][..], Vec::as_slice);
            for (generation, file) in (task.before + 1..).zip(files) {
                let (key, version) = (file.key.as_str(), file.version.as_str());
                rows.push(json!([key, version, stored(file.size_bytes), task.task_id, generation]));
            }
        }
        let insert = REGISTER_FILES.bind(registration.source.as_str());
        let insert = insert.bind(Value::Array(rows).to_string()).bind(self.now_micros());
        insert.run(self.conn()).await?;
        Ok(())
    }
}

fn due(rule: DueRule, file: &FileRegistration, now: Instant) -> Instant {
    match rule {
        DueRule::End { delay } => file.chunk.due(delay),
        DueRule::Landing => now,
    }
}

fn stored_len(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// A task after its files were counted.
struct ArmedTask {
    task_id: i64,
    key: (String, i64),
    /// The generation before this call; zero if the task is new.
    before: i64,
}

impl ArmedTask {
    fn is_new(&self) -> bool {
        self.before == 0
    }
}
