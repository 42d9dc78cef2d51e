//! Queues and streams by which files are heard of.

use std::collections::BTreeMap;
use std::sync::Arc;

use neartime_ingest::reservoir::Reservoir;
use neartime_scheduler::{QueueWork, StreamWork};

use crate::clients::Cloud;
use crate::config::{Carries, Channel, SourceConfig};

/// The queues, each once, with the sources that it tells of.
pub(crate) fn queues(sources: &[SourceConfig], cloud: &Cloud) -> anyhow::Result<Vec<QueueWork>> {
    let mut by_url = BTreeMap::<&str, Vec<_>>::new();
    for source in sources {
        for channel in &source.channels {
            if let Channel::Sqs { queue } = channel {
                by_url.entry(queue).or_default().push(source.source.name.clone());
            }
        }
    }
    by_url.into_iter().map(|(url, sources)| Ok(QueueWork { queue: cloud.queue(url)?, sources })).collect()
}

/// The streams of the sources.
pub(crate) fn streams(sources: &[SourceConfig], cloud: &Cloud) -> anyhow::Result<Vec<StreamWork>> {
    let mut streams = Vec::new();
    for source in sources {
        for channel in &source.channels {
            if let Channel::Kinesis { stream, carries } = channel {
                let carries = match carries {
                    Carries::Keys => neartime_scheduler::Carries::Keys,
                    // The source has its bucket's client by now.
                    Carries::Events => neartime_scheduler::Carries::Events(Reservoir::new(Arc::clone(&source.source))?),
                };
                streams.push(StreamWork { source: source.source.name.clone(), stream: cloud.stream(stream), carries });
            }
        }
    }
    Ok(streams)
}
