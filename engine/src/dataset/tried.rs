//! Records that a closure cannot use, kept apart from what it made of the others: try_map, try_flat_map.
//!
//! In: a closure that may fail for a record. Out: its rows, and a dead letter for each record that it failed for. Never: a record that is neither
//! in the one nor in the other.
//!
//! ```text
//!   U's columns    record      error              place                         row
//!    "a", 1         NULL        NULL               NULL                         NULL    what was made of a record
//!      NULL        "b,x"   invalid digit …   lines.csv, bytes 0 to 4194304        17    a dead letter
//! ```

use std::{
    cell::{Cell, RefCell},
    error::Error as StdError,
    iter,
    marker::PhantomData,
    panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind},
    path::PathBuf,
    sync::Arc,
};

use super::{
    closure::{call_site, message_of},
    error::DatasetError,
    flow::{Dataset, keep},
    map::Emitter,
    record::{Columns, Record, record_text, schema_of},
};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, new_null_array},
        datatypes::{Field, Schema, SchemaRef},
    },
    error::{Error, Result},
    expression::Expression,
    observe::Counters,
    operator::{
        Emit,
        splits::{SplitCalls, SplitFunction, SplitPlace},
    },
    plan::{
        closures::Function,
        logical::{Logical, Node},
    },
};

/// A record that a closure could not use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetter {
    /// Its values, cut at 200 bytes.
    pub record: String,
    /// What the closure said, and why.
    pub error: String,
    /// The file and the part of it that the record was read from; empty where it comes from no file.
    pub place: String,
    /// Which row of that part it is, from 0, of those that came as far as the closure.
    pub row: i64,
}

/// A dead letter as a row.
type Letter = (String, String, String, i64);

const LETTER: [&str; 4] = ["record", "error", "place", "row"];

