use std::time::Duration;

use aws_sdk_s3::types::{Event, TopicConfiguration};
use neartime_ingest::channel::Queue;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde_json::json;

use super::*;
use crate::Aws;
use crate::testing::{Fault, connect, faulty, post, server, unique};

const ROLE: &str = "arn:aws:iam::123456789012:role/partner";

struct Fixture {
    aws: Aws,
    request: SetupRequest,
    queue_arn: String,
}

async fn fixture(server: &str) -> Fixture {
    let aws = connect(server).await;
    let bucket = unique("nt-setup");
    aws.setup().s3.create_bucket().bucket(&bucket).send().await.unwrap();
    let sqs = client_of(&aws.config, &format!("{server}/0/none")).unwrap();
    let url = sqs.create_queue().queue_name(unique("nt-queue")).send().await.unwrap().queue_url.unwrap();
    let asked = sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::QueueArn);
    let queue_arn = asked.send().await.unwrap().attributes.unwrap()[&QueueAttributeName::QueueArn].clone();
    let request = SetupRequest {
        source: SourceName::new("raw_events").unwrap(),
        bucket,
        prefix: "in/events".to_owned(),
        queue: Some(url),
        readers: vec![ROLE.to_owned()],
    };
    Fixture { aws, request, queue_arn }
}

#[tokio::test]
async fn plans_and_applies_and_can_be_run_again() {
    let Some(server) = server() else { return };
    let Fixture { aws, request, queue_arn } = fixture(&server).await;
    let (setup, bucket) = (aws.setup(), &request.bucket);
    let plan = setup.plan(&request).await.unwrap();
    let none = setup.notifications(bucket).await.unwrap();
    assert!(none.queue_configurations().is_empty(), "a plan changes nothing");
    setup.apply(&plan).await.unwrap();

    let there = setup.notifications(bucket).await.unwrap();
    let [own] = there.queue_configurations() else { panic!("one notification") };
    assert_eq!((own.queue_arn(), own.id()), (queue_arn.as_str(), Some("neartime-raw_events")));
    let rule = &own.filter().unwrap().key().unwrap().filter_rules()[0];
    assert_eq!((rule.name().unwrap().as_str().to_lowercase(), rule.value()), ("prefix".to_owned(), Some("in/events/")));
    let policy = setup.s3.get_bucket_policy().bucket(bucket).send().await.unwrap().policy.unwrap();
    let policy: Value = serde_json::from_str(&policy).unwrap();
    let arn = format!("arn:aws:s3:::{bucket}");
    let expected = json!({"Version": "2012-10-17", "Statement": [
        {"Sid": "NeartimeListrawZ5Fevents", "Effect": "Allow", "Principal": {"AWS": [ROLE]}, "Action": "s3:ListBucket",
         "Resource": arn, "Condition": {"StringLike": {"s3:prefix": ["in/events", "in/events/*"]}}},
        {"Sid": "NeartimeGetrawZ5Fevents", "Effect": "Allow", "Principal": {"AWS": [ROLE]}, "Action": "s3:GetObject",
         "Resource": format!("{arn}/in/events/*")},
    ]});
    assert_eq!(policy, expected);
    let queue = setup.queue(request.queue.as_ref().unwrap()).await.unwrap();
    let queue_policy: Value = serde_json::from_str(&queue.policy.unwrap()).unwrap();
    assert_eq!(queue_policy["Statement"][0]["Condition"], json!({"ArnEquals": {"aws:SourceArn": arn}}));
    assert_eq!(queue_policy["Statement"][0]["Resource"], json!(queue_arn));

    let again = setup.plan(&request).await.unwrap();
    assert_eq!(json!(again), json!(plan));
    setup.apply(&again).await.unwrap();
    // Another reader takes the place of the first.
    let other = SetupRequest { readers: vec!["arn:aws:iam::210987654321:root".to_owned()], ..request.clone() };
    let plan = setup.plan(&other).await.unwrap();
    let statements = plan.bucket_policy.unwrap()["Statement"].clone();
    assert_eq!(statements.as_array().unwrap().len(), 2);
    assert!(!statements.to_string().contains(ROLE));
}

/// New objects come to the queue that was set up.
#[tokio::test]
async fn what_is_set_up_tells_of_new_objects() {
    let Some(server) = server() else { return };
    let Fixture { aws, request, .. } = fixture(&server).await;
    let plan = aws.setup().plan(&request).await.unwrap();
    aws.setup().apply(&plan).await.unwrap();
    let bucket = aws.bucket(&request.bucket);
    for key in ["in/events/a.gz", "elsewhere/b.gz"] {
        bucket.put(&Path::from(key), "x".into()).await.unwrap();
    }
    let queue = aws.queue(request.queue.as_ref().unwrap()).unwrap();
    let mut keys = Vec::new();
    for _ in 0..3 {
        let messages = queue.receive(Duration::from_secs(1)).await.unwrap();
        assert!(messages.iter().all(|message| message.notice.is_understood()));
        keys.extend(messages.into_iter().flat_map(|message| message.notice.objects).map(|object| object.key));
    }
    assert_eq!(keys, ["in/events/a.gz"]);
}

