//! From a feature and the shape of its source to something that can run.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, SchemaError};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::DataFrame;
use neartime_model::{FeatureName, FeatureVersion};

use crate::attempt::rewrite;
use crate::events::PlannedEvents;
use crate::fold::fits_in_groups;
use crate::guard::Guard;
use crate::planner::{is_events, read, said, state};
use crate::times::keeps_event_time;
use crate::wanted::{Wanted, split_filters};
use crate::{Counts, Engine, EventsTable, Feature, FeatureTable, InvalidSqlFeature, OutputSchema, Ratios, Refused};

/// A feature that was found to fit its engine and its source; it can compute any number of chunks at once.
#[derive(Clone, Debug)]
pub struct CompiledFeature {
    pub(crate) table: Arc<FeatureTable>,
    pub(crate) engine: Arc<dyn Engine>,
    /// The columns of the source.
    pub(crate) events: SchemaRef,
    /// `preprocess`, optimised.
    pub(crate) preprocess: LogicalPlan,
    pub(crate) guard: Guard,
    pub(crate) fold: Fold,
    wanted: Wanted,
    keeps_event_time: bool,
    definition: String,
}

/// How guarded rows become the output; plans are optimised.
#[derive(Clone, Debug)]
pub(crate) enum Fold {
    /// By one plan: lifts and folds.
    Plan(LogicalPlan),
    /// Lifted by a plan and folded in memory; by `merge` where that does not suffice.
    Groups { lift: LogicalPlan, merge: LogicalPlan },
}

/// Plans a feature over a source, and checks all that can be checked before the first event.
///
/// Refused are: a source without the feature's columns ([`Refused::Off`]), a feature that does not yield what its
/// engine asks for (both schemas are shown), names that cannot be stored, a feature that uses its events twice (one
/// read feeds all features of a source, and the two uses would wait for each other), expressions with a clock or dice.
pub fn compile(feature: Arc<dyn Feature>, events: &EventsTable) -> Result<CompiledFeature, Refused> {
    let compiler = Compiler { feature: feature.as_ref(), events };
    // A function may panic where the planner evaluates it on constants.
    catch_unwind(AssertUnwindSafe(|| compiler.compile())).unwrap_or_else(|_| {
        Err(compiler.invalid("planning it panicked: look for a function of constants that cannot be evaluated"))
    })
}

impl CompiledFeature {
    /// All that a store needs to know.
    pub fn table(&self) -> &Arc<FeatureTable> {
        &self.table
    }

    /// The engine, for merging.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// What has to be read of the source.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Whether the times of its rows are known to be those of their events, or the start of their chunk, so that they
    /// are no further behind or ahead of the chunk than the source lets events be. False where the feature computes its
    /// `timestamp`, even if what it computes is near.
    pub fn keeps_event_time(&self) -> bool {
        self.keeps_event_time
    }

    /// What must not change under an unchanged version, as text.
    pub fn definition(&self) -> &str {
        &self.definition
    }
}

struct Compiler<'a> {
    feature: &'a dyn Feature,
    events: &'a EventsTable,
}

