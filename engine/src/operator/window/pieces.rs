//! The calls' columns for a piece of a partition.
//!
//! In: the piece with the rows near it, and what is known of the others. Out: what the whole partition at once would have given for these rows, bit
//! for bit. Never: looks further than [`Needs`](super::reach::Needs) says.
//!
//! ```text
//!   partition   ├─ carried: states, numbers ─┤─ before ─┤── piece ──┤─ behind ─┤ … rows ahead: where the last peers end, and their states │
//! ```

use std::{ops::Range, sync::Arc};

use super::{
    calls::{Call, Calls, OverFrame},
    frames::OrderOf,
    layout::{Layout, values},
    numbers::bucket,
    reach::Reach,
};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, Float64Array, UInt32Array, UInt64Array},
        compute,
    },
    error::{Result, bug},
    expression::WindowFunction,
    operator::aggregate::Carried,
};

/// What is known of a partition once all its rows were seen.
pub(super) struct Known {
    pub(super) rows: u64,
    /// Of each frame of aggregates that is the whole partition, the results.
    pub(super) whole: Vec<Option<Vec<ArrayRef>>>,
    /// Of each call that wants a row of a number, its first row's value and its last one's.
    pub(super) first_values: Vec<Option<ArrayRef>>,
    pub(super) last_values: Vec<Option<ArrayRef>>,
}

/// Where a group of peers ends, some of which stand behind the rows at hand.
pub(super) struct Ahead {
    pub(super) end: u64,
    /// As in [`Known`], of the rows up to there.
    pub(super) whole: Vec<Option<Vec<ArrayRef>>>,
    pub(super) last_values: Vec<Option<ArrayRef>>,
}

/// Where the first of the rows at hand stands.
#[derive(Clone, Copy, Default)]
pub(super) struct Standing {
    /// Rows before it.
    pub(super) rows: u64,
    /// Rows before its peers.
    pub(super) rank: u64,
    /// Groups of peers before its own.
    pub(super) groups: u64,
}

/// Rows at hand, of which some are the piece.
pub(super) struct Piece<'a> {
    pub(super) calls: &'a Calls,
    pub(super) batch: &'a Batch,
    pub(super) rows: Range<usize>,
    pub(super) standing: Standing,
    pub(super) known: &'a Known,
    /// Of each frame that begins where the partition does, the rows before those at hand.
    pub(super) carried: &'a [Option<Carried>],
    /// Where the peers of the last row at hand end, if some are not at hand.
    pub(super) ahead: Option<&'a Ahead>,
}

/// Peers among the rows at hand.
struct Peers {
    start: usize,
    end: usize,
    number: usize,
}

