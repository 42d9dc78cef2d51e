use datafusion::arrow::array::{AsArray, Float64Array};
use datafusion::arrow::datatypes::Float64Type;

use super::*;
use neartime_model::chain;

use crate::trial::{events, floats, ints, text};
use crate::{Aggregate, OutputColumn, Role};

fn output() -> OutputSchema {
    let column = |name: &str, data_type, role| OutputColumn { name: OutputName::new(name).unwrap(), data_type, role };
    OutputSchema::new(vec![
        column("id", DataType::Utf8, Role::Entity),
        column("views", DataType::Int64, Role::Value(Aggregate::Sum)),
        column("spend", DataType::Float64, Role::Value(Aggregate::Sum)),
    ])
}

fn ratios(given: &[(&str, &str)]) -> Result<Ratios, InvalidRatio> {
    let ratio = |(name, expression): &(&str, &str)| Ratio {
        name: OutputName::new(*name).unwrap(),
        expression: (*expression).to_owned(),
    };
    Ratios::new(&output(), &given.iter().map(ratio).collect::<Vec<_>>())
}

#[test]
fn ints_are_doubles_and_a_zero_denominator_is_null() {
    let merged = events([
        ("id", text(["a", "b", "c"])),
        ("views", ints([Some(2), Some(0), None])),
        ("spend", floats([1.0, 1.0, 1.0])),
    ]);
    let ratios = ratios(&[("cost", "spend / views"), ("share", "1000 * views / (views + 2)"), ("half", "views / 2")]);
    let with = ratios.unwrap().append(&merged).unwrap();
    let column = |name: &str| with.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
    assert_eq!(column("cost"), Float64Array::from(vec![Some(0.5), None, None]));
    assert_eq!(column("share"), Float64Array::from(vec![Some(500.0), Some(0.0), None]));
    assert_eq!(column("half"), Float64Array::from(vec![Some(1.0), Some(0.0), None]));
    assert_eq!(with.num_columns(), 6);
}

#[test]
fn what_cannot_be_a_ratio_is_refused() {
    let refused = |given: &[(&str, &str)]| chain(&ratios(given).unwrap_err());
    assert!(refused(&[("views", "spend / 2")]).contains("`ratios.views`: a column of that name is there"));
    assert!(refused(&[("a", "spend / 2"), ("a", "spend / 3")]).contains("there already"));
    assert!(
        refused(&[("a", "spend / clicks")]).contains("`clicks`, which is no column; the columns are `views`, `spend`")
    );
    assert!(refused(&[("a", "sum(spend)")]).contains("uses an aggregate"));
    assert!(refused(&[("a", "spend /")]).contains("`spend /` cannot be read: "));
}
