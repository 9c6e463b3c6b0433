//! The probe and mark roles of the hash join.
//!
//! In: the probe side, morsel by morsel, once the build side is complete. Out: by [`Partners`]. Never: makes pairs where knowing
//! that there is one is enough; holds more pairs than a morsel has rows.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{
    directory::LookUp,
    hash::{Built, HashJoin},
    keys::{KeyEncoder, Keys, retain_equal},
    pairs::{Pairs, Partners},
    spec::JoinRows,
};
use crate::{
    batch::Morsel,
    error::{Result, bug},
    operator::{Next, Outcome, Sink, SinkThread, Transform, TransformThread},
};

/// The role that gives morsels.
pub(super) struct Probe(pub(super) Arc<HashJoin>);

impl Transform for Probe {
    fn thread(&self) -> Result<Box<dyn TransformThread>> {
        Ok(Box::new(ProbeThread(Prober::new(&self.0)?)))
    }
}

struct ProbeThread(Prober);

impl TransformThread for ProbeThread {
    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome> {
        self.0.push(morsel, next)
    }
}

/// The role that only marks build rows.
pub(super) struct Mark(pub(super) Arc<HashJoin>);

impl Sink for Mark {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        Ok(Box::new(MarkThread(Prober::new(&self.0)?)))
    }
}

struct MarkThread(Prober);

impl SinkThread for MarkThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        self.0.push(morsel, &mut |_| Err(bug("join", "marking gives a morsel")))
    }
    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// One thread that probes.
struct Prober {
    join: Arc<HashJoin>,
    built: Arc<Built>,
    encoder: KeyEncoder,
    keys: Keys,
    look_up: LookUp,
    pairs: Pairs,
    partners: Partners,
    /// A pair's word is all of its key, and there is no filter: finding an entry is finding a partner.
    entry_is_partner: bool,
}

impl Prober {
    fn new(join: &Arc<HashJoin>) -> Result<Prober> {
        let built = join.built()?;
        Ok(Prober {
            encoder: join.probe_keys()?,
            keys: Keys::default(),
            look_up: LookUp::default(),
            pairs: Pairs::default(),
            partners: Partners::new(&join.shape, &built.side)?,
            entry_is_partner: built.compared.is_none() && join.shape.filter.is_none(),
            join: Arc::clone(join),
            built,
        })
    }

    /// No probe row changes what the join gives.
    fn is_decided(&self) -> bool {
        let rows = self.join.shape.rows;
        let has_no_partners = self.built.directory.rows() == 0;
        match rows {
            JoinRows::ProbeAnti => self.join.is_null_aware && self.built.has_null_key,
            // A null-aware join asks whether there are probe rows and NULLs among them, if there are build rows at all.
            JoinRows::BuildAnti if self.join.is_null_aware => {
                self.built.side.rows == 0 || self.join.saw_null_probe_key.load(Relaxed)
            }
            _ => rows.needs_partners() && has_no_partners,
        }
    }

    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome> {
        if self.is_decided() {
            return Ok(Outcome::Enough);
        }
        let Morsel { batch, position } = morsel;
        self.pairs.clear();
        self.partners.begin(batch.num_rows());
        if batch.num_rows() == 0 {
            let is_passed_on = self.partners.settled().is_some() && position.is_some_and(|position| position.is_last);
            return if is_passed_on {
                self.partners.finish(&batch, position, &mut self.pairs, next)
            } else {
                Ok(Outcome::More)
            };
        }
        self.encoder.encode(&batch, &mut self.keys)?;
        self.look_at_nulls();
        let directory = &self.built.directory;
        directory.look_up(&self.keys.hashes, self.keys.valid.as_ref(), &mut self.look_up);
        if self.entry_is_partner && self.partners.settled().is_some() {
            directory.exists(self.keys.words(), &mut self.look_up, self.partners.matched_mut());
            return self.partners.finish(&batch, position, &mut self.pairs, next);
        }
        let limit = self.join.shape.rows_per_morsel;
        loop {
            let skip = self.partners.settled();
            let is_last = directory.fill(self.keys.words(), skip, limit, &mut self.look_up, &mut self.pairs);
            if let (Some(build), Some(probe)) = (&self.built.compared, &self.keys.compared) {
                retain_equal(build, probe, &mut self.pairs)?;
            }
            self.partners.settle(&batch, &mut self.pairs)?;
            if is_last {
                return self.partners.finish(&batch, position, &mut self.pairs, next);
            }
            if let Outcome::Enough = self.partners.give(&batch, &mut self.pairs, next)? {
                return Ok(Outcome::Enough);
            }
            self.join.context.cancel.check()?;
        }
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
