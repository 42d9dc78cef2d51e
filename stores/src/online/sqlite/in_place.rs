//! The table that is there, next to the one that a feature needs.

use std::collections::HashMap;

use neartime_engine::{FeatureTable, OutputColumn};
use sqlx::{Row, SqliteConnection};

use super::statements::{Statements, declared_type};
use crate::StoreError;

/// What a feature's table looks like now.
pub(super) struct TableInPlace {
    /// Declared types by name; empty if there is no table.
    columns: HashMap<String, String>,
    primary_key: Vec<String>,
}

impl TableInPlace {
    /// Looks at the table of a feature.
    pub(super) async fn look(connection: &mut SqliteConnection, table: &FeatureTable) -> Result<Self, sqlx::Error> {
        let rows = sqlx::query("SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY pk")
            .bind(table.name.as_str())
            .fetch_all(connection)
            .await?;
        let mut found = Self { columns: HashMap::new(), primary_key: Vec::new() };
        for row in rows {
            let (name, kind, place): (String, String, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            if place > 0 {
                found.primary_key.push(name.clone());
            }
            found.columns.insert(name, kind);
        }
        Ok(found)
    }

    pub(super) fn is_missing(&self) -> bool {
        self.columns.is_empty()
    }

    /// The measures that it lacks.
    ///
    /// # Errors
    /// Invalid if it has other keys or types.
    pub(super) fn lacks<'a>(&self, table: &'a FeatureTable) -> Result<Vec<&'a OutputColumn>, StoreError> {
        self.check_keys(table, &Statements::new(table))?;
        let mut lacking = Vec::new();
        for column in table.output.values() {
            let wanted = declared_type(column);
            match self.columns.get(column.name.as_str()) {
                None => lacking.push(column),
                Some(kind) if kind == wanted => {}
                Some(kind) => {
                    return Err(StoreError::invalid(format!(
                        "the online table `{}` has `{}` as {kind}, the feature has it as {wanted}: give the feature \
                         a new name",
                        table.name, column.name
                    )));
                }
            }
        }
        Ok(lacking)
    }

    /// The columns that this version of the feature does not write.
    pub(super) fn others(&self, statements: &Statements<'_>) -> Vec<&str> {
        let bound = statements.bound();
        self.columns.keys().map(String::as_str).filter(|column| !bound.contains(column)).collect()
    }

    /// Refuses a table with another primary key.
    fn check_keys(&self, table: &FeatureTable, statements: &Statements<'_>) -> Result<(), StoreError> {
        let wanted = statements.primary_key();
        if self.primary_key == wanted {
            return Ok(());
        }
        Err(StoreError::invalid(format!(
            "the online table `{}` has the keys {}, the feature has {}: give the feature a new name",
            table.name,
            self.primary_key.join(", "),
            wanted.join(", ")
        )))
    }
}
