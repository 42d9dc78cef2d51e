//! SQS: the queue of a bucket's notifications.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::{Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, MessageSystemAttributeName, QueueAttributeName};
use neartime_ingest::channel::{ChannelError, LONGEST_WAIT, Message, NotDeleted, Queue, Receipt, notice_of_message};

use crate::connect::ConnectError;
use crate::said::Said;

/// The most messages that one request gives or deletes.
const BATCH_MESSAGES: usize = 10;
const AMAZON: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];

/// A queue. Registering takes milliseconds, so no message is held any longer than the queue's own visibility timeout.
#[derive(Clone)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

/// What the address of a queue tells.
#[derive(Debug, PartialEq, Eq)]
struct Address<'u> {
    /// `https://host:port`
    origin: &'u str,
    host: &'u str,
    name: &'u str,
}

impl SqsQueue {
    pub(crate) fn new(config: &SdkConfig, url: &str) -> Result<Self, ConnectError> {
        Ok(Self { client: client_of(config, url)?, url: url.to_owned() })
    }

    fn failed(&self, verb: &str, action: &str, said: Said) -> ChannelError {
        let missing = "there is no such queue, or it is not ours";
        let name = self.name();
        said.into_channel_error(
            format!("{verb} the queue `{}`", self.url),
            action,
            &format!("the queue `{name}`"),
            missing,
        )
    }

    async fn delete_batch(&self, receipts: &[Receipt]) -> Result<Vec<NotDeleted>, ChannelError> {
        let entry = |(index, receipt): (usize, &Receipt)| {
            let entry =
                DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(&receipt.0).build();
            entry.expect("both fields are set")
        };
        let entries = receipts.iter().enumerate().map(entry).collect();
        let request = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let done = request.send().await;
        let done = done.map_err(|error| self.failed("delete messages of", "sqs:DeleteMessage", Said::of(error)))?;
        let failures = done.failed.into_iter().filter_map(|failure| {
            let receipt = receipts.get(failure.id.parse::<usize>().ok()?)?.clone();
            let reason = match failure.message {
                Some(message) => format!("{}: {message}", failure.code),
                None => failure.code,
            };
            Some(NotDeleted { receipt, reason })
        });
        Ok(failures.collect())
    }
}

#[async_trait]
impl Queue for SqsQueue {
    fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }

    async fn check(&self) -> Result<(), ChannelError> {
        let request = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessages);
        let answer = request.send().await;
        answer.map(drop).map_err(|error| self.failed("ask for", "sqs:GetQueueAttributes", Said::of(error)))
    }

    async fn receive(&self, wait: Duration) -> Result<Vec<Message>, ChannelError> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(BATCH_MESSAGES as i32)
            .wait_time_seconds(wait.min(LONGEST_WAIT).as_secs() as i32)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let received = request.send().await;
        let received = received.map_err(|error| self.failed("receive from", "sqs:ReceiveMessage", Said::of(error)))?;
        let messages = received.messages.unwrap_or_default().into_iter();
        Ok(messages.filter_map(message).collect())
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<NotDeleted>, ChannelError> {
        let mut failures = Vec::new();
        for batch in receipts.chunks(BATCH_MESSAGES) {
            failures.extend(self.delete_batch(batch).await?);
        }
        Ok(failures)
    }
}

impl fmt::Debug for SqsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqsQueue").field(&self.url).finish()
    }
}

/// A client for the server and region of the queue at `url`.
pub(crate) fn client_of(config: &SdkConfig, url: &str) -> Result<Client, ConnectError> {
    let address = address(url).ok_or_else(|| ConnectError::InvalidQueue { url: url.to_owned() })?;
    let builder = aws_sdk_sqs::config::Builder::from(config);
    let builder = match amazon_region(address.host) {
        Some(region) => builder.region(Region::new(region.to_owned())),
        None => builder.endpoint_url(address.origin),
    };
    Ok(Client::from_conf(builder.build()))
}

/// A message without a receipt could not be deleted, and is none.
fn message(message: aws_sdk_sqs::types::Message) -> Option<Message> {
    let counts = message.attributes.as_ref();
    let deliveries = counts.and_then(|counts| counts.get(&MessageSystemAttributeName::ApproximateReceiveCount));
    Some(Message {
        receipt: Receipt(message.receipt_handle?),
        id: message.message_id.unwrap_or_default(),
        deliveries: deliveries.and_then(|count| count.parse().ok()).unwrap_or(1),
        notice: notice_of_message(message.body.as_deref().unwrap_or_default()),
    })
}

fn address(url: &str) -> Option<Address<'_>> {
    let scheme = ["https://", "http://"].into_iter().find(|scheme| url.starts_with(scheme))?;
    let (authority, path) = url[scheme.len()..].split_once('/')?;
    let name = path.rsplit('/').next()?;
    let host = authority.split(':').next()?;
    let plain = !host.is_empty() && !authority.contains('@') && !name.is_empty() && !path.contains(['?', '#']);
    plain.then(|| Address { origin: &url[..scheme.len() + authority.len()], host, name })
}

/// The region in `sqs.eu-west-1.amazonaws.com` (or the older `eu-west-1.queue.amazonaws.com`); `None` for other servers.
fn amazon_region(host: &str) -> Option<&str> {
    let name = AMAZON.iter().find_map(|amazon| host.strip_suffix(amazon))?;
    name.strip_prefix("sqs.").or_else(|| name.strip_suffix(".queue"))
}

#[cfg(test)]
mod tests;
