//! The probe and mark roles of the hash join.
//!
//! In: the probe side, morsel by morsel, once the build side is complete. Out: by [`Partners`]; where the build side went to disk nothing,
//! its rows go there, too ([`Spilled`](super::spill::Spilled)). Never: makes pairs where knowing that there is one is enough; holds more
//! pairs than a morsel has rows.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{
    directory::LookUp,
    hash::{Built, HashJoin, Ready},
    keys::{KeyEncoder, Keys, retain_equal},
    pairs::{Pairs, Partners},
    spec::JoinRows,
    spill::{SideWriter, Spilled},
};
use crate::{
    batch::{Batch, Morsel, Position},
    error::{Result, bug},
    operator::{Next, Outcome, Sink, SinkThread, Task, Transform, TransformThread},
};

/// The role that gives morsels.
pub(super) struct Probe(pub(super) Arc<HashJoin>);

impl Transform for Probe {
    fn thread(&self) -> Result<Box<dyn TransformThread>> {
        ProbeSide::new(&self.0).map(|side| Box::new(side) as Box<dyn TransformThread>)
    }

    fn takes_none(&self) -> Result<bool> {
        Ok(match self.0.ready()? {
            Ready::Table(built) => is_decided(&self.0, &built),
            Ready::Spilled(_) => false,
        })
    }

    fn close(&self) {
        self.0.probe_closed();
    }
}

/// One thread's way with probe rows.
enum ProbeSide {
    /// The build side is in memory.
    Memory(Box<Prober>),
    /// It is on disk.
    Disk(Box<ToDisk>),
}

impl ProbeSide {
    fn new(join: &Arc<HashJoin>) -> Result<ProbeSide> {
        Ok(match join.ready()? {
            Ready::Table(built) => ProbeSide::Memory(Box::new(Prober::new(join, built)?)),
            Ready::Spilled(spilled) => ProbeSide::Disk(Box::new(ToDisk::new(join, spilled)?)),
        })
    }
}

impl TransformThread for ProbeSide {
    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome> {
        match self {
            ProbeSide::Memory(prober) => prober.push(morsel, next),
            ProbeSide::Disk(to_disk) => to_disk.push(&morsel.batch),
        }
    }

    fn finish(&mut self, _next: Next<'_>) -> Result<Outcome> {
        if let ProbeSide::Disk(to_disk) = self {
            to_disk.finish()?;
        }
        Ok(Outcome::More)
    }
}

/// The role that only marks build rows.
pub(super) struct Mark(pub(super) Arc<HashJoin>);

impl Sink for Mark {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        ProbeSide::new(&self.0).map(|side| Box::new(side) as Box<dyn SinkThread>)
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        self.0.probing_over();
        Ok(Vec::new())
    }
}

impl SinkThread for ProbeSide {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        TransformThread::push(self, morsel, &mut |_| Err(bug("join", "marking gives a morsel")))
    }
    fn finish(mut self: Box<Self>) -> Result<()> {
        TransformThread::finish(&mut *self, &mut |_| Err(bug("join", "marking gives a morsel"))).map(drop)
    }
}

/// One thread's probe rows on their way to disk.
struct ToDisk {
    join: Arc<HashJoin>,
    spilled: Arc<Spilled>,
    writer: SideWriter,
}

impl ToDisk {
    fn new(join: &Arc<HashJoin>, spilled: Arc<Spilled>) -> Result<ToDisk> {
        let writer = SideWriter::of_probe(join, spilled.split(), Arc::clone(spilled.has_build_rows()))?;
        Ok(ToDisk { join: Arc::clone(join), spilled, writer })
    }

    fn push(&mut self, batch: &Batch) -> Result<Outcome> {
        let (rows, is_null_aware) = (self.join.shape.rows, self.join.is_null_aware);
        // No probe row changes what the join gives.
        let is_decided = match rows {
            JoinRows::ProbeAnti if is_null_aware => self.join.saw_null_build_key.load(Relaxed),
            JoinRows::BuildAnti if is_null_aware => self.join.saw_null_probe_key.load(Relaxed),
            _ => rows.needs_partners() && !self.spilled.has_build_rows().contains(&true),
        };
        if is_decided {
            return Ok(Outcome::Enough);
        }
        if batch.num_rows() > 0 {
            let has_null_key = self.writer.push(batch)?;
            if is_null_aware {
                self.join.saw_probe_rows.store(true, Relaxed);
                self.join.saw_null_probe_key.fetch_or(has_null_key, Relaxed);
            }
        }
        Ok(Outcome::More)
    }

    fn finish(&mut self) -> Result<()> {
        self.spilled.take_in_probe(self.writer.finish()?);
        Ok(())
    }
}

/// One thread that probes a table in memory.
pub(super) struct Prober {
    join: Arc<HashJoin>,
    built: Arc<Built>,
    encoder: KeyEncoder,
    keys: Keys,
    look_up: LookUp,
    pairs: Pairs,
    partners: Partners,
    /// A pair's word is all of its key, and there is no filter: finding an entry is finding a partner.
    entry_is_partner: bool,
    /// The batch that is being worked on.
    current: Option<(Batch, Option<Position>)>,
}

