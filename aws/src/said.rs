//! What a service answered when it did not do what it was asked.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use neartime_ingest::channel::ChannelError;

/// Codes with which any of the services asks for fewer requests.
const THROTTLES: [&str; 10] = [
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "TooManyRequestsException",
];
const REFUSED_CREDENTIALS: [&str; 8] = [
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
];
const DENIES: [&str; 5] =
    ["AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AccessForbidden", "KMSAccessDeniedException"];

/// A failed request, told apart by what it means. Its text is the service's own; it holds no secret.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Said {
    pub(crate) what: What,
    /// The service's name for the error; empty where it gave none.
    pub(crate) code: String,
    /// The HTTP status, if an answer came.
    pub(crate) status: Option<u16>,
    text: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What a failed request means to any caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The credentials are missing.
    NoCredentials,
    /// The credentials are wrong or have run out.
    BadCredentials,
    /// The credentials are good, but do not allow this.
    Denied,
    /// The service asks for fewer requests.
    Throttled,
    /// No answer came, or one that says that the service is not well: whether the request was done is not known.
    Unknown,
    /// Something else: see the code.
    Other,
}

impl Said {
    pub(crate) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.code().unwrap_or_default().to_owned();
        let understood = !code.is_empty() || status.is_none_or(|status| status >= 300);
        if matches!(error, SdkError::ServiceError(_)) && understood {
            let text = match (code.as_str(), error.message()) {
                ("", _) => format!("the answer is HTTP {}", status.unwrap_or_default()),
                (code, None) => code.to_owned(),
                (code, Some(message)) => format!("{code}: {message}"),
            };
            return Self { what: meaning(&code, status), code, status, text, source: None };
        }
        let chain = DisplayErrorContext(&error).to_string();
        let no_credentials = chain.contains("CredentialsNotLoaded") || chain.contains("no providers in chain");
        let (what, text) = match &error {
            _ if no_credentials => (What::NoCredentials, "no AWS credentials were found"),
            SdkError::TimeoutError(_) => (What::Unknown, "no answer came in time"),
            SdkError::ResponseError(_) | SdkError::ServiceError(_) => {
                (What::Unknown, "the answer cannot be understood")
            }
            SdkError::DispatchFailure(_) => (What::Unknown, "no answer came"),
            _ => (What::Other, "the request could not be made"),
        };
        Self { what, code, status, text: text.to_owned(), source: error.into_source().ok() }
    }

    /// Why, and what to do, for people; `action` is what a policy would have to allow.
    pub(crate) fn reason(&self, action: &str, on: &str) -> String {
        match self.what {
            What::NoCredentials => "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
                                    AWS_PROFILE, or give this machine a role"
                .to_owned(),
            What::BadCredentials => "the AWS credentials are refused".to_owned(),
            What::Denied => format!("we are not allowed to: {action} on {on} is needed"),
            What::Throttled => "the service throttles us".to_owned(),
            What::Unknown => "the service cannot be reached or is not well".to_owned(),
            What::Other => "the service refused".to_owned(),
        }
    }

    /// As the error of a queue or stream; `missing` says what a not-found code means.
    pub(crate) fn into_channel_error(self, doing: String, action: &str, on: &str, missing: &str) -> ChannelError {
        if self.what == What::Throttled {
            return ChannelError::Throttled { doing, source: Box::new(self) };
        }
        let not_found = matches!(
            self.code.as_str(),
            "ResourceNotFoundException" | "AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist"
        );
        let reason = if not_found { missing.to_owned() } else { self.reason(action, on) };
        ChannelError::Unavailable { doing, reason, source: Box::new(self) }
    }
}

fn meaning(code: &str, status: Option<u16>) -> What {
    match (code, status) {
        (code, _) if THROTTLES.contains(&code) => What::Throttled,
        (code, _) if REFUSED_CREDENTIALS.contains(&code) => What::BadCredentials,
        (code, _) if DENIES.contains(&code) => What::Denied,
        (_, Some(429)) => What::Throttled,
        (_, Some(401)) => What::BadCredentials,
        (_, Some(403)) => What::Denied,
        (_, Some(500..)) => What::Unknown,
        _ => What::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_before_the_status() {
        assert_eq!(meaning("SlowDown", Some(503)), What::Throttled);
        assert_eq!(meaning("ExpiredToken", Some(400)), What::BadCredentials);
        assert_eq!(meaning("InvalidAccessKeyId", Some(403)), What::BadCredentials);
        assert_eq!(meaning("", Some(403)), What::Denied);
        assert_eq!(meaning("InternalError", Some(500)), What::Unknown);
        assert_eq!(meaning("NoSuchKey", Some(404)), What::Other);
    }
}
