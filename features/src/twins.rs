//! The features of the documented configuration, written as SQL, against their twins in Rust.

use neartime_engine::trial::{events, floats, ints, lists, rows_of, text, times};
use neartime_engine::{Feature, SqlFeature, SqlFeatureSpec};

use crate::{AdNetworkSpend, UserNumPosts, UserSegments, UserSites};

fn sql(feature: &impl Feature, select: &[(&str, &str)]) -> SqlFeatureSpec {
    let pairs = select.iter().map(|(name, expression)| ((*name).to_owned(), (*expression).to_owned()));
    let engine = feature.engine();
    SqlFeatureSpec {
        name: feature.name().to_owned(),
        source: feature.source().to_owned(),
        engine: engine.name().to_owned(),
        keys: Some(engine.keys().iter().map(ToOwned::to_owned).collect()),
        select: pairs.collect(),
        ..SqlFeatureSpec::default()
    }
}

#[tokio::test]
async fn user_num_posts() {
    let events = events([
        ("event_name", text(["post_success", "post_success", "app_open"])),
        ("user_id", text([" 8fe540bb38", "8fe540bb38", "c360f89568"])),
        ("country", text([Some("za"), None, Some("gh")])),
        ("brand", text(["olx"; 3])),
        ("timestamp", times(["2018-08-01T09:31:00Z"; 3])),
    ]);
    let select = [("id", "clean_str(user_id)"), ("country", "clean_str(country)"), ("brand", "clean_str(brand)")];
    let filter = Some("event_name = 'post_success'".to_owned());
    let twin = SqlFeature::new(SqlFeatureSpec { filter, ..sql(&UserNumPosts, &select) }).unwrap();
    assert_eq!(rows_of(twin, events.clone()).await, rows_of(UserNumPosts, events).await);
}

#[tokio::test]
async fn user_segments_and_user_sites() {
    let columns = [
        ("user", text(["u", "u", "v"])),
        ("segments", lists([vec!["11", "101", "11"], vec!["11", ""], vec![]].map(Some))),
        ("pixel", text([Some("1017238"), Some(""), None])),
        ("ts", times(["2017-02-09T16:36:49Z", "2017-02-09T16:38:00Z", "2017-02-09T16:38:00Z"])),
        // Where a source has but one time, `timestamp` is left out of `select`; these rows have it under both names.
        ("timestamp", times(["2017-02-09T16:36:49Z", "2017-02-09T16:38:00Z", "2017-02-09T16:38:00Z"])),
    ];
    let segments = SqlFeature::new(sql(&UserSegments, &[("id", "clean_str(user)"), ("item", "segments")])).unwrap();
    assert_eq!(rows_of(segments, events(columns.clone())).await, rows_of(UserSegments, events(columns.clone())).await);
    let sites = SqlFeature::new(sql(&UserSites, &[("id", "clean_str(user)"), ("item", "pixel")])).unwrap();
    assert_eq!(rows_of(sites, events(columns.clone())).await, rows_of(UserSites, events(columns)).await);
}

#[tokio::test]
async fn ad_network_spend() {
    let events = events([
        ("ad_network_id", ints([10, 10, 7])),
        ("ads_impressions", ints([Some(2343), Some(3453), None])),
        ("ads_revenue", floats([1.5, 2.25, 3.0])),
        ("ecpm", floats([5.4, 3.1, 8.1])),
        ("timestamp", times(["2021-12-20"; 3])),
    ]);
    let select = [
        ("ad_network_id", "ad_network_id"),
        ("ads_impressions", "ads_impressions"),
        ("ads_revenue", "ads_revenue"),
        ("ad_spend", "ads_impressions * ecpm"),
    ];
    let ratios = [("ecpm", "ad_spend / ads_impressions"), ("revenue_ecpm", "1000 * ads_revenue / ads_impressions")];
    let ratios = ratios.map(|(name, expression)| (name.to_owned(), expression.to_owned())).to_vec();
    let twin = SqlFeature::new(SqlFeatureSpec { ratios, ..sql(&AdNetworkSpend, &select) }).unwrap();
    assert_eq!(twin.engine().ratios(), AdNetworkSpend.engine().ratios());
    assert_eq!(rows_of(twin, events.clone()).await, rows_of(AdNetworkSpend, events).await);
}