impl Piece<'_> {
    /// The piece's rows with the calls' columns, and where the row of number `next` stands.
    pub(super) fn evaluate(&self, next: usize) -> Result<(Batch, Standing)> {
        let order_values = values(&self.calls.order, self.batch)?;
        let layout = Layout::new(self.batch.num_rows(), &[], &order_values)?;
        let order = OrderOf { key: order_values.first(), options: self.calls.options };
        let over_frame = |(place, over): (usize, &OverFrame)| self.over_frame(place, over, &layout, &order);
        let over_frames = self.calls.aggregates.iter().enumerate().map(over_frame).collect::<Result<Vec<_>>>()?;
        let column = |(place, call): (usize, &Call)| -> Result<ArrayRef> {
            Ok(match call {
                Call::Aggregate(place, number) => Arc::clone(&over_frames[*place][*number]),
                Call::Number(function) => self.numbers(function, &layout)?,
                Call::Nth { number, frame, .. } => match (frame.reach(), number) {
                    (Some(Reach::Whole), 1) => self.constant(&self.known.first_values[place])?,
                    (Some(Reach::Whole), _) => self.constant(&self.known.last_values[place])?,
                    (Some(Reach::Beginning(offset)), 1) => {
                        let first = single(&self.known.first_values[place])?;
                        let places: UInt32Array = self.ends(offset).into_iter().map(|end| end.map(|_| 0)).collect();
                        compute::take(first, &places, None)?
                    }
                    (Some(Reach::Peers), 1) => self.constant(&self.known.first_values[place])?,
                    (Some(Reach::Peers), _) => {
                        let known = self.at_hand(&call.evaluate(self.batch, &layout, &order)?);
                        match self.ahead {
                            Some(ahead) => self.overlaid(&known, single(&ahead.last_values[place])?, &layout)?,
                            None => known,
                        }
                    }
                    _ => self.at_hand(&call.evaluate(self.batch, &layout, &order)?),
                },
                Call::Shifted { .. } => self.at_hand(&call.evaluate(self.batch, &layout, &order)?),
            })
        };
        let columns = self.calls.calls.iter().enumerate().map(column).collect::<Result<_>>()?;
        let given = self.calls.given(&self.batch.slice(self.rows.start, self.rows.len()), columns)?;
        let peers = peers_of(&layout, next..next + 1).next().ok_or_else(|| bug("window", "a row of no peers"))?.1;
        let standing = Standing {
            rows: self.standing.rows + next as u64,
            rank: self.rank(&peers),
            groups: self.standing.groups + peers.number as u64,
        };
        Ok((given, standing))
    }

    fn over_frame(
        &self,
        place: usize,
        over: &OverFrame,
        layout: &Layout,
        order: &OrderOf<'_>,
    ) -> Result<Vec<ArrayRef>> {
        let all = |columns: Vec<ArrayRef>| columns.iter().map(|column| self.at_hand(column)).collect();
        let carried =
            || self.carried[place].as_ref().ok_or_else(|| bug("window", "a frame of which nothing is carried"));
        match over.frame.reach() {
            Some(Reach::Near(_)) => Ok(all(over.evaluate(self.batch, layout, order)?)),
            Some(Reach::Whole) => {
                let results = self.known.whole[place].as_ref();
                let results = results.ok_or_else(|| bug("window", "a whole partition of which nothing is known"))?;
                results.iter().map(|result| self.repeated(result)).collect()
            }
            Some(Reach::Beginning(offset)) => over.aggregates.of_beginnings(carried()?, self.batch, &self.ends(offset)),
            Some(Reach::Peers) => {
                let ends: Vec<Option<u32>> =
                    peers_of(layout, self.rows.clone()).map(|(_, peers)| Some(peers.end as u32)).collect();
                let columns = over.aggregates.of_beginnings(carried()?, self.batch, &ends)?;
                let Some(ahead) = self.ahead else { return Ok(columns) };
                let known =
                    ahead.whole[place].as_ref().ok_or_else(|| bug("window", "peers of which nothing is known"))?;
                let pairs = columns.iter().zip(known);
                pairs.map(|(column, known)| self.overlaid(column, known, layout)).collect()
            }
            None => Err(bug("window", "a frame that needs the whole partition at once")),
        }
    }

    /// For each row of the piece, how many rows at hand stand before the end of its frame, which ends `offset` rows further on; none where that is
    /// before the partition.
    fn ends(&self, offset: i64) -> Vec<Option<u32>> {
        let end = |row: usize| {
            let place = row as i64 + offset + 1;
            let is_empty = self.standing.rows as i64 + place <= 0;
            (!is_empty).then(|| place.clamp(0, self.batch.num_rows() as i64) as u32)
        };
        self.rows.clone().map(end).collect()
    }

    fn numbers(&self, function: &WindowFunction, layout: &Layout) -> Result<ArrayRef> {
        let rows = self.known.rows;
        let number = |row: usize| self.standing.rows + row as u64;
        let peers = || peers_of(layout, self.rows.clone()).map(|(_, peers)| peers);
        let whole = |values: Vec<u64>| Arc::new(UInt64Array::from(values)) as ArrayRef;
        let share = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
        Ok(match function {
            WindowFunction::RowNumber => whole(self.rows.clone().map(|row| number(row) + 1).collect()),
            WindowFunction::Rank => whole(peers().map(|peers| self.rank(&peers) + 1).collect()),
            WindowFunction::DenseRank => {
                whole(peers().map(|peers| self.standing.groups + peers.number as u64 + 1).collect())
            }
            WindowFunction::PercentRank => share(
                peers().map(|of| if rows == 1 { 0.0 } else { self.rank(&of) as f64 / (rows - 1) as f64 }).collect(),
            ),
            WindowFunction::CumeDist => share(peers().map(|of| self.end(&of) as f64 / rows as f64).collect()),
            WindowFunction::Ntile(buckets) => {
                whole(self.rows.clone().map(|row| bucket(number(row), rows, (*buckets).max(1))).collect())
            }
            WindowFunction::Shifted { .. } | WindowFunction::Nth { .. } | WindowFunction::Aggregate(_) => {
                return Err(bug("window", "a function of values without its values"));
            }
        })
    }

    /// Rows before these peers.
    fn rank(&self, peers: &Peers) -> u64 {
        if peers.start == 0 { self.standing.rank } else { self.standing.rows + peers.start as u64 }
    }

    /// Rows up to the last of these peers.
    fn end(&self, peers: &Peers) -> u64 {
        match self.ahead {
            Some(ahead) if peers.end == self.batch.num_rows() => ahead.end,
            _ => self.standing.rows + peers.end as u64,
        }
    }

    /// Of a column of all rows at hand the piece's part.
    fn at_hand(&self, column: &ArrayRef) -> ArrayRef {
        column.slice(self.rows.start, self.rows.len())
    }

    /// The one value of `result` for each row.
    fn repeated(&self, result: &ArrayRef) -> Result<ArrayRef> {
        Ok(compute::take(result, &UInt32Array::from(vec![0; self.rows.len()]), None)?)
    }

    fn constant(&self, value: &Option<ArrayRef>) -> Result<ArrayRef> {
        self.repeated(single(value)?)
    }

    /// The column, but `known` for the rows whose peers are not all at hand.
    fn overlaid(&self, column: &ArrayRef, known: &ArrayRef, layout: &Layout) -> Result<ArrayRef> {
        let is_open = |peers: &Peers| peers.end == self.batch.num_rows();
        let place = |(row, peers): (usize, Peers)| if is_open(&peers) { (1, 0) } else { (0, row - self.rows.start) };
        let places: Vec<(usize, usize)> = peers_of(layout, self.rows.clone()).map(place).collect();
        Ok(compute::interleave(&[column.as_ref(), known.as_ref()], &places)?)
    }
}

fn single(value: &Option<ArrayRef>) -> Result<&ArrayRef> {
    value.as_ref().ok_or_else(|| bug("window", "a value of which nothing is known"))
}

/// Each of these rows with its peers.
fn peers_of(layout: &Layout, rows: Range<usize>) -> impl Iterator<Item = (usize, Peers)> {
    let mut number = layout.peers.partition_point(|first| *first as usize <= rows.start).saturating_sub(1);
    rows.map(move |row| {
        while layout.peers[number + 1] as usize <= row {
            number += 1;
        }
        (row, Peers { start: layout.peers[number] as usize, end: layout.peers[number + 1] as usize, number })
    })
}
