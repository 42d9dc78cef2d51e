use std::sync::Arc;

use datafusion::error::Result;
use datafusion::prelude::{DataFrame, col, lit};
use neartime_engine::{Engine, Feature, LastActionTime, clean_str};

/// When a user last logged in.
///
/// Unit: seconds since the epoch. Keys: `id` (the user), `country`, `brand`. An event counts as a login if it is
/// `login_sign_in_complete`.
///
/// Example: user 0947a3e926 signs in to letgo in cz at 10:16:35 and at 10:17:10 on 2018-08-01; of hour 10, ten_mins 10
/// there is the row (0947a3e926, cz, letgo, 1533118630).
#[derive(Debug)]
pub struct UserLastLogin;

impl Feature for UserLastLogin {
    fn name(&self) -> &str {
        "user_last_login"
    }

    fn source(&self) -> &str {
        "horizontals"
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(LastActionTime::default())
    }

    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        events.filter(col("event_name").eq(lit("login_sign_in_complete")))?.select([
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
    async fn the_latest_login_stays() {
        let events = events([
            (
                "event_name",
                text(["login_sign_in_complete", "login_sign_in_complete", "app_open", "login_sign_in_complete"]),
            ),
            ("user_id", text(["0947a3e926", " 0947a3e926", "0947a3e926", "ff3ca262b3"])),
            ("country", text(["cz", "cz", "cz", "ke"])),
            ("brand", text(["letgo", "letgo", "letgo", "olx"])),
            (
                "timestamp",
                times(["2018-08-01T10:17:10Z", "2018-08-01T10:16:35Z", "2018-08-01T10:19:00Z", "2018-08-01T10:19:11Z"]),
            ),
        ]);
        let expected = [
            "id country brand last_action_timestamp",
            "0947a3e926 cz letgo 1533118630",
            "ff3ca262b3 ke olx 1533118751",
        ];
        assert_eq!(lines_of(UserLastLogin, events).await, expected);
    }
}
