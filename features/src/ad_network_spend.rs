use std::sync::Arc;

use datafusion::error::Result;
use datafusion::prelude::{DataFrame, col};
use neartime_engine::{Engine, Feature, Rollup};

/// What each ad network delivered, earned and cost.
///
/// Unit: impressions; revenue and spend in the currency of the deliveries, spend a thousandfold, because an eCPM is a
/// price for a thousand impressions. Keys: `ad_network_id`. Deliveries without a network count too, so that totals add
/// up. Ratios, on rolled-up values only: `ecpm` = spend / impressions, `revenue_ecpm` = 1000 · revenue / impressions.
///
/// Example: network 10 delivers 2343 impressions at an eCPM of 5.4, 3453 at 3.1 and 12543 at 8.1 on 2021-12-20: of that
/// day there is a row of 18339 impressions and a spend of 124954.8, an eCPM of 6.8136; the average of the three is 5.53.
#[derive(Debug)]
pub struct AdNetworkSpend;

impl Feature for AdNetworkSpend {
    fn name(&self) -> &str {
        "ad_network_spend"
    }

    fn source(&self) -> &str {
        "deliveries"
    }

    fn engine(&self) -> Arc<dyn Engine> {
        let rollup = Rollup::by(["ad_network_id"])
            .ratio("ecpm", "ad_spend / ads_impressions")
            .ratio("revenue_ecpm", "1000 * ads_revenue / ads_impressions");
        Arc::new(rollup)
    }

    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        events.select([
            col("ad_network_id"),
            col("ads_impressions"),
            col("ads_revenue"),
            (col("ads_impressions") * col("ecpm")).alias("ad_spend"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::Float64Type;
    use neartime_engine::trial::{events, floats, ints, run, table_of};
    use neartime_engine::{Ratios, compile, merge_batches};

    use super::*;
    use crate::testing::lines_of;

    fn deliveries() -> datafusion::arrow::array::RecordBatch {
        events([
            ("ad_network_id", ints([Some(10), Some(10), Some(10), None])),
            ("ads_impressions", ints([2343, 3453, 12543, 7])),
            ("ads_revenue", floats([1.5, 2.25, 3.0, 0.0])),
            ("ecpm", floats([Some(5.4), Some(3.1), Some(8.1), None])),
            ("timestamp", neartime_engine::trial::times(["2021-12-20"; 4])),
        ])
    }

    #[tokio::test]
    async fn measures_are_summed_for_each_network() {
        // Three rounded products; their sum is rounded once, to the double below 124954.8.
        let expected = [
            "ad_network_id ads_impressions ads_revenue ad_spend row_count",
            "7 0.0  1",
            "10 18339 6.75 124954.79999999999 3",
        ];
        let lines = lines_of(AdNetworkSpend, deliveries()).await;
        assert_eq!(lines.iter().map(|line| line.trim()).collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn ecpm_is_spend_by_impressions_and_no_average() {
        let feature: Arc<dyn Feature> = Arc::new(AdNetworkSpend);
        let table = table_of(feature.as_ref(), &deliveries(), "timestamp");
        let feature = compile(feature, &table).unwrap();
        let mut days = Vec::new();
        for row in 0..3 {
            days.push(run(&feature, vec![deliveries().slice(row, 1)]).await.0);
        }
        let output = &feature.table().output;
        let merged = merge_batches(feature.engine().as_ref(), output, days).await.unwrap();
        let ratios = Ratios::new(output, &feature.table().ratios).unwrap().append(&merged).unwrap();
        let ratio = |name: &str| ratios.column_by_name(name).unwrap().as_primitive::<Float64Type>().value(0);
        assert_eq!(format!("{:.4}", ratio("ecpm")), "6.8136");
        assert_eq!(format!("{:.4}", ratio("revenue_ecpm")), format!("{:.4}", 1000.0 * 6.75 / 18339.0));
    }
}
