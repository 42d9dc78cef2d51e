//! SQL over the features store, and over whatever tables the caller adds.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::CatalogProviderList;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider, SchemaProvider,
    TableProvider,
};
use datafusion::common::{Result as DataFusionResult, TableReference};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan as Plan;
use datafusion::physical_plan::{ExecutionPlan, collect, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Ast;
use futures::FutureExt;
use neartime_engine::FeatureTable;
use neartime_model::FeatureName;

use super::error::query_error;
use super::held::{HELD_BYTES, HeldRows};
use super::snapshot::Snapshot;
use super::table::FeatureTableProvider;
use crate::offline::is_changed;
use crate::{FeaturesStore, StoreError};

const CATALOG: &str = "neartime";
/// The schema of tables that are named without one.
const DEFAULT_SCHEMA: &str = "public";
const FEATURES: &str = "features_store";

/// How often a query is planned again because a file was replaced while it ran.
const ATTEMPTS: usize = 20;

/// SQL over features (`features_store.<feature>`) and the tables that the caller adds. It reads only.
///
/// Unquoted names fold to lower case; `ratio(a, b)` and the other functions of the engines are known. Each query sees
/// one version of each file: if one is replaced meanwhile, the query is planned again.
#[derive(Clone, Debug)]
pub struct SqlSession {
    store: FeaturesStore,
    state: SessionState,
    features: Vec<Arc<FeatureTable>>,
    /// Of some features: measures that only their older files have.
    former: BTreeMap<FeatureName, Vec<Field>>,
    /// By schema and name.
    others: BTreeMap<(String, String), Arc<dyn TableProvider>>,
}

/// What a query gave, and what it cost.
#[derive(Clone, Debug)]
pub struct Answer<R = Vec<RecordBatch>> {
    /// The columns, also where there are no rows.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: R,
    /// Time from planning to the last row.
    pub elapsed: Duration,
    /// Bytes fetched from files.
    pub scanned_bytes: u64,
}

impl SqlSession {
    /// A session without tables. `runtime` bounds memory and spills; `threads` is how many parts of a plan run at once.
    pub fn new(store: FeaturesStore, runtime: Arc<RuntimeEnv>, threads: usize) -> Self {
        let config = SessionConfig::new()
            .with_target_partitions(threads.max(1))
            .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true);
        let state =
            SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features().build();
        let context = SessionContext::new_with_state(state);
        neartime_engine::register_functions(&context);
        Self { store, state: context.state(), features: Vec::new(), former: BTreeMap::new(), others: BTreeMap::new() }
    }

    /// Adds `features_store.<feature>`.
    pub fn with_feature(mut self, table: Arc<FeatureTable>) -> Self {
        self.features.push(table);
        self
    }

    /// Adds measures to `features_store.<feature>` that older versions of it had: null where a file lacks them.
    pub fn with_former_measures(mut self, feature: FeatureName, measures: Vec<Field>) -> Self {
        self.former.insert(feature, measures);
        self
    }

    /// Adds another table as `<schema>.<name>`: `raw.horizontals`, `udb.user_segments`.
    ///
    /// Its errors reach the caller with their kind if they are [`neartime_model::Classified`]. After a
    /// [`neartime_model::FileChanged`] the query is planned again.
    pub fn with_table(mut self, schema: &str, name: &str, provider: Arc<dyn TableProvider>) -> Self {
        self.others.insert((schema.to_owned(), name.to_owned()), provider);
        self
    }

    /// Adds another table that is named without a schema: `quarantine`.
    pub fn with_plain_table(self, name: &str, provider: Arc<dyn TableProvider>) -> Self {
        self.with_table(DEFAULT_SCHEMA, name, provider)
    }

    /// Runs one statement and collects its rows.
    ///
    /// # Errors
    /// Invalid if the SQL is wrong, names an unknown table, or would change anything; Unavailable if a store is away.
    pub async fn query(&self, sql: &str) -> Result<Answer, StoreError> {
        self.consistently(|context| async move { run(&context, sql, None, collect).await }).await
    }

    /// Runs one statement that may give any number of rows, `limit` at most: those that are many wait on disk.
    ///
    /// # Errors
    /// As those of [`Self::query`].
    pub async fn query_large(&self, sql: &str, limit: Option<usize>) -> Result<Answer<HeldRows>, StoreError> {
        self.query_holding(sql, limit, HELD_BYTES).await
    }

    pub(super) async fn query_holding(
        &self,
        sql: &str,
        limit: Option<usize>,
        most: usize,
    ) -> Result<Answer<HeldRows>, StoreError> {
        let hold = async |plan, task: Arc<TaskContext>| {
            HeldRows::collect(execute_stream(plan, Arc::clone(&task))?, &task.runtime_env(), most).await
        };
        self.consistently(|context| async move { run(&context, sql, limit, hold).await }).await
    }

    /// Runs plans over one version of each file: `work` gets a fresh context, and is called again with another if it
    /// failed because a file was replaced meanwhile.
    ///
    /// # Errors
    /// Those of `work`; Unavailable if files keep being replaced.
    pub async fn consistently<T, F, W>(&self, work: F) -> Result<T, StoreError>
    where
        F: Fn(SessionContext) -> W,
        W: Future<Output = Result<T, StoreError>>,
    {
        for _ in 0..ATTEMPTS {
            let (context, snapshot) = self.context().map_err(query_error)?;
            let done = work(context).await;
            match done {
                Err(error) if snapshot.changed().load(Ordering::Relaxed) || is_changed(&error) => {}
                done => return done,
            }
        }
        Err(StoreError::unavailable("running the query", "its files are replaced faster than they can be read"))
    }

    /// A context in which every feature table keeps to one version of each file.
    fn context(&self) -> DataFusionResult<(SessionContext, Arc<Snapshot>)> {
        let snapshot = Arc::new(Snapshot::default());
        let catalog = MemoryCatalogProvider::new();
        for schema in [FEATURES, DEFAULT_SCHEMA] {
            catalog.register_schema(schema, Arc::new(MemorySchemaProvider::new()))?;
        }
        for table in &self.features {
            let former = self.former.get(&table.name).map_or(&[][..], Vec::as_slice);
            let provider =
                FeatureTableProvider::new(self.store.clone(), Arc::clone(table), former, Arc::clone(&snapshot));
            schema_of(&catalog, FEATURES)?.register_table(table.name.to_string(), Arc::new(provider))?;
        }
        for ((schema, name), provider) in &self.others {
            schema_of(&catalog, schema)?.register_table(name.clone(), Arc::clone(provider))?;
        }
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let state = SessionStateBuilder::new_from_existing(self.state.clone()).with_catalog_list(Arc::new(catalogs));
        Ok((SessionContext::new_with_state(state.build()), snapshot))
    }
}

