//! Tee: rows that go into several sinks, each of which gets all of them.
//!
//! In: morsels. Out: the same morsels, to every sink that still takes some. Never: waits for one of them: they take what they are given, as
//! groupings do.

use std::sync::Arc;

use super::{Outcome, Sink, SinkThread, Task};
use crate::{
    batch::Morsel,
    error::{Result, bug},
    memory::Revoked,
};

/// The shared part.
pub struct Tee(Vec<Arc<dyn Sink>>);

impl Tee {
    /// Into each of these.
    pub fn new(sinks: Vec<Arc<dyn Sink>>) -> Arc<Tee> {
        Arc::new(Tee(sinks))
    }
}

impl Sink for Tee {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let thread = |sink: &Arc<dyn Sink>| Ok(Branch { sink: sink.thread()?, takes_more: true });
        Ok(Box::new(TeeThread(self.0.iter().map(thread).collect::<Result<_>>()?)))
    }

    fn floor_bytes(&self) -> u64 {
        self.0.iter().map(|sink| sink.floor_bytes()).sum()
    }

    fn held_bytes(&self) -> u64 {
        self.0.iter().map(|sink| sink.held_bytes()).sum()
    }

    /// Those that hold most are asked first.
    fn revoke(&self, bytes: u64) -> Result<Revoked> {
        let mut sinks: Vec<&Arc<dyn Sink>> = self.0.iter().collect();
        sinks.sort_by_key(|sink| std::cmp::Reverse(sink.held_bytes()));
        let mut given = 0;
        for sink in sinks {
            if given >= bytes {
                break;
            }
            if let Revoked::Bytes(more) = sink.revoke(bytes - given)? {
                given += more;
            }
        }
        Ok(if given > 0 { Revoked::Bytes(given) } else { Revoked::Cannot })
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        let mut tasks = Vec::new();
        for sink in &self.0 {
            tasks.extend(sink.finalize()?);
        }
        Ok(tasks)
    }
}

struct TeeThread(Vec<Branch>);

struct Branch {
    sink: Box<dyn SinkThread>,
    takes_more: bool,
}

impl SinkThread for TeeThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        for branch in self.0.iter_mut().filter(|branch| branch.takes_more) {
            match branch.sink.push(morsel.clone())? {
                Outcome::More => {}
                Outcome::Enough => branch.takes_more = false,
                Outcome::Blocked(_) => return Err(bug("tee", "one of its sinks is waited for")),
            }
        }
        let takes_more = self.0.iter().any(|branch| branch.takes_more);
        Ok(if takes_more { Outcome::More } else { Outcome::Enough })
    }

    fn relieve(&mut self) -> Result<bool> {
        let mut has_relieved = false;
        for branch in &mut self.0 {
            has_relieved |= branch.sink.relieve()?;
        }
        Ok(has_relieved)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.0.into_iter().try_for_each(|branch| branch.sink.finish())
    }
}
