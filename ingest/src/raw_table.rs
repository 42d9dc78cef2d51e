//! `raw.<source>`: the raw lines as a SQL table.