/// The schema of that name, made if need be.
fn schema_of(catalog: &MemoryCatalogProvider, name: &str) -> DataFusionResult<Arc<dyn SchemaProvider>> {
    if let Some(schema) = catalog.schema(name) {
        return Ok(schema);
    }
    let schema: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
    catalog.register_schema(name, Arc::clone(&schema))?;
    Ok(schema)
}

async fn run<R, F>(
    context: &SessionContext,
    sql: &str,
    limit: Option<usize>,
    collect: impl FnOnce(Arc<dyn ExecutionPlan>, Arc<TaskContext>) -> F,
) -> Result<Answer<R>, StoreError>
where
    F: Future<Output = DataFusionResult<R>>,
{
    let started = std::time::Instant::now();
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    check_tables(context, sql)?;
    let mut frame = context.sql_with_options(sql, read_only).await.map_err(query_error)?;
    // What tells of a plan stays on top of it.
    let tells = matches!(frame.logical_plan(), Plan::Explain(_) | Plan::Analyze(_) | Plan::DescribeTable(_));
    if limit.is_some() && !tells {
        frame = frame.limit(0, limit).map_err(query_error)?;
    }
    let schema = Arc::clone(frame.schema().inner());
    let task = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await.map_err(query_error)?;
    // The decoder may panic on a file that is no Parquet any more.
    let collected = AssertUnwindSafe(collect(Arc::clone(&plan), task)).catch_unwind().await;
    let broken = |_| StoreError::broken_rule("running the query broke down: a file may be corrupt, run its task again");
    let batches = collected.map_err(broken)?.map_err(query_error)?;
    Ok(Answer { schema, batches, elapsed: started.elapsed(), scanned_bytes: scanned_bytes(&*plan) })
}

/// Refuses SQL over tables that are not there, with those that are.
fn check_tables(context: &SessionContext, sql: &str) -> Result<(), StoreError> {
    let state = context.state();
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(sql, &dialect).map_err(query_error)?;
    if !only_asks(&statement) {
        return Err(StoreError::invalid("sql only reads here: select, values, explain, describe, show"));
    }
    let known = known_tables(context);
    for reference in state.resolve_table_references(&statement).map_err(query_error)? {
        let named = match &reference {
            TableReference::Bare { table } => table.to_string(),
            TableReference::Partial { schema, table } => format!("{schema}.{table}"),
            TableReference::Full { catalog, schema, table } if **catalog == *CATALOG => format!("{schema}.{table}"),
            TableReference::Full { .. } => reference.to_string(),
        };
        let plain = named.strip_prefix("public.").unwrap_or(&named);
        if !named.starts_with("information_schema.") && !known.iter().any(|name| name == plain) {
            if let Some((schema, table)) =
                known.iter().find(|name| name.eq_ignore_ascii_case(plain)).and_then(|name| name.split_once('.'))
            {
                let hint = format!("there is no table `{named}`; with capital letters it is {schema}.\"{table}\"");
                return Err(StoreError::invalid(hint));
            }
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(StoreError::invalid(format!("there is no table `{named}`: the tables are {known}")));
        }
    }
    Ok(())
}

/// Whether a statement changes nothing. Planning refuses the others too, but the names of tables that they would make
/// would be looked for first.
fn only_asks(statement: &Statement) -> bool {
    match statement {
        Statement::Explain(_) => true,
        Statement::Statement(statement) => matches!(
            **statement,
            Ast::Query(_)
                | Ast::Explain { .. }
                | Ast::ExplainTable { .. }
                | Ast::ShowTables { .. }
                | Ast::ShowColumns { .. }
                | Ast::ShowFunctions { .. }
                | Ast::ShowVariable { .. }
        ),
        _ => false,
    }
}

/// The names under which tables can be asked for, sorted.
fn known_tables(context: &SessionContext) -> Vec<String> {
    let Some(catalog) = context.catalog(CATALOG) else { return Vec::new() };
    let mut known = Vec::new();
    for schema in catalog.schema_names() {
        let prefix = if schema == DEFAULT_SCHEMA { String::new() } else { format!("{schema}.") };
        let names = catalog.schema(&schema).map(|schema| schema.table_names()).unwrap_or_default();
        known.extend(names.into_iter().map(|name| format!("{prefix}{name}")));
    }
    known.sort();
    known
}

/// What all scans of a plan counted as `bytes_scanned`.
fn scanned_bytes(plan: &dyn ExecutionPlan) -> u64 {
    let own = plan.metrics().and_then(|metrics| metrics.sum_by_name("bytes_scanned"));
    let below: u64 = plan.children().into_iter().map(|child| scanned_bytes(&**child)).sum();
    own.map_or(0, |value| value.as_usize() as u64) + below
}
