//! Pieces of configuration that several tests are made of.

/// Embedded databases and a folder for the features store.
pub const EMBEDDED: &str = r#"
[tasks]
database = "sqlite://neartime.db"
[features_store]
location = "features_store"
[online_store]
url = "sqlite://online.db"
[run]
workers = 2
lease = "4s"
"#;

/// The seed's classifieds events.
pub const HORIZONTALS: &str = r#"
[[source]]
name = "horizontals"
location = "raw-data-reservoir/in/horizontals"
layout = "{brand}/{platform}/%Y/%m/%d/%Y%m-%d-%H%M%S.gz"
format = "json"
[source.columns]
event_name = "string"
user_id    = "string"
device_id  = "string"
country    = "string"
timestamp  = { type = "timestamp", unit = "s" }
"#;

/// The seed's ad-network deliveries.
pub const DELIVERIES: &str = r#"
[[source]]
name = "deliveries"
location = "raw-data-reservoir/in/deliveries"
layout = "y=%Y/m=%m/d=%d/*.gz"
chunk = "1d"
format = "delimited"
delimiter = "|"
header = true
columns = { date = { type = "timestamp", unit = "iso" }, ad_network_id = "int", ads_impressions = "int", ads_revenue = "float", ecpm = "float" }
"#;

/// A small source of users with an event time, for everything that needs no more; `more` is further settings.
pub fn users(name: &str, more: &str) -> String {
    format!(
        r#"
[[source]]
name = "{name}"
location = "raw"
layout = "%Y/%m/%d/%H%M%S*.gz"
format = "json"
{more}
[source.columns]
user = "string"
item = "string"
amount = "int"
time = {{ type = "timestamp", unit = "iso" }}
"#
    )
}

/// One feature of each engine over [`users`].
pub fn users_features(source: &str) -> String {
    let feature = |name: &str, engine: &str, select: &str| {
        format!(
            r#"
[[feature]]
name = "{name}"
source = "{source}"
engine = "{engine}"
keys = ["id"]
select = {{ id = "user"{select} }}
"#
        )
    };
    [
        feature("counted", "count", ""),
        feature("latest", "last_action_time", ""),
        feature("members", "segment_membership", r#", item = "item""#),
        feature("summed", "rollup", r#", amount = "amount""#),
    ]
    .concat()
}
