use std::sync::Arc;

use datafusion::error::Result;
use datafusion::prelude::{DataFrame, col, lit};
use neartime_engine::{Count, Engine, Feature, clean_str};

/// How many ads a user posted.
///
/// Unit: posts. Keys: `id` (the user), `country`, `brand`. An event counts as a post if it is `post_success`.
///
/// Example: user 8fe540bb38 posts to olx in za at 09:31, 09:35 and 09:39 on 2018-08-01; of hour 09, ten_mins 30 there is
/// the row (8fe540bb38, za, olx, 3).
#[derive(Debug)]
pub struct UserNumPosts;

impl Feature for UserNumPosts {
    fn name(&self) -> &str {
        "user_num_posts"
    }

    fn source(&self) -> &str {
        "horizontals"
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Count::default())
    }

    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        events.filter(col("event_name").eq(lit("post_success")))?.select([
            clean_str(col("user_id")).alias("id"),
            clean_str(col("country")).alias("country"),
            clean_str(col("brand")).alias("brand"),
            col("timestamp"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use neartime_engine::trial::{events, text, times};

    use super::*;
    use crate::testing::lines_of;

    #[tokio::test]
    async fn posts_are_counted_for_each_user_country_and_brand() {
        let events = events([
            ("event_name", text(["post_success", "post_success", "post_success", "post_success", "view_item"])),
            ("user_id", text(["8fe540bb38", "8fe540bb38\t", "c360f89568", "8fe540bb38", "c360f89568"])),
            ("country", text(["za", "za", "gh", "za", "gh"])),
            ("brand", text(["olx"; 5])),
            ("timestamp", times(["2018-08-01T09:31:00Z"; 5])),
        ]);
        let expected = ["id country brand actions_count", "8fe540bb38 za olx 3", "c360f89568 gh olx 1"];
        assert_eq!(lines_of(UserNumPosts, events).await, expected);
    }
}
