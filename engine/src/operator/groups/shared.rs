//! The operator: parts, each a sort, then the closure over each part.
//!
//! In: morsels, on all threads. Out: what the closure gives, a part on one thread. Never: looks at a row after its part was sorted but in order.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use super::{
    function::GroupCalls,
    outbox::Outbox,
    spec::{GroupsError, GroupsSpec, PARTS_MAX, PartColumn},
    units::Units,
};
use crate::{
    batch::{
        Batch, Morsel,
        array::{Array, AsArray},
        datatypes::UInt32Type,
    },
    error::{Result, bug},
    expression::{Evaluator, Expression, Parameters},
    kernel::{Kernels, hash_columns},
    memory::Revoked,
    operator::{
        JobContext, Outcome, Sink, SinkThread, Source, SourceThread, Task,
        sort::{Sort, Ties},
        window::values,
    },
    shuffle::{Builder, BuilderOptions},
};

/// Who asks for memory.
pub(super) const HOLDER: &str = "groups";
/// Parts for each thread, where rows have no number of a part: the last ones are small.
const PARTS_PER_THREAD: usize = 4;
/// Of the hash that tells parts apart other bits are taken than those that have brought the rows to this task.
const HASH_ROTATION: u32 = 24;

/// Rows by key, and a closure over them.
pub struct Groups {
    spec: GroupsSpec,
    context: JobContext,
    parameters: Arc<Parameters>,
    parts: Vec<Sort>,
    next_part: AtomicU32,
}

impl Groups {
    /// Checks types and prepares expressions.
    pub fn new(spec: &GroupsSpec, context: &JobContext, parameters: &Arc<Parameters>) -> Result<Arc<Groups>> {
        let count = match spec.part {
            Some(PartColumn { count, .. }) => count,
            None if spec.keys.is_empty() => 1,
            None => ((PARTS_PER_THREAD * context.settings.threads) as u32).next_power_of_two().min(64),
        };
        if count == 0 || count > PARTS_MAX {
            return Err(GroupsError::PartCount { call_site: spec.call_site, count }.into());
        }
        let sort = |_| Sort::within(HOLDER, Ties::Broken, &spec.sort(), context, parameters);
        let parts = (0..count).map(sort).collect::<Result<_>>()?;
        let groups = Groups {
            spec: spec.clone(),
            context: context.clone(),
            parameters: Arc::clone(parameters),
            parts,
            next_part: AtomicU32::new(0),
        };
        groups.evaluators(&groups.spec.keys)?;
        Ok(Arc::new(groups))
    }

    /// Takes the input in.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(GroupsSink(Arc::clone(self)))
    }

    /// Gives what the closure makes of it.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        Arc::new(GroupsSource(Arc::clone(self)))
    }

    fn evaluators(&self, expressions: &[Expression]) -> Result<Vec<Evaluator>> {
        expressions.iter().map(|e| Evaluator::new(e, &self.spec.input, &self.parameters)).collect()
    }
}

struct GroupsSink(Arc<Groups>);

impl Sink for GroupsSink {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let shared = &self.0;
        let settings = &shared.context.settings;
        let options = BuilderOptions { group_count: shared.parts.len(), bytes: BuilderOptions::bytes_within(settings) };
        let (pool, reservation) = (shared.context.governor.pool(), shared.context.reservation(HOLDER));
        let builder = (shared.parts.len() > 1).then(|| Builder::new(&shared.spec.input, options, pool, reservation));
        Ok(Box::new(GroupsSinkThread {
            keys: shared.evaluators(&shared.spec.keys)?,
            parts: shared.parts.iter().map(|part| part.sink().thread()).collect::<Result<_>>()?,
            builder,
            hashes: Vec::new(),
            numbers: Vec::new(),
            shared: Arc::clone(shared),
        }))
    }

    fn floor_bytes(&self) -> u64 {
        let settings = &self.0.context.settings;
        let bytes = BuilderOptions::bytes_within(settings);
        let builder = BuilderOptions { group_count: self.0.parts.len(), bytes };
        (builder.most_bytes() * settings.threads) as u64
    }

    fn held_bytes(&self) -> u64 {
        self.0.parts.iter().map(|part| part.sink().held_bytes()).sum()
    }

    fn revoke(&self, bytes: u64) -> Result<Revoked> {
        // Of the part that holds most: a run of each would be a small one.
        let most = self.0.parts.iter().map(Sort::sink).max_by_key(|sink| sink.held_bytes());
        most.map_or(Ok(Revoked::Cannot), |sink| sink.revoke(bytes))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        let tasks = self.0.parts.iter().map(|part| part.sink().finalize()).collect::<Result<Vec<_>>>()?;
        Ok(tasks.into_iter().flatten().collect())
    }
}

