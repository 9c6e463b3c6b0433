//! Splits read ahead by the I/O threads, decoded by the compute threads.
//!
//! In: a table, columns, filters. Out: morsels with their positions, in any order between splits, in order within one. Never: waits;
//! a thread whose bytes have not come yet says `Blocked`.
//!
//! ```text
//!   splits ──claim──► ahead: [pending, pending, …] ──► a thread's current split: decode, ask for more, decode …
//!                       ▲ I/O threads fill them            at its end: claim the next
//! ```

use std::{
    collections::VecDeque,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::Bytes;

use super::{
    Split, Table,
    filter::Conditions,
    prune::{self, Extremes, prune},
};
use crate::{
    batch::{Batch, Morsel, Position},
    error::{Cause, Kind, Result, bug},
    expression::{Expression, Parameters},
    format::{Border, Decode, RowTest, Selected},
    limits,
    memory::Reservation,
    observe::Counters,
    operator::{JobContext, Outcome, Source, SourceThread, Wake, splits::SplitPlace},
    store::{Io, LocalFile, OpenFile},
};

/// What a scan gives.
#[derive(Clone, Debug)]
pub struct ScanSpec {
    /// Of which table.
    pub table: Arc<Table>,
    /// Which of its columns are looked at, in order.
    pub columns: Vec<usize>,
    /// Which of those are given, by their places there, in order.
    pub given: Vec<usize>,
    /// Conjuncts over the columns that are looked at, the first of which uses one: rows, and whole splits, are left out by them.
    pub filters: Vec<Expression>,
    /// A split's end is told by a last, empty morsel: a limit by position wants to know.
    pub tells_ends: bool,
}

impl ScanSpec {
    /// The splits that are read: those of the table that its statistics do not rule out.
    pub fn splits(&self) -> Result<Vec<Split>> {
        if self.table.batches().is_some() { Ok(Vec::new()) } else { prune(&self.table, &self.columns, &self.filters) }
    }

    /// The filters as a test, if there are any.
    pub fn conditions(&self, parameters: &Arc<Parameters>) -> Result<Option<Arc<dyn RowTest>>> {
        if self.filters.is_empty() {
            return Ok(None);
        }
        let schema = Arc::new(self.table.decoded_schema().project(&self.columns)?);
        Ok(Some(Arc::new(Conditions::new(&self.filters, &schema, parameters)?)))
    }

    /// The columns that are given, by their numbers in the table.
    pub fn given_columns(&self) -> Vec<usize> {
        self.given.iter().map(|place| self.columns[*place]).collect()
    }
}

impl ScanSpec {
    /// Bytes that each of [`ScanSpec::splits`] reads, about.
    pub fn split_bytes(&self) -> Result<Vec<u64>> {
        Ok(self.splits()?.iter().map(|split| self.table.split_bytes(split, &self.columns)).collect())
    }
}

/// A table's rows as a source.
pub struct ScanSource {
    shared: Arc<Shared>,
}

struct Shared {
    spec: ScanSpec,
    selected: Selected,
    splits: Vec<Split>,
    context: JobContext,
    io: Arc<Io>,
    state: Mutex<State>,
}

struct State {
    next_split: usize,
    ahead: VecDeque<Current>,
    /// The file of the latest split; splits come in order of files.
    latest: Option<(usize, Arc<ScannedFile>)>,
    /// What the latest split that was claimed ends with.
    border: Border,
    extremes: Extremes,
}

impl State {
    /// What is held by splits that nobody has claimed yet.
    fn ahead_bytes(&self) -> u64 {
        self.ahead
            .iter()
            .filter_map(|current| current.pending.as_ref())
            .map(|pending| pending.reservation.bytes())
            .sum()
    }
}

/// A split on its way: its decoder and the bytes that were asked for.
struct Current {
    number: u32,
    next_morsel: u32,
    decoder: Box<dyn Decode>,
    /// Rows of it that the counters know.
    counted_rows: u64,
    file: Arc<ScannedFile>,
    pending: Option<Pending>,
    /// What the decoder wants next, where memory for it was refused.
    wanted: Option<Vec<Range<u64>>>,
    /// The next file of a split of several, on its way; behind it come others.
    after: Option<Box<Current>>,
    others: Range<usize>,
}

/// What a thread that asks for a split gets.
enum Claimed {
    Split(Current),
    /// The next one cannot be begun yet.
    Blocked(Wake),
    Nothing,
}

/// A file that the I/O threads open when they first read from it.
struct ScannedFile {
    file: LocalFile,
    opened: Mutex<Option<Arc<OpenFile>>>,
}

impl ScannedFile {
    fn open(&self) -> Result<Arc<OpenFile>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*opened {
            return Ok(Arc::clone(file));
        }
        Ok(Arc::clone(opened.insert(Arc::new(self.file.open()?))))
    }
}

