//! A worked example of runs and of the order rule: three segments and three sites are nine pairs, less two for a site that
//! was first visited before two of the segments began. A gap longer than `alive` after that visit brings the two back.

use neartime_model::Instant;

use super::world::{World, plain_config};

const AS_OF: i64 = 1_489_363_200;

async fn pairs(visit_in_the_middle: bool) -> Vec<(String, String)> {
    let mut world = World::new(plain_config()).await;
    for (segment, first) in [("11", 1_486_658_209), ("101", 1_486_658_209), ("123", 1_486_230_978)] {
        for seen in [first, 1_488_499_293] {
            world.write_secs("segments", &[("c70b", segment, seen, seen)]);
        }
    }
    let mut visits = vec![
        ("457455", 1_489_355_833),
        ("1016015", 1_489_327_086),
        ("1017238", 1_486_658_207),
        ("1017238", 1_489_355_286),
    ];
    if visit_in_the_middle {
        visits.push(("1017238", 1_488_000_000));
    }
    for (site, seen) in visits {
        world.write_secs("sites", &[("c70b", site, seen, seen)]);
    }
    let report = world.compute(Instant::from_secs(AS_OF)).await;
    let pairs = report.rows().filter(|row| row.segment_site_users == Some(1));
    pairs.map(|row| (row.site.to_owned(), row.segment.to_owned())).collect()
}

#[tokio::test]
async fn seven_pairs_not_nine() {
    let pairs = pairs(true).await;
    assert_eq!(pairs.len(), 7);
    let of_the_third: Vec<_> = pairs.iter().filter(|(site, _)| site == "1017238").collect();
    assert_eq!(of_the_third, [&("1017238".to_owned(), "123".to_owned())]);
}

#[tokio::test]
async fn nine_without_the_visit_in_the_middle() {
    assert_eq!(pairs(false).await.len(), 9);
}
