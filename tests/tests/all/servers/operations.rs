//! The files of `infra/` are those of this release.

use std::collections::BTreeSet;

use neartime_tests::site::Site;

use crate::BINARY;

const ALERTS: &str = include_str!("../../../../infra/prometheus/alerts.yaml");
const METRICS: &str = include_str!("../../../../docs/metrics.md");
const OPERATIONS: &str = include_str!("../../../../docs/operations.md");
const PRODUCTION: &str = include_str!("../../../../infra/production/neartime.toml");

/// Every word of `text` that begins like one of our metrics.
fn metrics(text: &str) -> BTreeSet<&str> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !is_name(letter)).filter(|word| word.starts_with("neartime_")).collect()
}

#[test]
fn alerts_are_about_metrics_that_there_are() {
    let known = metrics(METRICS);
    let unknown: Vec<_> = metrics(ALERTS).difference(&known).copied().collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn operations_say_what_to_do_on_every_alert_and_on_no_other() {
    let alerts: BTreeSet<_> = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let spoken = OPERATIONS.split('`').filter(|word| word.starts_with("Neartime")).collect();
    assert_eq!(alerts, spoken);
}

/// Its servers are nowhere, which is 3; a mistake in it would be 2.
#[test]
fn the_production_configuration_is_valid() {
    let site = Site::new(BINARY, PRODUCTION)
        .with_variable("AWS_EC2_METADATA_DISABLED", "true")
        .with_variable("NEARTIME_CONSOLE__LISTEN", "127.0.0.1:0");
    let ran = site.run(["check"]);
    assert_eq!(ran.code, Some(3), "{}\n{}", ran.stdout, ran.stderr);
}
