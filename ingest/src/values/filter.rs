//! Early filters: the conditions on text columns that tell, before a row is built, that no feature wants it.
//!
//! This only spares work. The features filter for themselves, and whatever is not understood here counts as true.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator};

use super::{text, utf8};
use crate::lines::name::{Ends, Name};
use crate::lines::{Fields, Raw};
use crate::source::{ColumnKind, Source};

/// Tells which rows some feature may want: for each feature its conditions, all of which must hold.
#[derive(Debug)]
pub(crate) struct RowFilter(Vec<Vec<Condition>>);

/// What is understood of one condition. A null value makes every one of them untrue.
#[derive(Debug, PartialEq)]
enum Condition {
    /// The column's text is one of these.
    In(usize, Vec<Name>),
    /// The column's text is none of these.
    NotIn(usize, Vec<Name>),
    /// All of them hold.
    All(Vec<Condition>),
    /// One of them holds.
    Any(Vec<Condition>),
}

impl RowFilter {
    /// Understands what it can of the conditions of each feature; `None` if some feature may want any row.
    pub(crate) fn new(source: &Source, features: &[Vec<Expr>]) -> Option<Self> {
        let understood = |conditions: &Vec<Expr>| {
            let known: Vec<_> = conditions.iter().filter_map(|condition| understand(source, condition)).collect();
            (!known.is_empty()).then_some(known)
        };
        features.iter().map(understood).collect::<Option<Vec<_>>>().map(|features| Self(joined(features)))
    }

    /// Whether some feature may want the row of `line`, which was taken last.
    #[inline]
    pub(crate) fn wants(&self, fields: &Fields, line: &[u8], scratch: &mut Vec<u8>) -> bool {
        self.0.iter().any(|conditions| conditions.iter().all(|condition| condition.holds(fields, line, scratch)))
    }
}

impl Condition {
    fn holds(&self, fields: &Fields, line: &[u8], scratch: &mut Vec<u8>) -> bool {
        match self {
            Self::In(column, texts) => is_one_of(fields.raw(line, *column), texts, scratch) == Some(true),
            Self::NotIn(column, texts) => is_one_of(fields.raw(line, *column), texts, scratch) == Some(false),
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(fields, line, scratch)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(fields, line, scratch)),
        }
    }
}

/// Features that each want some texts of one column want any of them together: one look instead of many.
fn joined(features: Vec<Vec<Condition>>) -> Vec<Vec<Condition>> {
    let mut joined: Vec<Vec<Condition>> = Vec::new();
    for conditions in features {
        let of_same_column = joined.iter_mut().find_map(|known| match (&mut known[..], &conditions[..]) {
            ([Condition::In(column, known)], [Condition::In(other, more)]) if column == other => Some((known, more)),
            _ => None,
        });
        match of_same_column {
            Some((known, more)) => known.extend_from_slice(more),
            None => joined.push(conditions),
        }
    }
    joined
}

/// `None` for a null, and for a value that is no text and so becomes one.
#[inline]
fn is_one_of(raw: Raw<'_>, texts: &[Name], scratch: &mut Vec<u8>) -> Option<bool> {
    let is_among = |value: &[u8]| {
        let ends = Ends::of(value);
        texts.iter().any(|text| text.is(value, ends))
    };
    match raw {
        Raw::Absent | Raw::Null => None,
        // Compared before it is checked: what is one of them is valid.
        Raw::Text(bytes) if is_among(bytes) => Some(true),
        // Compared already: whether it is null is left to find out.
        Raw::Text(bytes) => utf8(bytes).is_some().then_some(false),
        raw => text(raw, scratch).ok().flatten().map(|value| is_among(value.as_bytes())),
    }
}

/// What is understood of `condition`; `None` counts as true.
fn understand(source: &Source, condition: &Expr) -> Option<Condition> {
    match condition {
        Expr::Alias(alias) => understand(source, &alias.expr),
        Expr::InList(list) => {
            let column = text_column(source, &list.expr)?;
            let texts = list.list.iter().map(text_literal).collect::<Option<Vec<_>>>()?;
            Some(if list.negated { Condition::NotIn(column, texts) } else { Condition::In(column, texts) })
        }
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::Eq => compared(source, &binary.left, &binary.right, Condition::In),
            Operator::NotEq => compared(source, &binary.left, &binary.right, Condition::NotIn),
            Operator::Or => {
                let sides = [understand(source, &binary.left)?, understand(source, &binary.right)?];
                Some(Condition::Any(sides.into()))
            }
            Operator::And => {
                let sides = [&binary.left, &binary.right];
                let known: Vec<_> = sides.iter().filter_map(|side| understand(source, side)).collect();
                (!known.is_empty()).then_some(Condition::All(known))
            }
            _ => None,
        },
        _ => None,
    }
}

fn compared(
    source: &Source,
    left: &Expr,
    right: &Expr,
    condition: fn(usize, Vec<Name>) -> Condition,
) -> Option<Condition> {
    let sides = match (text_column(source, left), text_column(source, right)) {
        (Some(column), None) => (column, text_literal(right)?),
        (None, Some(column)) => (column, text_literal(left)?),
        _ => return None,
    };
    Some(condition(sides.0, vec![sides.1]))
}

/// The position of a text column, perhaps cast to another type of text.
fn text_column(source: &Source, expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column(column) => {
            let at = source.column_index(&column.name)?;
            (source.columns[at].kind == ColumnKind::String).then_some(at)
        }
        Expr::Cast(cast) if cast.field.data_type().is_string() => text_column(source, &cast.expr),
        Expr::TryCast(cast) if cast.field.data_type().is_string() => text_column(source, &cast.expr),
        Expr::Alias(alias) => text_column(source, &alias.expr),
        _ => None,
    }
}

/// A text literal that is not null, perhaps cast to another type of text.
fn text_literal(expr: &Expr) -> Option<Name> {
    match expr {
        Expr::Literal(
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) => Some(Name::new(text.as_bytes())),
        Expr::Cast(cast) if cast.field.data_type().is_string() => text_literal(&cast.expr),
        Expr::TryCast(cast) if cast.field.data_type().is_string() => text_literal(&cast.expr),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
