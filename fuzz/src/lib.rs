//! The parsers of `ingest`, compiled without the rest of it, and what the targets ask of them.
//!
//! Their sources are links to those of `ingest`.

#![allow(dead_code, unused_imports, reason = "not everything that the parsers offer is asked for here")]

// Of DataFusion the parsers use Arrow alone, which builds in seconds.
extern crate self as datafusion;

pub mod arrow {
    pub mod array {
        pub use arrow_array::builder::*;
        pub use arrow_array::*;
    }
    pub use arrow_schema as datatypes;
}

pub mod channel;
pub mod folders;
pub mod inflate;
pub mod json;
pub mod layout;
mod lines;
mod read;
mod report;
pub mod rows;
pub mod source;
mod values;
