//! Policies: who may read a bucket, and which bucket may send to a queue.

use serde_json::{Map, Value, json};

use super::{InvalidSetup, SetupRequest};

const VERSION: &str = "2012-10-17";

/// A policy whose other statements are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Policy {
    /// All but the statements.
    fields: Map<String, Value>,
    statements: Vec<Value>,
    /// How many of them are not ours.
    others: usize,
}

impl Policy {
    /// Reads what is there; nothing is an empty policy.
    pub(super) fn parse(text: Option<&str>, of: &str) -> Result<Self, InvalidSetup> {
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(Self::default()) };
        let unknown = || InvalidSetup(format!("the policy of {of} cannot be understood: look at it by hand"));
        let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else { return Err(unknown()) };
        let statements = match fields.remove("Statement") {
            Some(Value::Array(statements)) => statements,
            Some(statement @ Value::Object(_)) => vec![statement],
            None => Vec::new(),
            Some(_) => return Err(unknown()),
        };
        Ok(Self { fields, statements, others: 0 })
    }

    /// Puts statements in the place of those with the same names.
    fn with(mut self, own: impl IntoIterator<Item = Value>) -> Self {
        let own: Vec<Value> = own.into_iter().collect();
        let is_own = |statement: &Value| own.iter().any(|own| own["Sid"] == statement["Sid"]);
        self.statements.retain(|statement| !is_own(statement));
        self.others = self.statements.len();
        self.statements.extend(own);
        self
    }

    /// What to know of the statements that were there.
    pub(super) fn others_note(&self) -> Option<String> {
        let allows = self.statements[..self.others].iter().filter(|statement| statement["Effect"] == "Allow").count();
        (allows > 0).then(|| {
            format!("the bucket's policy allows something in {allows} other statements, which are kept: look at them")
        })
    }

    pub(super) fn into_json(self) -> Value {
        let mut policy = self.fields;
        policy.entry("Version").or_insert_with(|| json!(VERSION));
        policy.insert("Statement".to_owned(), Value::Array(self.statements));
        Value::Object(policy)
    }
}

/// Lets the readers list the source's prefix and read what is below it, and nothing else.
pub(super) fn with_readers(there: Policy, request: &SetupRequest, readers: &[String]) -> Policy {
    let SetupRequest { bucket, prefix, source, .. } = request;
    let partition = partition(&readers[0]);
    let arn = format!("arn:{partition}:s3:::{bucket}");
    let prefix = prefix.trim_matches('/');
    let (objects, condition) = match prefix {
        "" => (format!("{arn}/*"), None),
        // The folder itself with and without its slash, which is how tools ask for it, and all that is below.
        _ => (format!("{arn}/{prefix}/*"), Some(json!({"StringLike": {"s3:prefix": [prefix, format!("{prefix}/*")]}}))),
    };
    let statement = |sid: &str, action: &str, resource: String| {
        json!({
            "Sid": name(sid, source.as_str()),
            "Effect": "Allow",
            "Principal": {"AWS": readers},
            "Action": action,
            "Resource": resource,
        })
    };
    let mut list = statement("NeartimeList", "s3:ListBucket", arn);
    if let Some(condition) = condition {
        list["Condition"] = condition;
    }
    there.with([list, statement("NeartimeGet", "s3:GetObject", objects)])
}

/// Lets S3 send to the queue, for this bucket alone.
pub(super) fn with_sender(there: Policy, bucket: &str, queue_arn: &str) -> Policy {
    let statement = json!({
        "Sid": name("NeartimeNotify", bucket),
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": format!("arn:{}:s3:::{bucket}", partition(queue_arn))}},
    });
    there.with([statement])
}

fn partition(arn: &str) -> &str {
    arn.split(':').nth(1).unwrap_or("aws")
}

/// A statement's name, which may have letters and digits only: others are written as `Z` and their number.
fn name(what: &str, of: &str) -> String {
    let mut name = what.to_owned();
    for byte in of.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => name.push(char::from(byte)),
            other => name.push_str(&format!("Z{other:02X}")),
        }
    }
    name
}
