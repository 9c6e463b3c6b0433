//! A partition that memory does not hold, a piece at a time.
//!
//! In: its rows in order. Out: the rows with the columns of the calls, piece by piece, on one thread at a time. Never: more rows in memory than a
//! few pieces and what is near them; a value that depends on where pieces are cut.
//!
//! ```text
//!   begin   rows ──► a run on disk ──► how many they are; results, first and last values of the whole partition
//!   next    run ──► before │ piece │ behind ──► columns (pieces.rs) ──► what is left behind is carried
//!           run, a second time, ahead of the first: where peers end that are not all at hand
//! ```

use std::sync::Arc;

use super::{
    calls::{Call, Calls},
    cut::Cutter,
    layout::{changes, values},
    pieces::{Ahead, Known, Piece, Standing},
    reach::{Needs, Reach},
    spec::WindowError,
};
use crate::{
    batch::{Batch, array::ArrayRef, concat, copied, datatypes::SchemaRef},
    error::{Kind, Result, bug},
    memory::Reservation,
    operator::{JobContext, aggregate::Carried},
    shuffle::{Run, RunReader},
};

/// Who asks for memory, and whose the run is.
pub(super) const HOLDER: &str = "window";
/// Pieces that are held at once: read, computed, and of the second reader.
const PIECES_HELD: u64 = 4;
/// A row at hand, in a frame, and copied behind others.
const COPIES_OF_A_ROW: u64 = 3;

/// A partition on its way.
pub(super) struct Stream {
    schema: SchemaRef,
    needs: Needs,
    piece_rows: usize,
    known: Known,
    rows: RunReader,
    ahead: Option<Lookout>,
    /// Rows at hand; the first of them were given already.
    batch: Batch,
    given_rows: usize,
    standing: Standing,
    carried: Vec<Option<Carried>>,
    _reservation: Reservation,
}

/// Reads ahead of the pieces.
struct Lookout {
    rows: RunReader,
    /// Read, but of the next peers.
    rest: Option<Batch>,
    /// Rows that were passed.
    passed: u64,
    found: Option<Ahead>,
}

impl Stream {
    /// The next partition of `cutter`, whose first rows are there.
    pub(super) fn begin(
        cutter: &mut Cutter,
        calls: &Calls,
        needs: Needs,
        context: &JobContext,
        row_bytes: u64,
    ) -> Result<Stream> {
        let row_bytes = COPIES_OF_A_ROW * row_bytes + calls.bytes_per_row();
        let (piece_rows, reservation) = room_for_pieces(context, needs, row_bytes)?;
        let schema = cutter.schema();
        let mut writer = context.runs.begin(HOLDER, &schema);
        let mut whole: Vec<Option<Carried>> = carried(calls, |reach| reach == Reach::Whole)?;
        let (mut rows, mut first_row, mut last_row) = (0, None, None);
        while let Some(batch) = cutter.of_partition(&calls.partition, first_row.as_ref(), piece_rows)? {
            context.cancel.check()?;
            if first_row.is_none() {
                first_row = Some(copied(&batch.slice(0, 1))?);
            }
            last_row = Some(copied(&batch.slice(batch.num_rows() - 1, 1))?);
            rows += batch.num_rows() as u64;
            carry(calls, &mut whole, &batch)?;
            writer.append(0, &batch)?;
        }
        let run = writer.finish()?;
        context.add_spilled_bytes(run.all_bytes());
        let (Some(first_row), Some(last_row)) = (first_row, last_row) else {
            return Err(bug("window", "a partition without rows"));
        };
        let known = Known {
            rows,
            whole: results(calls, &whole)?,
            first_values: single_values(calls, &first_row)?,
            last_values: single_values(calls, &last_row)?,
        };
        let run: Arc<Run> = Arc::new(run);
        let ahead = needs.ends.then(|| Lookout { rows: run.read(0), rest: None, passed: 0, found: None });
        Ok(Stream {
            batch: Batch::new_empty(Arc::clone(&schema)),
            schema,
            needs,
            piece_rows,
            known,
            rows: run.read(0),
            ahead,
            given_rows: 0,
            standing: Standing::default(),
            carried: carried(calls, |reach| matches!(reach, Reach::Beginning(_) | Reach::Peers))?,
            _reservation: reservation,
        })
    }

    /// The next rows with their columns; none when all were given.
    pub(super) fn next(&mut self, calls: &Calls) -> Result<Option<Batch>> {
        let wanted = self.given_rows + self.piece_rows + self.needs.near.behind;
        let mut read = vec![self.batch.clone()];
        let mut count = self.batch.num_rows();
        while count < wanted {
            let Some(batch) = self.rows.next()? else { break };
            count += batch.num_rows();
            read.push(batch);
        }
        self.batch = concat(&self.schema, &read)?;
        drop(read);
        let is_end = self.standing.rows + count as u64 == self.known.rows;
        let behind = if is_end { 0 } else { self.needs.near.behind };
        let end = self.given_rows + self.piece_rows.min(count.saturating_sub(self.given_rows + behind));
        if end == self.given_rows {
            return Ok(None);
        }
        let ahead = match &mut self.ahead {
            Some(lookout) if !is_end => {
                Some(lookout.peers_behind(calls, &self.batch, self.standing, &self.carried, self.known.rows)?)
            }
            _ => None,
        };
        // One row stays, to compare others with.
        let next = end.saturating_sub(self.needs.near.before.max(1));
        let piece = Piece {
            calls,
            batch: &self.batch,
            rows: self.given_rows..end,
            standing: self.standing,
            known: &self.known,
            carried: &self.carried,
            ahead,
        };
        let (given, standing) = piece.evaluate(next)?;
        carry(calls, &mut self.carried, &self.batch.slice(0, next))?;
        self.batch = self.batch.slice(next, self.batch.num_rows() - next);
        (self.given_rows, self.standing) = (end - next, standing);
        Ok(Some(given))
    }
}

