//! The parts of the work on a claim: each in a span of its own, and timed.

use std::future::Future;
use std::time::Instant;

use tracing::{Instrument as _, Span, info_span};

use crate::{Event, Observer, Step, TaskLabel};

/// Does a part of the work in its span; tells how long it took if it ended well.
pub(crate) async fn step<T, E>(
    observer: &dyn Observer,
    task: &TaskLabel,
    step: Step,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let began_at = Instant::now();
    let done = work.instrument(span(step)).await;
    if done.is_ok() {
        observer.observe(&Event::Stepped { task: task.clone(), step, took: began_at.elapsed() });
    }
    done
}

/// A span's name must be a literal.
fn span(step: Step) -> Span {
    match step {
        Step::Read => info_span!("read"),
        Step::Compute => info_span!("compute"),
        Step::PublishOffline => info_span!("publish_offline"),
        Step::PublishOnline => info_span!("publish_online"),
        Step::Complete => info_span!("complete"),
    }
}
