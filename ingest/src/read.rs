//! The one read of a chunk: fetch, inflate, split, parse, send.
