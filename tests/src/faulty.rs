//! Features that misbehave: they count the users of the source `faulty_<how>` and do something terrible meanwhile.
//!
//! A source of that name switches one on; `well_behaved` runs beside each of them on the same source.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::{DataFrame, ident};
use neartime_engine::{Count, Engine, Feature};

/// What a faulty feature does to the first batch that it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Panics(&'static str),
    Hangs,
    /// The operating system ends the process, as it does when memory is gone.
    Dies,
}

/// All of them.
pub fn all() -> Vec<Arc<dyn Feature>> {
    vec![
        Arc::new(Faulty { name: "panicking", source: "faulty_panics", fault: Fault::Panics("a bug in the feature") }),
        Arc::new(Faulty { name: "panicking_too", source: "faulty_panics", fault: Fault::Panics("another bug") }),
        Arc::new(Faulty { name: "hanging", source: "faulty_hangs", fault: Fault::Hangs }),
        Arc::new(Faulty { name: "dying", source: "faulty_dies", fault: Fault::Dies }),
        Arc::new(Greedy),
        Arc::new(SelfJoin),
    ]
}

#[derive(Debug)]
struct Faulty {
    name: &'static str,
    source: &'static str,
    fault: Fault,
}

impl Feature for Faulty {
    fn name(&self) -> &str {
        self.name
    }
    fn source(&self) -> &str {
        self.source
    }
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Count::by(["id"]))
    }
    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        let id = misbehave(self.fault).call(vec![ident("user")]).alias("id");
        events.select([id, ident("time").alias("timestamp")])
    }
}

fn misbehave(fault: Fault) -> ScalarUDF {
    let act = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        let ColumnarValue::Array(users) = &args[0] else { return Ok(args[0].clone()) };
        if !users.is_empty() {
            match fault {
                Fault::Panics(text) => std::panic::resume_unwind(Box::new(text)),
                Fault::Hangs => loop {
                    std::thread::park();
                },
                Fault::Dies => std::process::abort(),
            }
        }
        Ok(args[0].clone())
    };
    create_udf("misbehave", vec![DataType::Utf8View], DataType::Utf8View, Volatility::Volatile, Arc::new(act))
}

/// Allocates until there is nothing left, past the pool that bounds what plans may hold.
#[derive(Debug)]
struct Greedy;

impl Feature for Greedy {
    fn name(&self) -> &str {
        "greedy"
    }
    fn source(&self) -> &str {
        "faulty_greedy"
    }
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Count::by(["id"]))
    }
    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        let swallow = |args: &[ColumnarValue]| -> Result<ColumnarValue> {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            if let ColumnarValue::Array(users) = &args[0] {
                while !users.is_empty() {
                    hoard.push(vec![1; 64 << 20]);
                }
            }
            Ok(ColumnarValue::Array(Arc::clone(&array(&args[0])?)))
        };
        let swallow = create_udf(
            "swallow",
            vec![DataType::Utf8View],
            DataType::Utf8View,
            Volatility::Volatile,
            Arc::new(swallow),
        );
        events.select([swallow.call(vec![ident("user")]).alias("id"), ident("time").alias("timestamp")])
    }
}

fn array(value: &ColumnarValue) -> Result<ArrayRef> {
    value.clone().into_array(1)
}

/// Uses its events twice, which a shared read cannot serve: it must be refused at the start.
#[derive(Debug)]
struct SelfJoin;

impl Feature for SelfJoin {
    fn name(&self) -> &str {
        "self_join"
    }
    fn source(&self) -> &str {
        "faulty_self_join"
    }
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Count::by(["id"]))
    }
    fn preprocess(&self, events: DataFrame) -> Result<DataFrame> {
        let events = events.select([ident("user").alias("id"), ident("time").alias("timestamp")])?;
        events.clone().union(events)
    }
}
