//! The SQL of one feature's table.
//!
//! | column | holds |
//! |---|---|
//! | entity, other keys, item | text, `''` for a null key |
//! | `data_chunk` | epoch milliseconds of the chunk's first instant (not where only the latest is kept) |
//! | `file_path` | the task's path (not where only the latest is kept) |
//! | values | INTEGER, REAL, TEXT; TIMESTAMP is epoch milliseconds |
//! | `write_ts` | microseconds: the event time, or the fence |
//! | `row.deleted` | 1 for a tombstone |
//! | `row.expires_at` | epoch milliseconds after which the row counts no more; null is never |
//!
//! The last two have a dot in their names because an output column may have any name without one.

use std::fmt::Write as _;

use datafusion::arrow::datatypes::DataType;
use neartime_engine::{FeatureTable, OnlineLayout, OutputColumn, Role};

use crate::online::rows::{DATA_CHUNK, primary_key};

const DELETED: &str = "row.deleted";
const EXPIRES: &str = "row.expires_at";

/// The names and the SQL of one feature's table. Names are checked ones: they match `[a-z_][a-z0-9_]*`.
#[derive(Debug)]
pub(super) struct Statements<'a> {
    table: &'a FeatureTable,
}

impl<'a> Statements<'a> {
    pub(super) fn new(table: &'a FeatureTable) -> Self {
        Self { table }
    }

    /// The table's name, quoted.
    pub(super) fn name(&self) -> String {
        quoted(self.table.name.as_str())
    }

    fn per_chunk(&self) -> bool {
        self.table.online == OnlineLayout::PerChunk
    }

    /// The columns of the primary key: entity, chunk and path, other keys, item.
    pub(super) fn primary_key(&self) -> Vec<&'a str> {
        primary_key(self.table)
    }

    /// The columns that an upsert binds for each row, in this order.
    pub(super) fn bound(&self) -> Vec<&'a str> {
        let values = self.table.output.values().map(|column| column.name.as_str());
        self.primary_key().into_iter().chain(values).chain(["write_ts", DELETED, EXPIRES]).collect()
    }

    pub(super) fn create(&self) -> String {
        let mut sql = format!("CREATE TABLE IF NOT EXISTS {} (", self.name());
        for key in self.primary_key() {
            let kind = if key == DATA_CHUNK { "INTEGER" } else { "TEXT" };
            write!(sql, "{} {kind} NOT NULL, ", quoted(key)).expect("writing to a String cannot fail");
        }
        for value in self.table.output.values() {
            write!(sql, "{}, ", declaration(value)).expect("writing to a String cannot fail");
        }
        // Newest chunks first, as the clustering order of a Cassandra table.
        let order = |key: &&str| format!("{}{}", quoted(key), if *key == DATA_CHUNK { " DESC" } else { "" });
        let keys: Vec<String> = self.primary_key().iter().map(order).collect();
        sql + &format!(
            "write_ts INTEGER NOT NULL, {} INTEGER NOT NULL, {} INTEGER, PRIMARY KEY ({})) WITHOUT ROWID",
            quoted(DELETED),
            quoted(EXPIRES),
            keys.join(", ")
        )
    }

    pub(super) fn add_column(&self, column: &OutputColumn) -> String {
        format!("ALTER TABLE {} ADD COLUMN {}", self.name(), declaration(column))
    }

    /// Writes `rows` rows, or tombstones, each only over a row whose `write_ts` is not higher. `others` are columns in
    /// place that are not written: they become null.
    pub(super) fn upsert(&self, rows: usize, others: &[&str]) -> String {
        let bound = self.bound();
        let primary_key = self.primary_key();
        let names: Vec<String> = bound.iter().map(|name| quoted(name)).collect();
        let keys: Vec<String> = primary_key.iter().map(|name| quoted(name)).collect();
        let row = format!("({})", vec!["?"; bound.len()].join(","));
        let set = names.iter().skip(keys.len()).map(|name| self.assignment(name));
        let set: Vec<String> = set.chain(others.iter().map(|other| format!("{} = NULL", quoted(other)))).collect();
        format!(
            "INSERT INTO {} ({}) VALUES {} ON CONFLICT ({}) DO UPDATE SET {} WHERE excluded.write_ts >= write_ts",
            self.name(),
            names.join(","),
            vec![row; rows].join(","),
            keys.join(","),
            set.join(",")
        )
    }

    fn assignment(&self, name: &str) -> String {
        // The same event may stand in two chunks: whichever is written last, the row lives as long as the later one.
        if !self.per_chunk() && name == quoted(EXPIRES) {
            return format!(
                "{name} = iif(excluded.write_ts > write_ts, excluded.{name}, max(excluded.{name}, {name}))"
            );
        }
        format!("{name} = excluded.{name}")
    }

    /// The live rows of an entity: `?1` entity, `?2` now, `?3` and `?4` the bounds of `data_chunk` if `bounded`. The
    /// columns that the table in place `lacks` are null.
    pub(super) fn select(&self, bounded: bool, lacks: &[&OutputColumn]) -> String {
        let column = |column: &OutputColumn| match lacks.iter().any(|lacking| lacking.name == column.name) {
            true => "NULL".to_owned(),
            false => quoted(column.name.as_str()),
        };
        let columns: Vec<String> = self.table.output.columns().iter().map(column).collect();
        let mut sql = format!(
            "SELECT {} FROM {} WHERE {} = ?1 AND {} = 0 AND ifnull({} > ?2, 1)",
            columns.join(","),
            self.name(),
            quoted(self.table.output.entity().as_str()),
            quoted(DELETED),
            quoted(EXPIRES),
        );
        if bounded {
            sql.push_str(" AND data_chunk >= ?3 AND data_chunk < ?4");
        }
        sql
    }

    pub(super) fn truncate(&self) -> String {
        format!("DELETE FROM {}", self.name())
    }

    /// Removes what is past its retention: `?1` now.
    pub(super) fn purge(&self) -> String {
        format!("DELETE FROM {} WHERE {} <= ?1", self.name(), quoted(EXPIRES))
    }
}

fn declaration(column: &OutputColumn) -> String {
    format!("{} {}", quoted(column.name.as_str()), declared_type(column))
}

/// The declared type of a column.
pub(super) fn declared_type(column: &OutputColumn) -> &'static str {
    match (column.role, &column.data_type) {
        (Role::Value(_), DataType::Int64) => "INTEGER",
        (Role::Value(_), DataType::Float64) => "REAL",
        (Role::Value(_), DataType::Timestamp(..)) => "TIMESTAMP",
        _ => "TEXT",
    }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}
