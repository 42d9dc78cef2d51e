//! The CQL of one feature's table.
//!
//! | column | type |
//! |---|---|
//! | entity, other keys, item | text, `''` for a null key |
//! | `data_chunk` | timestamp, the chunk's first instant (not where only the latest is kept) |
//! | `file_path` | text, the task's path (not where only the latest is kept) |
//! | values | bigint, double, text, timestamp |

use std::fmt::Write as _;

use datafusion::arrow::datatypes::DataType;
use neartime_engine::{FeatureTable, OutputColumn, Role};
use neartime_model::Span;

use crate::online::rows::{DATA_CHUNK, primary_key};

/// The table's comment tells the engine whose rows it holds; this comes before its name.
pub(super) const COMMENT_PREFIX: &str = "neartime: ";

/// A table is cut into about so many windows of time, each of which goes as a whole when its rows have expired.
const WINDOWS: i64 = 30;

/// The names and the CQL of one feature's table. Names are checked ones: they match `[a-z_][a-z0-9_]*`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statements<'a> {
    keyspace: &'a str,
    table: &'a FeatureTable,
}

impl<'a> Statements<'a> {
    pub(super) fn new(keyspace: &'a str, table: &'a FeatureTable) -> Self {
        Self { keyspace, table }
    }

    /// The table's name, quoted.
    fn name(&self) -> String {
        format!("{}.{}", quoted(self.keyspace), quoted(self.table.name.as_str()))
    }

    pub(super) fn create(&self) -> String {
        let keys = primary_key(self.table);
        let mut cql = format!("CREATE TABLE IF NOT EXISTS {} (", self.name());
        for key in &keys {
            write!(cql, "{} {}, ", quoted(key), key_type(key)).expect("writing to a String cannot fail");
        }
        for value in self.table.output.values() {
            write!(cql, "{}, ", declaration(value)).expect("writing to a String cannot fail");
        }
        let (entity, clustering) = keys.split_first().expect("an output has at least one key");
        let others: String = clustering.iter().map(|key| format!(", {}", quoted(key))).collect();
        write!(cql, "PRIMARY KEY (({}){others})) WITH ", quoted(entity)).expect("writing to a String cannot fail");
        if !clustering.is_empty() {
            let order = clustering.iter().map(|key| format!("{} {}", quoted(key), order_of(key).to_uppercase()));
            let order = order.collect::<Vec<_>>().join(", ");
            write!(cql, "CLUSTERING ORDER BY ({order}) AND ").expect("writing to a String cannot fail");
        }
        write!(cql, "comment = '{COMMENT_PREFIX}{}'", self.table.engine).expect("writing to a String cannot fail");
        if let Some(retention) = self.table.retention {
            write!(cql, " AND compaction = {}", windows(retention)).expect("writing to a String cannot fail");
        }
        cql
    }

    pub(super) fn add_column(&self, column: &OutputColumn) -> String {
        format!("ALTER TABLE {} ADD {}", self.name(), declaration(column))
    }

    /// Binds the cells of a row, its timestamp, and if there is a retention what is left of it in seconds. `others` are
    /// columns in place that are not written: they become null.
    pub(super) fn insert(&self, others: &[String]) -> String {
        let values = self.table.output.values().map(|column| column.name.as_str());
        let names: Vec<String> = primary_key(self.table).into_iter().chain(values).map(quoted).collect();
        let marks = [vec!["?"; names.len()], vec!["null"; others.len()]].concat().join(", ");
        let names: Vec<String> = names.into_iter().chain(others.iter().map(|other| quoted(other))).collect();
        let ttl = if self.table.retention.is_some() { " AND TTL ?" } else { "" };
        format!("INSERT INTO {} ({}) VALUES ({marks}) USING TIMESTAMP ?{ttl}", self.name(), names.join(", "))
    }

    /// Binds the timestamp, then the primary key.
    pub(super) fn delete(&self) -> String {
        let keys = primary_key(self.table).into_iter().map(|key| format!("{} = ?", quoted(key)));
        let keys = keys.collect::<Vec<_>>().join(" AND ");
        format!("DELETE FROM {} USING TIMESTAMP ? WHERE {keys}", self.name())
    }

