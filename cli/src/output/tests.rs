use std::sync::{Arc, Mutex};

use datafusion::arrow::array::{
    ArrayRef, Decimal128Array, DictionaryArray, Float64Array, Int32Array, ListArray, StringViewArray,
    TimestampMillisecondArray, TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::Int64Type;

use super::*;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn printed(format: Format, limit: Option<usize>, batch: &RecordBatch) -> String {
    let sink = Sink::default();
    let schema = batch.schema();
    let mut rows = Rows::begin_on(sink.clone(), format, &names(&schema), limit).unwrap();
    rows.batch(batch).unwrap();
    rows.finish().unwrap();
    String::from_utf8(std::mem::take(&mut *sink.0.lock().unwrap())).unwrap()
}

fn sample() -> RecordBatch {
    RecordBatch::try_from_iter([
        ("text", Arc::new(StringViewArray::from(vec![Some("a,\"b\""), Some(""), None])) as ArrayRef),
        ("int", Arc::new(Int32Array::from(vec![Some(1), None, Some(-3)]))),
        ("float", Arc::new(Float64Array::from(vec![Some(6.5), Some(f64::NAN), None]))),
        (
            "at",
            Arc::new(
                TimestampMillisecondArray::from(vec![Some(1_533_120_000_000), None, Some(1)]).with_timezone("UTC"),
            ),
        ),
        ("nano", Arc::new(TimestampNanosecondArray::from(vec![Some(1_500), None, None]))),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
                Some(vec![Some(1), None]),
                None,
                Some(vec![]),
            ])),
        ),
        (
            "decimal",
            Arc::new(Decimal128Array::from(vec![Some(1250), None, None]).with_precision_and_scale(10, 2).unwrap()),
        ),
    ])
    .unwrap()
}

#[test]
fn json_is_one_array_whose_keys_are_column_names() {
    let text = printed(Format::Json, None, &sample());
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!([
        {"text": "a,\"b\"", "int": 1, "float": 6.5, "at": "2018-08-01T10:40:00Z", "nano": "1970-01-01T00:00:00.000001Z",
         "list": [1, null], "decimal": 12.5},
        {"text": "", "int": null, "float": null, "at": null, "nano": null, "list": null, "decimal": null},
        {"text": null, "int": -3, "float": null, "at": "1970-01-01T00:00:00.001Z", "nano": null, "list": [], "decimal": null},
    ]);
    assert_eq!(value, expected);
    let empty = printed(Format::Json, None, &sample().slice(0, 0));
    assert_eq!(empty, "[]\n");
}

#[test]
fn csv_has_a_header_and_tells_null_from_empty() {
    let text = printed(Format::Csv, None, &sample());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "text,int,float,at,nano,list,decimal");
    assert_eq!(lines[1], "\"a,\"\"b\"\"\",1,6.5,2018-08-01T10:40:00Z,1970-01-01T00:00:00.000001Z,\"[1, ]\",12.50");
    assert_eq!(lines[2], "\"\",,NaN,,,,");
    assert_eq!(lines[3], ",-3,,1970-01-01T00:00:00.001Z,,[],");
}

#[test]
fn a_column_of_nulls_is_null() {
    let nulls = Arc::new(datafusion::arrow::array::NullArray::new(1)) as ArrayRef;
    let batch = RecordBatch::try_from_iter_with_nullable([("nothing", nulls, true)]).unwrap();
    assert_eq!(printed(Format::Json, None, &batch), "[\n{\"nothing\":null}\n]\n");
    assert_eq!(printed(Format::Csv, None, &batch), "nothing\n\n");
}

#[test]
fn a_dictionary_has_nulls_among_its_keys_and_among_its_values() {
    let values = Arc::new(StringViewArray::from(vec![Some("a"), None]));
    let keys = Int32Array::from(vec![Some(1), None, Some(0)]);
    let words = Arc::new(DictionaryArray::new(keys, values)) as ArrayRef;
    let batch = RecordBatch::try_from_iter_with_nullable([("word", words, true)]).unwrap();
    assert_eq!(printed(Format::Json, None, &batch), "[\n{\"word\":null},\n{\"word\":null},\n{\"word\":\"a\"}\n]\n");
}

#[test]
fn a_limit_stops_every_format() {
    for format in [Format::Csv, Format::Json, Format::Table] {
        assert_eq!(printed(format, Some(1), &sample()).matches("10:40:00Z").count(), 1, "{format:?}");
        assert!(!printed(format, Some(0), &sample()).contains("10:40:00Z"), "{format:?}");
    }
}

#[test]
fn a_table_shows_no_control_characters() {
    let batch =
        RecordBatch::try_from_iter([("line", Arc::new(StringViewArray::from(vec!["a\u{1b}[2Jb"])) as ArrayRef)])
            .unwrap();
    assert!(!printed(Format::Table, None, &batch).contains('\u{1b}'));
}
