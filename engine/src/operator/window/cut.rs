//! Units: whole partitions, one after the other.
//!
//! In: sorted rows. Out: stretches of them that end where a partition ends; where memory does not hold a partition, its rows with their columns,
//! a piece at a time. Never: copies more of the rows than it needs to see where a partition ends.

use super::{
    calls::Calls,
    layout::{changes, values},
    spec::WindowError,
    stream::{HOLDER, Stream},
};
use crate::{
    batch::{Batch, concat, datatypes::SchemaRef},
    error::{Kind, Result},
    expression::Evaluator,
    memory::Reservation,
    operator::{
        JobContext,
        sort::{SortedRows, Stretch},
    },
};

/// Rows behind a unit that are looked at first for the end of its last partition.
const LOOK_ROWS: usize = 1024;
/// Most of them that are looked at in one piece.
const LOOK_ROWS_MAX: usize = 1 << 18;

/// What was not given yet.
pub(super) struct Cutter {
    rows: SortedRows,
    schema: SchemaRef,
    /// Taken from the rows, but of the next units; the last comes first.
    held: Vec<Stretch>,
    /// Rows of a unit, if its partitions allow it.
    rows_wanted: usize,
    /// The partition that comes next is one that memory does not hold; bytes of a row of it.
    is_long: Option<u64>,
    stream: Option<Stream>,
}

/// What comes next.
pub(super) enum Next {
    Unit(Unit),
    /// Rows of a long partition, with the columns of the calls.
    Rows(Batch),
}

/// Whole partitions.
pub(super) struct Unit {
    stretches: Vec<Stretch>,
    rows: usize,
    /// For rows beyond those wanted.
    pub(super) reservation: Reservation,
}

impl Cutter {
    pub(super) fn new(rows: SortedRows, schema: &SchemaRef, rows_wanted: usize) -> Cutter {
        let (schema, rows_wanted) = (SchemaRef::clone(schema), rows_wanted.max(1));
        Cutter { rows, schema, held: Vec::new(), rows_wanted, is_long: None, stream: None }
    }

    /// What comes next; none when all rows were given.
    pub(super) fn next(&mut self, calls: &Calls, context: &JobContext) -> Result<Option<Next>> {
        if let Some(stream) = &mut self.stream {
            if let Some(rows) = stream.next(calls)? {
                return Ok(Some(Next::Rows(rows)));
            }
            self.stream = None;
        }
        let needs = calls.needs();
        if self.is_long.is_none()
            && let Some(unit) = self.unit(calls, needs.is_some(), context.reservation(HOLDER))?
        {
            return Ok(Some(Next::Unit(unit)));
        }
        let (Some(row_bytes), Some(needs)) = (self.is_long.take(), needs) else { return Ok(None) };
        let mut stream = Stream::begin(self, calls, needs, context, row_bytes)?;
        let rows = stream.next(calls)?;
        self.stream = Some(stream);
        Ok(rows.map(Next::Rows))
    }

    /// Whole partitions; none when there are none, or when the next one is long.
    fn unit(&mut self, calls: &Calls, may_stream: bool, reservation: Reservation) -> Result<Option<Unit>> {
        let partition = &calls.partition;
        let mut unit = Unit { stretches: Vec::new(), rows: 0, reservation };
        while unit.rows < self.rows_wanted {
            let Some(stretch) = self.take(self.rows_wanted - unit.rows)? else { break };
            unit.add(stretch);
        }
        let Some(last) = unit.stretches.last() else { return Ok(None) };
        let (last_row, own) = (last.last_row()?, unit.stretches.len());
        let mut look_rows = LOOK_ROWS;
        while let Some(mut stretch) = self.take(look_rows)? {
            let change = first_change(partition, &last_row, &stretch.batch()?)?;
            if let Some(row) = change {
                self.held.push(stretch.split_off(row));
            }
            if let Some(refused) = unit.add_long(stretch, calls.bytes_per_row(), may_stream)? {
                self.is_long = Some(refused.bytes().div_ceil(refused.rows().max(1) as u64));
                self.held.push(refused);
                return self.without_last(unit, own, partition);
            }
            if change.is_some() {
                break;
            }
            look_rows = (2 * look_rows).min(LOOK_ROWS_MAX);
        }
        if u32::try_from(unit.rows).is_err() {
            return Err(WindowError::TooManyRows.into());
        }
        Ok(Some(unit))
    }

    /// The unit without its last partition, of which all stretches but the first `own` ones are; none if it has no other. The rows are held.
    fn without_last(&mut self, mut unit: Unit, own: usize, partition: &[Evaluator]) -> Result<Option<Unit>> {
        self.held.extend(unit.stretches.drain(own..).rev());
        unit.reservation.resize(0)?;
        let rows = unit.batch(&self.schema)?;
        let changes = changes(rows.num_rows(), &values(partition, &rows)?)?;
        unit.rows = changes.set_indices().last().map_or(0, |row| row + 1);
        let mut first = rows.num_rows();
        while let Some(mut stretch) = unit.stretches.pop() {
            first -= stretch.rows();
            if first < unit.rows {
                self.held.push(stretch.split_off(unit.rows - first));
                unit.stretches.push(stretch);
                break;
            }
            self.held.push(stretch);
        }
        Ok((unit.rows > 0).then_some(unit))
    }

    /// The next rows, at most so many, of the partition that begins with `first_row`, or with the next one; none if they are of another.
    pub(super) fn of_partition(
        &mut self,
        partition: &[Evaluator],
        first_row: Option<&Batch>,
        rows_max: usize,
    ) -> Result<Option<Batch>> {
        let Some(mut stretch) = self.take(rows_max)? else { return Ok(None) };
        let batch = stretch.batch()?;
        let own_first = batch.slice(0, batch.num_rows().min(1));
        let Some(row) = first_change(partition, first_row.unwrap_or(&own_first), &batch)? else {
            return Ok(Some(batch));
        };
        self.held.push(stretch.split_off(row));
        Ok((row > 0).then(|| batch.slice(0, row)))
    }

    pub(super) fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// The next rows, at most so many.
    fn take(&mut self, rows_max: usize) -> Result<Option<Stretch>> {
        while self.held.pop_if(|held| held.rows() == 0).is_some() {}
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

    /// Adds rows beyond those that were wanted, if there is memory for them: where they stand, copied, and together. Where the partition may be
    /// given in pieces they come back when memory is short.
    fn add_long(&mut self, stretch: Stretch, bytes_per_row: u64, may_stream: bool) -> Result<Option<Stretch>> {
        if stretch.rows() == 0 {
            return Ok(None);
        }
        let bytes = 3 * stretch.bytes() + bytes_per_row * stretch.rows() as u64;
        let rows = self.rows + stretch.rows();
        if may_stream {
            if u32::try_from(rows).is_err() || !self.reservation.try_grow(bytes) {
                return Ok(Some(stretch));
            }
        } else {
            match self.reservation.grow(bytes) {
                Err(source) if source.kind() == Kind::Limit => {
                    return Err(WindowError::TooLong { rows, source }.into());
                }
                granted => granted?,
            }
        }
        self.add(stretch);
        Ok(None)
    }
}

/// The first row of `rows` that is of another partition than `row`.
fn first_change(partition: &[Evaluator], row: &Batch, rows: &Batch) -> Result<Option<usize>> {
    if partition.is_empty() {
        return Ok(None);
    }
    let rows = concat(&row.schema(), &[row.clone(), rows.clone()])?;
    let changes = changes(rows.num_rows(), &values(partition, &rows)?)?;
    Ok(changes.set_indices().next())
}
