//! `&`, `|`, `^`, `<<`, `>>`.
//!
//! In: integers of one type. Out: the same type. Never: an error: a shift counts its places modulo the bits of the type, as the
//! processor and PostgreSQL do.

use std::sync::Arc;

use crate::{
    batch::{
        array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, Datum, PrimitiveArray},
        compute::{binary, unary},
        datatypes::{
            DataType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
        },
    },
    error::{Result, bug},
    expression::{BinaryOp, ExpressionError},
};

/// Puts the bits of two columns or values together.
pub(super) fn combine(op: BinaryOp, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef> {
    macro_rules! dispatch {
        ($($variant:ident => $t:ty, $native:ty;)*) => {
            match left.get().0.data_type() {
                $(DataType::$variant => {
                    let apply: fn($native, $native) -> $native = match op {
                        BinaryOp::BitAnd => |l, r| l & r,
                        BinaryOp::BitOr => |l, r| l | r,
                        BinaryOp::BitXor => |l, r| l ^ r,
                        BinaryOp::ShiftLeft => |l, r| l.wrapping_shl(r as u32),
                        BinaryOp::ShiftRight => |l, r| l.wrapping_shr(r as u32),
                        _ => return Err(bug("expression", format!("{} does not work on bits", op.symbol()))),
                    };
                    run::<$t>(left, right, apply)
                })*
                other => Err(ExpressionError::Operands {
                    left: other.clone(),
                    operator: op.symbol(),
                    right: right.get().0.data_type().clone(),
                }
                .into()),
            }
        };
    }
    dispatch! {
        Int8 => Int8Type, i8;
        Int16 => Int16Type, i16;
        Int32 => Int32Type, i32;
        Int64 => Int64Type, i64;
        UInt8 => UInt8Type, u8;
        UInt16 => UInt16Type, u16;
        UInt32 => UInt32Type, u32;
        UInt64 => UInt64Type, u64;
    }
}

fn run<T: ArrowPrimitiveType>(
    left: &dyn Datum,
    right: &dyn Datum,
    apply: fn(T::Native, T::Native) -> T::Native,
) -> Result<ArrayRef>
where
    T::Native: ArrowNativeTypeOp,
{
    let ((left, left_is_scalar), (right, right_is_scalar)) = (left.get(), right.get());
    let (left, right): (&PrimitiveArray<T>, &PrimitiveArray<T>) = (left.as_primitive(), right.as_primitive());
    Ok(Arc::new(match (left_is_scalar, right_is_scalar) {
        (false, true) if right.is_null(0) => PrimitiveArray::<T>::new_null(left.len()),
        (true, false) if left.is_null(0) => PrimitiveArray::<T>::new_null(right.len()),
        (false, true) => {
            let right = right.value(0);
            unary::<T, _, T>(left, |left| apply(left, right))
        }
        (true, false) => {
            let left = left.value(0);
            unary::<T, _, T>(right, |right| apply(left, right))
        }
        _ => binary::<T, T, _, T>(left, right, apply)?,
    }))
}
