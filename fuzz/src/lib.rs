//! The parsers of `ingest` and `aws`, compiled without the rest of them, and what the targets ask of them.
//!
//! Their sources are links.

#![allow(dead_code, unused_imports, reason = "not everything that the parsers offer is asked for here")]

// Of DataFusion the parsers use Arrow alone, which builds in seconds.
extern crate self as datafusion;

pub mod arrow {
    pub mod array {
        pub use arrow_array::builder::*;
        pub use arrow_array::*;
    }
    pub use arrow_buffer as buffer;
    pub use arrow_schema as datatypes;
}

// Of the client of Kinesis one type.
extern crate self as aws_sdk_kinesis;

pub mod types {
    pub struct HashKeyRange {
        pub starting_hash_key: String,
        pub ending_hash_key: String,
    }
}

pub mod channel;
pub mod folders;
pub mod inflate;
pub mod json;
pub mod key_path;
pub mod kinesis;
pub mod layout;
mod lines;
pub mod mutate;
mod read;
mod report;
pub mod rows;
pub mod source;
mod values;
