//! Rows between Arrow and SQLite.

use neartime_model::Instant;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Row};

use crate::StoreError;
use crate::online::rows::{BatchBuilder, Cell, ColumnBuilder, OnlineRows};

/// Rows to bind, each with what SQLite keeps beside it.
#[derive(Debug)]
pub(super) struct BoundRows {
    pub(super) rows: OnlineRows,
    pub(super) expires_at: Option<Instant>,
    pub(super) deleted: bool,
}

impl BoundRows {
    /// Arguments for `rows` rows from `from` on, in the order of [`super::statements::Statements::bound`].
    pub(super) fn arguments(&self, from: usize, rows: usize) -> Result<SqliteArguments, StoreError> {
        let mut arguments = SqliteArguments::default();
        for row in from..from + rows {
            self.bind(&mut arguments, row)
                .map_err(|error| StoreError::failed("binding a row for the online store", error))?;
        }
        Ok(arguments)
    }

    fn bind(&self, arguments: &mut SqliteArguments, row: usize) -> Result<(), sqlx::error::BoxDynError> {
        for cell in self.rows.cells(row) {
            match cell {
                Cell::Null => arguments.add(None::<i64>)?,
                Cell::Text(text) => arguments.add(text)?,
                Cell::Integer(number) => arguments.add(number)?,
                Cell::Float(number) => arguments.add(number)?,
            }
        }
        arguments.add(self.rows.write_ts(row))?;
        arguments.add(i64::from(self.deleted))?;
        arguments.add(self.expires_at.map(Instant::as_millis))
    }
}

/// Adds a row that was read. Unchecked: SQLite types values, not columns, and TIMESTAMP holds integers.
pub(super) fn push(batch: &mut BatchBuilder, row: &SqliteRow) -> Result<(), sqlx::Error> {
    batch.push(|index, column| {
        match column {
            ColumnBuilder::Text(text) => ColumnBuilder::append_text(text, row.try_get_unchecked(index)?),
            ColumnBuilder::Integer(numbers) => numbers.append_option(row.try_get_unchecked(index)?),
            ColumnBuilder::Float(numbers) => numbers.append_option(row.try_get_unchecked(index)?),
        }
        Ok(())
    })
}
