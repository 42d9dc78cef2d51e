//! A build without Amazon Web Services: there is no cloud, and configurations that need one were refused.

use std::sync::Arc;

use neartime_ingest::channel::{EventStream, Queue};
use neartime_model::Clock;
use neartime_stores::ConditionalPut;
use object_store::ObjectStore;

use super::SetUp;
use crate::config::S3;

/// Never made.
#[derive(Clone, Debug)]
pub(crate) enum Cloud {}

impl Cloud {
    pub(crate) async fn connect(_: &S3, _: Arc<dyn Clock>) -> anyhow::Result<Self> {
        Err(super::lacks::without("aws"))
    }

    pub(crate) fn bucket(&self, _: &str) -> Arc<dyn ObjectStore> {
        match *self {}
    }

    pub(crate) fn puts(&self, _: &str) -> Arc<dyn ConditionalPut> {
        match *self {}
    }

    pub(crate) fn queue(&self, _: &str) -> anyhow::Result<Arc<dyn Queue>> {
        match *self {}
    }

    pub(crate) async fn set_up(&self, _: SetUp, _: bool) -> anyhow::Result<(serde_json::Value, Vec<String>)> {
        match *self {}
    }

    pub(crate) fn stream(&self, _: &str) -> Arc<dyn EventStream> {
        match *self {}
    }
}
