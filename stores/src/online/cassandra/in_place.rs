//! The table that is there, next to the one that a feature needs.

use std::collections::HashMap;

use neartime_engine::{FeatureTable, OutputColumn};
use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use scylla::response::query_result::QueryRowsResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::{Consistency, Statement};

use super::failure::{database_error, patiently};
use super::statements::{COMMENT_PREFIX, key_type, order_of, value_type};
use crate::StoreError;
use crate::online::rows::primary_key;

/// What a feature's table looks like now.
pub(super) struct TableInPlace {
    /// The engine whose rows it holds; `None` if its comment does not tell.
    engine: Option<String>,
    /// Partition key and clustering columns in order, the latter with `desc` or `asc`.
    primary_key: Vec<(String, String)>,
    /// Types of all columns by name.
    types: HashMap<String, String>,
}

impl TableInPlace {
    /// Looks at the table of a feature; `None` if there is none.
    pub(super) async fn look(
        session: &Session,
        keyspace: &str,
        table: &FeatureTable,
    ) -> Result<Option<Self>, StoreError> {
        let name = table.name.as_str();
        let failed = |error: String| StoreError::failed(format!("looking at the online table `{name}`"), error);
        let comment = "SELECT comment FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?";
        let comment = ask(session, name, comment, (keyspace, name)).await?;
        let comment: Option<(Option<String>,)> =
            comment.maybe_first_row().map_err(|error| failed(error.to_string()))?;
        let Some((comment,)) = comment else { return Ok(None) };
        let columns = "SELECT column_name, kind, position, clustering_order, type FROM system_schema.columns \
                       WHERE keyspace_name = ? AND table_name = ?";
        let columns = ask(session, name, columns, (keyspace, name)).await?;
        let columns = columns.rows::<(String, String, i32, String, String)>();
        let columns: Vec<_> = columns
            .map_err(|error| failed(error.to_string()))?
            .collect::<Result<_, _>>()
            .map_err(|error| failed(error.to_string()))?;
        let engine = comment.and_then(|comment| comment.strip_prefix(COMMENT_PREFIX).map(str::to_owned));
        // `partition_key` comes before `clustering` in no order of their names: sort by what they are.
        let mut keys: Vec<_> = columns.iter().filter(|(_, kind, ..)| kind == "partition_key").collect();
        keys.sort_by_key(|(_, _, position, ..)| *position);
        let mut clustering: Vec<_> = columns.iter().filter(|(_, kind, ..)| kind == "clustering").collect();
        clustering.sort_by_key(|(_, _, position, ..)| *position);
        let partition = keys.len();
        let keys = keys.into_iter().chain(clustering);
        let primary_key: Vec<_> = keys.map(|(name, _, _, order, _)| (name.clone(), order.clone())).collect();
        if partition != 1 {
            return Err(other_keys(table, &primary_key));
        }
        let types = columns.into_iter().map(|(name, .., kind)| (name, kind)).collect();
        Ok(Some(Self { engine, primary_key, types }))
    }

    /// The measures that it lacks.
    ///
    /// # Errors
    /// Invalid if it holds the rows of another engine, or has other keys or types.
    pub(super) fn lacks<'a>(&self, table: &'a FeatureTable) -> Result<Vec<&'a OutputColumn>, StoreError> {
        let name = &table.name;
        if let Some(engine) = self.engine.as_deref().filter(|engine| *engine != table.engine) {
            return Err(StoreError::invalid(format!(
                "the online table `{name}` holds rows of the engine {engine}, the feature's is {}: \
                 give the feature a new name",
                table.engine
            )));
        }
        let wanted = primary_key(table);
        let (_, clustering) = self.primary_key.split_at(1);
        let is_same_order = |(name, order): &(String, String)| order == order_of(name);
        if !self.primary_key.iter().map(|(name, _)| name).eq(&wanted) || !clustering.iter().all(is_same_order) {
            return Err(other_keys(table, &self.primary_key));
        }
        let keys = wanted.iter().map(|key| (*key, key_type(key)));
        for (column, kind) in keys.chain(table.output.values().map(|value| (value.name.as_str(), value_type(value)))) {
            if let Some(found) = self.types.get(column).filter(|found| *found != kind) {
                return Err(StoreError::invalid(format!(
                    "the online table `{name}` has `{column}` as {found}, the feature has it as {kind}: \
                     give the feature a new name"
                )));
            }
        }
        Ok(table.output.values().filter(|value| !self.types.contains_key(value.name.as_str())).collect())
    }

    /// The columns that this version of the feature does not write, sorted.
    pub(super) fn others(&self, table: &FeatureTable) -> Vec<String> {
        let keys = primary_key(table);
        let is_ours =
            |name: &str| keys.contains(&name) || table.output.values().any(|value| value.name.as_str() == name);
        let mut others: Vec<String> = self.types.keys().filter(|name| !is_ours(name)).cloned().collect();
        others.sort();
        others
    }
}

fn other_keys(table: &FeatureTable, found: &[(String, String)]) -> StoreError {
    let found: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    StoreError::invalid(format!(
        "the online table `{}` has the keys {}, the feature has {}, newest chunks first: give the feature a new name",
        table.name,
        found.join(", "),
        primary_key(table).join(", ")
    ))
}

/// Asks the schema tables, which each node has for itself.
async fn ask(
    session: &Session,
    table: &str,
    cql: &str,
    values: impl SerializeRow + Copy,
) -> Result<QueryRowsResult, StoreError> {
    let attempted = || format!("looking at the online table `{table}`");
    let mut statement = Statement::new(cql);
    statement.set_consistency(Consistency::One);
    let asked = async || -> Result<_, ExecutionError> { session.query_unpaged(statement.clone(), values).await };
    let answer = patiently(0, asked).await.map_err(|error| database_error(attempted(), &error))?;
    answer.into_rows_result().map_err(|error| StoreError::failed(attempted(), error))
}
