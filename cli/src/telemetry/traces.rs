//! Traces: this house's spans, sent to a collector over OTLP/HTTP.
//!
//! Everything but the address has its default; the standard variables of OpenTelemetry override them.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::exit::Invalid;

/// How long the collector may take for the last spans when the process ends.
const GRACE: Duration = Duration::from_secs(5);

/// The spans on their way to the collector.
pub(super) struct Traces(SdkTracerProvider);

impl Traces {
    /// `None` where the environment names no collector.
    pub(super) fn from_environment() -> anyhow::Result<Option<Self>> {
        let named = [OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT];
        if !named.iter().any(|name| std::env::var_os(name).is_some_and(|address| !address.is_empty())) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().build();
        let exporter = exporter.map_err(|error| Invalid(format!("could not prepare the export of traces: {error}")))?;
        let resource = Resource::builder();
        // The builder reads OTEL_SERVICE_NAME itself; ours is for those who have not set it.
        let resource = match std::env::var_os("OTEL_SERVICE_NAME") {
            Some(_) => resource.build(),
            None => resource.with_service_name("neartime").build(),
        };
        Ok(Some(Self(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())))
    }

    /// The spans of this house; those of libraries are many, and tell of things that people do not look for.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let ours =
            |metadata: &Metadata<'_>| metadata.target().starts_with("neartime") && *metadata.level() <= Level::INFO;
        tracing_opentelemetry::layer().with_tracer(self.0.tracer("neartime")).with_filter(filter_fn(ours))
    }

    /// Sends what was not sent yet.
    pub(super) fn end(self) {
        if let Err(error) = self.0.shutdown_with_timeout(GRACE) {
            tracing::warn!(error = error.to_string(), "the last traces were not sent");
        }
    }
}
