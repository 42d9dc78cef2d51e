//! From bytes to lines to values.
