//! Features written as SQL expressions in the configuration, without Rust.

mod error;

use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::prelude::DataFrame;
use neartime_model::{OutputName, Span};

use crate::expression::parse;
use crate::{
    Aggregate, Count, Engine, Feature, InputKind, Keys, LastActionTime, Rollup, SegmentMembership, event_time,
};

pub use error::InvalidSqlFeature;

/// A `[[feature]]` table of the configuration, as it stands there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlFeatureSpec {
    /// `name`.
    pub name: String,
    /// `version`; 1 if there is none.
    pub version: Option<u32>,
    /// `source`.
    pub source: String,
    /// `engine`: `last_action_time`, `count`, `segment_membership` or `rollup`.
    pub engine: String,
    /// `where`: a condition over the source's columns.
    pub filter: Option<String>,
    /// `select`: names and expressions, in their order. Of a count, `weight` may be one.
    pub select: Vec<(String, String)>,
    /// `keys`; `id, country, brand` if there are none.
    pub keys: Option<Vec<String>>,
    /// `aggregate`: measures of a rollup and `sum`, `min` or `max`.
    pub aggregate: Vec<(String, String)>,
    /// `ratios`: names and expressions over the measures of a rollup.
    pub ratios: Vec<(String, String)>,
    /// `retention`: how long rows stay online; for ever if there is none.
    pub retention: Option<Span>,
}

/// A feature made of SQL expressions.
///
/// Names are never folded, and an expression that is exactly a column's name is that column. `timestamp` may be left
/// out of `select`: it is the event time.
#[derive(Clone, Debug)]
pub struct SqlFeature {
    spec: SqlFeatureSpec,
    engine: Arc<dyn Engine>,
}

impl SqlFeature {
    /// Checks what can be checked without the source's columns.
    pub fn new(spec: SqlFeatureSpec) -> Result<Self, InvalidSqlFeature> {
        let engine = engine(&spec)?;
        let invalid = |key: String, reason: String| InvalidSqlFeature::new(&spec.name, key, reason);
        for key in engine.keys().iter() {
            if spec.select.iter().all(|(name, _)| name != key) {
                let default = if spec.keys.is_none() { " (a key by default: `keys` names others)" } else { "" };
                return Err(invalid("select".to_owned(), format!("the key `{key}` is not selected{default}")));
            }
        }
        let asked = engine.input();
        for (at, (name, _)) in spec.select.iter().enumerate() {
            let key = || format!("select.{name}");
            if spec.select[..at].iter().any(|(other, _)| other == name) {
                return Err(invalid(key(), "it is selected twice".to_owned()));
            }
            if !engine.takes_measures() && asked.iter().all(|column| column.name != *name) {
                let own: Vec<&str> = asked.iter().map(|column| column.name.as_str()).collect();
                let engine = engine.name();
                let reason = format!("neither a key nor the engine's own: `{engine}` takes {}", own.join(", "));
                return Err(invalid(key(), reason));
            }
        }
        for required in asked.iter().filter(|column| !column.optional && column.kind == InputKind::Item) {
            if spec.select.iter().all(|(name, _)| *name != required.name) {
                return Err(invalid("select".to_owned(), format!("`{}` is not selected", required.name)));
            }
        }
        Ok(Self { engine, spec })
    }

    fn filter(&self, events: DataFrame) -> Result<DataFrame> {
        let Some(text) = &self.spec.filter else {
            return Ok(events);
        };
        let condition = self.expression(&events, || "where".to_owned(), text)?;
        match condition.get_type(events.schema())? {
            DataType::Boolean | DataType::Null => events.filter(condition),
            other => {
                let reason = format!("`{text}` is {other}, and a condition is true or false");
                Err(external(InvalidSqlFeature::new(&self.spec.name, "where".to_owned(), reason)))
            }
        }
    }

    fn expression(&self, events: &DataFrame, key: impl Fn() -> String, text: &str) -> Result<Expr> {
        parse(text, events.schema())
            .map_err(|source| external(InvalidSqlFeature::expression(&self.spec.name, key(), source)))
    }
}

