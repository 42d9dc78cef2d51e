//! Requests are made on one runtime, whoever asks.
//!
//! A connection is driven by the runtime that opened it, and kept for the next request. A worker's runtime can be left
//! behind with whatever hangs on it: a connection that had been opened there would stand dead in the pool that all
//! share, and the next request on it would wait for its time to run out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};

/// Makes the requests of `inner` on the runtime `home`.
#[derive(Debug)]
pub(crate) struct AtHome<C> {
    inner: C,
    home: Handle,
}

impl<C> AtHome<C> {
    pub(crate) fn new(inner: C, home: Handle) -> Self {
        Self { inner, home }
    }
}

impl HttpClient for AtHome<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(AtHome::new(inner, self.home.clone()))
    }
}

impl HttpConnector for AtHome<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let inner = self.inner.clone();
        let called = Ended(self.home.spawn(async move { inner.call(request).await }));
        HttpConnectorFuture::new(async move {
            called.await.unwrap_or_else(|error| Err(ConnectorError::other(Box::new(error), None)))
        })
    }
}

/// A task that ends with whoever waits for it.
struct Ended<T>(JoinHandle<T>);

impl<T> Future for Ended<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Ended<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> fmt::Debug for Ended<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ended")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use aws_smithy_runtime_api::http::StatusCode;
    use tokio::runtime::{Id, Runtime};

    use super::*;

    /// Answers at once, and remembers where.
    #[derive(Clone, Debug, Default)]
    struct Seen(Arc<Mutex<Vec<Id>>>);

    impl HttpConnector for Seen {
        fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
            let seen = self.clone();
            HttpConnectorFuture::new(async move {
                seen.0.lock().unwrap().push(Handle::current().id());
                let status = StatusCode::try_from(204).unwrap();
                Ok(HttpResponse::new(status, aws_sdk_s3::primitives::SdkBody::empty()))
            })
        }
    }

    #[test]
    fn a_request_is_made_at_home_whoever_asks() {
        let (home, elsewhere) = (Runtime::new().unwrap(), Runtime::new().unwrap());
        let seen = Seen::default();
        let connector = AtHome::new(SharedHttpConnector::new(seen.clone()), home.handle().clone());
        for runtime in [&home, &elsewhere] {
            let answer = runtime.block_on(async { connector.call(HttpRequest::empty()).await });
            assert_eq!(answer.unwrap().status().as_u16(), 204);
        }
        assert_eq!(*seen.0.lock().unwrap(), [home.handle().id(); 2]);
    }
}
