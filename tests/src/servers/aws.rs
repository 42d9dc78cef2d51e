//! The tests' own view of S3, SQS and Kinesis, past the SDK that neartime uses.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::http::{Reply, send};

/// moto's account, and the only region in use.
pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "us-east-1";

/// S3, SQS and Kinesis at one address.
#[derive(Clone, Debug)]
pub struct Aws {
    /// `127.0.0.1:15436`
    server: String,
}

impl Aws {
    /// `url` is what NEARTIME_TEST_AWS holds: `http://127.0.0.1:15436`.
    pub fn new(url: &str) -> Self {
        Self { server: url.trim_start_matches("http://").trim_end_matches('/').to_owned() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server)
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    pub fn create_bucket(&self, bucket: &str) {
        self.s3("PUT", &format!("/{bucket}"), &[]);
    }

    pub fn put(&self, bucket: &str, key: &str, bytes: impl AsRef<[u8]>) {
        self.s3("PUT", &object(bucket, key), bytes.as_ref());
    }

    pub fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        self.s3("GET", &object(bucket, key), &[]).body
    }

    pub fn delete(&self, bucket: &str, key: &str) {
        self.s3("DELETE", &object(bucket, key), &[]);
    }

    /// All keys below `prefix`, in order.
    pub fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().map_or_else(String::new, |key| format!("&start-after={}", encode(key)));
            let path = format!("/{bucket}?list-type=2&prefix={}{after}", encode(prefix));
            let page = String::from_utf8(self.s3("GET", &path, &[]).body).expect("a listing is text");
            let inside = |part: &str| part.split_once("</Key>").expect("an element that ends").0.replace("&amp;", "&");
            keys.extend(page.split("<Key>").skip(1).map(inside));
            if !page.contains("<IsTruncated>true</IsTruncated>") {
                return keys;
            }
        }
    }

    /// All objects below `prefix` by what follows it.
    pub fn objects(&self, bucket: &str, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let keys = self.keys(bucket, prefix).into_iter();
        keys.map(|key| (key[prefix.len()..].to_owned(), self.get(bucket, &key))).collect()
    }

    /// Makes a queue and returns its URL.
    pub fn create_queue(&self, name: &str) -> String {
        self.json("AmazonSQS.CreateQueue", &json!({"QueueName": name}));
        format!("{}/{ACCOUNT}/{name}", self.url())
    }

    pub fn send_message(&self, queue: &str, body: &str) {
        self.json("AmazonSQS.SendMessage", &json!({"QueueUrl": queue, "MessageBody": body}));
    }

    /// Messages that nobody has deleted yet: those to be had and those being handled.
    pub fn messages(&self, queue: &str) -> u64 {
        let counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let reply = self.json("AmazonSQS.GetQueueAttributes", &json!({"QueueUrl": queue, "AttributeNames": counts}));
        let count = |name| reply["Attributes"][name].as_str().and_then(|text| text.parse::<u64>().ok());
        counts.into_iter().map(|name| count(name).expect("a count")).sum()
    }

    /// Sends the bucket's notifications below `prefix` to the queue of this name.
    pub fn notify(&self, bucket: &str, prefix: &str, queue: &str) {
        let body = format!(
            "<NotificationConfiguration><QueueConfiguration><Queue>arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}</Queue>\
             <Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name><Value>{prefix}</Value>\
             </FilterRule></S3Key></Filter></QueueConfiguration></NotificationConfiguration>"
        );
        self.s3("PUT", &format!("/{bucket}?notification"), body.as_bytes());
    }

    pub fn create_stream(&self, name: &str, shards: u32) {
        self.json("Kinesis_20131202.CreateStream", &json!({"StreamName": name, "ShardCount": shards}));
    }

    /// Puts a record, whose bytes are `base64`; the partition key decides the shard.
    pub fn put_record(&self, stream: &str, partition_key: &str, base64: &str) {
        let record = json!({"StreamName": stream, "PartitionKey": partition_key, "Data": base64});
        self.json("Kinesis_20131202.PutRecord", &record);
    }

    /// The shards that take records: id, first and last hash key.
    pub fn open_shards(&self, stream: &str) -> Vec<(String, u128, u128)> {
        let reply = self.json("Kinesis_20131202.ListShards", &json!({"StreamName": stream}));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let shards = reply["Shards"].as_array().expect("a list of shards");
        let open = shards.iter().filter(|shard| shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null());
        let range = |shard: &Value, end: &str| text(&shard["HashKeyRange"][end]).parse().expect("a hash key");
        open.map(|shard| (text(&shard["ShardId"]), range(shard, "StartingHashKey"), range(shard, "EndingHashKey")))
            .collect()
    }

    /// Splits the first open shard in two.
    pub fn split_shard(&self, stream: &str) {
        let (id, first, last) = self.open_shards(stream).swap_remove(0);
        let middle = (first + (last - first) / 2).to_string();
        let split = json!({"StreamName": stream, "ShardToSplit": id, "NewStartingHashKey": middle});
        self.json("Kinesis_20131202.SplitShard", &split);
    }

    /// Merges two open shards that lie side by side.
    pub fn merge_shards(&self, stream: &str) {
        let mut shards = self.open_shards(stream);
        shards.sort_by_key(|shard| shard.1);
        let merge = json!({"StreamName": stream, "ShardToMerge": shards[0].0, "AdjacentShardToMerge": shards[1].0});
        self.json("Kinesis_20131202.MergeShards", &merge);
    }

    fn s3(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        self.call(method, path, &[("Authorization", &authorization("s3"))], body)
    }

    fn json(&self, target: &str, body: &Value) -> Value {
        let service = if target.starts_with("AmazonSQS") { "sqs" } else { "kinesis" };
        let kind = if service == "sqs" { "application/x-amz-json-1.0" } else { "application/x-amz-json-1.1" };
        let headers = [("Authorization", &*authorization(service)), ("X-Amz-Target", target), ("Content-Type", kind)];
        let reply = self.call("POST", "/", &headers, body.to_string().as_bytes());
        if reply.body.is_empty() { Value::Null } else { serde_json::from_slice(&reply.body).expect("a JSON reply") }
    }

    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let reply = send(&self.server, method, path, headers, body).expect("the server answers");
        let told = || String::from_utf8_lossy(&reply.body).into_owned();
        assert!(reply.status < 300, "{method} {path} {headers:?}: {} {}", reply.status, told());
        reply
    }
}

/// moto looks at the service that the signature names and not at the signature.
fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20240101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=none"
    )
}

fn object(bucket: &str, key: &str) -> String {
    format!("/{bucket}/{}", encode(key))
}

/// Percent-encoding of everything but unreserved characters and `/`.
fn encode(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encoded).collect()
}