/// What an I/O thread has read, taken once.
type Slot = OnceLock<Mutex<Option<Result<Vec<Bytes>>>>>;

/// Bytes that were asked for.
struct Pending {
    bytes: Arc<Slot>,
    wake: Wake,
    /// Held until the decoder has been fed.
    reservation: Reservation,
}

impl Pending {
    /// What was read; it is there.
    fn take(&self) -> Result<Vec<Bytes>> {
        let read = self.bytes.get().and_then(|read| read.lock().unwrap_or_else(PoisonError::into_inner).take());
        read.ok_or_else(|| bug("scan", "bytes fed twice, or before they came"))?
    }
}

impl ScanSource {
    /// The rows of the spec's table that `tests`, over the columns that are looked at, keep; of the splits in `range` only, if there is one. Rows
    /// in memory are not tested.
    pub fn open(
        spec: &ScanSpec,
        range: Option<Range<usize>>,
        tests: Vec<Arc<dyn RowTest>>,
        io: &Arc<Io>,
        context: &JobContext,
    ) -> Result<Arc<dyn Source>> {
        if let Some(batches) = spec.table.batches() {
            let columns = spec.given_columns();
            let given = batches.iter().map(|batch| Ok(batch.project(&columns)?)).collect::<Result<Vec<_>>>()?;
            return Ok(crate::operator::values::Values::new(&given, context));
        }
        let mut splits = spec.splits()?;
        let range = range.unwrap_or(0..splits.len());
        if range.start > range.end || range.end > splits.len() {
            return Err(SplitsDiffer { table: spec.table.name().to_owned(), range, found: splits.len() }.into());
        }
        splits.truncate(range.end);
        let settings = &context.settings;
        let rows_per_piece = settings.rows_per_morsel as u64 * limits::MORSELS_PER_PIECE;
        let pieces = |split: &Split| split.cut(&spec.table, &spec.columns, rows_per_piece);
        let mut extremes = Extremes::default();
        let mut narrow = |split| prune::narrow(&spec.table, &mut extremes, &spec.columns, &spec.filters, split);
        let mut cut = |splits: &[Split]| splits.iter().flat_map(pieces).filter_map(&mut narrow).collect::<Vec<_>>();
        let next_split = cut(&splits[..range.start]).len();
        let splits = cut(&splits);
        let (ahead, border) = (VecDeque::new(), Border::default());
        let state = State { next_split, ahead, latest: None, border, extremes: Extremes::default() };
        let selected = Selected {
            columns: spec.columns.clone().into(),
            given: spec.given.clone().into(),
            tests: tests.into(),
            rows_per_batch: context.settings.rows_per_morsel,
        };
        let shared = Shared {
            selected,
            spec: spec.clone(),
            splits,
            context: context.clone(),
            io: Arc::clone(io),
            state: Mutex::new(state),
        };
        Ok(Arc::new(ScanSource { shared: Arc::new(shared) }))
    }
}

impl Source for ScanSource {
    fn close(&self) {
        self.shared.selected.tests.iter().for_each(|test| test.close());
    }

