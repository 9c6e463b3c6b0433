//! A file of an attempt: its frames by group, and their index behind them (`index.rs`).
//!
//! In: frames; or a path that another process of this node gives. Out: a file that is whole. Never: half a file under
//! the name of a whole one; a file that outlives who holds it.
//!
//! ```text
//!   written as NAME.spool.part ──► renamed to NAME.spool ──► held ──► unlinked
//!        └──(any failure)──► unlinked; the next folder is tried
//! ```

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{Frame, Spool, SpoolError};
use crate::{
    error::Result,
    shuffle::{
        index::{self, GroupIndex, SpoolIndex},
        numbers::{AttemptKey, Round},
    },
};

/// Small frames are gathered to writes of this; a larger one is written by itself.
const WRITE_BYTES: usize = 256 << 10;

/// A whole file; dropped, it is unlinked.
#[derive(Debug)]
pub(super) struct SpoolFile {
    /// Empty when it was given away.
    path: PathBuf,
    index: SpoolIndex,
}

impl SpoolFile {
    /// The file at `path`, whose index must be right; it is unlinked when it is not.
    pub(super) fn open(path: PathBuf) -> Result<SpoolFile> {
        let opened = read_index(&path);
        if opened.is_err() {
            let _ = fs::remove_file(&path);
        }
        Ok(SpoolFile { index: opened?, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the frames of each group stand.
    pub(super) fn groups(&self) -> &[GroupIndex] {
        &self.index.groups
    }

    /// Whose frames they are.
    pub(super) fn key(&self) -> AttemptKey {
        let SpoolIndex { job, stage, task, attempt, .. } = self.index;
        AttemptKey { job, stage, task, attempt }
    }

    /// Gives the file away.
    pub(super) fn into_path(mut self) -> PathBuf {
        std::mem::take(&mut self.path)
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // Nobody is left to be told; what stays is swept at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Spool {
    /// Writes the frames of an attempt to a file in the first folder that takes it.
    pub(super) fn write_file(&self, key: &AttemptKey, number: u32, groups: &[Vec<Frame>]) -> Result<SpoolFile> {
        let index = self.index(key, groups);
        let mut failure = None;
        for folder in &self.options.folders {
            let folder = folder.join(key.job.to_string());
            let path = folder.join(format!("{}.0.{}.{}.{number}.spool", key.stage, key.task, key.attempt));
            match fs::create_dir_all(&folder).and_then(|()| write_whole(&path, &index, groups)) {
                Ok(()) => return Ok(SpoolFile { path, index }),
                Err(source) => failure = Some(SpoolError::Write { path, source }),
            }
        }
        Err(failure.unwrap_or(SpoolError::NoFolder).into())
    }

    fn index(&self, key: &AttemptKey, groups: &[Vec<Frame>]) -> SpoolIndex {
        let mut offset = 0;
        let groups = groups.iter().map(|frames| {
            let mut group = GroupIndex { offset, frames: frames.len() as u64, ..GroupIndex::default() };
            for frame in frames {
                group.bytes += frame.bytes.len() as u64;
                group.rows += frame.rows;
                group.hash_sum = group.hash_sum.wrapping_add(frame.hash_sum);
            }
            offset += group.bytes;
            group
        });
        SpoolIndex {
            job: key.job,
            epoch: self.options.epoch,
            stage: key.stage,
            round: Round(0),
            task: key.task,
            attempt: key.attempt,
            groups: groups.collect(),
        }
    }
}

/// Writes a file that is there whole under its name, or not at all.
fn write_whole(path: &Path, index: &SpoolIndex, groups: &[Vec<Frame>]) -> io::Result<()> {
    let part = path.with_extension("spool.part");
    let written = write_part(&part, index, groups).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

fn write_part(part: &Path, index: &SpoolIndex, groups: &[Vec<Frame>]) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(WRITE_BYTES, File::create_new(part)?);
    for frame in groups.iter().flatten() {
        file.write_all(&frame.bytes)?;
    }
    let mut end = Vec::new();
    index.encode(&mut end);
    file.write_all(&end)?;
    file.flush()
}

/// Reads the index of a file: its end and nothing else.
fn read_index(path: &Path) -> Result<SpoolIndex> {
    let failed = |source| SpoolError::Read { path: path.to_owned(), offset: 0, source };
    let file = File::open(path).map_err(failed)?;
    let file_bytes = file.metadata().map_err(failed)?.len();
    let mut end = vec![0; file_bytes.min(index::END_BYTES_MAX as u64) as usize];
    let offset = file_bytes - end.len() as u64;
    file.read_exact_at(&mut end, offset).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => SpoolError::Cut { path: path.to_owned(), offset },
        _ => SpoolError::Read { path: path.to_owned(), offset, source },
    })?;
    let index = SpoolIndex::decode(&end, file_bytes);
    Ok(index.map_err(|source| SpoolError::Index { path: path.to_owned(), offset, source })?)
}