impl Compiler<'_> {
    fn compile(&self) -> Result<CompiledFeature, Refused> {
        let name = FeatureName::new(self.feature.name()).map_err(|error| self.invalid(error))?;
        if self.feature.version() == 0 {
            return Err(self.invalid("its version is 0; versions begin at 1"));
        }
        let events = self.events.noted_schema();
        let engine = self.feature.engine();
        let plan = self.preprocess(&events)?.into_unoptimized_plan();
        self.check_scans(&plan)?;
        let planned = |error: DataFusionError| self.unplanned(error);
        let safe = analyse(plan).map_err(planned)?;
        let mismatch = |mismatch| Refused::Mismatch { feature: name.to_string(), mismatch };
        let guard = Guard::new(engine.as_ref(), safe.schema().as_arrow()).map_err(mismatch)?;
        let output = engine.output(guard.schema()).map_err(mismatch)?;
        Ratios::new(&output, engine.ratios()).map_err(|error| self.invalid(error))?;
        let keeps_event_time = keeps_event_time(&safe, &self.events.event_time);
        let optimised = state().optimizer().optimize(safe, state(), |_, _| ()).map_err(planned)?;
        let fold = self.fold(engine.as_ref(), &guard, &output)?;
        Ok(CompiledFeature {
            wanted: Wanted::of(&optimised).map_err(planned)?,
            preprocess: split_filters(optimised).map_err(planned)?,
            table: Arc::new(self.table(name, engine.as_ref(), output)),
            keeps_event_time,
            definition: self.feature.definition(),
            engine,
            events,
            guard,
            fold,
        })
    }

    /// Calls the author's `preprocess`. When a column is missing it is called again with that column made up, until
    /// all that the source lacks are known.
    fn preprocess(&self, events: &SchemaRef) -> Result<DataFrame, Refused> {
        let mut schema = Arc::clone(events);
        let mut missing: Vec<String> = Vec::new();
        loop {
            let frame =
                read(PlannedEvents::new(Arc::clone(&schema))).and_then(|events| self.feature.preprocess(events));
            match frame {
                Ok(frame) if missing.is_empty() => return Ok(frame),
                Ok(frame) => match dangling_column(frame.logical_plan()) {
                    Some(column) => return Err(self.invalid(format!("`{column}` is used where it is not selected"))),
                    None => break,
                },
                Err(error) => match missing_column(&error) {
                    // What is missing even so is a column of the author's own making.
                    Some(column) if missing.contains(&column) => return Err(self.unplanned(error)),
                    Some(column) if schema.column_with_name(&column).is_none() => {
                        schema = with_column(&schema, &column);
                        missing.push(column);
                    }
                    _ if missing.is_empty() => return Err(self.unplanned(error)),
                    // Made-up columns are text, which need not suit the author.
                    _ => break,
                },
            }
        }
        let (feature, events) = (self.feature.name().to_owned(), self.events.source.to_string());
        Err(Refused::Off { feature, events, missing })
    }

    fn check_scans(&self, plan: &LogicalPlan) -> Result<(), Refused> {
        let mut scans = 0;
        let counted = plan.apply_with_subqueries(|node| {
            scans += usize::from(matches!(node, LogicalPlan::TableScan(scan) if is_events(scan)));
            Ok(TreeNodeRecursion::Continue)
        });
        counted.map_err(|error| self.unplanned(error))?;
        match scans {
            1 => Ok(()),
            0 => Err(self.invalid("its preprocess does not read the events that it is given")),
            scans => Err(self.invalid(format!(
                "its preprocess uses its events {scans} times (a self-join or a union); they are read once for all \
                 features: use CASE, or write two features"
            ))),
        }
    }

    fn fold(&self, engine: &dyn Engine, guard: &Guard, output: &OutputSchema) -> Result<Fold, Refused> {
        let unplanned = |error| self.unplanned(error);
        let declared = output.arrow();
        let lifted = read(PlannedEvents::new(Arc::clone(guard.schema()))).and_then(|input| engine.lift(input));
        let lifted = lifted.map_err(unplanned)?;
        let names = |schema: &Schema| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let (found, wanted) = (names(lifted.schema().as_arrow()), names(&declared));
        if found != wanted {
            let (engine, found, wanted) = (engine.name(), found.join(", "), wanted.join(", "));
            return Err(self.invalid(format!("the engine `{engine}` declares ({wanted}) and yields ({found})")));
        }
        if !fits_in_groups(output) {
            let plan = engine.merge(lifted).and_then(DataFrame::into_optimized_plan).map_err(unplanned)?;
            return Ok(Fold::Plan(plan));
        }
        let merged = read(PlannedEvents::new(declared)).and_then(|outputs| engine.merge(outputs));
        Ok(Fold::Groups {
            lift: lifted.into_optimized_plan().map_err(unplanned)?,
            merge: merged.and_then(DataFrame::into_optimized_plan).map_err(unplanned)?,
        })
    }

    fn table(&self, name: FeatureName, engine: &dyn Engine, output: OutputSchema) -> FeatureTable {
        FeatureTable {
            name,
            version: FeatureVersion(self.feature.version()),
            engine: engine.name(),
            source: self.events.source.clone(),
            width: self.events.width,
            output,
            online: engine.online(),
            retention: self.feature.retention(),
            ratios: engine.ratios().to_vec(),
        }
    }

    /// An error that a feature has given to DataFusion is shown as its own.
    fn unplanned(&self, error: DataFusionError) -> Refused {
        match error {
            DataFusionError::External(error) => match error.downcast::<InvalidSqlFeature>() {
                Ok(error) => Refused::Sql(*error),
                Err(error) => self.invalid(error),
            },
            error => self.invalid(said(&error)),
        }
    }

    fn invalid(&self, reason: impl Into<Box<dyn Error + Send + Sync>>) -> Refused {
        let (feature, events) = (self.feature.name().to_owned(), self.events.source.to_string());
        Refused::Invalid { feature, events, reason: reason.into() }
    }
}

/// Types a plan, and makes it one that cannot fail on a row.
pub(crate) fn analyse(plan: LogicalPlan) -> Result<LogicalPlan> {
    let config = state().config_options();
    let analysed = state().analyzer().execute_and_check(plan, config, |_, _| ())?;
    // Nothing that is evaluated while planning counts: each run has counts of its own.
    rewrite(analysed, config, &Arc::new(Counts::default()))
}

fn missing_column(error: &DataFusionError) -> Option<String> {
    match error.find_root() {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, .. } => Some(field.name().to_owned()),
            _ => None,
        },
        _ => None,
    }
}

/// A column that a step of the plan uses and that the step before it does not give: made up in the source, it is found
/// by name, and lost on the way.
fn dangling_column(plan: &LogicalPlan) -> Option<String> {
    let mut dangling = None;
    let walked = plan.apply(|node| {
        let given = |column: &Column| node.inputs().iter().any(|input| input.schema().has_column(column));
        let lost = |expr: &Expr| {
            expr.column_refs().into_iter().find(|column| !given(column)).map(|column| column.name.clone())
        };
        dangling = dangling.take().or_else(|| node.expressions().iter().find_map(lost));
        Ok(TreeNodeRecursion::Continue)
    });
    walked.ok().and(dangling)
}

fn with_column(schema: &Schema, column: &str) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(column, DataType::Utf8View, true)));
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

#[cfg(test)]
mod tests;
