//! The functions: a column each.
//!
//! In: a unit's rows and their layout. Out: columns of the calls' types. Never: an order of peers that shows where the function does not
//! promise one.

use std::sync::Arc;

use super::{
    frames::{BoundOf, Frames, OrderOf},
    layout::{Layout, values},
    numbers::numbers,
    places::{nth, shifted},
    spec::{WindowError, WindowSpec},
};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, UInt32Array, UInt64Array},
        compute::{self, SortOptions},
        datatypes::{DataType, SchemaRef},
    },
    error::{Result, bug},
    expression::{AggregateCall, Bound, Evaluator, Frame, FrameUnits, Parameters, WindowCall, WindowFunction},
    operator::aggregate::RangeAggregates,
};

/// The functions, prepared for one thread.
pub(super) struct Calls {
    pub(super) partition: Vec<Evaluator>,
    pub(super) order: Vec<Evaluator>,
    pub(super) options: SortOptions,
    pub(super) calls: Vec<Call>,
    pub(super) aggregates: Vec<OverFrame>,
    output: SchemaRef,
    /// The column of a rank, and its greatest value of a row that is given.
    bound: Option<(usize, u64)>,
}

/// One column.
pub(super) enum Call {
    /// One that looks at no value.
    Number(WindowFunction),
    Shifted {
        value: Evaluator,
        offset: i64,
        default: Option<Evaluator>,
        ignores_nulls: bool,
    },
    Nth {
        value: Evaluator,
        number: i64,
        ignores_nulls: bool,
        frame: Prepared,
    },
    /// Of the aggregates over this frame the one of this number.
    Aggregate(usize, usize),
}

/// All aggregates over one frame.
pub(super) struct OverFrame {
    pub(super) frame: Prepared,
    pub(super) aggregates: RangeAggregates,
}

/// A frame with evaluators.
pub(super) struct Prepared {
    pub(super) units: FrameUnits,
    pub(super) start: PreparedBound,
    pub(super) end: PreparedBound,
}

pub(super) enum PreparedBound {
    Known(BoundOf),
    Value(Evaluator),
}

impl Calls {
    pub(super) fn new(spec: &WindowSpec, parameters: &Arc<Parameters>) -> Result<Calls> {
        let evaluator = |expression| Evaluator::new(expression, &spec.input, parameters);
        let mut frames: Vec<(&Frame, Vec<AggregateCall>)> = Vec::new();
        let mut calls = Vec::with_capacity(spec.calls.len());
        for call in &spec.calls {
            calls.push(match &call.function {
                WindowFunction::Shifted { value, offset, default, ignores_nulls } => {
                    let value = evaluator(value)?;
                    let default = default.as_ref().map(evaluator).transpose()?;
                    if let Some(found) = default.as_ref().map(Evaluator::data_type).filter(|t| *t != value.data_type())
                    {
                        return Err(type_error(call, spec, found, value.data_type()).into());
                    }
                    Call::Shifted { value, offset: *offset, default, ignores_nulls: *ignores_nulls }
                }
                WindowFunction::Nth { value, number, ignores_nulls } => Call::Nth {
                    value: evaluator(value)?,
                    number: *number,
                    ignores_nulls: *ignores_nulls,
                    frame: Prepared::new(&call.frame, &spec.input, parameters)?,
                },
                WindowFunction::Aggregate(aggregate) => {
                    let known = frames.iter().position(|(frame, _)| **frame == call.frame);
                    let place = known.unwrap_or_else(|| {
                        frames.push((&call.frame, Vec::new()));
                        frames.len() - 1
                    });
                    frames[place].1.push(aggregate.clone());
                    Call::Aggregate(place, frames[place].1.len() - 1)
                }
                number => Call::Number(number.clone()),
            });
        }
        let over = |(frame, calls): (&Frame, Vec<AggregateCall>)| -> Result<OverFrame> {
            let aggregates = RangeAggregates::new(&calls, &spec.input, parameters)?;
            Ok(OverFrame { frame: Prepared::new(frame, &spec.input, parameters)?, aggregates })
        };
        let first = spec.order.first();
        Ok(Calls {
            partition: spec.partition.iter().map(evaluator).collect::<Result<_>>()?,
            order: spec.order.iter().map(|key| evaluator(&key.expression)).collect::<Result<_>>()?,
            options: SortOptions {
                descending: first.is_some_and(|key| key.is_descending),
                nulls_first: first.is_some_and(|key| key.nulls_first),
            },
            calls,
            aggregates: frames.into_iter().map(over).collect::<Result<_>>()?,
            output: Arc::clone(&spec.output),
            bound: spec.bound.map(|bound| (spec.input.fields().len() + bound.call, bound.most)),
        })
    }

    /// Bytes of what is computed of a row, about, beside the row.
    pub(super) fn bytes_per_row(&self) -> u64 {
        /// Of a column of results, with the places of which it is made.
        const COLUMN_BYTES: u64 = 32;
        let states: u64 = self.aggregates.iter().map(|over| over.aggregates.bytes_per_row()).sum();
        self.calls.len() as u64 * COLUMN_BYTES + states
    }

