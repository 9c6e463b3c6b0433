//! A drive: one thread's way through a pipeline, morsel after morsel.
//!
//! In: the pipeline's shared operators. Out: everything they give has gone into the sink. Never: waits; a role that is blocked
//! parks the drive, and the wake posts it again, to any thread.
//!
//! ```text
//!   new ──► running ──(Blocked)──► parked ──(wake)──► running ──(Enough)──► finishing ──► ended
//! ```
//! A drive makes its parts of the operators when the first morsel arrives, so that idle threads leave no empty tables to merge.
//!
//! A source that is refused memory has the sink of its own drive write what it holds. What the other drives hold they write at their next
//! morsel, for which this one does not wait: the job fails then, though it might have gone on.

use std::sync::Arc;

use super::job::Job;
use crate::{
    batch::Morsel,
    error::Result,
    operator::{Outcome, SinkThread, SourceThread, TransformThread, Wake},
};

pub(super) struct Drive {
    pipeline: usize,
    source: Option<Box<dyn SourceThread>>,
    chain: Option<Chain>,
    /// The source or the sink has had enough; what is left is to finish.
    is_enough: bool,
}

struct Chain {
    transforms: Vec<Box<dyn TransformThread>>,
    sink: Box<dyn SinkThread>,
}

impl Drive {
    pub(super) fn new(pipeline: usize) -> Drive {
        Drive { pipeline, source: None, chain: None, is_enough: false }
    }

    /// Runs until it is parked or ended.
    pub(super) fn run(mut self, job: &Arc<Job>) -> Result<()> {
        while !self.is_enough {
            if job.is_failed() {
                return Ok(());
            }
            job.cancel.check()?;
            if let Some(wake) = self.step(job)? {
                let parked_job = Arc::clone(job);
                parked_job.hold();
                wake.then(move || {
                    parked_job.post_drive(self);
                    parked_job.work_ended();
                });
                return Ok(());
            }
        }
        if let Some(mut chain) = self.chain.take() {
            chain.finish()?;
            chain.sink.finish()?;
        }
        // The last drive closes the operators: nothing of theirs may be left here.
        drop(self.source.take());
        job.drive_ended(self.pipeline)
    }

    /// Moves one morsel; says what to wait for if it cannot go on.
    fn step(&mut self, job: &Job) -> Result<Option<Wake>> {
        let pipeline = &job.pipelines[self.pipeline];
        let source = match &mut self.source {
            Some(source) => source,
            none => none.insert(pipeline.runnable.source.thread()?),
        };
        let (morsel, pulled) = loop {
            match (source.pull(), &mut self.chain) {
                // The source has no memory, and what came of its earlier rows may hold all of it.
                (Err(error), Some(chain)) if source.can_pull_again() => {
                    if !chain.sink.relieve()? {
                        return Err(error);
                    }
                    job.cancel.check()?;
                }
                (pulled, _) => break pulled?,
            }
        };
        let mut wake = None;
        if let Some(morsel) = morsel {
            let chain = match &mut self.chain {
                Some(chain) => chain,
                none => none.insert(Chain {
                    transforms: pipeline.runnable.transforms.iter().map(|t| t.thread()).collect::<Result<_>>()?,
                    sink: pipeline.sink.thread()?,
                }),
            };
            match push(&mut chain.transforms, &mut *chain.sink, morsel)? {
                Outcome::More => {}
                Outcome::Enough => self.is_enough = true,
                Outcome::Blocked(until) => wake = Some(until),
            }
        }
        match pulled {
            Outcome::More => {}
            Outcome::Enough => self.is_enough = true,
            Outcome::Blocked(until) => wake = wake.or(Some(until)),
        }
        Ok(if self.is_enough { None } else { wake })
    }
}

impl Chain {
    /// Tells every transform, the first one first, that no more comes; what it held back goes through those after it. All are told: one
    /// that takes no more does not speak for those behind it, which may keep rows for another pipeline.
    fn finish(&mut self) -> Result<()> {
        for number in 0..self.transforms.len() {
            let (done, rest) = self.transforms.split_at_mut(number + 1);
            let sink = &mut *self.sink;
            if let Some(transform) = done.last_mut() {
                transform.finish(&mut |morsel| push(rest, sink, morsel))?;
            }
        }
        Ok(())
    }
}

/// Pushes a morsel through the transforms into the sink.
fn push(transforms: &mut [Box<dyn TransformThread>], sink: &mut dyn SinkThread, morsel: Morsel) -> Result<Outcome> {
    match transforms.split_first_mut() {
        None => sink.push(morsel),
        Some((first, rest)) => first.push(morsel, &mut |morsel| push(rest, sink, morsel)),
    }
}
