use std::sync::Arc;

use datafusion::error::Result;
use datafusion::prelude::{DataFrame, col};
use neartime_engine::{Engine, Feature, SegmentMembership, clean_str};

/// The first and the last time that a user was seen on each site.
///
/// Unit: instants. Keys: `id` (the user); item: the site, known by the pixel on its pages.
///
/// Example: user u loads pixel 1017238 at 16:36:47 and at 16:39:00 on 2017-02-09; of hour 16, ten_mins 30 there is the
/// row (u, 1017238, 16:36:47, 16:39:00).
#[derive(Debug)]
pub struct UserSites;

impl Feature for UserSites {
    fn name(&self) -> &str {
        "user_sites"
    }

    fn source(&self) -> &str {
        "visits"
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(SegmentMembership::by(["id"]))
    }

    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        events.select([
            clean_str(col("user")).alias("id"),
            clean_str(col("pixel")).alias("item"),
            col("ts").alias("timestamp"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use neartime_engine::trial::{events, text, times};

    use super::*;
    use crate::testing::lines_of;

    #[tokio::test]
    async fn each_site_of_a_user_has_its_first_and_last_time() {
        let events = events([
            ("user", text(["u", "u", "u"])),
            ("pixel", text([Some("1017238"), Some("1017238"), None])),
            ("ts", times(["2017-02-09T16:39:00Z", "2017-02-09T16:36:47Z", "2017-02-09T16:36:47Z"])),
        ]);
        let expected = ["id item min_ts max_ts", "u 1017238 2017-02-09T16:36:47Z 2017-02-09T16:39:00Z"];
        assert_eq!(lines_of(UserSites, events).await, expected);
    }
}
