//! The early filter reads no foreign bytes: it is left out here.