impl Prober {
    pub(super) fn new(join: &Arc<HashJoin>, built: Arc<Built>) -> Result<Prober> {
        Ok(Prober {
            encoder: join.probe_keys()?,
            keys: Keys::default(),
            look_up: LookUp::default(),
            pairs: Pairs::default(),
            partners: Partners::new(&join.shape, &built.side)?,
            entry_is_partner: built.compared.is_none() && join.shape.filter.is_none(),
            current: None,
            join: Arc::clone(join),
            built,
        })
    }

    /// No probe row changes what the join gives.
    pub(super) fn is_decided(&self) -> bool {
        is_decided(&self.join, &self.built)
    }

    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome> {
        if self.is_decided() {
            return Ok(Outcome::Enough);
        }
        let Morsel { batch, position } = morsel;
        if batch.num_rows() == 0 {
            self.pairs.clear();
            self.partners.begin(0);
            let is_passed_on = self.partners.settled().is_some() && position.is_some_and(|position| position.is_last);
            return if is_passed_on {
                self.partners.finish(&batch, position, &mut self.pairs, next)
            } else {
                Ok(Outcome::More)
            };
        }
        self.begin(batch, position)?;
        loop {
            let Turn { outcome, is_last } = self.turn(true, next)?;
            if is_last || matches!(outcome, Outcome::Enough) {
                return Ok(outcome);
            }
        }
    }

    /// Begins a batch, which has rows; then come its turns.
    pub(super) fn begin(&mut self, batch: Batch, position: Option<Position>) -> Result<()> {
        self.pairs.clear();
        self.partners.begin(batch.num_rows());
        self.encoder.encode(&batch, &mut self.keys)?;
        self.look_at_nulls();
        self.built.directory.look_up(&self.keys.hashes, self.keys.valid.as_ref(), &mut self.look_up);
        self.current = Some((batch, position));
        Ok(())
    }

    /// The build side comes in pieces: which rows of the batch that begins have found a partner in earlier ones?
    pub(super) fn begin_again(&mut self, matched: impl Iterator<Item = bool>) {
        self.partners.begin_again(matched);
    }

    /// The rows of the batch that have found a partner until now, as far as the kind of join asks.
    pub(super) fn matched(&self) -> &[bool] {
        self.partners.matched()
    }

    /// Makes at most as many pairs as a morsel has rows, and gives them. `is_whole`: all build rows are here, or the last of them; if not,
    /// what depends on having no partner is not given.
    pub(super) fn turn(&mut self, is_whole: bool, next: Next<'_>) -> Result<Turn> {
        let Some((batch, position)) = &self.current else { return Err(bug("join", "a turn without a batch")) };
        let directory = &self.built.directory;
        let is_last = if self.entry_is_partner && self.partners.settled().is_some() {
            directory.exists(self.keys.words(), &mut self.look_up, self.partners.matched_mut());
            true
        } else {
            let (skip, limit) = (self.partners.settled(), self.join.shape.rows_per_morsel);
            let is_last = directory.fill(self.keys.words(), skip, limit, &mut self.look_up, &mut self.pairs);
            if let (Some(build), Some(probe)) = (&self.built.compared, &self.keys.compared) {
                retain_equal(build, probe, &mut self.pairs)?;
            }
            self.partners.settle(batch, &mut self.pairs)?;
            is_last
        };
        let outcome = if is_last && is_whole {
            self.partners.finish(batch, *position, &mut self.pairs, next)?
        } else {
            self.partners.give(batch, &mut self.pairs, next)?
        };
        if !is_last {
            self.join.context.cancel.check()?;
        }
        Ok(Turn { outcome, is_last })
    }

    /// What a null-aware join has to know of the probe rows with a NULL key.
    fn look_at_nulls(&mut self) {
        if !self.join.is_null_aware {
            return;
        }
        self.join.saw_probe_rows.store(true, Relaxed);
        let Some(valid) = &self.keys.valid else { return };
        self.join.saw_null_probe_key.store(true, Relaxed);
        if self.join.shape.rows == JoinRows::ProbeAnti && self.built.side.rows > 0 {
            // Neither in nor not in: as if they had a partner. `exists` writes only to rows with a key.
            let matched = self.partners.matched_mut();
            (0..matched.len()).filter(|row| valid.is_null(*row)).for_each(|row| matched[row] = true);
        }
    }
}

/// A part of the work on a batch.
pub(super) struct Turn {
    pub(super) outcome: Outcome,
    /// The batch is done.
    pub(super) is_last: bool,
}

/// No probe row changes what the join gives.
fn is_decided(join: &HashJoin, built: &Built) -> bool {
    let rows = join.shape.rows;
    match rows {
        JoinRows::ProbeAnti => join.is_null_aware && join.saw_null_build_key.load(Relaxed),
        // A null-aware join asks whether there are probe rows and NULLs among them, if there are build rows at all.
        JoinRows::BuildAnti if join.is_null_aware => built.side.rows == 0 || join.saw_null_probe_key.load(Relaxed),
        _ => rows.needs_partners() && built.directory.rows() == 0,
    }
}
