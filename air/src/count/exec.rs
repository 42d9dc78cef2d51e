//! The counting plan: a leaf whose partitions each count other users.
//!
//! Each partition yields its counts as rows `(measure, row, column, users)`. All that is known of a user is counted in
//! one place, so rows of the same (measure, row, column) only need to be added up, wherever the partitions ran.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch, UInt8Array, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt8Type, UInt32Type};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
    execute_stream_partitioned,
};
use futures::TryStreamExt;

use super::counts::Counts;
use crate::error::AirError;

/// Rows of one batch of counts.
const BATCH_ROWS: usize = 64 << 10;

/// Users, to be counted in parts.
pub(crate) trait Users: Send + Sync + fmt::Debug {
    /// Counts of nobody, of the right size once all users are counted.
    fn nobody(&self) -> Counts;

    /// Counts users of whom nobody else has taken any part, until none are left. Called once by each partition.
    fn count(&self) -> Result<Counts, AirError>;
}

/// Counts all users in so many partitions, which run in parallel.
pub(crate) async fn count_all(users: Arc<dyn Users>, partitions: usize) -> Result<Counts, AirError> {
    let plan: Arc<dyn ExecutionPlan> = Arc::new(CountExec::new(Arc::clone(&users), partitions));
    let streams = execute_stream_partitioned(plan, Arc::new(TaskContext::default())).map_err(cause)?;
    // All partitions are started at once, and added up when all have ended: then all names are known.
    let rows: Vec<RecordBatch> = futures::stream::select_all(streams).try_collect().await.map_err(cause)?;
    let mut sum = users.nobody();
    rows.iter().for_each(|batch| absorb(&mut sum, batch));
    Ok(sum)
}

/// Adds rows of counts.
fn absorb(sum: &mut Counts, batch: &RecordBatch) {
    let number = |at: usize| batch.column(at).as_primitive::<UInt32Type>().values();
    let measures = batch.column(0).as_primitive::<UInt8Type>().values();
    let cells = number(1).iter().zip(number(2)).zip(number(3));
    for (&measure, ((&row, &column), &users)) in measures.iter().zip(cells) {
        sum.add(Measure::ALL[usize::from(measure)], row, column, users);
    }
}

/// What a row of counts counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    SegmentUsers = 0,
    GroupUsers = 1,
    SiteUsers = 2,
    SegmentSite = 3,
    GroupSite = 4,
}

impl Measure {
    pub(crate) const ALL: [Self; 5] =
        [Self::SegmentUsers, Self::GroupUsers, Self::SiteUsers, Self::SegmentSite, Self::GroupSite];
}

#[derive(Debug)]
struct CountExec {
    users: Arc<dyn Users>,
    partitions: usize,
    properties: Arc<PlanProperties>,
}

impl CountExec {
    fn new(users: Arc<dyn Users>, partitions: usize) -> Self {
        let partitions = partitions.max(1);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { users, partitions, properties: Arc::new(properties) }
    }
}

impl DisplayAs for CountExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountExec: partitions={}", self.partitions)
    }
}

impl ExecutionPlan for CountExec {
    fn name(&self) -> &'static str {
        "CountExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    /// Counts users on a thread of its own, then yields the counts.
    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut stream = RecordBatchReceiverStreamBuilder::new(self.schema(), 2);
        let (users, rows) = (Arc::clone(&self.users), stream.tx());
        stream.spawn_blocking(move || {
            let counts = users.count().map_err(|error| DataFusionError::External(Box::new(error)))?;
            // A receiver that is gone wants nothing more.
            send(&counts, &mut |batch| rows.blocking_send(Ok(batch)).is_ok())
        });
        Ok(stream.build())
    }
}

fn schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::UInt32, false);
    let measure = Field::new("measure", DataType::UInt8, false);
    Arc::new(Schema::new(vec![measure, number("row"), number("column"), number("users")]))
}

/// Sends counts that are not zero in batches, until `take` wants no more.
fn send(counts: &Counts, take: &mut impl FnMut(RecordBatch) -> bool) -> Result<()> {
    let mut columns: (Vec<u8>, [Vec<u32>; 3]) = Default::default();
    let mut result = Ok(true);
    counts.each(|measure, row, column, users| {
        columns.0.push(measure as u8);
        columns.1.iter_mut().zip([row, column, users]).for_each(|(numbers, number)| numbers.push(number));
        if columns.0.len() == BATCH_ROWS && matches!(result, Ok(true)) {
            result = batch(std::mem::take(&mut columns)).map(&mut *take);
        }
    });
    if result? && !columns.0.is_empty() {
        take(batch(columns)?);
    }
    Ok(())
}

fn batch((measures, [rows, columns, users]): (Vec<u8>, [Vec<u32>; 3])) -> Result<RecordBatch> {
    let numbers = |numbers: Vec<u32>| Arc::new(UInt32Array::from(numbers));
    let measures = Arc::new(UInt8Array::from(measures));
    Ok(RecordBatch::try_new(schema(), vec![measures, numbers(rows), numbers(columns), numbers(users)])?)
}

/// Our own error where one travelled through the plan.
fn cause(error: DataFusionError) -> AirError {
    match error {
        DataFusionError::External(cause) => match cause.downcast::<AirError>() {
            Ok(error) => *error,
            Err(cause) => AirError::Count(DataFusionError::External(cause)),
        },
        DataFusionError::Context(_, inner) => cause(*inner),
        error => AirError::Count(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::counts::GroupsOf;
    use super::*;
    use crate::config::Order;
    use crate::udb::Memberships;

    /// User `u` of twelve is in segment `u % 3`, on site `u % 2`.
    #[derive(Debug)]
    struct Few(AtomicUsize);

    impl Users for Few {
        fn nobody(&self) -> Counts {
            Counts::new(3, 2, 1)
        }

        fn count(&self) -> Result<Counts, AirError> {
            let (mut counts, mut groups) = (self.nobody(), GroupsOf::new());
            [[0].as_slice(), &[0], &[]].into_iter().for_each(|of| groups.push(of));
            loop {
                let user = u32::try_from(self.0.fetch_add(1, Ordering::Relaxed)).unwrap();
                if user >= 12 {
                    return Ok(counts);
                }
                let alive = Memberships { segments: vec![(user % 3, 1)], sites: vec![(user % 2, 2)] };
                counts.add_user(&alive, &groups, Order::Before);
            }
        }
    }

    #[derive(Debug)]
    struct Broken;

    impl Users for Broken {
        fn nobody(&self) -> Counts {
            Counts::new(0, 0, 0)
        }
        fn count(&self) -> Result<Counts, AirError> {
            Err(AirError::Unsettled)
        }
    }

    #[tokio::test]
    async fn partitions_add_up_whatever_their_number() {
        for partitions in [1, 2, 5, 100] {
            let counts = count_all(Arc::new(Few(AtomicUsize::new(0))), partitions).await.unwrap();
            assert_eq!(counts.segment_users, [4, 4, 4]);
            assert_eq!((counts.site_users.as_slice(), counts.group_users[0]), ([6, 6].as_slice(), 8));
            assert_eq!((counts.segment_site.get(1, 2), counts.group_site.get(0, 0)), (2, 4));
        }
    }

    #[tokio::test]
    async fn our_own_errors_come_back_as_they_were() {
        assert!(matches!(count_all(Arc::new(Broken), 2).await, Err(AirError::Unsettled)));
    }
}