    /// The rows of a unit with the columns of the calls.
    pub(super) fn evaluate(&self, batch: &Batch) -> Result<Batch> {
        let order = values(&self.order, batch)?;
        let layout = Layout::new(batch.num_rows(), &values(&self.partition, batch)?, &order)?;
        let order = OrderOf { key: order.first(), options: self.options };
        let over_frame = |over: &OverFrame| over.evaluate(batch, &layout, &order);
        let over_frames = self.aggregates.iter().map(over_frame).collect::<Result<Vec<_>>>()?;
        let column = |call: &Call| match call {
            Call::Aggregate(place, number) => Ok(Arc::clone(&over_frames[*place][*number])),
            call => call.evaluate(batch, &layout, &order),
        };
        self.given(batch, self.calls.iter().map(column).collect::<Result<_>>()?)
    }

    /// The rows with the columns of all calls; of a bound those within it.
    pub(super) fn given(&self, batch: &Batch, of_calls: Vec<ArrayRef>) -> Result<Batch> {
        let mut columns = batch.columns().to_vec();
        for (column, field) in of_calls.into_iter().zip(&self.output.fields()[batch.num_columns()..]) {
            let is_cast = column.data_type() != field.data_type();
            columns.push(if is_cast { compute::cast(&column, field.data_type())? } else { column });
        }
        let rows = Batch::try_new(Arc::clone(&self.output), columns)?;
        let Some((column, most)) = self.bound else { return Ok(rows) };
        let ranks = compute::cast(rows.column(column), &DataType::UInt64)?;
        let within = compute::kernels::cmp::lt_eq(&ranks, &UInt64Array::new_scalar(most))?;
        Ok(compute::filter_record_batch(&rows, &within)?)
    }
}

fn type_error(call: &WindowCall, spec: &WindowSpec, found: &DataType, expected: &DataType) -> WindowError {
    WindowError::Type { call: call.show(&spec.input), found: found.clone(), expected: expected.clone() }
}

impl OverFrame {
    pub(super) fn evaluate(&self, batch: &Batch, layout: &Layout, order: &OrderOf<'_>) -> Result<Vec<ArrayRef>> {
        match self.frame.frames(batch, layout, order)? {
            Frames::Ranges { starts, ends } => self.aggregates.of_ranges(batch, &starts, &ends),
            Frames::Whole => {
                let results = self.aggregates.of_groups(batch, &layout.partitions)?;
                let mut partition_of = Vec::with_capacity(layout.rows());
                for (number, (_, end)) in (0..).zip(layout.each_partition()) {
                    partition_of.resize(end as usize, number);
                }
                let partition_of = UInt32Array::from(partition_of);
                results.iter().map(|result| Ok(compute::take(result, &partition_of, None)?)).collect()
            }
        }
    }
}

impl Prepared {
    fn new(frame: &Frame, input: &SchemaRef, parameters: &Arc<Parameters>) -> Result<Prepared> {
        let bound = |bound: &Bound| -> Result<PreparedBound> {
            Ok(match bound {
                Bound::Unbounded => PreparedBound::Known(BoundOf::Unbounded),
                Bound::Current => PreparedBound::Known(BoundOf::Current),
                Bound::Offset(offset) => PreparedBound::Known(BoundOf::Offset(*offset)),
                Bound::Value(value) => PreparedBound::Value(Evaluator::new(value, input, parameters)?),
            })
        };
        Ok(Prepared { units: frame.units, start: bound(&frame.start)?, end: bound(&frame.end)? })
    }

    fn frames(&self, batch: &Batch, layout: &Layout, order: &OrderOf<'_>) -> Result<Frames> {
        let bound = |bound: &PreparedBound| -> Result<BoundOf> {
            Ok(match bound {
                PreparedBound::Known(known) => known.clone(),
                PreparedBound::Value(value) => BoundOf::Value(value.evaluate(batch)?.into_array(batch.num_rows())?),
            })
        };
        Frames::new(layout, self.units, (&bound(&self.start)?, &bound(&self.end)?), order)
    }
}

impl Call {
    pub(super) fn evaluate(&self, batch: &Batch, layout: &Layout, order: &OrderOf<'_>) -> Result<ArrayRef> {
        Ok(match self {
            Call::Number(function) => {
                numbers(function, layout).ok_or_else(|| bug("window", "a function of values without its values"))?
            }
            Call::Shifted { value, offset, default, ignores_nulls } => {
                let value = value.evaluate(batch)?.into_array(batch.num_rows())?;
                let places = shifted(layout, &value, *offset, *ignores_nulls);
                match default {
                    None => compute::take(&value, &UInt32Array::from(places), None)?,
                    Some(default) => {
                        let default = default.evaluate(batch)?.into_array(batch.num_rows())?;
                        let from = |(row, place): (usize, &Option<u32>)| match place {
                            Some(place) => (0, *place as usize),
                            None => (1, row),
                        };
                        let places: Vec<_> = places.iter().enumerate().map(from).collect();
                        compute::interleave(&[value.as_ref(), default.as_ref()], &places)?
                    }
                }
            }
            Call::Nth { value, number, ignores_nulls, frame } => {
                let value = value.evaluate(batch)?.into_array(batch.num_rows())?;
                let (starts, ends) = frame.frames(batch, layout, order)?.ranges(layout);
                let places = nth(&value, &starts, &ends, *number, *ignores_nulls);
                compute::take(&value, &UInt32Array::from(places), None)?
            }
            Call::Aggregate(..) => return Err(bug("window", "an aggregate without its frame")),
        })
    }
}
