//! What is wrong with a `[[feature]]` table.

use std::error::Error;

use neartime_model::{Classify, ErrorKind};

/// A `[[feature]]` table that cannot be used; names the feature and the key.
#[derive(Debug, thiserror::Error)]
#[error("feature `{feature}`: `{key}`: {reason}")]
pub struct InvalidSqlFeature {
    feature: String,
    key: String,
    reason: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl InvalidSqlFeature {
    pub(super) fn new(feature: &str, key: String, reason: String) -> Self {
        Self { feature: feature.to_owned(), key, reason, source: None }
    }

    /// An expression that cannot be used; its own error says why.
    pub(super) fn expression(feature: &str, key: String, source: impl Error + Send + Sync + 'static) -> Self {
        let reason = "the expression cannot be used".to_owned();
        Self { feature: feature.to_owned(), key, reason, source: Some(Box::new(source)) }
    }

    /// The key of the table that is to be changed, as `select.id`.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl Classify for InvalidSqlFeature {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}
