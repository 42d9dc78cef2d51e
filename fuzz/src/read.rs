//! Reading from memory never fails.

#[derive(Debug)]
pub enum ReadError {}
