//! Units: whole partitions, one after the other.
//!
//! In: sorted rows. Out: stretches of them that end where a partition ends. Never: copies more of the rows than it needs to see where that is.

use super::{
    layout::{changes, values},
    spec::WindowError,
};
use crate::{
    batch::{Batch, concat, datatypes::SchemaRef},
    error::{Kind, Result},
    expression::Evaluator,
    memory::Reservation,
    operator::sort::{SortedRows, Stretch},
};

/// Rows behind a unit that are looked at first for the end of its last partition.
const LOOK_ROWS: usize = 1024;
/// Most of them that are looked at in one piece.
const LOOK_ROWS_MAX: usize = 1 << 18;

/// What was not given yet.
pub(super) struct Cutter {
    rows: SortedRows,
    /// Taken from the rows, but of the next units; the last comes first.
    held: Vec<Stretch>,
    /// Rows of a unit, if its partitions allow it.
    rows_wanted: usize,
}

/// Whole partitions.
pub(super) struct Unit {
    stretches: Vec<Stretch>,
    rows: usize,
    /// For rows beyond those wanted.
    pub(super) reservation: Reservation,
}

impl Cutter {
    pub(super) fn new(rows: SortedRows, rows_wanted: usize) -> Cutter {
        Cutter { rows, held: Vec::new(), rows_wanted: rows_wanted.max(1) }
    }

    /// The next unit; none when all rows were given. `bytes_per_row` is what computing a row takes beside the row.
    pub(super) fn next(
        &mut self,
        partition: &[Evaluator],
        bytes_per_row: u64,
        reservation: Reservation,
    ) -> Result<Option<Unit>> {
        let mut unit = Unit { stretches: Vec::new(), rows: 0, reservation };
        while unit.rows < self.rows_wanted {
            let Some(stretch) = self.take(self.rows_wanted - unit.rows)? else { break };
            unit.add(stretch);
        }
        let Some(last) = unit.stretches.last() else { return Ok(None) };
        let last_row = last.last_row()?;
        let mut look_rows = LOOK_ROWS;
        while let Some(mut stretch) = self.take(look_rows)? {
            if let Some(row) = first_change(partition, &last_row, &stretch)? {
                self.held.push(stretch.split_off(row));
                unit.add_long(stretch, bytes_per_row)?;
                break;
            }
            unit.add_long(stretch, bytes_per_row)?;
            look_rows = (2 * look_rows).min(LOOK_ROWS_MAX);
        }
        if u32::try_from(unit.rows).is_err() {
            return Err(WindowError::TooManyRows.into());
        }
        Ok(Some(unit))
    }

    /// The next rows, at most so many.
    fn take(&mut self, rows_max: usize) -> Result<Option<Stretch>> {
        let Some(mut held) = self.held.pop() else { return self.rows.next(rows_max) };
        if held.rows() > rows_max {
            self.held.push(held.split_off(rows_max));
        }
        Ok(Some(held))
    }
}

impl Unit {
    /// The rows, copied one behind the other.
    pub(super) fn batch(&self, schema: &SchemaRef) -> Result<Batch> {
        let batches = self.stretches.iter().map(Stretch::batch).collect::<Result<Vec<_>>>()?;
        concat(schema, &batches)
    }

    fn add(&mut self, stretch: Stretch) {
        self.rows += stretch.rows();
        self.stretches.push(stretch);
    }

    /// Adds rows beyond those that were wanted, if there is memory for them: where they stand, copied, and together.
    fn add_long(&mut self, stretch: Stretch, bytes_per_row: u64) -> Result<()> {
        let bytes = 3 * stretch.bytes() + bytes_per_row * stretch.rows() as u64;
        match self.reservation.grow(bytes) {
            Err(source) if source.kind() == Kind::Limit => {
                return Err(WindowError::TooLong { rows: self.rows + stretch.rows(), source }.into());
            }
            granted => granted?,
        }
        self.add(stretch);
        Ok(())
    }
}

/// The first row of `stretch` that is of another partition than `last_row`.
fn first_change(partition: &[Evaluator], last_row: &Batch, stretch: &Stretch) -> Result<Option<usize>> {
    if partition.is_empty() {
        return Ok(None);
    }
    let rows = concat(&last_row.schema(), &[last_row.clone(), stretch.batch()?])?;
    let changes = changes(rows.num_rows(), &values(partition, &rows)?)?;
    Ok(changes.set_indices().next())
}
