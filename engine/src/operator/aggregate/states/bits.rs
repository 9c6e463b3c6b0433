//! And, or, exclusive or over the bits of whole numbers.
//!
//! In: integers. Out: one number of the same type a group. Never: a state for a group's "nothing yet"; the neutral number is it.

use std::ops::{BitAnd, BitOr, BitXor, Not, Range};

use super::{Native, Rows, State, StateKind, nulls_of, same};
use crate::{
    batch::{
        array::ArrayRef,
        buffer::Buffer,
        datatypes::{ArrowNativeType, DataType},
    },
    error::Result,
    operator::aggregate::{
        keys::{column_of_natives, natives_of},
        spec::Call,
    },
};

pub(super) fn new(kind: StateKind, data_type: &DataType) -> Option<Box<dyn State>> {
    fn state<T: Bits>(kind: StateKind) -> Option<Box<dyn State>> {
        Some(Box::new(BitState::<T> { kind, values: Vec::new() }))
    }
    if !data_type.is_integer() {
        return None;
    }
    match Native::of(data_type)? {
        Native::I8 => state::<i8>(kind),
        Native::I16 => state::<i16>(kind),
        Native::I32 => state::<i32>(kind),
        Native::I64 => state::<i64>(kind),
        Native::U8 => state::<u8>(kind),
        Native::U16 => state::<u16>(kind),
        Native::U32 => state::<u32>(kind),
        Native::U64 => state::<u64>(kind),
        _ => None,
    }
}

trait Bits:
    ArrowNativeType + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> + Not<Output = Self>
{
}
impl<T> Bits for T where
    T: ArrowNativeType + BitAnd<Output = T> + BitOr<Output = T> + BitXor<Output = T> + Not<Output = T>
{
}

struct BitState<T> {
    kind: StateKind,
    values: Vec<T>,
}

impl<T: Bits> BitState<T> {
    fn each(&mut self, pairs: impl Iterator<Item = (usize, T)>) {
        match self.kind {
            StateKind::BitAnd => pairs.for_each(|(group, value)| self.values[group] = self.values[group] & value),
            StateKind::BitOr => pairs.for_each(|(group, value)| self.values[group] = self.values[group] | value),
            _ => pairs.for_each(|(group, value)| self.values[group] = self.values[group] ^ value),
        }
    }
}

impl<T: Bits> State for BitState<T> {
    fn resize(&mut self, groups: usize) {
        let neutral = if self.kind == StateKind::BitAnd { !T::default() } else { T::default() };
        self.values.resize(groups, neutral);
    }

    fn update(&mut self, rows: &Rows<'_>, columns: &[ArrayRef]) {
        let values = natives_of::<T>(&columns[0]);
        match rows.valid {
            None => self.each(rows.groups.iter().zip(values.iter()).map(|(group, value)| (*group as usize, *value))),
            Some(valid) => self.each(valid.set_indices().map(|row| (rows.groups[row] as usize, values[row]))),
        }
    }

    fn merge(&mut self, other: &dyn State, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same(other)?;
        self.each(from.iter().zip(into).map(|(from, into)| (*into as usize, other.values[*from as usize])));
        Ok(())
    }

    fn finish(&self, groups: Range<usize>, counts: &[u64], call: &Call) -> Result<ArrayRef> {
        self.partial(groups, counts, &call.argument)
    }

    fn partial(&self, groups: Range<usize>, counts: &[u64], argument: &DataType) -> Result<ArrayRef> {
        let values = Buffer::from_vec(self.values[groups].to_vec());
        Ok(column_of_natives(argument, counts.len(), values, nulls_of(counts, 1))?)
    }

    fn absorb(&mut self, rows: &Rows<'_>, partials: &ArrayRef) -> Result<()> {
        self.update(rows, std::slice::from_ref(partials));
        Ok(())
    }

    fn bytes_per_group(&self) -> u64 {
        size_of::<T>() as u64
    }
}
