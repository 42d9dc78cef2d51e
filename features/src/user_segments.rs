use std::sync::Arc;

use datafusion::error::Result;
use datafusion::prelude::{DataFrame, col};
use neartime_engine::{Engine, Feature, SegmentMembership, clean_str};

/// The first and the last time that a user was seen in each segment.
///
/// Unit: instants. Keys: `id` (the user); item: the segment. An event names all segments that the user is in.
///
/// Example: user u is in segments 11 and 101 at 16:36:49 on 2017-02-09; of hour 16, ten_mins 30 there are the rows
/// (u, 11, 16:36:49, 16:36:49) and (u, 101, 16:36:49, 16:36:49).
#[derive(Debug)]
pub struct UserSegments;

impl Feature for UserSegments {
    fn name(&self) -> &str {
        "user_segments"
    }

    fn source(&self) -> &str {
        "memberships"
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(SegmentMembership::by(["id"]))
    }

    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        events.select([clean_str(col("user")).alias("id"), col("segments").alias("item"), col("ts").alias("timestamp")])
    }
}

#[cfg(test)]
mod tests {
    use neartime_engine::trial::{events, lists, text, times};

    use super::*;
    use crate::testing::lines_of;

    #[tokio::test]
    async fn each_segment_of_a_user_has_its_first_and_last_time() {
        let events = events([
            ("user", text(["u", "u", "v"])),
            ("segments", lists([vec!["11", "101", "11"], vec!["11", ""], vec![]].map(Some))),
            ("ts", times(["2017-02-09T16:36:49Z", "2017-02-09T16:38:00Z", "2017-02-09T16:38:00Z"])),
        ]);
        let expected = [
            "id item min_ts max_ts",
            "u 101 2017-02-09T16:36:49Z 2017-02-09T16:36:49Z",
            "u 11 2017-02-09T16:36:49Z 2017-02-09T16:38:00Z",
        ];
        assert_eq!(lines_of(UserSegments, events).await, expected);
    }
}