/// Rows of a piece, and memory for as many as are held at once.
fn room_for_pieces(context: &JobContext, needs: Needs, row_bytes: u64) -> Result<(usize, Reservation)> {
    let near_rows = (needs.near.before + needs.near.behind) as u64;
    let mut piece_rows = context.settings.rows_per_morsel.max(1);
    let mut reservation = context.reservation(HOLDER);
    loop {
        let rows = near_rows + PIECES_HELD * piece_rows as u64;
        match reservation.grow(rows * row_bytes) {
            Err(error) if error.kind() == Kind::Limit && piece_rows > 1 => piece_rows /= 2,
            Err(source) if source.kind() == Kind::Limit => {
                return Err(WindowError::TooLong { rows: rows as usize, source }.into());
            }
            granted => return granted.map(|()| (piece_rows, reservation)),
        }
    }
}

impl Lookout {
    /// Where the peers of the last row of `batch`, behind which others stand, end.
    fn peers_behind(
        &mut self,
        calls: &Calls,
        batch: &Batch,
        standing: Standing,
        carried: &[Option<Carried>],
        rows: u64,
    ) -> Result<&Ahead> {
        let border = standing.rows + batch.num_rows() as u64;
        if self.found.as_ref().is_none_or(|found| found.end <= border) {
            let mut states = again(calls, carried)?;
            carry(calls, &mut states, batch)?;
            self.pass(border)?;
            let mut last_row = batch.slice(batch.num_rows() - 1, 1);
            while let Some(peers) = self.peers_of(calls, &last_row)? {
                last_row = copied(&peers.slice(peers.num_rows() - 1, 1))?;
                carry(calls, &mut states, &peers)?;
            }
            debug_assert!(self.passed <= rows);
            let (whole, last_values) = (results(calls, &states)?, single_values(calls, &last_row)?);
            self.found = Some(Ahead { end: self.passed, whole, last_values });
        }
        self.found.as_ref().ok_or_else(|| bug("window", "peers that were looked for and not found"))
    }

    fn next(&mut self) -> Result<Option<Batch>> {
        match self.rest.take() {
            Some(rest) => Ok(Some(rest)),
            None => self.rows.next(),
        }
    }

    /// Goes on to the row of this number.
    fn pass(&mut self, border: u64) -> Result<()> {
        while self.passed < border {
            let Some(batch) = self.next()? else { break };
            let count = (border - self.passed).min(batch.num_rows() as u64) as usize;
            self.keep(&batch, count);
        }
        Ok(())
    }

    /// The next rows that are peers of `row`; none when the next one is not.
    fn peers_of(&mut self, calls: &Calls, row: &Batch) -> Result<Option<Batch>> {
        let Some(batch) = self.next()? else { return Ok(None) };
        let rows = concat(&row.schema(), &[row.clone(), batch.clone()])?;
        let changes = changes(rows.num_rows(), &values(&calls.order, &rows)?)?;
        let count = changes.set_indices().next().unwrap_or(batch.num_rows());
        self.keep(&batch, count);
        Ok((count > 0).then(|| batch.slice(0, count)))
    }

    /// The first `count` rows are passed, the others are not.
    fn keep(&mut self, batch: &Batch, count: usize) {
        self.passed += count as u64;
        self.rest = (count < batch.num_rows()).then(|| batch.slice(count, batch.num_rows() - count));
    }
}

/// No rows yet, for the frames that are wanted.
fn carried(calls: &Calls, is_wanted: impl Fn(Reach) -> bool) -> Result<Vec<Option<Carried>>> {
    let of_frame = |over: &super::calls::OverFrame| {
        over.frame.reach().is_some_and(&is_wanted).then(|| over.aggregates.carried()).transpose()
    };
    calls.aggregates.iter().map(of_frame).collect()
}

fn carry(calls: &Calls, carried: &mut [Option<Carried>], batch: &Batch) -> Result<()> {
    for (over, carried) in calls.aggregates.iter().zip(carried) {
        if let Some(carried) = carried {
            over.aggregates.carry(carried, batch)?;
        }
    }
    Ok(())
}

fn again(calls: &Calls, carried: &[Option<Carried>]) -> Result<Vec<Option<Carried>>> {
    let pairs = calls.aggregates.iter().zip(carried);
    pairs.map(|(over, carried)| carried.as_ref().map(|c| over.aggregates.carried_again(c)).transpose()).collect()
}

fn results(calls: &Calls, carried: &[Option<Carried>]) -> Result<Vec<Option<Vec<ArrayRef>>>> {
    let pairs = calls.aggregates.iter().zip(carried);
    pairs.map(|(over, carried)| carried.as_ref().map(|c| over.aggregates.of_carried(c)).transpose()).collect()
}

/// Of a row what each call that wants a row's value gets of it.
fn single_values(calls: &Calls, row: &Batch) -> Result<Vec<Option<ArrayRef>>> {
    let value = |call: &Call| match call {
        Call::Nth { value, .. } => Ok(Some(value.evaluate(row)?.into_array(1)?)),
        _ => Ok(None),
    };
    calls.calls.iter().map(value).collect()
}
