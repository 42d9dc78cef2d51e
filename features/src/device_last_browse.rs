use std::sync::Arc;

use datafusion::error::Result;
use datafusion::prelude::{DataFrame, col, lit};
use neartime_engine::{Engine, Feature, LastActionTime, clean_str};

/// The events by which a device shows that somebody looks round.
const BROWSING: [&str; 6] = ["app_open", "view_listings", "view_item", "search_start", "chat_inbox", "on_resume"];

/// When a device last browsed.
///
/// Unit: seconds since the epoch. Keys: `id` (the device), `country`, `brand`. Browsing is opening or resuming the app,
/// looking at listings, an item or the inbox, or beginning a search.
///
/// Example: device d1 opens olx in za at 10:00:01 and views an item at 10:04:30.9 on 2018-09-20; of hour 10, ten_mins 00
/// there is the row (d1, za, olx, 1537437870).
#[derive(Debug)]
pub struct DeviceLastBrowse;

impl Feature for DeviceLastBrowse {
    fn name(&self) -> &str {
        "device_last_browse"
    }

    fn source(&self) -> &str {
        "horizontals"
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(LastActionTime::default())
    }

    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        events.filter(col("event_name").in_list(BROWSING.map(lit).to_vec(), false))?.select([
            clean_str(col("device_id")).alias("id"),
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
    async fn only_browsing_counts_and_a_device_without_a_name_does_not() {
        let events = events([
            ("event_name", text(["view_item", "app_open", "post_success", "on_resume", "chat_inbox"])),
            ("device_id", text([Some("d1"), Some("d1"), Some("d1"), Some(" "), None])),
            ("country", text(["za"; 5])),
            ("brand", text(["olx"; 5])),
            (
                "timestamp",
                times([
                    "2018-09-20T10:04:30.9Z",
                    "2018-09-20T10:00:01Z",
                    "2018-09-20T10:09:00Z",
                    "2018-09-20T10:09:00Z",
                    "2018-09-20T10:09:00Z",
                ]),
            ),
        ]);
        let expected = ["id country brand last_action_timestamp", "d1 za olx 1537437870"];
        assert_eq!(lines_of(DeviceLastBrowse, events).await, expected);
    }
}