impl Feature for SqlFeature {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn version(&self) -> u32 {
        self.spec.version.unwrap_or(1)
    }

    fn source(&self) -> &str {
        &self.spec.source
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine)
    }

    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        let events = self.filter(events)?;
        let mut columns = Vec::new();
        for (name, text) in &self.spec.select {
            columns.push(self.expression(&events, || format!("select.{name}"), text)?.alias(name));
        }
        for column in self.engine.input() {
            let selected = self.spec.select.iter().any(|(name, _)| *name == column.name);
            if column.kind == InputKind::Timestamp && !selected {
                columns.push(event_time(&events)?.alias(&column.name));
            }
        }
        events.select(columns)
    }

    fn retention(&self) -> Option<Span> {
        self.spec.retention
    }

    /// Everything that its stored rows depend on. Ratios and retention are not among it: they change no stored row.
    fn definition(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &str| writeln!(text, "{key} = {value:?}").expect("a String takes all");
        line("source", &self.spec.source);
        line("engine", self.engine.name());
        line("keys", &self.engine.keys().iter().collect::<Vec<_>>().join(", "));
        line("where", self.spec.filter.as_deref().unwrap_or("true"));
        self.spec.select.iter().for_each(|(name, expression)| line(&format!("select.{name}"), expression));
        self.spec.aggregate.iter().for_each(|(measure, how)| line(&format!("aggregate.{measure}"), how));
        text
    }
}

fn engine(spec: &SqlFeatureSpec) -> Result<Arc<dyn Engine>, InvalidSqlFeature> {
    let invalid = |key: &str, reason: String| InvalidSqlFeature::new(&spec.name, key.to_owned(), reason);
    let keys = || spec.keys.clone().unwrap_or_else(|| Keys::default().iter().map(ToOwned::to_owned).collect());
    if spec.keys.as_ref().is_some_and(Vec::is_empty) {
        return Err(invalid("keys", "a feature has at least one key".to_owned()));
    }
    if spec.engine != "rollup" {
        for (key, given) in [("aggregate", spec.aggregate.is_empty()), ("ratios", spec.ratios.is_empty())] {
            if !given {
                return Err(invalid(key, format!("only a rollup has one, not `{}`", spec.engine)));
            }
        }
    }
    Ok(match spec.engine.as_str() {
        "last_action_time" => Arc::new(LastActionTime::by(keys())),
        "count" => Arc::new(Count::by(keys())),
        "segment_membership" => Arc::new(SegmentMembership::by(keys())),
        "rollup" => Arc::new(rollup(spec, Rollup::by(keys()))?),
        other => {
            let known = "last_action_time, count, segment_membership and rollup";
            return Err(invalid("engine", format!("there is no engine `{other}`; there are {known}")));
        }
    })
}

fn rollup(spec: &SqlFeatureSpec, mut rollup: Rollup) -> Result<Rollup, InvalidSqlFeature> {
    let invalid = |key: String, reason: String| InvalidSqlFeature::new(&spec.name, key, reason);
    for (measure, how) in &spec.aggregate {
        let key = || format!("aggregate.{measure}");
        let is_key = rollup.keys().iter().any(|other| other == measure);
        if is_key || spec.select.iter().all(|(name, _)| name != measure) {
            return Err(invalid(key(), "no measure of that name is selected".to_owned()));
        }
        rollup = match how.as_str() {
            "sum" => rollup.aggregated(measure, Aggregate::Sum),
            "min" => rollup.aggregated(measure, Aggregate::Min),
            "max" => rollup.aggregated(measure, Aggregate::Max),
            other => {
                return Err(invalid(key(), format!("there is no aggregate `{other}`; there are sum, min and max")));
            }
        };
    }
    for (name, expression) in &spec.ratios {
        OutputName::new(name).map_err(|error| invalid(format!("ratios.{name}"), error.to_string()))?;
        rollup = rollup.ratio(name, expression);
    }
    Ok(rollup)
}

fn external(error: InvalidSqlFeature) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[cfg(test)]
mod tests;
