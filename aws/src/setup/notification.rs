//! Notifications of a bucket: ours beside those that are there.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_bucket_notification_configuration::GetBucketNotificationConfigurationOutput;
use aws_sdk_s3::types::{
    Event, FilterRule, FilterRuleName, NotificationConfiguration, NotificationConfigurationFilter, QueueConfiguration,
    S3KeyFilter,
};
use serde_json::{Map, Value, json};

use super::SetupRequest;

/// What is there, with this source's notification to the queue in the place of an earlier one.
pub(super) fn merged(
    there: GetBucketNotificationConfigurationOutput,
    request: &SetupRequest,
    queue_arn: &str,
) -> NotificationConfiguration {
    let own = own(request, queue_arn);
    let mut queues = there.queue_configurations.unwrap_or_default();
    queues.retain(|queue| queue.id != own.id);
    queues.push(own);
    NotificationConfiguration::builder()
        .set_queue_configurations(Some(queues))
        .set_topic_configurations(there.topic_configurations)
        .set_lambda_function_configurations(there.lambda_function_configurations)
        .set_event_bridge_configuration(there.event_bridge_configuration)
        .build()
}

/// Whether an answer that the client does not understand is one empty element: some servers (moto) have a name of their
/// own for no notifications. Anything else that is not understood may hold what must not be lost.
pub(super) fn is_none<E>(error: &SdkError<E, HttpResponse>) -> bool {
    let Some(answer) = error.raw_response().filter(|answer| answer.status().as_u16() == 200) else { return false };
    let body = answer.body().bytes().and_then(|body| std::str::from_utf8(body).ok()).unwrap_or_default().trim();
    let root = body.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")).map_or(body, |(_, rest)| rest.trim());
    root.starts_with('<') && root.ends_with("/>") && root.matches('<').count() == 1
}

fn own(request: &SetupRequest, queue_arn: &str) -> QueueConfiguration {
    let mut configuration = QueueConfiguration::builder()
        .id(format!("neartime-{}", request.source))
        .queue_arn(queue_arn)
        .events(Event::from("s3:ObjectCreated:*"));
    let prefix = request.prefix.trim_matches('/');
    if !prefix.is_empty() {
        let rule = FilterRule::builder().name(FilterRuleName::Prefix).value(format!("{prefix}/")).build();
        let key = S3KeyFilter::builder().filter_rules(rule).build();
        configuration = configuration.filter(NotificationConfigurationFilter::builder().key(key).build());
    }
    configuration.build().expect("queue and events are set")
}

/// As `aws s3api put-bucket-notification-configuration` takes it.
pub(super) fn to_json(notification: &NotificationConfiguration) -> Value {
    let mut all = Map::new();
    let mut insert = |name: &str, configurations: Vec<Value>| {
        if !configurations.is_empty() {
            all.insert(name.to_owned(), Value::Array(configurations));
        }
    };
    let one = |id: Option<&str>,
               kind: &str,
               arn: &str,
               events: &[Event],
               filter: Option<&NotificationConfigurationFilter>| {
        let events: Vec<&str> = events.iter().map(Event::as_str).collect();
        let mut one = json!({ kind: arn, "Events": events });
        if let Some(id) = id {
            one["Id"] = json!(id);
        }
        if let Some(filter) = filter.and_then(|filter| filter.key()) {
            one["Filter"] = json!({"Key": {"FilterRules": rules(filter)}});
        }
        one
    };
    let queues = notification.queue_configurations().iter();
    let queues = queues.map(|it| one(it.id(), "QueueArn", it.queue_arn(), it.events(), it.filter()));
    insert("QueueConfigurations", queues.collect());
    let topics = notification.topic_configurations().iter();
    let topics = topics.map(|it| one(it.id(), "TopicArn", it.topic_arn(), it.events(), it.filter()));
    insert("TopicConfigurations", topics.collect());
    let functions = notification.lambda_function_configurations().iter();
    let functions =
        functions.map(|it| one(it.id(), "LambdaFunctionArn", it.lambda_function_arn(), it.events(), it.filter()));
    insert("LambdaFunctionConfigurations", functions.collect());
    if notification.event_bridge_configuration().is_some() {
        all.insert("EventBridgeConfiguration".to_owned(), json!({}));
    }
    Value::Object(all)
}

fn rules(filter: &S3KeyFilter) -> Vec<Value> {
    let rule = |rule: &FilterRule| json!({"Name": rule.name().map(FilterRuleName::as_str), "Value": rule.value()});
    filter.filter_rules().iter().map(rule).collect()
}
