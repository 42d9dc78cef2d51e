use std::collections::BTreeSet;

use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use neartime_ingest::key_path::path_of_key;
use neartime_model::{Classify, ErrorKind};
use object_store::ObjectStoreExt;

use super::*;
use crate::testing::{Fault, connect, faulty, post, server, unique};

const POLL: Duration = Duration::from_secs(1);

struct Fixture {
    queue: SqsQueue,
    arn: String,
}

async fn fixture(server: &str) -> Fixture {
    let aws = connect(server).await;
    let maker = client_of(&aws.config, &format!("{server}/0/none")).unwrap();
    let url = maker.create_queue().queue_name(unique("nt-queue")).send().await.unwrap().queue_url.unwrap();
    let asked = maker.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::QueueArn);
    let facts = asked.send().await.unwrap().attributes.unwrap();
    let queue = aws.queue(&url).unwrap();
    Fixture { queue, arn: facts[&QueueAttributeName::QueueArn].clone() }
}

/// All that the queue gives, deleted as it comes.
async fn drain(queue: &SqsQueue) -> Vec<Message> {
    let mut all = Vec::new();
    loop {
        let messages = queue.receive(POLL).await.unwrap();
        if messages.is_empty() {
            return all;
        }
        let receipts: Vec<Receipt> = messages.iter().map(|message| message.receipt.clone()).collect();
        assert_eq!(queue.delete(&receipts).await.unwrap(), []);
        all.extend(messages);
    }
}

#[tokio::test]
async fn a_bucket_tells_of_its_objects_by_their_own_names() {
    let Some(server) = server() else { return };
    let Fixture { queue, arn } = fixture(&server).await;
    let aws = connect(&server).await;
    let bucket = unique("nt-notify");
    let s3 = aws.bucket(&bucket);
    let client = s3.client();
    client.create_bucket().bucket(&bucket).send().await.unwrap();
    let to_queue =
        QueueConfiguration::builder().queue_arn(arn).events(Event::from("s3:ObjectCreated:*")).build().unwrap();
    let told = NotificationConfiguration::builder().queue_configurations(to_queue).build();
    let request = client.put_bucket_notification_configuration().bucket(&bucket).notification_configuration(told);
    request.send().await.unwrap();
    let test = drain(&queue).await;
    assert!(test.iter().all(|message| message.notice.is_understood() && message.notice.objects.is_empty()));
    assert_eq!(test.iter().map(|message| message.notice.ignored).sum::<u64>(), 1, "the test message");

    let keys = ["in/a b+c%2B.gz", "in/été/日本.gz", "in/100%.gz", "in/q?a&b=c#d.gz", "in/plain.gz", "in/a//b.gz"];
    let mut versions = BTreeSet::new();
    for key in keys {
        let put = s3.put(&path_of_key(key), key.into()).await.unwrap();
        versions.insert((key.to_owned(), put.e_tag.unwrap().trim_matches('"').to_owned(), key.len() as u64));
    }
    let messages = drain(&queue).await;
    assert_eq!(messages.len(), keys.len());
    let objects = messages.into_iter().flat_map(|message| message.notice.objects);
    let told = objects.map(|object| (object.key, object.etag.unwrap(), object.size_bytes.unwrap())).collect();
    assert_eq!(versions, told);
}

/// A topic between bucket and queue, with its envelope and without.
#[tokio::test]
async fn a_topic_may_stand_between() {
    let Some(server) = server() else { return };
    for raw in ["false", "true"] {
        let Fixture { queue, arn } = fixture(&server).await;
        let made = post(&server, "sns", &format!("Action=CreateTopic&Name={}", unique("nt-topic"))).await;
        let topic = made.split("<TopicArn>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        let subscribe = format!(
            "Action=Subscribe&Protocol=sqs&TopicArn={topic}&Endpoint={arn}\
             &Attributes.entry.1.key=RawMessageDelivery&Attributes.entry.1.value={raw}"
        );
        post(&server, "sns", &subscribe).await;
        let body = r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"raw"},"object":{"key":"in%2Fa.gz"}}}]}"#;
        let body = percent_encoding::utf8_percent_encode(body, percent_encoding::NON_ALPHANUMERIC);
        post(&server, "sns", &format!("Action=Publish&TopicArn={topic}&Message={body}")).await;
        let messages = drain(&queue).await;
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].notice.objects[0].key, "in/a.gz");
    }
}

#[tokio::test]
async fn more_messages_than_one_request_deletes() {
    let Some(server) = server() else { return };
    let Fixture { queue, .. } = fixture(&server).await;
    for number in 0..23 {
        queue
            .client
            .send_message()
            .queue_url(&queue.url)
            .message_body(format!("no json {number}"))
            .send()
            .await
            .unwrap();
    }
    let mut receipts = Vec::new();
    while receipts.len() < 23 {
        let messages = queue.receive(POLL).await.unwrap();
        assert!(messages.iter().all(|message| !message.notice.is_understood() && message.deliveries == 1));
        receipts.extend(messages.into_iter().map(|message| message.receipt));
    }
    receipts.push(Receipt("no receipt of this queue".to_owned()));
    let failures = queue.delete(&receipts).await.unwrap();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].receipt.0, "no receipt of this queue");
    assert!(drain(&queue).await.is_empty());
}

#[tokio::test]
async fn errors_say_what_is_wrong() {
    let Some(server) = server() else { return };
    let missing = connect(&server).await.queue(&format!("{server}/123456789012/{}", unique("nt-none"))).unwrap();
    let error = missing.receive(POLL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("there is no such queue"), "{error}");
    assert!(missing.check().await.unwrap_err().to_string().contains("there is no such queue"));
    let Fixture { queue, .. } = fixture(&server).await;
    queue.check().await.unwrap();
    for (code, expected) in [
        ("AccessDeniedException", "sqs:ReceiveMessage on the queue"),
        ("UnrecognizedClientException", "credentials are refused"),
        ("ThrottlingException", "throttles us"),
    ] {
        let proxy = faulty(&server, move |_, _| Fault::Answer(400, code)).await;
        let path = queue.url.trim_start_matches(&server);
        let error = connect(&proxy).await.queue(&format!("{proxy}{path}")).unwrap().receive(POLL).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn an_address_tells_server_region_and_name() {
    let amazon = address("https://sqs.eu-west-1.amazonaws.com/123456789012/raw").unwrap();
    assert_eq!((amazon_region(amazon.host), amazon.name), (Some("eu-west-1"), "raw"));
    let other = address("http://127.0.0.1:9324/000000000000/raw").unwrap();
    assert_eq!((other.origin, amazon_region(other.host)), ("http://127.0.0.1:9324", None));
    assert_eq!(amazon_region("sqs.cn-north-1.amazonaws.com.cn"), Some("cn-north-1"));
    for wrong in ["raw", "https://", "https://host", "https://host/", "ftp://host/1/q", "https://user@host/1/q"] {
        assert_eq!(address(wrong), None, "{wrong}");
    }
}
