//! Streaming: mappers, combiners and reducers that are programs of any language, fed with lines and read by lines, as Hadoop Streaming has them.
//!
//! In: commands, files beside them, what a key is in a line. Out: a job as any other, whose code is those programs. Never: a shell: a command is a
//! program and its arguments.
//!
//! ```text
//!   a split's lines ──► mapper ──► key, separator, value ──► parts, in order of their keys ──► reducer ──► lines of the output
//!                       a process a split                                                      a process a part
//! ```
//! A line that a mapper prints is cut behind its first fields ([`Streaming::key_fields`]): they are the key, the rest is the value; a line of fewer fields is a
//! key whose value is empty. A reducer gets all lines of its part in the order of their keys, each as it was; what it prints is the output. A program
//! that ends with another code than 0 fails its attempt, with the end of what it wrote to standard error. There a line
//! `reporter:counter:GROUP,NAME,AMOUNT` counts, and `reporter:status:TEXT` says what it is at.

mod command; // Command: a program that was found, its arguments
mod error; // StreamingError
mod keys; // KeyOrder, Cut: what is the key in a line, and its order
mod lines; // lines to a program and from it, as a mapper and a reducer
mod process; // Piped: a process that is fed and read at once

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests; // processes that end, hang, flood

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub use keys::KeyOrder;

use self::{
    command::Command,
    error::StreamingError,
    keys::{ByFields, Cut},
    lines::{Feed, Feeding},
};
use super::{Finished, Job, PARTS, Reduced};
use crate::{
    dataset::{Dataset, Session, Write},
    error::Result,
    kernel::PARTITIONS_MAX,
    sink::IfExists,
    store::expand,
};

/// A job whose mapper and reducer are programs.
#[derive(Clone, Debug)]
pub struct Streaming {
    mapper: String,
    combiner: Option<String>,
    reducer: Option<String>,
    files: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    cut: Cut,
    partition_fields: Option<usize>,
    order: Vec<KeyOrder>,
    parts: u32,
    combines_files: bool,
    if_exists: IfExists,
}

impl Streaming {
    /// A job whose mapper is this command: a program, by its path or found in `PATH`, and its arguments, with quotes as a shell has them.
    pub fn new(mapper: impl Into<String>) -> Streaming {
        Streaming {
            mapper: mapper.into(),
            combiner: None,
            reducer: None,
            files: Vec::new(),
            environment: Vec::new(),
            cut: Cut::default(),
            partition_fields: None,
            order: Vec::new(),
            parts: PARTS,
            combines_files: false,
            if_exists: IfExists::Fail,
        }
    }

    /// The reducer; without one the lines of the mappers are the output.
    pub fn reducer(mut self, command: impl Into<String>) -> Streaming {
        self.reducer = Some(command.into());
        self
    }

    /// A reducer that runs over some of what a mapper has printed, in order, and prints such lines itself.
    pub fn combiner(mut self, command: impl Into<String>) -> Streaming {
        self.combiner = Some(command.into());
        self
    }

