//! Discovery by listing: finds the files of a source without looking at old ones again.
