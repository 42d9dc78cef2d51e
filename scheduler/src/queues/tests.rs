//! `run --once` on a queue that answers late, or with errors only.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use neartime_ingest::channel::{NotDeleted, Queue, Receipt, notice_of_message};

use super::*;
use crate::{Edges, OnceError, Settings, Summary, testing};

/// Longer than `run --once` lets a queue wait for messages.
const LATE: Duration = Duration::from_millis(2_200);

/// A queue in memory.
#[derive(Debug, Default)]
struct InMemory {
    messages: Mutex<Vec<Message>>,
    is_away: bool,
}

impl InMemory {
    fn with_message() -> Self {
        let (receipt, id) = (Receipt("1".to_owned()), "one".to_owned());
        let notice = notice_of_message(r#"{"Event":"s3:TestEvent"}"#);
        Self { messages: Mutex::new(vec![Message { receipt, id, deliveries: 1, notice }]), is_away: false }
    }
}

#[async_trait]
impl Queue for InMemory {
    fn name(&self) -> &str {
        "memory"
    }

    async fn check(&self) -> Result<(), ChannelError> {
        Ok(())
    }

    /// As a client does that gets credentials, or that tries again where nobody answers.
    async fn receive(&self, _: Duration) -> Result<Vec<Message>, ChannelError> {
        tokio::time::sleep(LATE).await;
        match self.is_away {
            true => Err(ChannelError::Unavailable {
                doing: "receive from the queue `memory`".to_owned(),
                reason: "it cannot be reached".to_owned(),
                source: "connection refused".into(),
            }),
            false => Ok(self.messages.lock().unwrap().clone()),
        }
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<NotDeleted>, ChannelError> {
        self.messages.lock().unwrap().retain(|message| !receipts.contains(&message.receipt));
        Ok(Vec::new())
    }
}

async fn run_once(queue: Arc<InMemory>) -> Result<Summary, OnceError> {
    let folder = tempfile::tempdir().unwrap();
    let queues = vec![QueueWork { queue, sources: Vec::new() }];
    let edges = Edges { queues, ..testing::edges(folder.path()).await };
    let settings = Settings { patience: Duration::from_secs(1), ..testing::settings() };
    Scheduler::new(edges, settings).unwrap().run_once().await
}

#[tokio::test]
async fn once_waits_for_an_answer_however_late_it_comes() {
    let queue = Arc::new(InMemory::with_message());
    run_once(Arc::clone(&queue)).await.unwrap();
    assert!(queue.messages.lock().unwrap().is_empty(), "what the queue had was taken");
}

#[tokio::test]
async fn once_does_not_take_a_queue_that_is_away_for_empty() {
    let ended = run_once(Arc::new(InMemory { is_away: true, ..InMemory::default() })).await;
    assert!(matches!(ended, Err(OnceError::ServiceAway { .. })), "{ended:?}");
}
