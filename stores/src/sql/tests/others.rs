//! Tables of other crates: what their errors mean to a query.

use std::sync::{Arc, Mutex};

use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use neartime_model::{Classified, Classify, ErrorKind, FileChanged};

use super::number;
use super::tree::Tree;
use crate::StoreError;
use crate::sql::SqlSession;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// One row, after the errors that it was given.
#[derive(Debug)]
struct Faulty {
    schema: SchemaRef,
    errors: Mutex<Vec<AnyError>>,
}

impl PartitionStream for Faulty {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let row = match self.errors.lock().unwrap().pop() {
            Some(error) => Err(DataFusionError::External(error)),
            None => {
                Ok(RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::new(Int64Array::from(vec![7]))]).unwrap())
            }
        };
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter([row])))
    }
}

/// An error of a crate that this one does not know.
#[derive(Debug, thiserror::Error)]
#[error("could not read the quarantine")]
struct OfOthers(ErrorKind, #[source] AnyError);

impl Classify for OfOthers {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

fn session(errors: Vec<AnyError>) -> SqlSession {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let faulty = Arc::new(Faulty { schema: Arc::clone(&schema), errors: Mutex::new(errors) });
    let table = StreamingTable::try_new(schema, vec![faulty]).unwrap();
    Tree::new().session(&[]).with_plain_table("faulty", Arc::new(table))
}

#[tokio::test]
async fn an_error_of_another_crate_keeps_its_kind() {
    for sql in ["select n from faulty", "select count(*) from faulty one join faulty other using (n)"] {
        for kind in [ErrorKind::Unavailable, ErrorKind::Invalid, ErrorKind::Failed] {
            let classified = || -> AnyError { Box::new(Classified::new(OfOthers(kind, "nobody answers".into()))) };
            let error = session(vec![classified(), classified()]).query(sql).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{sql}");
            let text = neartime_model::chain(&error);
            assert!(text.contains("could not read the quarantine: nobody answers"), "{text}");
        }
        let away = || -> AnyError { Box::new(StoreError::unavailable("reading", "nobody answers")) };
        let error = session(vec![away(), away()]).query(sql).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{sql}");
    }
}

#[tokio::test]
async fn a_query_whose_files_were_replaced_is_planned_again() {
    let changed = || -> AnyError { Box::new(FileChanged { file: "in/a.gz".to_owned() }) };
    let answer = session(vec![changed(), changed()]).query("select n from faulty").await.unwrap();
    assert_eq!(number(&answer), 7);
    let error = session((0..100).map(|_| changed()).collect()).query("select n from faulty").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(neartime_model::chain(&error).contains("replaced faster than they can be read"), "{error:?}");
}
