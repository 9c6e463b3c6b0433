//! Named outputs: records of several kinds in one flow, and in folders of their own once they are written.
//!
//! In: what the last of the job's code emits, by output. Out: one flow, whose rows say which output they are of; of it the flow of each output, or
//! folders. Never: a folder that is visible before all are whole.
//!
//! ```text
//!   tag  main's columns  errors' columns …
//!    0        "a", 1           NULL            a record of the job's own output
//!    1         NULL         "line 7"           one of the output errors
//! ```
//! They are written in two steps, since a write has one target: all rows into a folder that is hidden beside the output, and of that each output, which
//! reads its own columns only. Then the folder of the main output, with those of the others in it, gets its name.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt, fs,
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{context::Setup, error::MapReduceError, job::Finished, map_side::check_skipped};
use crate::{
    batch::{
        Batch,
        array::{ArrayRef, Int64Array, new_null_array},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    dataset::{Dataset, Record},
    error::Result,
    expression::{Expression, col},
    format::FileFormat,
    plan::logical::{Logical, Node},
    sink::{Target, Written, check_place},
    store::{Disk, StoreError, remove_all},
};

/// An output beside the job's own, for records of `U`: declared by [`Job::output`](super::Job::output), and a part of the mapper's or the reducer's
/// value, which emits to it.
pub struct Output<U> {
    name: Arc<str>,
    records: PhantomData<fn() -> U>,
}

impl<U> Clone for Output<U> {
    fn clone(&self) -> Output<U> {
        Output { name: Arc::clone(&self.name), records: PhantomData }
    }
}

impl<U> fmt::Debug for Output<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({})", self.name)
    }
}

impl<U: Record> Output<U> {
    /// The output of this name, which will be the name of its folder.
    pub fn new(name: &str) -> Output<U> {
        Output { name: name.into(), records: PhantomData }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn declared(&self) -> Declared {
        Declared { name: Arc::clone(&self.name), fields: U::fields(), rows: || Box::new(Waiting::<U>::new()) }
    }
}

/// An output that a job has.
#[derive(Clone)]
pub(super) struct Declared {
    pub(super) name: Arc<str>,
    fields: Vec<Field>,
    rows: fn() -> Box<dyn Rows>,
}

/// Records of an output that were not handed on yet.
pub(super) trait Rows: Send {
    fn as_any(&mut self) -> &mut dyn Any;
    /// Their columns, and how many there are.
    fn take(&mut self) -> (Vec<ArrayRef>, usize);
}

/// [`Rows`] of one type.
struct Waiting<U: Record> {
    builder: U::Builder,
    rows: usize,
}

impl<U: Record> Waiting<U> {
    fn new() -> Waiting<U> {
        Waiting { builder: U::builder(0), rows: 0 }
    }
}

impl<U: Record> Rows for Waiting<U> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn take(&mut self) -> (Vec<ArrayRef>, usize) {
        let Waiting { builder, rows } = std::mem::replace(self, Waiting::new());
        let mut columns = Vec::new();
        if rows > 0 {
            U::finish(builder, &mut columns);
        }
        (columns, rows)
    }
}

/// The outputs at work in one life.
pub(super) struct Emitted(Vec<(Arc<str>, Box<dyn Rows>)>);

impl Emitted {
    pub(super) fn new(tags: Option<&Arc<Tags>>) -> Emitted {
        let declared = tags.into_iter().flat_map(|tags| &tags.declared);
        Emitted(declared.map(|output| (Arc::clone(&output.name), (output.rows)())).collect())
    }

    pub(super) fn push<U: Record>(&mut self, output: &Output<U>, record: U::View<'_>) -> Result<()> {
        let place = self.0.iter().position(|(name, _)| *name == output.name);
        let Some(waiting) = place.and_then(|place| self.0[place].1.as_any().downcast_mut::<Waiting<U>>()) else {
            let known = self.0.iter().map(|(name, _)| name.to_string()).collect();
            let record = std::any::type_name::<U>();
            return Err(MapReduceError::NoOutput { name: output.name().to_owned(), record, known }.into());
        };
        U::append(&mut waiting.builder, record);
        waiting.rows += 1;
        Ok(())
    }

    /// Hands on what waits.
    pub(super) fn take(&mut self, tags: &Tags, mut emit: impl FnMut(Batch) -> Result<()>) -> Result<()> {
        for (place, (_, waiting)) in self.0.iter_mut().enumerate() {
            let (columns, rows) = waiting.take();
            if rows > 0 {
                emit(tags.tagged(place + 1, columns, rows)?)?;
            }
        }
        Ok(())
    }
}

/// The columns of rows of several outputs: which output, then the columns of each.
pub(super) struct Tags {
    pub(super) schema: SchemaRef,
    /// Those of the main output as they are, then those of the others.
    fields: Vec<Vec<Field>>,
    declared: Vec<Declared>,
}

impl Tags {
    /// None if there is the main output alone.
    pub(super) fn of(main: Vec<Field>, declared: &[Declared]) -> Result<Option<Arc<Tags>>> {
        if declared.is_empty() {
            return Ok(None);
        }
        for (place, output) in declared.iter().enumerate() {
            let name = &*output.name;
            let is_plain = !name.is_empty() && !name.starts_with(['.', '_']) && !name.contains(['/', '\\', '\0']);
            if !is_plain || declared[..place].iter().any(|other| *other.name == *name) {
                return Err(MapReduceError::OutputName { name: name.to_owned() }.into());
            }
        }
        let fields: Vec<_> = std::iter::once(main).chain(declared.iter().map(|output| output.fields.clone())).collect();
        let columns = fields.iter().enumerate().flat_map(|(output, fields)| {
            let named = move |field: &Field| field.clone().with_name(format!("{output}_{}", field.name()));
            fields.iter().map(move |field| named(field).with_nullable(true))
        });
        let columns = std::iter::once(Field::new(TAG, DataType::Int64, false)).chain(columns);
        let schema = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
        Ok(Some(Arc::new(Tags { schema, fields, declared: declared.to_vec() })))
    }

