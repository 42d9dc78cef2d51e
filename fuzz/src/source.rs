//! What the parsers know of sources.

mod column;
mod format;

pub use column::{Column, ColumnKind, Origin, TimeUnit, Zone};
pub use format::{Delimited, Format, Header, Pattern};

/// How the lines of a source are built, and what is wanted of them.
#[derive(Clone, Debug)]
pub struct Source {
    pub format: Format,
    pub columns: Vec<Column>,
}
