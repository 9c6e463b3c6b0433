//! The functions: a column each.
//!
//! In: a unit's rows and their layout. Out: columns of the calls' types. Never: an order of peers that shows where the function does not
//! promise one.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    frames::{BoundOf, Frames, OrderOf},
    layout::{Layout, values},
    spec::{WindowError, WindowSpec},
};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, Float64Array, UInt32Array, UInt64Array},
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
    order: Vec<Evaluator>,
    options: SortOptions,
    calls: Vec<Call>,
    aggregates: Vec<OverFrame>,
    output: SchemaRef,
}

/// One column.
enum Call {
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    Ntile(u64),
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
struct OverFrame {
    frame: Prepared,
    aggregates: RangeAggregates,
}

/// A frame with evaluators.
struct Prepared {
    units: FrameUnits,
    start: PreparedBound,
    end: PreparedBound,
}

enum PreparedBound {
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
                WindowFunction::RowNumber => Call::RowNumber,
                WindowFunction::Rank => Call::Rank,
                WindowFunction::DenseRank => Call::DenseRank,
                WindowFunction::PercentRank => Call::PercentRank,
                WindowFunction::CumeDist => Call::CumeDist,
                WindowFunction::Ntile(buckets) => Call::Ntile((*buckets).max(1)),
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
        let mut over_frames = BTreeMap::new();
        for (place, over) in self.aggregates.iter().enumerate() {
            over_frames.insert(place, over.evaluate(batch, &layout, &order)?);
        }
        let mut columns = batch.columns().to_vec();
        for (call, field) in self.calls.iter().zip(&self.output.fields()[batch.num_columns()..]) {
            let column = match call {
                Call::Aggregate(place, number) => Arc::clone(&over_frames[place][*number]),
                call => call.evaluate(batch, &layout, &order)?,
            };
            let is_cast = column.data_type() != field.data_type();
            columns.push(if is_cast { compute::cast(&column, field.data_type())? } else { column });
        }
        Ok(Batch::try_new(Arc::clone(&self.output), columns)?)
    }
}

fn type_error(call: &WindowCall, spec: &WindowSpec, found: &DataType, expected: &DataType) -> WindowError {
    WindowError::Type { call: call.show(&spec.input), found: found.clone(), expected: expected.clone() }
}

impl OverFrame {
    fn evaluate(&self, batch: &Batch, layout: &Layout, order: &OrderOf<'_>) -> Result<Vec<ArrayRef>> {
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
    fn evaluate(&self, batch: &Batch, layout: &Layout, order: &OrderOf<'_>) -> Result<ArrayRef> {
        Ok(match self {
            Call::RowNumber => {
                let numbers = layout.each_partition().flat_map(|(start, end)| 1..=u64::from(end - start));
                Arc::new(UInt64Array::from_iter_values(numbers))
            }
            Call::Rank => {
                Arc::new(UInt64Array::from(of_peers(layout, |of| u64::from(of.peers.0 - of.partition.0) + 1)))
            }
            Call::DenseRank => Arc::new(UInt64Array::from(of_peers(layout, |of| of.group + 1))),
            Call::PercentRank => Arc::new(Float64Array::from(of_peers(layout, |of| {
                let others = of.partition.1 - of.partition.0 - 1;
                if others == 0 { 0.0 } else { f64::from(of.peers.0 - of.partition.0) / f64::from(others) }
            }))),
            Call::CumeDist => Arc::new(Float64Array::from(of_peers(layout, |of| {
                f64::from(of.peers.1 - of.partition.0) / f64::from(of.partition.1 - of.partition.0)
            }))),
            Call::Ntile(buckets) => Arc::new(UInt64Array::from(buckets_of(layout, *buckets))),
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

/// A group of peers in its partition.
struct Of {
    partition: (u32, u32),
    peers: (u32, u32),
    /// The number of the group in the partition, from 0.
    group: u64,
}

/// A value that all peers share, for each row.
fn of_peers<T: Copy>(layout: &Layout, value: impl Fn(&Of) -> T) -> Vec<T> {
    let mut results = Vec::with_capacity(layout.rows());
    let mut peers = layout.each_peers().peekable();
    for partition in layout.each_partition() {
        let mut group = 0;
        while let Some(peers) = peers.next_if(|peers| peers.0 < partition.1) {
            results.resize(peers.1 as usize, value(&Of { partition, peers, group }));
            group += 1;
        }
    }
    results
}

/// Buckets of equal length, the first ones longer by one row where the rows do not divide.
fn buckets_of(layout: &Layout, buckets: u64) -> Vec<u64> {
    let mut results = Vec::with_capacity(layout.rows());
    for (start, end) in layout.each_partition() {
        let rows = u64::from(end - start);
        let (length, longer) = (rows / buckets, rows % buckets);
        let bucket = |row: u64| {
            let in_longer = longer * (length + 1);
            if row < in_longer { row / (length + 1) } else { longer + (row - in_longer) / length.max(1) }
        };
        results.extend((0..rows).map(|row| bucket(row) + 1));
    }
    results
}

/// For each row the row `offset` further on, in its partition.
fn shifted(layout: &Layout, value: &ArrayRef, offset: i64, ignores_nulls: bool) -> Vec<Option<u32>> {
    let mut places = Vec::with_capacity(layout.rows());
    let nulls = if ignores_nulls && offset != 0 { value.logical_nulls() } else { None };
    let Some(nulls) = nulls else {
        for (start, end) in layout.each_partition() {
            let range = i64::from(start)..i64::from(end);
            let place = |row: u32| {
                let place = i64::from(row).saturating_add(offset);
                range.contains(&place).then_some(place as u32)
            };
            places.extend((start..end).map(place));
        }
        return places;
    };
    for (start, end) in layout.each_partition() {
        let known: Vec<u32> = (start..end).filter(|row| nulls.is_valid(*row as usize)).collect();
        // Known values before the row, and up to it.
        let mut before = 0;
        for row in start..end {
            let up_to = before + usize::from(nulls.is_valid(row as usize));
            let number = if offset < 0 { before as i64 + offset } else { up_to as i64 + offset - 1 };
            places.push(usize::try_from(number).ok().and_then(|number| known.get(number)).copied());
            before = up_to;
        }
    }
    places
}

/// For each range its row of this number; from the end where negative.
fn nth(value: &ArrayRef, starts: &[u32], ends: &[u32], number: i64, ignores_nulls: bool) -> Vec<Option<u32>> {
    let choose = |start: u32, end: u32| {
        let place = if number > 0 {
            i64::from(start).saturating_add(number - 1)
        } else {
            i64::from(end).saturating_add(number)
        };
        (i64::from(start)..i64::from(end)).contains(&place).then_some(place as u32)
    };
    let ranges = starts.iter().zip(ends);
    let nulls = if ignores_nulls { value.logical_nulls() } else { None };
    let Some(nulls) = nulls else { return ranges.map(|(start, end)| choose(*start, *end)).collect() };
    // Ranges of rows become ranges of known values, and back.
    let known: Vec<u32> = nulls.inner().set_indices().map(|row| row as u32).collect();
    let place = |row: u32| known.partition_point(|known| *known < row) as u32;
    ranges.map(|(start, end)| choose(place(*start), place(*end)).map(|place| known[place as usize])).collect()
}
