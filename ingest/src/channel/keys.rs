//! Records that name raw files: what a stream with `carries = "keys"` holds.
//!
//! A record is plain text, a key on each line, or JSON. `docs/channels.md` shows what is understood.

use serde_json::{Deserializer, Value};

use super::Notice;
use super::notice::{push, read_message, read_s3_record, shown, text};

/// Schemes that all mean a bucket.
const SCHEMES: [&str; 3] = ["s3://", "s3a://", "s3n://"];

/// Reads the files that a record names.
///
/// - Text: one file a line, `s3://bucket/key` or a key of the source's own bucket; blank lines are skipped.
/// - JSON, where the text begins with `{`, `[` or `"`: one value or several, each a string as above, an object with
///   `key` (and `bucket`, `etag`, `size`), a list of these, or a notification of S3 in any of its envelopes.
///
/// Keys are plain here; only those of S3's own notifications are decoded. Both forms name full keys: a key below the
/// source's prefix begins with that prefix.
pub fn keys_of_record(data: &[u8]) -> Notice {
    let mut notice = Notice::default();
    let Ok(record) = std::str::from_utf8(data) else {
        notice.reject(format!("a record is no UTF-8: {}", shown(&String::from_utf8_lossy(data))));
        return notice;
    };
    let record = record.trim_start_matches('\u{feff}').trim();
    if record.starts_with(['{', '[', '"']) {
        read_json(record, &mut notice);
    } else {
        record.lines().for_each(|line| read_name(line.trim(), &mut notice));
    }
    notice
}

fn read_json(record: &str, notice: &mut Notice) {
    for value in Deserializer::from_str(record).into_iter::<Value>() {
        match value {
            Ok(value) => read_value(&value, notice),
            Err(error) => return notice.reject(format!("a record is no JSON ({error}): {}", shown(record))),
        }
    }
}

fn read_value(value: &Value, notice: &mut Notice) {
    match value {
        Value::String(name) => read_name(name, notice),
        Value::Array(values) => values.iter().for_each(|value| read_value(value, notice)),
        Value::Object(fields) if fields.contains_key("key") => read_object(value, notice),
        Value::Object(fields) if fields.contains_key("s3") => read_s3_record(value, notice),
        Value::Object(_) => read_message(value, 0, notice),
        other => notice.reject(format!("it names no file: {}", shown(&other.to_string()))),
    }
}

fn read_object(object: &Value, notice: &mut Notice) {
    let Some(key) = text(object, "key") else {
        return notice.reject(format!("its key is no text: {}", shown(&object.to_string())));
    };
    match (text(object, "bucket"), in_bucket(key)) {
        (None, Some((bucket, key))) => {
            push(notice, Some(bucket), key.to_owned(), text(object, "etag"), object.get("size"));
        }
        (bucket, _) => push(notice, bucket, key.to_owned(), text(object, "etag"), object.get("size")),
    }
}

fn read_name(name: &str, notice: &mut Notice) {
    match in_bucket(name) {
        _ if name.is_empty() => {}
        Some((bucket, key)) => push(notice, Some(bucket), key.to_owned(), None, None),
        None => push(notice, None, name.to_owned(), None, None),
    }
}

/// The bucket and key of `s3://bucket/key`.
fn in_bucket(name: &str) -> Option<(&str, &str)> {
    let rest = SCHEMES.iter().find_map(|scheme| name.strip_prefix(scheme))?;
    Some(rest.split_once('/').unwrap_or((rest, "")))
}
