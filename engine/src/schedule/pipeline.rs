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
    batch::{Morsel, payload_bytes},
    error::Result,
    observe::Clock,
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
        let mut clock = Clock::start(job.profile.as_ref(), self.pipeline);
        while !self.is_enough {
            if job.is_failed() {
                return Ok(());
            }
            job.cancel.check()?;
            if let Some(wake) = self.step(job, &mut clock)? {
                drop(clock);
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
            chain.finish(&mut clock)?;
            enter(&mut clock, chain.transforms.len() + 1);
            chain.sink.finish()?;
        }
        drop(clock);
        // The last drive closes the operators: nothing of theirs may be left here.
        drop(self.source.take());
        job.drive_ended(self.pipeline)
    }

    /// Moves one morsel; says what to wait for if it cannot go on.
    fn step(&mut self, job: &Job, clock: &mut Option<Clock>) -> Result<Option<Wake>> {
        let pipeline = &job.pipelines[self.pipeline];
        let source = match &mut self.source {
            Some(source) => source,
            none => {
                for transform in &pipeline.runnable.transforms {
                    if transform.takes_none()? {
                        self.is_enough = true;
                        return Ok(None);
                    }
                }
                none.insert(pipeline.runnable.source.thread()?)
            }
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
            count(clock, 0, &morsel);
            match push(&mut chain.transforms, &mut *chain.sink, 1, clock, morsel)? {
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
    fn finish(&mut self, clock: &mut Option<Clock>) -> Result<()> {
        for number in 0..self.transforms.len() {
            let (done, rest) = self.transforms.split_at_mut(number + 1);
            let sink = &mut *self.sink;
            if let Some(transform) = done.last_mut() {
                enter(clock, number + 1);
                transform.finish(&mut |morsel| push(rest, sink, number + 2, clock, morsel))?;
            }
        }
        Ok(())
    }
}

/// Pushes a morsel through the transforms into the sink; the first of them is the pipeline's step of this number.
fn push(
    transforms: &mut [Box<dyn TransformThread>],
    sink: &mut dyn SinkThread,
    step: usize,
    clock: &mut Option<Clock>,
    morsel: Morsel,
) -> Result<Outcome> {
    count(clock, step, &morsel);
    let before = enter(clock, step);
    let outcome = match transforms.split_first_mut() {
        None => sink.push(morsel),
        Some((first, rest)) => first.push(morsel, &mut |morsel| push(rest, sink, step + 1, clock, morsel)),
    };
    enter(clock, before);
    outcome
}

fn enter(clock: &mut Option<Clock>, step: usize) -> usize {
    clock.as_mut().map_or(0, |clock| clock.enter(step))
}

fn count(clock: &mut Option<Clock>, step: usize, morsel: &Morsel) {
    if let Some(clock) = clock {
        clock.count(step, morsel.batch.num_rows(), payload_bytes(&morsel.batch));
    }
}
