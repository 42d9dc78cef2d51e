//! Brings single columns to the types that engines see.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, GenericListArray, OffsetSizeTrait, StringViewArray,
    TimestampMillisecondArray, UInt32Array,
};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{cast, nullif, take};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use datafusion::error::Result;

use crate::Counts;
use crate::counts::Null;
use crate::engines::instant_type;

/// A key or an item as text.
pub(crate) fn text(array: &ArrayRef) -> Result<StringViewArray> {
    match array.as_string_view_opt() {
        Some(text) => Ok(text.clone()),
        None => Ok(cast(array, &DataType::Utf8View)?.as_string_view().clone()),
    }
}

/// The same texts with null for the empty ones.
pub(super) fn empty_to_null(texts: StringViewArray) -> Result<StringViewArray> {
    if !texts.lengths().any(|length| length == 0) {
        return Ok(texts);
    }
    let empty = BooleanArray::new(BooleanBuffer::from_iter(texts.lengths().map(|length| length == 0)), None);
    Ok(nullif(&texts, &empty)?.as_string_view().clone())
}

/// Times as TIMESTAMP(ms, UTC), floored.
pub(super) fn instants(array: &ArrayRef) -> Result<ArrayRef> {
    let ticks_per_milli = match array.data_type() {
        same if *same == instant_type() => return Ok(Arc::clone(array)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000,
        // What does not fit is null: a date or a second beyond the range of milliseconds is no time that can be.
        _ => return Ok(cast(&zoned(array)?, &instant_type())?),
    };
    let ticks = cast(array, &DataType::Int64)?;
    let millis: TimestampMillisecondArray =
        ticks.as_primitive::<Int64Type>().unary(|ticks| ticks.div_euclid(ticks_per_milli));
    Ok(Arc::new(millis.with_data_type(instant_type())))
}

/// Reads a time without a zone as UTC; one with a zone is an instant already.
fn zoned(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Timestamp(unit, _) => Ok(cast(array, &DataType::Timestamp(*unit, Some("UTC".into())))?),
        _ => Ok(cast(array, &DataType::Timestamp(TimeUnit::Millisecond, None))?),
    }
}

/// A measure or a weight as `to` (Int64 or Float64). What does not fit is null and counted, and so is NaN, which has
/// no place in an order; the negative zero becomes the one zero.
pub(super) fn number(array: &ArrayRef, to: &DataType, counts: &Counts) -> Result<ArrayRef> {
    let numbers = cast(array, to)?;
    counts.add_null(Null::Conversion, numbers.null_count().saturating_sub(array.logical_null_count()));
    let Some(floats) = numbers.as_primitive_opt::<Float64Type>() else {
        return Ok(numbers);
    };
    if !floats.values().iter().any(|float| float.is_nan() || float.to_bits() == (-0.0_f64).to_bits()) {
        return Ok(numbers);
    }
    let clean: Float64Array =
        floats.iter().map(|float| float.filter(|float| !float.is_nan()).map(|f| f + 0.0)).collect();
    counts.add_null(Null::NotANumber, clean.null_count() - floats.null_count());
    Ok(Arc::new(clean))
}

/// How many items the lists of a column hold; one each, where there are no lists.
pub(super) fn items(array: &ArrayRef) -> usize {
    match (array.as_list_opt::<i32>(), array.as_list_opt::<i64>()) {
        (Some(lists), _) => range_of(lists).len(),
        (_, Some(lists)) => range_of(lists).len(),
        _ => array.len(),
    }
}

/// Where the items of a (perhaps sliced) list array lie among its values.
fn range_of<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> Range<usize> {
    let offsets = lists.value_offsets();
    offsets[0].as_usize()..offsets[lists.len()].as_usize()
}

/// The items of all lists, for each the row that it came from, and the number of rows without items.
pub(super) fn list_items<O: OffsetSizeTrait>(
    lists: &GenericListArray<O>,
) -> Result<(StringViewArray, UInt32Array, usize)> {
    let all = range_of(lists);
    let mut positions: Vec<u32> = Vec::with_capacity(all.len());
    let mut origin: Vec<u32> = Vec::with_capacity(all.len());
    let mut without = 0;
    for (row, offsets) in lists.value_offsets().windows(2).enumerate() {
        let range = offsets[0].as_usize() - all.start..offsets[1].as_usize() - all.start;
        if lists.is_null(row) || range.is_empty() {
            without += 1;
            continue;
        }
        for position in range {
            positions.push(u32::try_from(position).expect("a batch holds less than 2^32 items"));
            origin.push(u32::try_from(row).expect("and fewer rows"));
        }
    }
    let values = lists.values().slice(all.start, all.len());
    let items = take(&text(&values)?, &UInt32Array::from(positions), None)?;
    Ok((items.as_string_view().clone(), origin.into(), without))
}
