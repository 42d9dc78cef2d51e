//! The planning side of DataFusion, set up for plans that run on one thread for one feature.

use std::sync::{Arc, LazyLock};

use datafusion::catalog::TableProvider;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};

use crate::events::PlannedEvents;
use crate::register_functions;

/// The one session that plans are made in; nothing is ever registered in it.
pub(crate) fn session() -> &'static SessionContext {
    static SESSION: LazyLock<SessionContext> = LazyLock::new(|| {
        // Features run beside each other, a thread each; within one, more threads would only cost memory.
        let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
        config.options_mut().sql_parser.enable_ident_normalization = false;
        let mut rules = PhysicalOptimizer::new().rules;
        // It would melt filters that the plan keeps apart, so that what they count does not depend on the batches.
        rules.retain(|rule| !rule.name().starts_with("FilterPushdown"));
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_config(config)
            .with_physical_optimizer_rules(rules)
            .build();
        let session = SessionContext::new_with_state(state);
        register_functions(&session);
        session
    });
    &SESSION
}

/// The state of [`session`], as planners ask for it.
pub(crate) fn state() -> &'static SessionState {
    static STATE: LazyLock<SessionState> = LazyLock::new(|| session().state());
    &STATE
}

/// The rows of a table.
pub(crate) fn read(table: impl TableProvider + 'static) -> Result<DataFrame> {
    session().read_table(Arc::new(table))
}

/// Plans what is optimised already.
pub(crate) async fn physical(plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    state().query_planner().create_physical_plan(plan, state()).await
}

/// A table as plans refer to it.
pub(crate) fn source(table: impl TableProvider + 'static) -> Arc<dyn datafusion::logical_expr::TableSource> {
    provider_as_source(Arc::new(table))
}

/// Whether a scan is that of the events which a feature is compiled for.
pub(crate) fn is_events(scan: &TableScan) -> bool {
    source_as_provider(&scan.source).is_ok_and(|table| table.is::<PlannedEvents>())
}

/// What DataFusion says, once: its errors print their sources, and wrap some of them in errors of the same text.
pub(crate) fn said(error: &DataFusionError) -> String {
    match error.find_root() {
        // The text of these begins with what they are, which the reader knows.
        DataFusionError::SQL(error, _) => error.to_string(),
        DataFusionError::Plan(said) => said.clone(),
        error => error.strip_backtrace(),
    }
}