    fn place(&self, split: u32) -> Option<SplitPlace> {
        let split = self.shared.splits.get(split as usize)?;
        let file = self.shared.spec.table.file(split)?.path.clone();
        let first_byte = match split {
            Split::Bytes { range, .. } => Some(range.start),
            Split::RowGroup { .. } | Split::Files { .. } => None,
        };
        Some(SplitPlace { file, part: split.to_string(), first_byte })
    }

    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        Ok(Box::new(ScanThread { shared: Arc::clone(&self.shared), current: None, is_refused: false }))
    }
}

impl Shared {
    /// The next split, its first bytes asked for; tops up what is read ahead.
    fn claim(&self) -> Result<Claimed> {
        if self.selected.tests.iter().any(|test| test.keeps_none()) {
            return Ok(Claimed::Nothing);
        }
        let mut state = self.lock();
        let ahead = limits::SPLITS_AHEAD * self.context.settings.threads;
        while state.ahead.len() < ahead && state.next_split < self.splits.len() {
            let number = state.next_split;
            state.next_split += 1;
            let (split, left_out) = self.narrowed(&mut state.extremes, &self.splits[number])?;
            let Some(split) = split else {
                self.tell_left_out(&left_out);
                continue;
            };
            let file = self.file(&mut state, &split)?;
            let Some(mut decoder) = self.spec.table.decoder(&split, &self.selected)? else { continue };
            // Reading ahead is a help, not a need: with something to do it can wait for memory, and leaves most of it to operators.
            let wanted = decoder.wants();
            let bytes = wanted.iter().flatten().map(|range| range.end - range.start).sum::<u64>();
            let may_wait = !state.ahead.is_empty();
            if may_wait && state.ahead_bytes() + bytes > self.context.settings.memory_bytes / limits::READ_AHEAD_SHARE {
                state.next_split = number;
                break;
            }
            let pending = match wanted.map(|ranges| self.ask(&file, ranges)).transpose() {
                Err(error) if error.kind() == Kind::Limit => {
                    // It is claimed again when there is memory.
                    state.next_split = number;
                    if may_wait {
                        break;
                    }
                    return Err(error);
                }
                pending => pending?,
            };
            self.tell_left_out(&left_out);
            let others = if let Split::Files { files } = split { files.start + 1..files.end } else { 0..0 };
            state.ahead.push_back(Current { pending, others, ..Current::new(number as u32, decoder, file) });
        }
        let mut claimed = self.begin(&mut state)?;
        if let Claimed::Split(claimed) = &mut claimed {
            drop(state);
            self.ask_after(claimed)?;
        }
        Ok(claimed)
    }

    /// Asks for the next file of a split of several, if there is memory for it.
    fn ask_after(&self, current: &mut Current) -> Result<()> {
        let table = &self.spec.table;
        while current.after.is_none() {
            let Some(file) = current.others.next() else { break };
            let Some(bytes) = table.file(&Split::Files { files: file..file + 1 }).map(|file| file.bytes) else {
                continue;
            };
            let split = Split::Bytes { file, range: 0..bytes };
            let (true, Some(found)) = (bytes > 0, table.file(&split)) else { continue };
            let scanned = Arc::new(ScannedFile { file: found.clone(), opened: Mutex::new(None) });
            let Some(decoder) = table.decoder(&split, &self.selected)? else { continue };
            let mut after = Current::new(current.number, decoder, scanned);
            match self.ask_next(&mut after) {
                // It is asked for again when its turn has come.
                Err(error) if error.kind() == Kind::Limit => {}
                asked => drop(asked?),
            }
            current.after = Some(Box::new(after));
        }
        Ok(())
    }

    /// Goes on with the next file of a split of several; false if there is none.
    fn go_on(&self, current: &mut Current) -> Result<bool> {
        let Some(after) = current.after.take() else { return Ok(false) };
        *current = Current { next_morsel: current.next_morsel, others: current.others.clone(), ..*after };
        self.ask_after(current)?;
        Ok(true)
    }

