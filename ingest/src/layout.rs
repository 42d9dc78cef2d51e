//! Layouts: how the keys of a source tell path, captures and time.
