//! Rows in the binary form of COPY: exact for floats, and nothing in a text needs quoting.
//!
//! Fields are a length (−1: null) and that many bytes, most significant first; rows are a number of fields and these.

use sqlx::PgConnection;

use crate::report::{Report, ReportInput, Row};

/// Sent at a time, and kept in memory.
const BLOCK_BYTES: usize = 256 << 10;

/// Signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A row of −1 fields.
const TRAILER: &[u8] = &[0xFF, 0xFF];

/// Copies the rows of a report.
pub(super) async fn rows(connection: &mut PgConnection, statement: &str, report: &Report) -> Result<(), sqlx::Error> {
    let blocks = Blocks { rows: report.rows(), write: write_row };
    copy(connection, statement, blocks).await
}

/// Copies what a report was counted from.
pub(super) async fn inputs(
    connection: &mut PgConnection,
    statement: &str,
    inputs: &[ReportInput],
) -> Result<(), sqlx::Error> {
    copy(connection, statement, Blocks { rows: inputs.iter(), write: write_input }).await
}

async fn copy<I: Iterator, W: Fn(&mut Fields, I::Item)>(
    connection: &mut PgConnection,
    statement: &str,
    mut blocks: Blocks<I, W>,
) -> Result<(), sqlx::Error> {
    let mut copying = connection.copy_in_raw(statement).await?;
    let mut block = Fields(HEADER.to_vec());
    while blocks.fill(&mut block) {
        copying.send(block.0.as_slice()).await?;
        block.0.clear();
    }
    block.0.extend(TRAILER);
    copying.send(block.0.as_slice()).await?;
    copying.finish().await.map(drop)
}

/// Rows to come, and their form.
struct Blocks<I, W> {
    rows: I,
    write: W,
}

impl<I: Iterator, W: Fn(&mut Fields, I::Item)> Blocks<I, W> {
    /// Fills a block; false once there are no more rows, with the last ones in it.
    fn fill(&mut self, block: &mut Fields) -> bool {
        while block.0.len() < BLOCK_BYTES {
            let Some(row) = self.rows.next() else { return false };
            (self.write)(block, row);
        }
        true
    }
}

fn write_row(out: &mut Fields, row: Row<&str>) {
    out.begin(15);
    out.text(Some(row.site));
    out.text(row.site_name);
    out.text(Some(row.segment));
    out.text(row.segment_name);
    out.text(Some(row.segment_group));
    for users in [Some(row.segment_users), Some(row.group_users), row.segment_site_users, row.group_site_users] {
        out.number(users.map(i64::from));
    }
    [row.index_value, row.z_score, row.index_low, row.index_high].into_iter().for_each(|value| out.float(value));
    out.truth(row.significant);
    out.truth(Some(row.suppressed));
}

fn write_input(out: &mut Fields, input: &ReportInput) {
    out.begin(4);
    out.text(Some(input.feature.as_str()));
    out.text(Some(&input.path));
    out.number(Some(i64::from(input.order.version.0)));
    out.number(Some(input.order.generation.0));
}

/// Bytes of rows.
struct Fields(Vec<u8>);

impl Fields {
    fn begin(&mut self, fields: i16) {
        self.0.extend(fields.to_be_bytes());
    }

    /// Postgres takes no NUL in a text: the sign for it stands there instead.
    fn text(&mut self, text: Option<&str>) {
        match text {
            Some(text) if text.contains('\0') => self.field(Some(text.replace('\0', "\u{2400}").as_bytes())),
            text => self.field(text.map(str::as_bytes)),
        }
    }

    fn number(&mut self, number: Option<i64>) {
        self.field(number.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }

    fn float(&mut self, float: Option<f64>) {
        self.field(float.map(f64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }

    fn truth(&mut self, truth: Option<bool>) {
        self.field(truth.map(|truth| [u8::from(truth)]).as_ref().map(<[u8; 1]>::as_slice));
    }

    fn field(&mut self, bytes: Option<&[u8]>) {
        let length = bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).expect("names are short"));
        self.0.extend(length.to_be_bytes());
        self.0.extend(bytes.unwrap_or_default());
    }
}