    /// What is left of a split by what is known of keys by now, as far as statistics of its pages can tell, and the rows that each test has left
    /// out of it.
    fn narrowed(&self, extremes: &mut Extremes, split: &Split) -> Result<(Option<Split>, Vec<u64>)> {
        let (mut split, mut left_out) = (split.clone(), Vec::with_capacity(self.selected.tests.len()));
        for test in self.selected.tests.iter() {
            let rows = split.rows();
            let narrowed = prune::narrow_by(&self.spec.table, extremes, &self.selected.columns, &**test, split)?;
            left_out.push(rows - narrowed.as_ref().map_or(0, Split::rows));
            match narrowed {
                Some(narrowed) => split = narrowed,
                None => return Ok((None, left_out)),
            }
        }
        Ok((Some(split), left_out))
    }

    fn tell_left_out(&self, left_out: &[u64]) {
        self.selected.tests.iter().zip(left_out).for_each(|(test, rows)| test.tell_left_out(*rows));
    }

    /// Takes the first split that is read ahead. One that follows others is claimed when its bytes are there and it has told the next one
    /// where it begins.
    fn begin(&self, state: &mut State) -> Result<Claimed> {
        let Some(first) = state.ahead.front() else { return Ok(Claimed::Nothing) };
        if first.decoder.follows()
            && let Some(pending) = &first.pending
            && pending.bytes.get().is_none()
        {
            return Ok(Claimed::Blocked(pending.wake.clone()));
        }
        let Some(mut claimed) = state.ahead.pop_front() else { return Ok(Claimed::Nothing) };
        if claimed.decoder.follows() {
            if let Some(pending) = claimed.pending.take() {
                claimed.decoder.feed(pending.take()?)?;
            }
            let is_first =
                matches!(&self.splits[claimed.number as usize], Split::Bytes { range, .. } if range.start == 0);
            let border = if is_first { Border::default() } else { state.border };
            state.border = claimed.decoder.follow(border);
        }
        Ok(Claimed::Split(claimed))
    }

    fn file(&self, state: &mut State, split: &Split) -> Result<Arc<ScannedFile>> {
        if let Some((number, file)) = &state.latest
            && *number == split.file()
        {
            return Ok(Arc::clone(file));
        }
        let file = self.spec.table.file(split).ok_or_else(|| bug("scan", "a split of no file"))?;
        let file = Arc::new(ScannedFile { file: file.clone(), opened: Mutex::new(None) });
        state.latest = Some((split.file(), Arc::clone(&file)));
        Ok(file)
    }

    /// Asks for what the decoder wants next; false if that is nothing. Where memory is refused it can be called again.
    fn ask_next(&self, current: &mut Current) -> Result<bool> {
        let Some(ranges) = current.wanted.take().or_else(|| current.decoder.wants()) else { return Ok(false) };
        match self.ask(&current.file, ranges.clone()) {
            Ok(pending) => {
                current.pending = Some(pending);
                Ok(true)
            }
            Err(error) => {
                current.wanted = Some(ranges);
                Err(error)
            }
        }
    }

