//! Which chunks a query asks for, as far as its conditions on `data_chunk` tell.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator};
use neartime_model::Instant;

use crate::source::{DATA_CHUNK, Source};

/// The chunks whose start lies in a range, both ends included, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkRange {
    first: i64,
    last: i64,
}

impl ChunkRange {
    const ALL: Self = Self { first: i64::MIN, last: i64::MAX };

    /// The chunks for which all of `conditions` may hold.
    pub(super) fn of(conditions: &[Expr]) -> Self {
        conditions.iter().fold(Self::ALL, |range, condition| range.and(Self::of_one(condition)))
    }

    /// The layout times `[from, until)` of these chunks; `None` for all that the source has.
    pub(super) fn layout_times(self, source: &Source) -> Option<(Instant, Instant)> {
        if self == Self::ALL {
            return None;
        }
        let chunk_of = |micros| source.width.chunk_of(Instant::from_micros(micros));
        // The chunk before `first` holds finer times that lie behind it; those of the last chunk lie up to its end.
        let from = chunk_of(self.first.saturating_sub(1)).end();
        let from = source.since.map_or(from, |since| from.max(since));
        Some((from, chunk_of(self.last).end()))
    }

    fn and(self, other: Self) -> Self {
        Self { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    fn or(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    fn of_one(condition: &Expr) -> Self {
        match condition {
            Expr::BinaryExpr(binary) => match binary.op {
                Operator::And => Self::of_one(&binary.left).and(Self::of_one(&binary.right)),
                Operator::Or => Self::of_one(&binary.left).or(Self::of_one(&binary.right)),
                op => match (is_chunk(&binary.left), is_chunk(&binary.right)) {
                    (true, false) => Self::compared(op, instant(&binary.right)),
                    (false, true) => Self::compared(op.swap().unwrap_or(op), instant(&binary.left)),
                    _ => Self::ALL,
                },
            },
            Expr::Between(between) if !between.negated && is_chunk(&between.expr) => {
                Self::compared(Operator::GtEq, instant(&between.low))
                    .and(Self::compared(Operator::LtEq, instant(&between.high)))
            }
            Expr::InList(list) if !list.negated && is_chunk(&list.expr) => {
                let each = list.list.iter().map(|one| Self::compared(Operator::Eq, instant(one)));
                each.reduce(Self::or).unwrap_or(Self::ALL)
            }
            _ => Self::ALL,
        }
    }

    /// The chunks for which `data_chunk op literal` holds.
    fn compared(op: Operator, literal: Option<Literal>) -> Self {
        let Some(Literal { floor, ceil }) = literal else { return Self::ALL };
        match op {
            Operator::Eq => Self { first: ceil, last: floor },
            Operator::Gt => Self { first: floor.saturating_add(1), ..Self::ALL },
            Operator::GtEq => Self { first: ceil, ..Self::ALL },
            Operator::Lt => Self { last: ceil.saturating_sub(1), ..Self::ALL },
            Operator::LtEq => Self { last: floor, ..Self::ALL },
            _ => Self::ALL,
        }
    }
}

/// Whether it is the column `data_chunk`, perhaps as a timestamp of another unit. A date of it is another instant.
fn is_chunk(expr: &Expr) -> bool {
    match expr {
        Expr::Column(column) => column.name == DATA_CHUNK,
        Expr::Cast(cast) if is_instant(cast.field.data_type()) => is_chunk(&cast.expr),
        Expr::TryCast(cast) if is_instant(cast.field.data_type()) => is_chunk(&cast.expr),
        _ => false,
    }
}

/// Whether a cast to this type keeps the instant: a chunk begins at a whole second.
fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..))
}

/// A literal instant, in microseconds: the two are the same but where it lies between them.
struct Literal {
    floor: i64,
    ceil: i64,
}

fn instant(expr: &Expr) -> Option<Literal> {
    let micros = match expr {
        Expr::Literal(ScalarValue::TimestampSecond(Some(at), _), _) => at.checked_mul(1_000_000)?,
        Expr::Literal(ScalarValue::TimestampMillisecond(Some(at), _), _) => at.checked_mul(1_000)?,
        Expr::Literal(ScalarValue::TimestampMicrosecond(Some(at), _), _) => *at,
        Expr::Literal(ScalarValue::TimestampNanosecond(Some(at), _), _) => {
            let floor = at.div_euclid(1_000);
            return Some(Literal { floor, ceil: floor + i64::from(at.rem_euclid(1_000) > 0) });
        }
        _ => return None,
    };
    Some(Literal { floor: micros, ceil: micros })
}
