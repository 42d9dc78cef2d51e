//! The seeds' own values: the published systems that neartime grows out of printed these numbers.

use neartime_tests::configs::{DELIVERIES, EMBEDDED, HORIZONTALS};
use neartime_tests::reservoir::{gzip, put, put_lines};
use neartime_tests::site::Site;

use crate::BINARY;

fn event(name: &str, user: &str, device: &str, country: &str, at: i64) -> String {
    format!(
        r#"{{"event_name":"{name}","user_id":"{user}","device_id":"{device}","country":"{country}","timestamp":{at}}}"#
    )
}

fn horizontals(site: &Site, key: &str, events: &[String]) {
    let root = site.path().join("raw-data-reservoir/in/horizontals");
    put_lines(&root, key, events.iter().map(String::as_str));
}

#[test]
fn six_paths_give_two_tasks() {
    let site = Site::new(BINARY, &format!("{EMBEDDED}{HORIZONTALS}"));
    for name in ["104000", "104234", "104959", "105000", "105218", "105959"] {
        let line = event("app_open", "u", "d", "za", 1_533_120_000);
        horizontals(&site, &format!("olx/android/2018/08/01/201808-01-{name}.gz"), &[line]);
    }
    site.run_once(0);
    let tasks = site.json(["tasks", "list"]);
    let column = |name: &str| tasks.iter().map(|task| task[name].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(column("source_bucket"), ["raw-data-reservoir/in/horizontals"; 2]);
    assert_eq!(column("file_path"), ["olx/android/"; 2]);
    assert_eq!(column("data_chunk"), ["2018-08-01T10:40:00Z", "2018-08-01T10:50:00Z"]);
    assert_eq!(column("ts_to_process"), ["2018-08-01T10:53:00Z", "2018-08-01T11:03:00Z"]);
    assert_eq!(column("state"), ["done", "done"]);
}

#[test]
fn posts_and_logins_are_the_seeds() {
    let site = Site::new(BINARY, &format!("{EMBEDDED}{HORIZONTALS}"));
    let posted = 1_533_115_860; // 2018-08-01T09:31:00Z
    horizontals(
        &site,
        "olx/android/2018/08/01/201808-01-093412.gz",
        &[
            event("post_success", "c360f89568", "d1", "gh", posted),
            event("post_success", "8fe540bb38", "d2", "za", posted + 10),
            event("post_success", " 8fe540bb38", "d2", "za", posted + 20),
            event("post_success", "8fe540bb38", "d2", "za ", posted + 30),
            event("post_started", "8fe540bb38", "d2", "za", posted + 40),
            event("post_success", "", "d3", "za", posted + 50),
        ],
    );
    horizontals(
        &site,
        "letgo/ios/2018/08/01/201808-01-101801.gz",
        &[
            event("login_sign_in_complete", "0947a3e926", "d4", "cz", 1_533_118_600),
            event("login_sign_in_complete", "0947a3e926", "d4", "cz", 1_533_118_630),
        ],
    );
    horizontals(
        &site,
        "olx/android/2018/08/01/201808-01-101933.gz",
        &[event("login_sign_in_complete", "ff3ca262b3", "d5", "ke", 1_533_118_751)],
    );
    site.run_once(0);
    let posts = site.sql(
        "select id, country, brand, actions_count from features_store.user_num_posts
         where hour = '09' and ten_mins = '30' order by actions_count",
    );
    assert_eq!(posts, [["c360f89568", "gh", "olx", "1"], ["8fe540bb38", "za", "olx", "3"]]);
    let logins = site.sql(
        "select id, country, brand, last_action_timestamp from features_store.user_last_login
         where hour = '10' and ten_mins = '10' order by 4",
    );
    assert_eq!(logins, [["0947a3e926", "cz", "letgo", "1533118630"], ["ff3ca262b3", "ke", "olx", "1533118751"]]);
    let file = "user_num_posts/year=2018/month=08/day=01/hour=09/ten_mins=30/horizontals.olx.android.parquet";
    assert!(site.path().join("features_store").join(file).is_file(), "the file has its fixed name");

    let looked_up = site.json(["get", "user_num_posts", "--id", "8fe540bb38"]);
    assert_eq!(looked_up.len(), 1);
    assert_eq!(looked_up[0]["actions_count"], 3);
    let looked_up = site.json(["get", "user_last_login", "--id", "0947a3e926"]);
    assert_eq!(looked_up[0]["last_action_timestamp"], 1_533_118_630);
}

#[test]
fn the_seeds_query_runs_verbatim() {
    let site = Site::new(BINARY, &format!("{EMBEDDED}{HORIZONTALS}"));
    let browsed = 1_537_437_660; // 2018-09-20T10:01:00Z
    let browse = |device: &str, country: &str, at: i64| event("view_item", "u", device, country, browsed + at);
    let chunk = |site: &Site, brand: &str, minute: &str, events: &[String]| {
        horizontals(site, &format!("{brand}/android/2018/09/20/201809-20-{minute}.gz"), events);
    };
    chunk(&site, "letgo", "100100", &[browse("a", "cz", 0), browse("b", "cz", 1), browse("a", "cz", 2)]);
    chunk(&site, "letgo", "101100", &[browse("a", "cz", 600), browse("c", "cz", 601)]);
    chunk(&site, "olx", "100100", &[browse("d", "za", 0), browse("e", "za", 1), browse("f", "ke", 2)]);
    chunk(&site, "olx", "101100", &[browse("f", "ke", 600), browse("g", "ng", 86_400)]);
    horizontals(&site, "olx/android/2018/09/21/201809-21-100100.gz", &[browse("h", "ke", 86_400)]);
    site.run_once(0);
    let query = "select brand, country, count(distinct(id)) cnt from features_store.device_last_browse
where year='2018' and month = '09' and day = '20' group by 1,2 order by 3 desc";
    let rows = site.sql(query);
    assert_eq!(rows[0], ["letgo", "cz", "3"]);
    assert_eq!(rows[1], ["olx", "za", "2"]);
    assert!(rows[2..].contains(&vec!["olx".to_owned(), "ke".to_owned(), "1".to_owned()]));
    let ran = site.run(["sql", query]);
    assert!(ran.stderr.contains("run time") && ran.stderr.contains("bytes scanned"), "{}", ran.stderr);
}

#[test]
fn ecpm_is_the_ratio_of_sums() {
    let site = Site::new(BINARY, &format!("{EMBEDDED}{DELIVERIES}"));
    let table = "date|ad_network_id|ads_impressions|ads_revenue|ecpm\n\
        2021-12-20|10|2343|4.5|5.4\n2021-12-20 08:00:00|10|3453|1.25|3.1\n2021-12-20T23:59:59.5|10|12543|9|8.1\n\
        2021-12-20|11|100||2.0\n";
    put(&site.path().join("raw-data-reservoir/in/deliveries"), "y=2021/m=12/d=20/part-0.gz", gzip(table));
    site.run_once(0);
    let rows = site.sql(
        "select date_trunc('day', data_chunk) as day, ad_network_id, sum(ads_impressions) impressions,
                round(ratio(sum(ad_spend), sum(ads_impressions)), 4) ecpm
         from features_store.ad_network_spend where year = '2021' group by 1, 2 order by 2",
    );
    assert_eq!(rows[0], ["2021-12-20T00:00:00Z", "10", "18339", "6.8136"]);
    assert_eq!(rows[1], ["2021-12-20T00:00:00Z", "11", "100", "2.0"]);
    let average = site.sql("select round(avg(ecpm), 4) from raw.deliveries where ad_network_id = 10");
    assert_eq!(average, [["5.5333"]], "the average of averages is something else");
    let file = "ad_network_spend/year=2021/month=12/day=20/deliveries.parquet";
    assert!(site.path().join("features_store").join(file).is_file(), "a day's file lies below its day");
}