    /// Asks the I/O threads for the ranges.
    fn ask(&self, file: &Arc<ScannedFile>, ranges: Vec<Range<u64>>) -> Result<Pending> {
        let mut reservation = self.context.reservation("reading ahead");
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        reservation.grow(bytes)?;
        self.context.counters.add_bytes_in(bytes);
        let slot = Arc::new(Slot::new());
        let wake = Wake::default();
        let (filled, rung, file) = (Arc::clone(&slot), wake.clone(), Arc::clone(file));
        let buffers = Arc::clone(self.io.buffers());
        self.io.submit(move || {
            // Filled and fired whatever happens: a drive waits for it.
            let read = || {
                let file = file.open()?;
                ranges.iter().map(|range| file.read_into(&buffers, range)).collect()
            };
            let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(bug("store", "a read panicked")));
            let _ = filled.set(Mutex::new(Some(read)));
            rung.fire();
        });
        Ok(Pending { bytes: slot, wake, reservation })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ScanThread {
    shared: Arc<Shared>,
    current: Option<Current>,
    /// The last pull failed because memory was refused, and has left everything as it was.
    is_refused: bool,
}

impl SourceThread for ScanThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        self.is_refused = false;
        loop {
            let current = match &mut self.current {
                Some(current) => current,
                none => match self.shared.claim().inspect_err(|error| self.is_refused = error.kind() == Kind::Limit)? {
                    Claimed::Split(claimed) => none.insert(claimed),
                    Claimed::Blocked(wake) => return Ok((None, Outcome::Blocked(wake))),
                    Claimed::Nothing => return Ok((None, Outcome::Enough)),
                },
            };
            if let Some(batch) = current.decoder.batch()? {
                current.count(&self.shared.context.counters);
                return Ok((Some(current.morsel(batch, false)), Outcome::More));
            }
            match &current.pending {
                Some(pending) => match pending.bytes.get() {
                    None => return Ok((None, Outcome::Blocked(pending.wake.clone()))),
                    Some(_) => {
                        current.decoder.feed(pending.take()?)?;
                        current.pending = None;
                        match self.shared.ask_next(current) {
                            // Reading ahead is a help, not a need: it is asked for again when what is here is decoded.
                            Err(error) if error.kind() == Kind::Limit => {}
                            asked => {
                                asked?;
                            }
                        }
                    }
                },
                None => match self.shared.ask_next(current) {
                    Ok(true) => {}
                    Err(error) => {
                        self.is_refused = error.kind() == Kind::Limit;
                        return Err(error);
                    }
                    Ok(false) => {
                        // The decoder may have found a batch while it looked for what it wants.
                        let batch = current.decoder.batch()?;
                        current.count(&self.shared.context.counters);
                        if let Some(batch) = batch {
                            return Ok((Some(current.morsel(batch, false)), Outcome::More));
                        }
                        if self.shared.go_on(current)? {
                            continue;
                        }
                        let ended = self.current.take();
                        if let Some(mut ended) = ended.filter(|_| self.shared.spec.tells_ends) {
                            let empty = self.shared.empty()?;
                            return Ok((Some(ended.morsel(empty, true)), Outcome::More));
                        }
                    }
                },
            }
        }
    }

    fn can_pull_again(&self) -> bool {
        self.is_refused
    }
}

impl Shared {
    fn empty(&self) -> Result<Batch> {
        Ok(Batch::new_empty(Arc::new(self.spec.table.decoded_schema().project(&self.spec.given_columns())?)))
    }
}

impl Current {
    fn new(number: u32, decoder: Box<dyn Decode>, file: Arc<ScannedFile>) -> Current {
        let (next_morsel, counted_rows, pending, wanted, after) = (0, 0, None, None, None);
        Current { number, next_morsel, decoder, counted_rows, file, pending, wanted, after, others: 0..0 }
    }

    /// Tells the counters of the rows that were looked at.
    fn count(&mut self, counters: &Counters) {
        let rows = self.decoder.rows_seen();
        counters.add_rows_in((rows - self.counted_rows) as usize);
        self.counted_rows = rows;
    }

    fn morsel(&mut self, batch: Batch, is_last: bool) -> Morsel {
        let position = Position { split: self.number, morsel: self.next_morsel, is_last };
        self.next_morsel += 1;
        Morsel { batch, position: Some(position) }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("reading the splits {range:?} of {table}: it has {found} here")]
struct SplitsDiffer {
    table: String,
    range: Range<usize>,
    found: usize,
}

impl Cause for SplitsDiffer {
    fn kind(&self) -> Kind {
        Kind::Corrupt
    }
    fn hint(&self) -> Option<String> {
        Some("the table's files have changed since the job was planned, or differ between the nodes".to_owned())
    }
}