    /// The rows of an output, among those of all.
    pub(super) fn tagged(&self, output: usize, columns: Vec<ArrayRef>, rows: usize) -> Result<Batch> {
        let first = self.first(output);
        let mut given = columns.into_iter();
        let mut all: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![output as i64; rows]))];
        for (place, field) in self.schema.fields().iter().enumerate().skip(1) {
            let own = if place < first { None } else { given.next() };
            all.push(own.unwrap_or_else(|| new_null_array(field.data_type(), rows)));
        }
        Ok(Batch::try_new(Arc::clone(&self.schema), all)?)
    }

    fn first(&self, output: usize) -> usize {
        1 + self.fields[..output].iter().map(Vec::len).sum::<usize>()
    }

    /// The flow of an output.
    pub(super) fn of_output<U>(&self, rows: Dataset<Batch>, output: usize) -> Result<Dataset<U>> {
        let first = self.first(output);
        let expressions = (first..first + self.fields[output].len()).map(Expression::Column).collect();
        let schema = Arc::new(Schema::new(self.fields[output].clone()));
        let kept = rows.filter(col(TAG).eq(output as i64))?;
        Ok(kept.then(|input| Logical { node: Node::Project { input: Box::new(input), expressions }, schema }))
    }
}

/// The column that says which output a row is of.
const TAG: &str = "output";

/// Writes all outputs of the flow `rows` into the folder `path`, the main one's files there, those of the others in folders of their names. `is_lazy`: of
/// those without rows no folder.
pub(super) fn write_outputs(
    rows: &Dataset<()>,
    tags: &Tags,
    (setup, is_lazy): (&Setup, bool),
    target: Target,
) -> Result<Finished> {
    let target = target.absolute()?;
    let is_here = rows.session().is_here();
    if is_here {
        check_place(&target)?;
    }
    let hidden = hidden_beside(&target.path);
    let written = write_hidden(rows, tags, setup, (&hidden, target.format)).and_then(|(mut finished, outputs)| {
        let outputs = name_outputs(tags, outputs, is_lazy, &target)?;
        let main = outputs.0;
        finished.written = Some(Written { path: target.path.clone(), ..main });
        finished.outputs = outputs.1;
        Ok(finished)
    });
    // Under a worker the folder may be another process's by now, which goes on with it.
    if is_here || written.is_ok() {
        remove_all(&hidden)?;
    }
    written
}

/// Where outputs are written until all are whole; no table reads it.
fn hidden_beside(path: &Path) -> PathBuf {
    let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.windrow-outputs-{}-{moment:x}", std::process::id()))
}

/// All rows, then each output of its own.
fn write_hidden(
    rows: &Dataset<()>,
    tags: &Tags,
    setup: &Setup,
    (hidden, format): (&Path, FileFormat),
) -> Result<(Finished, Vec<Written>)> {
    let all = Target::new(hidden.join("rows"), FileFormat::Parquet);
    let (all, counted) = rows.write_counted(all, &|counted| check_skipped(setup, counted.skipped))?;
    let all = rows.session().read_parquet(&all.path.to_string_lossy())?;
    let write = |output| {
        let own: Dataset<()> = tags.of_output(all.clone(), output)?;
        Ok(own.write_counted(Target::new(hidden.join(format!("output-{output}")), format), &|_| Ok(()))?.0)
    };
    let outputs = (0..tags.fields.len()).map(write).collect::<Result<Vec<_>>>()?;
    Ok((Finished::new(None, counted), outputs))
}

/// Gives the folders their names; the main one's comes last, and with it all are there.
fn name_outputs(
    tags: &Tags,
    outputs: Vec<Written>,
    is_lazy: bool,
    target: &Target,
) -> Result<(Written, BTreeMap<String, Written>)> {
    let mut named = BTreeMap::new();
    let mut outputs = outputs.into_iter();
    let main = outputs.next().ok_or_else(|| crate::error::bug("mapreduce", "a job without its own output"))?;
    // An earlier start of the job's driver may have come so far.
    let is_done = |from: &Path, to: &Path| !from.exists() && to.exists();
    for (declared, written) in tags.declared.iter().zip(outputs) {
        if is_lazy && written.rows == 0 {
            continue;
        }
        let inside = main.path.join(&*declared.name);
        let path = target.path.join(&*declared.name);
        if !is_done(&written.path, &inside) && !is_done(&written.path, &path) {
            let (from, to) = (written.path.clone(), inside.clone());
            fs::rename(&from, &to).map_err(|source| StoreError::Publish { from, to, source })?;
        }
        named.insert(declared.name.to_string(), Written { path, ..written });
    }
    if !is_done(&main.path, &target.path) {
        check_place(target)?;
        let disk = Disk::default();
        disk.rename(&main.path, &target.path)?;
        if let Some(parent) = target.path.parent() {
            disk.sync_dir(parent)?;
        }
    }
    Ok((main, named))
}
