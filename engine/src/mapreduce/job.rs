//! A job: its inputs with their mappers, how their rows come together, its reducer, what it gives.
//!
//! In: flows, the job's code as values. Out: a flow, or what a run of it has given and counted. Never: runs anything but in `collect`, where it is
//! written (`write.rs`) and in [`Job::total_order`].

use std::{
    collections::BTreeMap,
    fs,
    marker::PhantomData,
    panic::Location,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    combine::Combining,
    context::Setup,
    error::MapReduceError,
    map_side::{Afterwards, MakeAfterwards, MapSide, check_skipped},
    mapper::Mapper,
    outputs::{Declared, Output, Tags},
    partition::{ByHash, ByPartitioner, ByRange, Partitioner, Parts, beginnings, numbered, with_part},
    reduce_side::ReduceSide,
    reducer::{Combiner, Reducer},
};
use crate::{
    batch::{
        Batch,
        array::{ArrayRef, UInt64Array},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    dataset::{Columns, Dataset, Monoid, Record, SortBy, Write, asc, bind_keys, schema_of},
    error::{Result, bug},
    expression::{Expression, SortKey},
    kernel::hash_columns,
    limits,
    observe::{Counted, Skipped},
    operator::groups::PartColumn,
    plan::{
        closures::Function,
        logical::{Logical, Node},
    },
    sink::Written,
};

/// Parts of a job that does not say how many: enough for the threads of a machine or two, and their number moves no result from one machine to
/// another.
pub const PARTS: u32 = 32;

/// Keys that are looked at to find ranges of keys.
const SAMPLE_ROWS: usize = 1 << 14;

/// A job up to its reducer: inputs, each with its mapper. Without a reducer what the mappers emit is what it gives.
pub struct Job<T: Record> {
    inputs: Vec<Input<T>>,
    setup: Setup,
    combine: Option<Combine<T>>,
    afterwards: Option<MakeAfterwards>,
    parts: u32,
    partition: Option<Arc<dyn Parts>>,
    is_total_order: bool,
    group_columns: Option<usize>,
    order: Vec<SortBy>,
    sort_as: Option<SortAs>,
    outputs: Vec<Declared>,
    is_lazy: bool,
}

/// Puts values together by a known function.
type Combine<T> = Box<dyn FnOnce(Dataset<T>) -> Dataset<T>>;

/// The flow of one input behind its mapper, once all is known that mappers get.
type Input<T> = Box<dyn FnOnce(&Arc<Setup>, Option<MakeAfterwards>, Option<Arc<Tags>>) -> Dataset<T>>;

/// What keys are sorted as: the columns, and how they come of the rows.
type SortAs = (Vec<Field>, Arc<dyn Fn(&Batch) -> Result<Vec<ArrayRef>> + Send + Sync>);

impl<T: Record> Job<T> {
    /// A job that reads `input` with `mapper`.
    #[track_caller]
    pub fn new<M: Mapper<Out = T>>(input: Dataset<M::In>, mapper: M) -> Job<T> {
        let none = Job {
            inputs: Vec::new(),
            setup: Setup::default(),
            combine: None,
            afterwards: None,
            parts: PARTS,
            partition: None,
            is_total_order: false,
            group_columns: None,
            order: Vec::new(),
            sort_as: None,
            outputs: Vec::new(),
            is_lazy: false,
        };
        none.input(input, mapper)
    }

    /// Reads another input, with a mapper of its own.
    #[track_caller]
    pub fn input<M: Mapper<Out = T>>(mut self, input: Dataset<M::In>, mapper: M) -> Job<T> {
        let place = Location::caller();
        self.inputs.push(Box::new(move |setup, afterwards, tags| {
            let schema = schema_of::<T>();
            let rows_max = input.session().settings().rows_per_morsel;
            let output = tags.as_ref().map_or(&schema, |tags| &tags.schema).clone();
            let function = MapSide { mapper, setup: Arc::clone(setup), schema, rows_max, afterwards, tags };
            let closure = input.named_closure(place, Function::Splits(Arc::new(function)), &output);
            input.then(|input| Logical { node: Node::MapBatches { input: Box::new(input), closure }, schema: output })
        }));
        self
    }

    /// Records on which a mapper fails, and keys on which a reducer does, are left out and counted, up to `limit` of them in all;
    /// [`Finished`] tells them.
    pub fn skip_bad_records(mut self, limit: u64) -> Job<T> {
        self.setup.skip_max = Some(limit);
        self
    }

    /// A file beside the input, read now, once in each process, for [`Context::side_file`](super::Context::side_file).
    pub fn side_file(mut self, name: &str, path: impl AsRef<Path>) -> Result<Job<T>> {
        let path: PathBuf = path.as_ref().to_owned();
        let failed = |source| MapReduceError::SideFile { name: name.to_owned(), path: path.clone(), source };
        let held: u64 = self.setup.side_files.values().map(|(_, bytes)| bytes.len() as u64).sum();
        let bytes = held + fs::metadata(&path).map_err(failed)?.len();
        let max = limits::SIDE_FILES_BYTES_MAX;
        if bytes > max {
            return Err(MapReduceError::LongSideFile { name: name.to_owned(), path, bytes, max }.into());
        }
        let bytes = fs::read(&path).map_err(failed)?;
        self.setup.side_files.insert(name.to_owned(), (path, bytes.into()));
        Ok(self)
    }

    /// Has another output, for which the reducer, or mappers that no reducer follows, emit by
    /// [`Context::emit_to`](super::Context::emit_to). Written, it is the folder of its name in the job's own.
    pub fn output<U: Record>(mut self, output: &Output<U>) -> Job<T> {
        self.outputs.push(output.declared());
        self
    }

    /// Outputs without rows leave no folder, but for the job's own.
    pub fn lazy_outputs(mut self) -> Job<T> {
        self.is_lazy = true;
        self
    }

    /// What the mappers emit, to go on with: a job without a reducer. What is for other outputs is left out, and what was counted is not told.
    pub fn dataset(self) -> Result<Dataset<T>> {
        self.without_reducer()?.dataset()
    }

    /// Runs a job without a reducer, and writes what its mappers emit as Parquet files into the folder `path`, which must not exist.
    pub fn write_parquet(self, path: impl Into<PathBuf>) -> Result<Finished> {
        self.write(path)?.parquet()
    }

    /// Runs a job without a reducer, and writes what its mappers emit in ways that are said before the format is.
    pub fn write(self, path: impl Into<PathBuf>) -> Result<Write<Reduced<T>>> {
        Ok(self.without_reducer()?.write(path))
    }

    /// Runs a job without a reducer, and gives what its mappers emit.
    pub fn collect(self) -> Result<(Vec<T>, Finished)> {
        self.without_reducer()?.collect()
    }

    /// Nothing is combined, since nothing travels.
    fn without_reducer(mut self) -> Result<Reduced<T>> {
        (self.afterwards, self.combine) = (None, None);
        let (tags, is_lazy) = (Tags::of(T::fields(), &self.outputs)?, self.is_lazy);
        let (rows, setup) = self.mapped(tags.clone())?;
        Ok(Reduced { rows: rows.then(|rows| rows), setup, tags, is_lazy, records: PhantomData })
    }

    fn mapped(mut self, tags: Option<Arc<Tags>>) -> Result<(Dataset<T>, Arc<Setup>)> {
        let setup = Arc::new(std::mem::take(&mut self.setup));
        let inputs = self.inputs.into_iter();
        let mut rows = inputs.map(|input| input(&setup, self.afterwards.clone(), tags.clone()));
        let first = rows.next().ok_or_else(|| bug("mapreduce", "a job without inputs"))?;
        let all = rows.try_fold(first, Dataset::union)?;
        Ok((self.combine.map_or_else(|| all.clone(), |combine| combine(all.clone())), setup))
    }
}

impl<K: Record, V: Record> Job<(K, V)> {
    /// Puts the values of each key together by a known function before they travel: `.combine_by(Sum)`. Columns, where a combiner is a call a key.
    pub fn combine_by<M: Monoid<V, Output = V> + 'static>(mut self, by: M) -> Job<(K, V)> {
        self.combine = Some(Box::new(move |rows| rows.reduce_by_key(by)));
        self
    }

    /// Puts the values of each key together before they travel, as far as one split has them.
    pub fn combiner<C: Combiner<K, V>>(self, combiner: C) -> Job<(K, V)> {
        self.combiner_of(combiner, K::fields().len())
    }

    /// As [`Job::combiner`], for the values of all keys that agree in their first `columns` columns.
    pub fn combiner_of<C: Combiner<K, V>>(mut self, combiner: C, columns: usize) -> Job<(K, V)> {
        let (schema, columns) = (schema_of::<(K, V)>(), columns.min(K::fields().len()));
        self.afterwards = Some(Arc::new(move || {
            let combining: Combining<K, V, C> = Combining::new(combiner.clone(), columns, &schema)?;
            Ok(Box::new(combining) as Box<dyn Afterwards>)
        }));
        self
    }

    /// How many parts there are: each has a life of the reducer.
    pub fn parts(mut self, count: u32) -> Job<(K, V)> {
        self.parts = count;
        self
    }

    /// Says which part a key belongs to; without it its hash does.
    pub fn partitioner(mut self, partitioner: impl Partitioner<K, V>) -> Job<(K, V)> {
        self.partition = Some(Arc::new(ByPartitioner(partitioner, PhantomData)));
        self
    }

    /// Parts are ranges of keys: the keys of one stand before those of the next one. For that the mappers run twice, first for a sample of their
    /// keys. (NULLs are of the first part.) What is given is a set of rows all the same: who wants it in order sorts it.
    pub fn total_order(mut self) -> Job<(K, V)> {
        self.is_total_order = true;
        self
    }

    /// A group are the rows whose keys agree in their first `columns` columns; the others are an order in the group.
    pub fn group_by(mut self, columns: usize) -> Job<(K, V)> {
        self.group_columns = Some(columns);
        self
    }

    /// The order of the values of a group, by columns of key and value (`_0` and `_1`, or `_0_0`, `_0_1`… where they have several). If it begins with
    /// all columns that make the group, groups come in it, too.
    pub fn in_order_of(mut self, keys: impl IntoIterator<Item = SortBy>) -> Job<(K, V)> {
        self.order = keys.into_iter().collect();
        self
    }

    /// Groups come in the order of what `sorted` makes of their keys. Keys of one group must give the same.
    pub fn sort_as<S: Record>(mut self, sorted: impl Fn(K::View<'_>) -> S + Send + Sync + 'static) -> Job<(K, V)> {
        let columns = move |batch: &Batch| {
            let reader = K::reader(&mut Columns::of(batch))?;
            let mut builder = S::builder(batch.num_rows());
            (0..batch.num_rows()).for_each(|row| S::append(&mut builder, sorted(K::view(&reader, row)).as_view()));
            let mut columns = Vec::new();
            S::finish(builder, &mut columns);
            Ok(columns)
        };
        let fields = S::fields().into_iter().enumerate();
        let fields = fields.map(|(place, field)| field.with_name(format!("sorted_{place}"))).collect();
        self.sort_as = Some((fields, Arc::new(columns)));
        self
    }

    /// What `reducer` makes of each group.
    #[track_caller]
    pub fn reduce<R: Reducer<Key = K, Value = V>>(mut self, reducer: R) -> Result<Reduced<R::Out>> {
        let place = Location::caller();
        let (pairs, key_count) = (schema_of::<(K, V)>(), K::fields().len());
        let group_columns = self.group_columns.unwrap_or(key_count);
        if group_columns == 0 || group_columns > key_count {
            return Err(MapReduceError::GroupColumns { given: group_columns, columns: key_count }.into());
        }
        let (count, max) = (self.parts, crate::kernel::PARTITIONS_MAX as u32);
        if count == 0 || count > max {
            return Err(MapReduceError::PartCount { count, max }.into());
        }
        let (partition, is_total_order) = (self.partition.take(), self.is_total_order);
        let (order, sort_as) = (bind_keys(std::mem::take(&mut self.order), &pairs)?, self.sort_as.take());
        let (tags, is_lazy) = (Tags::of(R::Out::fields(), &self.outputs)?, self.is_lazy);
        let has_other_order = order.iter().take(group_columns).any(|key| {
            key.is_descending && matches!(&key.expression, Expression::Column(column) if *column < group_columns)
        });
        if is_total_order && (partition.is_some() || sort_as.is_some() || has_other_order) {
            return Err(MapReduceError::OtherOrder.into());
        }
        let (rows, setup) = self.mapped(None)?;
        let parts = match partition {
            Some(parts) => parts,
            None if is_total_order => Arc::new(sampled(&rows, place, group_columns, count)?),
            None => Arc::new(ByHash(group_columns)),
        };
        let sorted_count = sort_as.as_ref().map_or(0, |(fields, _)| fields.len());
        let numbered = with_numbers(rows, place, (parts, count), sort_as)?;
        let width = numbered.schema().fields().len();
        let (part, is_row) = (width - 2, width - 1);
        let sorted = part - sorted_count..part;
        let keys = std::iter::once(is_row).chain(sorted).chain(0..group_columns).map(Expression::Column).collect();
        let order = order_of(order, is_row, group_columns, key_count, sorted_count > 0);
        let rows_max = numbered.session().settings().rows_per_morsel;
        let schema = schema_of::<R::Out>();
        let output = tags.as_ref().map_or(&schema, |tags| &tags.schema).clone();
        let function = ReduceSide { reducer, setup: Arc::clone(&setup), schema, rows_max, tags: tags.clone() };
        let closure = numbered.named_closure(place, Function::Groups(Arc::new(function)), &output);
        let part = Some(PartColumn { column: part, count });
        let rows = numbered.then(|input| {
            let node = Node::MapGroups { input: Box::new(input), part, keys, order, closure };
            Logical { node, schema: output }
        });
        Ok(Reduced { rows, setup, tags, is_lazy, records: PhantomData })
    }
}

/// The order behind the keys, or with them if it says theirs.
fn order_of(order: Vec<SortKey>, is_row: usize, group: usize, keys: usize, is_sorted: bool) -> Vec<SortKey> {
    let ascending =
        |column| SortKey { expression: Expression::Column(column), is_descending: false, nulls_first: false };
    let says_groups = !is_sorted
        && order.len() >= group
        && order.iter().take(group).enumerate().all(|(place, key)| key.expression == Expression::Column(place));
    match order.is_empty() {
        true => (group..keys).map(ascending).collect(),
        false if says_groups => std::iter::once(ascending(is_row)).chain(order).collect(),
        false => order,
    }
}

/// The rows with what they are sorted as and the number of their part, and the row of each part that is none.
fn with_numbers<K: Record, V: Record>(
    rows: Dataset<(K, V)>,
    place: &'static Location<'static>,
    (parts, count): (Arc<dyn Parts>, u32),
    sort_as: Option<SortAs>,
) -> Result<Dataset<()>> {
    let (fields, sorted) = sort_as.unzip();
    let pairs = schema_of::<(K, V)>();
    let fields = pairs.fields().iter().map(|field| Field::clone(field)).chain(fields.into_iter().flatten());
    let before: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let schema = with_part(&before);
    let output = Arc::clone(&schema);
    let numbers: Dataset<()> = rows.through(place, Arc::clone(&schema), move |batch, emit| {
        let mut columns = batch.columns().to_vec();
        if let Some(sorted) = &sorted {
            columns.extend(sorted(batch)?);
        }
        emit(numbered(&Batch::try_new(Arc::clone(&before), columns)?, &*parts, count, &output)?)
    });
    let begin = Logical { node: Node::Values(vec![beginnings(&schema, count)?]), schema: Arc::clone(&schema) };
    Ok(numbers.then(|input| Logical { node: Node::Union { inputs: vec![input, begin] }, schema }))
}

/// Ranges of keys by a sample of the rows: those with the least hashes.
fn sampled<K: Record, V: Record>(
    rows: &Dataset<(K, V)>,
    place: &'static Location<'static>,
    key_count: usize,
    count: u32,
) -> Result<ByRange> {
    let pairs = schema_of::<(K, V)>();
    let hash = Field::new("hash", DataType::UInt64, false);
    let fields = pairs.fields()[..key_count].iter().map(|field| Field::clone(field)).chain([hash]);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let output = Arc::clone(&schema);
    let hashed: Dataset<Batch> = rows.clone().through(place, schema, move |batch, emit| {
        let mut hashes = Vec::new();
        hash_columns(batch.columns(), &mut hashes)?;
        let mut columns = batch.columns()[..key_count].to_vec();
        columns.push(Arc::new(UInt64Array::from(hashes)));
        emit(Batch::try_new(Arc::clone(&output), columns)?)
    });
    let sample = hashed.sort_by([asc("hash")])?.limit(SAMPLE_ROWS).collect()?;
    ByRange::of_sample(&sample.batches, key_count, &pairs, count)
}

/// What the last of a job's code gives.
pub struct Reduced<U: Record> {
    /// Records of `U`; or with tags those of all outputs.
    pub(super) rows: Dataset<()>,
    pub(super) setup: Arc<Setup>,
    pub(super) tags: Option<Arc<Tags>>,
    pub(super) is_lazy: bool,
    records: PhantomData<fn() -> U>,
}

impl<U: Record> Clone for Reduced<U> {
    fn clone(&self) -> Reduced<U> {
        let Reduced { rows, setup, tags, is_lazy, .. } = self;
        let (rows, setup, tags) = (rows.clone(), Arc::clone(setup), tags.clone());
        Reduced { rows, setup, tags, is_lazy: *is_lazy, records: PhantomData }
    }
}

impl<U: Record> Reduced<U> {
    /// The rows, to go on with: to another job, or any other way. What is for other outputs is left out, and what was counted is not told.
    pub fn dataset(&self) -> Result<Dataset<U>> {
        match &self.tags {
            None => Ok(self.rows.clone().then(|rows| rows)),
            Some(tags) => tags.of_output(self.rows.clone().untyped(), 0),
        }
    }

    /// A mapper for each record that the reducer emits, at once.
    #[track_caller]
    pub fn then<M: Mapper<In = U>>(self, mapper: M) -> Result<Reduced<M::Out>> {
        if self.tags.is_some() {
            return Err(MapReduceError::MappersBehindOutputs.into());
        }
        Job { setup: Setup::clone(&self.setup), ..Job::new(self.dataset()?, mapper) }.without_reducer()
    }

    /// Runs the job, and writes Parquet files into the folder `path`, which must not exist. They appear all at once, when all are whole.
    pub fn write_parquet(&self, path: impl Into<PathBuf>) -> Result<Finished> {
        self.write(path).parquet()
    }

    /// Runs the job, and writes files into the folder `path`, in ways that are said before the format is: `.write("out").overwrite().text()?`.
    pub fn write(&self, path: impl Into<PathBuf>) -> Write<Self> {
        Write::new(self.clone(), path)
    }

    /// Runs the job, and gives its rows; what is for other outputs is left out.
    pub fn collect(&self) -> Result<(Vec<U>, Finished)> {
        let accepts = |counted: &Counted| check_skipped(&self.setup, counted.skipped);
        let (rows, counted) = self.dataset()?.collect_counted(&accepts)?;
        Ok((rows, Finished::new(None, counted)))
    }
}

/// What a run of a job has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// What was written, if it was.
    pub written: Option<Written>,
    /// The other outputs by name, if they were written.
    pub outputs: BTreeMap<String, Written>,
    /// The job's counters by name. On a cluster: as counted by the attempts whose rows are in the result.
    pub counters: BTreeMap<String, i64>,
    /// How many records were left out because the job's code could not use them.
    pub skipped: u64,
    /// Some of them.
    pub bad_records: Vec<Skipped>,
}

impl Finished {
    pub(super) fn new(written: Option<Written>, counted: Counted) -> Finished {
        let Counted { counters, skipped, shown } = counted;
        Finished { written, outputs: BTreeMap::new(), counters, skipped, bad_records: shown }
    }

    /// The counter of this name; 0 if nobody has counted by it.
    pub fn counter(&self, name: &str) -> i64 {
        self.counters.get(name).copied().unwrap_or(0)
    }
}