#[tokio::test]
async fn what_others_wrote_is_kept() {
    let Some(server) = server() else { return };
    let Fixture { aws, request, .. } = fixture(&server).await;
    let (setup, bucket) = (aws.setup(), &request.bucket);
    let made = post(&server, "sns", &format!("Action=CreateTopic&Name={}", unique("nt-topic"))).await;
    let topic_arn = made.split("<TopicArn>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let events = Event::from("s3:ObjectRemoved:*");
    let topic = TopicConfiguration::builder().id("theirs").topic_arn(&topic_arn).events(events).build().unwrap();
    let theirs = NotificationConfiguration::builder().topic_configurations(topic).build();
    let put = setup.s3.put_bucket_notification_configuration().bucket(bucket).notification_configuration(theirs);
    put.send().await.unwrap();
    let deny = json!({"Sid": "TlsOnly", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": format!("arn:aws:s3:::{bucket}/*"), "Condition": {"Bool": {"aws:SecureTransport": "false"}}});
    let policy = json!({"Version": "2012-10-17", "Id": "theirs", "Statement": [deny]});
    setup.s3.put_bucket_policy().bucket(bucket).policy(policy.to_string()).send().await.unwrap();
    let plan = setup.plan(&request).await.unwrap();
    let notification = plan.bucket_notification.as_ref().unwrap();
    assert_eq!(notification["TopicConfigurations"][0]["TopicArn"], json!(topic_arn));
    assert_eq!(notification["QueueConfigurations"].as_array().unwrap().len(), 1);
    let policy = plan.bucket_policy.as_ref().unwrap();
    assert_eq!((&policy["Id"], &policy["Statement"][0]), (&json!("theirs"), &deny));
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
    assert!(plan.warnings[0].contains("dead-letter"));
    setup.apply(&plan).await.unwrap();
    let there = setup.notifications(bucket).await.unwrap();
    assert_eq!((there.topic_configurations().len(), there.queue_configurations().len()), (1, 1));
}

#[tokio::test]
async fn refuses_with_the_reason() {
    let Some(server) = server() else { return };
    let Fixture { aws, request, .. } = fixture(&server).await;
    let setup = aws.setup();
    let refused = async |request: SetupRequest| setup.plan(&request).await.unwrap_err();
    for (change, expected) in [
        (SetupRequest { bucket: "raw_data".to_owned(), ..request.clone() }, "underscore"),
        (SetupRequest { bucket: "RawData".to_owned(), ..request.clone() }, "is no bucket's name"),
        (SetupRequest { bucket: "a..b".to_owned(), ..request.clone() }, "is no bucket's name"),
        (SetupRequest { readers: vec!["*".to_owned()], ..request.clone() }, "is no ARN"),
        (SetupRequest { readers: Vec::new(), queue: None, ..request.clone() }, "nothing to set up"),
        (SetupRequest { queue: Some("events".to_owned()), ..request.clone() }, "no address of a queue"),
    ] {
        let error = refused(change).await;
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let error = refused(SetupRequest { bucket: unique("nt-none"), ..request.clone() }).await;
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    // The server does not know who pays; the proxy does.
    let proxy = faulty(&server, |head, _| match head.contains("requestPayment") {
        true => Fault::Say("<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>"),
        false => Fault::Pass,
    });
    let error = connect(&proxy.await).await.setup().plan(&request).await.unwrap_err();
    assert!(error.to_string().contains("the requester pays") && error.kind() == ErrorKind::Invalid, "{error}");
}

#[test]
fn a_bucket_without_prefix_is_read_as_a_whole() {
    let request = SetupRequest {
        source: SourceName::new("raw").unwrap(),
        bucket: "raw-data".to_owned(),
        prefix: String::new(),
        queue: None,
        readers: vec!["arn:aws-cn:iam::123456789012:role/partner".to_owned()],
    };
    let policy = policy::with_readers(Policy::default(), &request, &request.readers).into_json();
    let statement = |sid: &str, action: &str, resource: &str| json!({"Sid": sid, "Effect": "Allow", "Principal": {"AWS": request.readers}, "Action": action, "Resource": resource});
    let expected = [
        statement("NeartimeListraw", "s3:ListBucket", "arn:aws-cn:s3:::raw-data"),
        statement("NeartimeGetraw", "s3:GetObject", "arn:aws-cn:s3:::raw-data/*"),
    ];
    assert_eq!(policy["Statement"], json!(expected));
}

#[test]
fn strange_policies_are_left_to_people() {
    for text in ["[]", "no json", r#"{"Statement":"x"}"#] {
        assert!(Policy::parse(Some(text), "the bucket `b`").unwrap_err().to_string().contains("by hand"), "{text}");
    }
    let single = Policy::parse(Some(r#"{"Statement":{"Sid":"one"}}"#), "the bucket `b`").unwrap();
    assert_eq!(single.into_json()["Statement"], json!([{"Sid": "one"}]));
}
