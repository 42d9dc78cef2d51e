//! No code: see the manifest for what this package is for.