    /// A file that stands, by its name, in the folder in which the programs run.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Streaming {
        self.files.push(path.into());
        self
    }

    /// A variable of the programs' environment.
    pub fn environment(mut self, name: impl Into<String>, value: impl Into<String>) -> Streaming {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// What stands between fields; a tab otherwise.
    pub fn separator(mut self, separator: u8) -> Streaming {
        self.cut.separator = separator;
        self
    }

    /// So many fields of a line are its key; one otherwise.
    pub fn key_fields(mut self, count: usize) -> Streaming {
        self.cut.key_fields = count;
        self
    }

    /// Lines whose keys agree in their first `count` fields go to one reducer; the whole key counts otherwise.
    pub fn partition_fields(mut self, count: usize) -> Streaming {
        self.partition_fields = Some(count);
        self
    }

    /// The order in which a reducer gets its lines; that of the keys' bytes otherwise.
    pub fn in_order_of(mut self, order: impl IntoIterator<Item = KeyOrder>) -> Streaming {
        self.order = order.into_iter().collect();
        self
    }

    /// How many parts there are: each has a process of the reducer.
    pub fn parts(mut self, count: u32) -> Streaming {
        self.parts = count;
        self
    }

    /// Small files of the input are read together by one process of the mapper, as many as have the bytes of a split
    /// ([`Session::set_split_bytes`]); each file has a process otherwise.
    pub fn combines_files(mut self) -> Streaming {
        self.combines_files = true;
        self
    }

    /// An output that is there is replaced.
    pub fn overwrite(mut self) -> Streaming {
        self.if_exists = IfExists::Overwrite;
        self
    }

    /// Fails if what was said of it contradicts itself, or a file beside the programs is not there. Nothing is read.
    pub fn check(&self) -> Result<()> {
        let others = [("combiner", &self.combiner), ("reducer", &self.reducer)];
        let others = others.iter().filter_map(|(role, text)| Some((*role, text.as_ref()?)));
        for (role, text) in std::iter::once(("mapper", &self.mapper)).chain(others) {
            command::words(role, text)?;
        }
        command::check_files(&self.files)?;
        self.cut.check()?;
        let (key_fields, max) = (self.cut.key_fields, PARTITIONS_MAX);
        if let Some(fields) = self.partition_fields.filter(|fields| !(1..=key_fields).contains(fields)) {
            return Err(StreamingError::PartitionFields { fields, key_fields }.into());
        }
        if let Some(field) = self.order.iter().map(KeyOrder::field).find(|field| *field > key_fields) {
            return Err(StreamingError::OrderField { field, key_fields }.into());
        }
        let for_reducers = [
            ("combining what mappers print", self.combiner.is_some()),
            ("ordering lines by their keys", !self.order.is_empty()),
            ("partitioning by fields of the key", self.partition_fields.is_some()),
        ];
        if let (None, Some((what, _))) = (&self.reducer, for_reducers.iter().find(|(_, is_said)| *is_said)) {
            return Err(StreamingError::NoReducer { what }.into());
        }
        match self.parts {
            count if count == 0 || count as usize > max => Err(StreamingError::PartCount { count, max }.into()),
            _ => Ok(()),
        }
    }

    /// Runs it over the lines of the files that `input` names, a file, a folder or a pattern each; writes text into the folder `output`.
    pub fn run(&self, session: &Session, input: &[String], output: impl AsRef<Path>) -> Result<Finished> {
        self.check()?;
        let (first, others) = input.split_first().ok_or(StreamingError::NoInput)?;
        // As bytes: what is no UTF-8 goes through as it is.
        let read = |path| {
            if self.combines_files { session.read_text_combined(path) } else { session.read_text_bytes(path) }
        };
        input.iter().try_for_each(|path| check_input(path))?;
        let mut lines: Dataset<Vec<u8>> = read(first)?;
        for path in others {
            lines = lines.union(read(path)?)?;
        }
        self.over(lines, output.as_ref())
    }

    fn over(&self, lines: Dataset<Vec<u8>>, output: &Path) -> Result<Finished> {
        let feed = |role, command: &str| {
            let command = Command::find(role, command, &self.files)?;
            Ok::<_, crate::Error>(Arc::new(Feed {
                command,
                environment: self.environment.clone(),
                cut: self.cut,
                cancel: lines.session().cancel(),
            }))
        };
        let mapper = feed("mapper", &self.mapper)?;
        let combiner = self.combiner.as_ref().map(|command| feed("combiner", command)).transpose()?;
        let Some(reducer) = &self.reducer else {
            let job: Job<Vec<u8>> = Job::new(lines, Feeding::new(mapper));
            return self.target(job.write(output)?).text();
        };
        let reducer = feed("reducer", reducer)?;
        let mut job: Job<(Vec<u8>, Vec<u8>)> = Job::new(lines, Feeding::new(mapper)).parts(self.parts);
        if let Some(combiner) = combiner {
            job = job.combiner(Feeding::new(combiner));
        }
        if let Some(fields) = self.partition_fields {
            job = job.partitioner(ByFields { fields, separator: self.cut.separator });
        }
        if !self.order.is_empty() {
            let (order, cut) = (self.order.clone(), self.cut);
            job = job.sort_as::<Vec<u8>>(move |key| keys::sortable(key, &order, cut));
        }
        let reduced = job.reduce(Feeding::<Vec<u8>>::new(reducer))?;
        self.target(reduced.write(output)).text()
    }

    fn target(&self, write: Write<Reduced<Vec<u8>>>) -> Write<Reduced<Vec<u8>>> {
        if self.if_exists == IfExists::Overwrite { write.overwrite() } else { write }
    }
}

/// Names of files that are unpacked by whoever reads them, elsewhere.
const PACKED: [&str; 7] = ["bz2", "gz", "lz4", "snappy", "xz", "z", "zst"];

/// The files are text, as far as their names tell: what is packed would go to the mappers as it is.
fn check_input(path: &str) -> Result<()> {
    let is_packed = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase);
        ending.is_some_and(|ending| PACKED.contains(&&ending[..]))
    };
    match expand(path)?.into_iter().find(is_packed) {
        Some(path) => Err(StreamingError::Packed { path }.into()),
        None => Ok(()),
    }
}
