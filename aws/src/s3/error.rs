//! Errors of a bucket: what was asked, why it was not done, and what to do.

use object_store::Error;

use crate::said::{Said, What};

/// What was asked of a bucket.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// As policies name it: `s3:GetObject`.
    pub(super) action: &'static str,
    pub(super) bucket: String,
    /// Empty for the bucket itself.
    pub(super) key: String,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
#[error("could not {verb} s3://{bucket}/{key}: {reason}")]
struct NotDone {
    verb: &'static str,
    bucket: String,
    key: String,
    reason: String,
    #[source]
    said: Said,
}

impl Asked {
    /// What a failed request means.
    pub(super) fn failed(&self, said: Said) -> Error {
        match (said.what, said.status, said.code.as_str()) {
            (What::Denied, ..) => Error::PermissionDenied { path: self.key.clone(), source: self.not_done(said) },
            (What::NoCredentials | What::BadCredentials, ..) => {
                Error::Unauthenticated { path: self.key.clone(), source: self.not_done(said) }
            }
            (_, Some(404), code) if code != "NoSuchBucket" => self.not_found(said),
            (_, Some(412), _) => self.precondition(said),
            (_, Some(304), _) => Error::NotModified { path: self.key.clone(), source: self.not_done(said) },
            _ => Error::Generic { store: "S3", source: self.not_done(said) },
        }
    }

    pub(super) fn not_found(&self, said: Said) -> Error {
        Error::NotFound { path: self.key.clone(), source: self.not_done(said) }
    }

    pub(super) fn precondition(&self, said: Said) -> Error {
        Error::Precondition { path: self.key.clone(), source: self.not_done(said) }
    }

    pub(super) fn already_exists(&self, said: Said) -> Error {
        Error::AlreadyExists { path: self.key.clone(), source: self.not_done(said) }
    }

    /// An answer that must not be.
    pub(super) fn broken(&self, problem: &str) -> Error {
        let text = format!("could not {} s3://{}/{}: {problem}", self.verb(), self.bucket, self.key);
        Error::Generic { store: "S3", source: text.into() }
    }

    /// A transfer that ended before its time, or a local file that cannot be read.
    pub(super) fn broken_by(&self, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Generic { store: "S3", source: Box::new(cause) }
    }

    fn not_done(&self, said: Said) -> Box<dyn std::error::Error + Send + Sync> {
        let reason = self.reason(&said);
        let (bucket, key) = (self.bucket.clone(), self.key.clone());
        Box::new(NotDone { verb: self.verb(), bucket, key, reason, said })
    }

    fn reason(&self, said: &Said) -> String {
        match (said.code.as_str(), said.status) {
            ("NoSuchBucket", _) => format!("the bucket `{}` does not exist", self.bucket),
            ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _)
            | (_, Some(301)) => {
                format!("the bucket `{}` lies in another region: set region in [s3]", self.bucket)
            }
            (_, Some(404)) => "there is no such object".to_owned(),
            (_, Some(412)) => "another version is there".to_owned(),
            (_, Some(409)) => "another write to the same object is under way".to_owned(),
            _ => {
                let what = if self.action == "s3:ListBucket" { String::new() } else { format!("/{}", self.key) };
                said.reason(self.action, &format!("arn:aws:s3:::{}{what}", self.bucket))
            }
        }
    }

    fn verb(&self) -> &'static str {
        match self.action {
            "s3:ListBucket" => "list",
            "s3:GetObject" => "read",
            "s3:DeleteObject" => "delete",
            _ => "write",
        }
    }
}
