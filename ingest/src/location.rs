//! Locations: the directory or bucket prefix that a source's files lie in.