    /// Binds the entity, and if `bounded` the bounds of `data_chunk`. Gives the columns of the output.
    pub(super) fn select(&self, bounded: bool) -> String {
        let columns = self.table.output.columns().iter().map(|column| quoted(column.name.as_str()));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let entity = quoted(self.table.output.entity().as_str());
        let window = if bounded { " AND data_chunk >= ? AND data_chunk < ?" } else { "" };
        format!("SELECT {columns} FROM {} WHERE {entity} = ?{window}", self.name())
    }

    /// The same, but no more than the first `rows`.
    pub(super) fn select_first(&self, bounded: bool, rows: i32) -> String {
        format!("{} LIMIT {rows}", self.select(bounded))
    }

    pub(super) fn truncate(&self) -> String {
        format!("TRUNCATE TABLE {}", self.name())
    }
}

/// The type of a column of the primary key.
pub(super) fn key_type(name: &str) -> &'static str {
    if name == DATA_CHUNK { "timestamp" } else { "text" }
}

/// The clustering order of a column of the primary key: newest chunks first.
pub(super) fn order_of(name: &str) -> &'static str {
    if name == DATA_CHUNK { "desc" } else { "asc" }
}

/// The type of a column that is not part of the primary key.
pub(super) fn value_type(column: &OutputColumn) -> &'static str {
    match (column.role, &column.data_type) {
        (Role::Value(_), DataType::Int64) => "bigint",
        (Role::Value(_), DataType::Float64) => "double",
        (Role::Value(_), DataType::Timestamp(..)) => "timestamp",
        _ => "text",
    }
}

fn declaration(column: &OutputColumn) -> String {
    format!("{} {}", quoted(column.name.as_str()), value_type(column))
}

/// Rows that are written together expire together, and are kept together.
fn windows(retention: Span) -> String {
    const MINUTE_MICROS: i64 = 60_000_000;
    let mins = (retention.as_micros() / MINUTE_MICROS / WINDOWS).max(1);
    let (unit, size) = match mins {
        0..60 => ("MINUTES", mins),
        60..1_440 => ("HOURS", mins / 60),
        _ => ("DAYS", mins / 1_440),
    };
    format!(
        "{{'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': '{unit}', 'compaction_window_size': '{size}'}}"
    )
}

/// The keyspace is as its operator named it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use neartime_engine::OnlineLayout;

    use super::*;
    use crate::testing;

    #[test]
    fn the_tables_are_those_of_the_contract() {
        let count = testing::table("user_num_posts", OnlineLayout::PerChunk);
        assert_eq!(
            Statements::new("ks", &count).create(),
            "CREATE TABLE IF NOT EXISTS \"ks\".\"user_num_posts\" (\"id\" text, \"data_chunk\" timestamp, \
             \"file_path\" text, \"country\" text, \"actions_count\" bigint, PRIMARY KEY ((\"id\"), \"data_chunk\", \
             \"file_path\", \"country\")) WITH CLUSTERING ORDER BY (\"data_chunk\" DESC, \"file_path\" ASC, \
             \"country\" ASC) AND comment = 'neartime: count'"
        );
        let latest = testing::table("user_last_login", OnlineLayout::Latest);
        let create = Statements::new("ks", &latest).create();
        assert!(create.contains("PRIMARY KEY ((\"id\"), \"country\"))"), "{create}");
        let kept = FeatureTable { retention: Some(Span::from_days(90)), ..count };
        let kept = Statements::new("ks", &kept);
        assert!(kept.create().contains("'DAYS', 'compaction_window_size': '3'"), "{}", kept.create());
        let insert = kept.insert(&[]);
        assert!(insert.ends_with("VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?"), "{insert}");
        let insert = kept.insert(&["older".to_owned()]);
        assert!(insert.contains(", \"older\") VALUES (?, ?, ?, ?, ?, null) USING"), "{insert}");
    }

    #[test]
    fn windows_fit_the_retention() {
        let cases = [(1, "MINUTES", 48), (7, "HOURS", 5), (90, "DAYS", 3), (365, "DAYS", 12)];
        for (days, unit, size) in cases {
            let windows = windows(Span::from_days(days));
            assert!(windows.contains(&format!("'{unit}', 'compaction_window_size': '{size}'")), "{windows}");
        }
    }
}
