use neartime_model::{Instant, Span};

use super::bench::{Bench, LEASE};
use crate::{CronDeclaration, CronEnd, CronRequest, TasksError};

const HOUR: Span = Span::from_mins(60);

fn job(schedule: &str, next_at: Instant) -> CronDeclaration {
    CronDeclaration { name: "air".into(), schedule: schedule.into(), next_at }
}

fn request() -> CronRequest {
    CronRequest { names: vec!["air".into(), "other".into()], worker: "worker".into(), lease: LEASE }
}

fn ended(next_at: Instant) -> CronEnd {
    CronEnd { next_at, error: None }
}

pub(super) async fn a_job_runs_once_for_a_fleet(bench: Bench) {
    bench.db.ensure_cron(&job("hourly", Bench::START + HOUR)).await.unwrap();
    assert_eq!(bench.db.claim_cron(&request()).await.unwrap(), None);
    bench.clock.advance(HOUR);
    let first = bench.db.claim_cron(&request()).await.unwrap().unwrap();
    assert_eq!(first.due_at, Bench::START + HOUR);
    assert_eq!(bench.db.claim_cron(&request()).await.unwrap(), None);
    let mut heart = bench.db.hearts().open().await.unwrap();
    bench.clock.advance(Span::from_secs(50));
    heart.beat_cron(&first, LEASE).await.unwrap();
    bench.clock.advance(Span::from_secs(50));
    assert_eq!(bench.db.claim_cron(&request()).await.unwrap(), None);
    // A process that died is replaced, and can end nothing any more.
    bench.outlive_lease();
    let second = bench.db.claim_cron(&request()).await.unwrap().unwrap();
    assert!(second.fence > first.fence);
    let lost = bench.db.finish_cron(&first, &ended(Bench::START)).await;
    assert!(matches!(lost, Err(TasksError::CronLeaseLost { .. })), "{lost:?}");
    assert!(heart.beat_cron(&first, LEASE).await.unwrap_err().is_lease_lost());
    let end = CronEnd { next_at: Bench::START + HOUR + HOUR, error: Some("it broke".into()) };
    bench.db.finish_cron(&second, &end).await.unwrap();
    assert!(bench.db.finish_cron(&second, &end).await.unwrap_err().is_lease_lost());
    let row = bench.db.cron_jobs().await.unwrap().remove(0);
    assert_eq!((row.lease, row.last_error.as_deref()), (None, Some("it broke")));
    assert_eq!(row.next_at, end.next_at);
}

pub(super) async fn missed_runs_are_made_up_for_by_one(bench: Bench) {
    bench.db.ensure_cron(&job("hourly", Bench::START + HOUR)).await.unwrap();
    bench.clock.advance(Span::from_days(3));
    bench.db.ensure_cron(&job("hourly", Bench::START + Span::from_days(4))).await.unwrap();
    let lease = bench.db.claim_cron(&request()).await.unwrap().unwrap();
    assert_eq!(lease.due_at, Bench::START + HOUR);
    let next = bench.db.now().await.unwrap() + HOUR;
    bench.db.finish_cron(&lease, &ended(next)).await.unwrap();
    assert_eq!(bench.db.claim_cron(&request()).await.unwrap(), None);
}

pub(super) async fn a_changed_schedule_moves_the_job(bench: Bench) {
    bench.db.ensure_cron(&job("hourly", Bench::START + HOUR)).await.unwrap();
    bench.db.ensure_cron(&job("at once", Bench::START)).await.unwrap();
    assert!(bench.db.claim_cron(&CronRequest { names: Vec::new(), ..request() }).await.unwrap().is_none());
    let lease = bench.db.claim_cron(&request()).await.unwrap().unwrap();
    bench.db.finish_cron(&lease, &ended(Bench::START + HOUR)).await.unwrap();
    assert_eq!(bench.db.cron_jobs().await.unwrap()[0].schedule, "at once");
}
