//! The totals of many groups, or of one, as DataFusion asks for them.

use std::marker::PhantomData;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, PrimitiveArray};
use datafusion::arrow::datatypes::ArrowPrimitiveType;
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;

use super::total::Total;

/// The totals of all groups.
pub(super) struct GroupSums<P, T> {
    totals: Vec<T>,
    heap_bytes: usize,
    numbers: PhantomData<fn() -> P>,
}

impl<P, T> Default for GroupSums<P, T> {
    fn default() -> Self {
        Self { totals: Vec::new(), heap_bytes: 0, numbers: PhantomData }
    }
}

impl<P: ArrowPrimitiveType, T: Total<Native = P::Native>> GroupSums<P, T> {
    fn with_total(&mut self, group: usize, change: impl FnOnce(&mut T) -> Result<()>) -> Result<()> {
        let total = &mut self.totals[group];
        let before = total.heap_bytes();
        let changed = change(total);
        self.heap_bytes = self.heap_bytes + total.heap_bytes() - before;
        changed
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<T> {
        let taken = emit_to.take_needed(&mut self.totals);
        self.heap_bytes -= taken.iter().map(T::heap_bytes).sum::<usize>();
        taken
    }
}

impl<P, T> GroupsAccumulator for GroupSums<P, T>
where
    P: ArrowPrimitiveType,
    T: Total<Native = P::Native>,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.totals.resize_with(total_num_groups, T::default);
        let summands = values[0].as_primitive::<P>();
        for (row, &group) in group_indices.iter().enumerate() {
            let wanted = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if wanted && summands.is_valid(row) {
                let summand = summands.value(row);
                self.with_total(group, |total| {
                    total.add(summand);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums: PrimitiveArray<P> = self.take(emit_to).iter().map(T::value).collect::<Result<_>>()?;
        Ok(Arc::new(sums))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let states: BinaryArray = self.take(emit_to).iter().map(T::state).collect();
        Ok(vec![Arc::new(states)])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.totals.resize_with(total_num_groups, T::default);
        let states = values[0].as_binary::<i32>();
        for (state, &group) in states.iter().zip(group_indices) {
            if let Some(state) = state {
                self.with_total(group, |total| total.merge(state))?;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut each = Self::default();
        let groups: Vec<usize> = (0..values[0].len()).collect();
        each.update_batch(values, &groups, filter, groups.len())?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.totals.capacity() * size_of::<T>() + self.heap_bytes
    }
}

/// The total of everything, where nothing is grouped.
pub(super) struct Sum<P, T> {
    total: T,
    numbers: PhantomData<fn() -> P>,
}

impl<P, T: Total> Default for Sum<P, T> {
    fn default() -> Self {
        Self { total: T::default(), numbers: PhantomData }
    }
}

impl<P, T> std::fmt::Debug for Sum<P, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sum")
    }
}

impl<P, T> Accumulator for Sum<P, T>
where
    P: ArrowPrimitiveType,
    T: Total<Native = P::Native> + Sync,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values[0].as_primitive::<P>().iter().flatten().for_each(|summand| self.total.add(summand));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_binary::<i32>().iter().flatten().try_for_each(|state| self.total.merge(state))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(self.total.state())])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::new_primitive::<P>(self.total.value()?, &P::DATA_TYPE)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.total.heap_bytes()
    }
}
