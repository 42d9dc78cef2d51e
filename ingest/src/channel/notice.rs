//! What a message about a bucket tells: which objects were created.
//!
//! Understood are notifications of S3 as they are, wrapped by SNS, delivered raw by SNS, and those of EventBridge.
//! A message is text that anybody with access to the queue can send: nothing in it is believed beyond naming objects,
//! and what it names counts only if it lies where a source looks (see [`place`](super::place)).

use serde_json::Value;

/// How many envelopes a notification may be wrapped in.
const MAX_ENVELOPES: usize = 3;
/// How much of a text that cannot be understood is shown.
const SHOWN_CHARS: usize = 80;

/// What a message or a record tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// The objects that were created, in their order.
    pub objects: Vec<ObjectNotice>,
    /// Parts that tell of something else: objects that were deleted or tagged, the test message of a new notification.
    pub ignored: u64,
    /// Parts that cannot be understood.
    pub unparseable: Vec<Unparseable>,
}

impl Notice {
    /// Whether nothing in it was left over.
    pub fn is_understood(&self) -> bool {
        self.unparseable.is_empty()
    }

    pub(super) fn reject(&mut self, reason: impl Into<String>) {
        self.unparseable.push(Unparseable { reason: reason.into() });
    }
}

/// An object that was created, or replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectNotice {
    /// Its bucket; `None` where only a key was told, which is then one of the source's own bucket.
    pub bucket: Option<String>,
    /// Its full key in the bucket, decoded.
    pub key: String,
    /// Its unquoted ETag, if told.
    pub etag: Option<String>,
    /// Its size in bytes, if told.
    pub size_bytes: Option<u64>,
}

/// Why a message, or a part of one, cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unparseable {
    reason: String,
}

/// Reads the body of a message.
///
/// ```
/// use neartime_ingest::channel::notice_of_message;
/// let body = r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{
///     "bucket":{"name":"raw"},"object":{"key":"in/a+b%2Bc.gz","size":7,"eTag":"d41d8"}}}]}"#;
/// let notice = notice_of_message(body);
/// assert_eq!(notice.objects[0].key, "in/a b+c.gz");
/// ```
pub fn notice_of_message(body: &str) -> Notice {
    let mut notice = Notice::default();
    match serde_json::from_str(body) {
        Ok(message) => read_message(&message, 0, &mut notice),
        Err(error) => notice.reject(format!("it is no JSON ({error}): {}", shown(body))),
    }
    notice
}

/// Reads a JSON object that is a notification or an envelope around one.
pub(super) fn read_message(message: &Value, envelopes: usize, notice: &mut Notice) {
    if let Some(records) = message.get("Records").and_then(Value::as_array) {
        records.iter().for_each(|record| read_s3_record(record, notice));
    } else if text(message, "Event") == Some("s3:TestEvent") {
        notice.ignored += 1;
    } else if text(message, "Type") == Some("Notification") {
        read_envelope(message, envelopes, notice);
    } else if text(message, "source") == Some("aws.s3") {
        read_event_bridge(message, notice);
    } else {
        notice.reject(format!("it is no notification of S3, SNS or EventBridge: {}", shown(&message.to_string())));
    }
}

fn read_envelope(envelope: &Value, envelopes: usize, notice: &mut Notice) {
    let Some(inner) = text(envelope, "Message") else {
        return notice.reject("it is an envelope of SNS without a message");
    };
    if envelopes == MAX_ENVELOPES {
        return notice.reject(format!("it is wrapped in more than {MAX_ENVELOPES} envelopes"));
    }
    match serde_json::from_str(inner) {
        Ok(message) => read_message(&message, envelopes + 1, notice),
        Err(error) => notice.reject(format!("its SNS message is no JSON ({error}): {}", shown(inner))),
    }
}

/// Reads one record of an S3 notification, whose key is encoded like a form: `+` for a space, `%2B` for a plus.
pub(super) fn read_s3_record(record: &Value, notice: &mut Notice) {
    let Some(event) = text(record, "eventName") else {
        return notice.reject(format!("a record has no eventName: {}", shown(&record.to_string())));
    };
    if !event.trim_start_matches("s3:").starts_with("ObjectCreated:") {
        notice.ignored += 1;
        return;
    }
    let s3 = record.get("s3").unwrap_or(&Value::Null);
    let object = s3.get("object").unwrap_or(&Value::Null);
    let bucket = s3.get("bucket").and_then(|bucket| text(bucket, "name"));
    let (Some(bucket), Some(key)) = (bucket, text(object, "key")) else {
        return notice.reject(format!("a record names no bucket or no key: {}", shown(&record.to_string())));
    };
    match form_decoded(key) {
        Some(key) => push(notice, Some(bucket), key, text(object, "eTag"), object.get("size")),
        None => notice.reject(format!("a key is no UTF-8: {}", shown(key))),
    }
}

/// Reads an event of EventBridge, whose key is plain.
fn read_event_bridge(event: &Value, notice: &mut Notice) {
    if text(event, "detail-type") != Some("Object Created") {
        notice.ignored += 1;
        return;
    }
    let detail = event.get("detail").unwrap_or(&Value::Null);
    let object = detail.get("object").unwrap_or(&Value::Null);
    let bucket = detail.get("bucket").and_then(|bucket| text(bucket, "name"));
    match (bucket, text(object, "key")) {
        (Some(bucket), Some(key)) => {
            push(notice, Some(bucket), key.to_owned(), text(object, "etag"), object.get("size"));
        }
        _ => notice.reject(format!("an event names no bucket or no key: {}", shown(&event.to_string()))),
    }
}

pub(super) fn push(
    notice: &mut Notice,
    bucket: Option<&str>,
    key: String,
    etag: Option<&str>,
    size_bytes: Option<&Value>,
) {
    if key.is_empty() || bucket == Some("") {
        return notice.reject("it names an empty bucket or key");
    }
    let etag = etag.map(|etag| etag.trim_matches('"').to_owned()).filter(|etag| !etag.is_empty());
    let size_bytes = size_bytes.and_then(Value::as_u64);
    notice.objects.push(ObjectNotice { bucket: bucket.map(str::to_owned), key, etag, size_bytes });
}

/// Decodes text that is encoded like the fields of a form; `None` if the result is no UTF-8.
///
/// S3 leaves slashes as they are, other servers encode them too: both come out right. A percent sign that no two
/// hexadecimal digits follow stays.
pub fn form_decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = (byte == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        match digits.and_then(hexadecimal) {
            Some(encoded) => {
                plain.push(encoded);
                at += 3;
            }
            None => {
                plain.push(if byte == b'+' { b' ' } else { byte });
                at += 1;
            }
        }
    }
    String::from_utf8(plain).ok()
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let value = |digit: &u8| char::from(*digit).to_digit(16);
    let (high, low) = (value(digits.first()?)?, value(digits.get(1)?)?);
    u8::try_from(high * 16 + low).ok()
}

pub(super) fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

/// The beginning of a text from outside, on one line.
pub(super) fn shown(text: &str) -> String {
    let begin: String = text.chars().take(SHOWN_CHARS).collect();
    format!("{begin:?}{}", if begin.len() < text.len() { "…" } else { "" })
}