impl<T: Record> Dataset<T> {
    /// As [`Dataset::map`], of a closure that may fail for a record:
    /// `.try_map(|line| line.parse::<i64>().map_err(failure)).dead_letters_to("bad", 100)?`.
    #[track_caller]
    pub fn try_map<U: Record>(self, row: impl Fn(T::View<'_>) -> Result<U> + Send + Sync + 'static) -> Tried<U> {
        self.tried(Location::caller(), move |view, out| {
            out.push(row(view)?.as_view());
            Ok(())
        })
    }

    /// As [`Dataset::flat_map`], of a closure that may fail for a record. What it has given of that record before stays.
    #[track_caller]
    pub fn try_flat_map<U: Record>(
        self,
        rows: impl Fn(T::View<'_>, &mut Emitter<'_, U>) -> Result<()> + Send + Sync + 'static,
    ) -> Tried<U> {
        self.tried(Location::caller(), rows)
    }

    fn tried<U: Record, F>(self, place: &'static Location<'static>, rows: F) -> Tried<U>
    where
        F: Fn(T::View<'_>, &mut Emitter<'_, U>) -> Result<()> + Send + Sync + 'static,
    {
        let letter = schema_of::<Letter>();
        let of_letter = letter.fields().iter().zip(LETTER).map(|(field, name)| Field::clone(field).with_name(name));
        let fields = U::fields().into_iter().chain(of_letter).map(|field| field.with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let trying = Trying {
            rows: Arc::new(rows),
            call_site: call_site(place),
            columns: Arc::new(Both { all: Arc::clone(&schema), rows: schema_of::<U>(), letters: letter }),
            rows_max: self.session().settings().rows_per_morsel,
            types: PhantomData::<fn(T) -> U>,
        };
        let closure = self.named_closure(place, Function::Splits(Arc::new(trying)), &schema);
        let node = |input| Node::MapBatches { input: Box::new(input), closure };
        Tried { all: self.then(|input| Logical { node: node(input), schema }), place, rows: PhantomData }
    }
}

/// What a closure made of the records that it could use, and the others.
#[must_use = "say what becomes of the records that it fails for: .dead_letters_to(…) or .or_fail()"]
pub struct Tried<U> {
    all: Dataset<Batch>,
    place: &'static Location<'static>,
    rows: PhantomData<fn() -> U>,
}

impl<U: Record> Tried<U> {
    /// Runs the flow now: dead letters go to Parquet files in the folder `path`, which must not exist, and the rows are [cached](Dataset::cache).
    /// With how many letters there are. Fails, and writes nothing, if they are more than `most`.
    pub fn dead_letters_to(self, path: impl Into<PathBuf>, most: u64) -> Result<(Dataset<U>, u64)> {
        let (rows, letters, count) = self.apart(most)?;
        letters.named(LETTER)?.write_parquet(path)?;
        Ok((rows, count))
    }

    /// Runs the flow now: the rows, [cached](Dataset::cache), and the dead letters, of which there may be so many, by their content.
    pub fn dead_letters(self, most: u64) -> Result<(Dataset<U>, Vec<DeadLetter>)> {
        let (rows, letters, _) = self.apart(most)?;
        let letter = |(record, error, place, row)| DeadLetter { record, error, place, row };
        Ok((rows, letters.sort_by([])?.collect()?.into_iter().map(letter).collect()))
    }

    /// Rows and letters, which are made once, and how many letters there are.
    fn apart(self, most: u64) -> Result<(Dataset<U>, Dataset<Letter>, u64)> {
        let all = self.all.cache()?;
        let rows = U::fields().len();
        let is_row = Expression::IsNull(Box::new(Expression::Column(rows + 1)));
        let is_letter = Expression::Not(Box::new(is_row.clone()));
        let letters: Dataset<Letter> = chosen(&all, is_letter, rows..rows + LETTER.len(), schema_of::<Letter>());
        let count = letters.count()?;
        if count > most {
            let first = letters.take(1)?.pop().unwrap_or_default();
            return Err(too_many(self.place, (count, most), first));
        }
        Ok((chosen(&all, is_row, 0..rows, schema_of::<U>()), letters, count))
    }

    /// The rows; a record that the closure fails for ends the job.
    pub fn or_fail(self) -> Dataset<U> {
        let (place, count) = (self.place, U::fields().len());
        let output = schema_of::<U>();
        let schema = Arc::clone(&output);
        self.all.through(place, output, move |batch, emit| {
            let errors = batch.column(count + 1);
            if let Some(row) = (0..batch.num_rows()).find(|row| errors.is_valid(*row)) {
                let letters = batch.slice(row, 1).project(&(count..count + LETTER.len()).collect::<Vec<_>>())?;
                let reader = Letter::reader(&mut Columns::of(&letters))?;
                return Err(too_many(place, (1, 0), Letter::from_view(Letter::view(&reader, 0))));
            }
            emit(Batch::try_new(Arc::clone(&schema), batch.columns()[..count].to_vec())?)
        })
    }
}

fn too_many(place: &'static Location<'static>, (count, most): (u64, u64), letter: Letter) -> Error {
    let (record, error, at, row) = letter;
    let at = if at.is_empty() { at } else { format!(" ({at}, row {row})") };
    DatasetError::DeadLetters { place, count, most, first: format!("{record}{at}: {error}") }.into()
}

/// Some columns of the rows for which `is_one` is true.
fn chosen<U>(
    all: &Dataset<Batch>,
    is_one: Expression,
    columns: std::ops::Range<usize>,
    schema: SchemaRef,
) -> Dataset<U> {
    all.clone().then(|input| {
        let expressions = columns.map(Expression::Column).collect();
        Logical { node: Node::Project { input: Box::new(keep(input, is_one)), expressions }, schema }
    })
}

/// The columns of rows and letters, together and apart.
struct Both {
    all: SchemaRef,
    rows: SchemaRef,
    letters: SchemaRef,
}

impl Both {
    fn of_rows(&self, batch: &Batch) -> Result<Batch> {
        let blanks = self.letters.fields().iter().map(|field| new_null_array(field.data_type(), batch.num_rows()));
        Ok(Batch::try_new(Arc::clone(&self.all), batch.columns().iter().cloned().chain(blanks).collect())?)
    }

    fn of_letters(&self, batch: &Batch) -> Result<Batch> {
        let blank = |field: &Arc<Field>| -> ArrayRef { new_null_array(field.data_type(), batch.num_rows()) };
        let columns = self.rows.fields().iter().map(blank).chain(batch.columns().iter().cloned()).collect();
        Ok(Batch::try_new(Arc::clone(&self.all), columns)?)
    }
}

/// The user's closure.
struct Trying<T, U, F> {
    rows: Arc<F>,
    call_site: &'static str,
    columns: Arc<Both>,
    rows_max: usize,
    types: PhantomData<fn(T) -> U>,
}

/// The user's closure over the rows of a split.
struct Life<T, U, F> {
    trying: Trying<T, U, F>,
    place: String,
    /// Rows before the next one.
    seen: i64,
}

impl<T: Record, U: Record, F> SplitFunction for Trying<T, U, F>
where
    F: Fn(T::View<'_>, &mut Emitter<'_, U>) -> Result<()> + Send + Sync + 'static,
{
    fn open(&self, place: Option<SplitPlace>, _: &Arc<Counters>) -> Result<Box<dyn SplitCalls>> {
        let Trying { rows, call_site, columns, rows_max, types } = self;
        let (rows, columns) = (Arc::clone(rows), Arc::clone(columns));
        let trying = Trying { rows, call_site, columns, rows_max: *rows_max, types: *types };
        let place = place.map(|place| place.to_string()).unwrap_or_default();
        Ok(Box::new(Life { trying, place, seen: 0 }))
    }
}

impl<T: Record, U: Record, F> SplitCalls for Life<T, U, F>
where
    F: Fn(T::View<'_>, &mut Emitter<'_, U>) -> Result<()> + Send + Sync + 'static,
{
    fn call(&mut self, batch: &Batch, emit: Emit<'_>) -> Result<()> {
        let Life { trying: Trying { rows, call_site, columns, rows_max, .. }, place, seen } = self;
        let reader = T::reader(&mut Columns::of(batch))?;
        // What is called by `emit` is the rest of the pipeline: a panic there is not this closure's.
        let (row, is_downstream) = (Cell::new(0), Cell::new(false));
        let emit = RefCell::new(emit);
        let hand_on = |batch: Result<Batch>| {
            is_downstream.set(true);
            let went = batch.and_then(|batch| (emit.borrow_mut())(batch));
            is_downstream.set(false);
            went
        };
        let called = catch_unwind(AssertUnwindSafe(|| {
            let mut give_rows = |batch: Batch| hand_on(columns.of_rows(&batch));
            let mut give_letters = |batch: Batch| hand_on(columns.of_letters(&batch));
            let mut out = Emitter::<U>::new(&mut give_rows, &columns.rows, *rows_max);
            let mut letters = Emitter::<Letter>::new(&mut give_letters, &columns.letters, *rows_max);
            for number in 0..batch.num_rows() {
                row.set(number);
                if let Err(error) = rows(T::view(&reader, number), &mut out) {
                    let (record, error) = (record_text(batch, number), text_of(&error));
                    letters.push((&record, &error, place, *seen + number as i64));
                }
                if out.has_failed() || letters.has_failed() {
                    break;
                }
            }
            out.finish().and(letters.finish())
        }));
        *seen += batch.num_rows() as i64;
        match called {
            Ok(result) => result,
            Err(panic) if is_downstream.get() => resume_unwind(panic),
            Err(panic) => {
                let record = record_text(batch, row.get());
                let message = format!("{} (at {record})", message_of(&*panic));
                Err(DatasetError::ClosurePanicked { call_site, message }.into())
            }
        }
    }

    fn close(self: Box<Self>, _: Emit<'_>) -> Result<()> {
        Ok(())
    }
}

/// The error and its causes, on a line.
fn text_of(error: &Error) -> String {
    let causes = iter::successors(error.source(), |cause: &&dyn StdError| (*cause).source());
    iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}