struct GroupsSinkThread {
    shared: Arc<Groups>,
    keys: Vec<Evaluator>,
    /// None where there is one part.
    builder: Option<Builder>,
    parts: Vec<Box<dyn SinkThread>>,
    hashes: Vec<u64>,
    numbers: Vec<u16>,
}

impl GroupsSinkThread {
    /// The part of each row.
    fn number(&mut self, rows: &Batch) -> Result<()> {
        let spec = &self.shared.spec;
        let Some(PartColumn { column, count }) = spec.part else {
            hash_columns(&values(&self.keys, rows)?, &mut self.hashes)?;
            self.hashes.iter_mut().for_each(|hash| *hash = hash.rotate_left(HASH_ROTATION));
            Kernels::detect().group_products(&self.hashes, self.parts.len() as u32, &mut self.numbers);
            return Ok(());
        };
        let numbers = rows.column(column).as_primitive_opt::<UInt32Type>();
        let numbers = numbers.filter(|numbers| numbers.null_count() == 0);
        let numbers = numbers.ok_or_else(|| bug("groups", "a column of parts that are no numbers"))?;
        if let Some(part) = numbers.values().iter().find(|part| **part >= count) {
            return Err(GroupsError::NoSuchPart { call_site: spec.call_site, part: *part, count }.into());
        }
        self.numbers.clear();
        self.numbers.extend(numbers.values().iter().map(|part| *part as u16));
        Ok(())
    }
}

impl SinkThread for GroupsSinkThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if morsel.batch.num_rows() == 0 {
            return Ok(Outcome::More);
        }
        self.number_if_several(&morsel.batch)?;
        let GroupsSinkThread { builder, parts, numbers, .. } = self;
        match builder {
            Some(builder) => builder
                .push(&morsel.batch, numbers, &mut |part, batch, _| parts[part].push(batch.into()).map(|_| ()))?,
            None => parts[0].push(morsel).map(|_| ())?,
        }
        Ok(Outcome::More)
    }

    fn relieve(&mut self) -> Result<bool> {
        let mut is_relieved = false;
        for part in &mut self.parts {
            is_relieved |= part.relieve()?;
        }
        Ok(is_relieved)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let GroupsSinkThread { builder, mut parts, .. } = *self;
        if let Some(mut builder) = builder {
            builder.finish(&mut |part, batch, _| parts[part].push(batch.into()).map(|_| ()))?;
        }
        parts.into_iter().try_for_each(|part| part.finish())
    }
}

impl GroupsSinkThread {
    /// One part needs no numbers, but those that its rows have are looked at.
    fn number_if_several(&mut self, rows: &Batch) -> Result<()> {
        if self.builder.is_some() || self.shared.spec.part.is_some() { self.number(rows) } else { Ok(()) }
    }
}

struct GroupsSource(Arc<Groups>);

impl Source for GroupsSource {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        let outbox = Outbox::new(HOLDER, &self.0.context);
        Ok(Box::new(GroupsThread { shared: Arc::clone(&self.0), outbox, at: None }))
    }

    fn close(&self) {
        self.0.parts.iter().for_each(Sort::close);
    }
}

struct GroupsThread {
    shared: Arc<Groups>,
    outbox: Outbox,
    /// The part that this thread is at; it has rows.
    at: Option<(Units, Box<dyn GroupCalls>)>,
}

impl SourceThread for GroupsThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        loop {
            if let Some(batch) = self.outbox.next()? {
                return Ok((Some(batch.into()), Outcome::More));
            }
            let GroupsThread { shared, outbox, at } = self;
            let spec = &shared.spec;
            match at {
                None => {
                    let number = shared.next_part.fetch_add(1, Relaxed);
                    let Some(part) = shared.parts.get(number as usize) else { return Ok((None, Outcome::Enough)) };
                    let mut units = Units::new(part.rows()?, shared.evaluators(&spec.keys)?, &shared.context);
                    // A part without rows here may have some in another task.
                    if units.advance()? {
                        *at = Some((units, spec.function.open(number, &shared.context.counters)?));
                    }
                }
                Some((units, calls)) => {
                    calls.groups(units, &mut |batch| outbox.put(&batch, spec))?;
                    units.pass_over()?;
                    if !units.advance()?
                        && let Some((_, calls)) = at.take()
                    {
                        calls.close(&mut |batch| outbox.put(&batch, spec))?;
                    }
                }
            }
        }
    }
}
