use tokio::sync::Notify;

use super::*;
use crate::{Scheduler, testing};

struct Panics(Arc<Notify>);

#[async_trait]
impl Job for Panics {
    async fn run(&self, _: Fence) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.notify_one();
        std::panic::resume_unwind(Box::new("a bug in the job"));
    }
}

#[tokio::test]
async fn a_job_that_panics_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let started = Arc::new(Notify::new());
    let job = CronJob::new("report", "* * * * * *", Arc::new(Panics(Arc::clone(&started)))).unwrap();
    let edges = Edges { jobs: vec![job], ..testing::edges(folder.path()).await };
    let tasks = Arc::clone(&edges.tasks);
    let twice = async {
        started.notified().await;
        started.notified().await;
    };
    Scheduler::new(edges, testing::settings()).unwrap().run(twice).await.unwrap();
    let row = tasks.cron_jobs().await.unwrap().remove(0);
    assert_eq!(row.last_error.as_deref(), Some("it panicked: a bug in the job"));
}
