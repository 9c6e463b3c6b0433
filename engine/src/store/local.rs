//! Local files: what they are, and positioned reads.
//!
//! In: paths and byte ranges. Out: bytes. Never: maps a file of others; it may shrink under us.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use glob::MatchOptions;

use super::Buffers;
use crate::{
    error::{Cause, Kind, Result},
    limits,
};

/// A file as it was when its table was opened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalFile {
    /// Where.
    pub path: PathBuf,
    /// How long.
    pub bytes: u64,
    modified: Option<SystemTime>,
}

/// A file held open for positioned reads.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    path: PathBuf,
}

impl LocalFile {
    /// Looks at the file.
    pub fn stat(path: &Path) -> Result<LocalFile> {
        let metadata = fs::metadata(path).map_err(|source| StoreError::Look { path: path.to_owned(), source })?;
        Ok(LocalFile { path: path.to_owned(), bytes: metadata.len(), modified: metadata.modified().ok() })
    }

    /// When it was last written to, in whole seconds since 1970: finer than that, file systems that show the same file differ.
    pub fn modified_seconds(&self) -> Option<i64> {
        let seconds = |time: SystemTime| match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).ok(),
            Err(before) => {
                let before = before.duration();
                let seconds = before.as_secs() + u64::from(before.subsec_nanos() > 0);
                i64::try_from(seconds).ok().map(|seconds| -seconds)
            }
        };
        self.modified.and_then(seconds)
    }

    /// Opens it, if it is still the file that was looked at.
    pub fn open(&self) -> Result<OpenFile> {
        let open = |source| StoreError::Open { path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(open)?;
        let metadata = file.metadata().map_err(open)?;
        if metadata.len() != self.bytes || metadata.modified().ok() != self.modified {
            let (before_bytes, after_bytes) = (self.bytes, metadata.len());
            return Err(StoreError::Changed { path: self.path.clone(), before_bytes, after_bytes }.into());
        }
        Ok(OpenFile { file, path: self.path.clone() })
    }
}

impl OpenFile {
    /// The bytes of `range`, all of them.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
        self.fill(&mut bytes, &range)?;
        Ok(Bytes::from(bytes))
    }

    /// The bytes of `range`, all of them, in one of the `buffers`.
    pub fn read_into(&self, buffers: &Arc<Buffers>, range: &Range<u64>) -> Result<Bytes> {
        let mut lent = buffers.take(range);
        self.fill(lent.as_mut(), range)?;
        Ok(lent.into_bytes())
    }

    fn fill(&self, bytes: &mut [u8], range: &Range<u64>) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let end = bytes.len().min(done + limits::READ_BYTES_MAX);
            match self.file.read_at(&mut bytes[done..end], range.start + done as u64) {
                Ok(0) => {
                    let (offset, missing_bytes) = (range.start + done as u64, (bytes.len() - done) as u64);
                    return Err(StoreError::Short { path: self.path.clone(), offset, missing_bytes }.into());
                }
                Ok(read) => done += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    let offset = range.start + done as u64;
                    return Err(StoreError::Read { path: self.path.clone(), offset, source }.into());
                }
            }
        }
        Ok(())
    }
}

/// The files that `path` names: the file itself, the files in a folder, or those that match a pattern; in order of name, hidden
/// ones (`.x`, `_x`) and those in folders that a pattern finds hidden (`.x`) left out.
pub fn expand(path: &str) -> Result<Vec<PathBuf>> {
    let as_path = Path::new(path);
    let found = match fs::metadata(as_path) {
        Ok(metadata) if metadata.is_dir() => {
            let look = |source| StoreError::Look { path: as_path.to_owned(), source };
            let entries = fs::read_dir(as_path).map_err(look)?;
            let paths = entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>().map_err(look)?;
            paths.into_iter().filter(|path| path.is_file() && !is_hidden(path)).collect()
        }
        Ok(_) => vec![as_path.to_owned()],
        Err(source) if path.contains(['*', '?', '[']) && source.kind() == ErrorKind::NotFound => {
            let bad = |source| StoreError::Pattern { pattern: path.to_owned(), source };
            // A folder beside an output, in which it is put together, is no part of it.
            let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
            let matches = glob::glob_with(path, options).map_err(bad)?.filter_map(std::result::Result::ok);
            matches.filter(|path| path.is_file() && !is_hidden(path)).collect()
        }
        Err(source) => return Err(StoreError::Look { path: as_path.to_owned(), source }.into()),
    };
    let mut files: Vec<PathBuf> = found;
    if files.is_empty() {
        return Err(StoreError::NoFiles { path: path.to_owned() }.into());
    }
    if files.len() > limits::FILES_PER_TABLE_MAX {
        let (files, limit) = (files.len(), limits::FILES_PER_TABLE_MAX);
        return Err(StoreError::TooManyFiles { path: path.to_owned(), files, limit }.into());
    }
    files.sort();
    Ok(files)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_none_or(|name| name.starts_with(['.', '_']))
}

/// Removes a folder of ours and what is in it; what is already gone is fine.
pub fn remove_all(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StoreError::Remove { path: path.to_owned(), source }.into()),
    }
}

/// What can go wrong with a file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say it")]
pub enum StoreError {
    #[error("looking at {}", path.display())]
    Look { path: PathBuf, source: io::Error },
    #[error("opening {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("reading {} at byte {offset}", path.display())]
    Read { path: PathBuf, offset: u64, source: io::Error },
    #[error("reading {} at byte {offset}: the file ends {missing_bytes} bytes too early", path.display())]
    Short { path: PathBuf, offset: u64, missing_bytes: u64 },
    #[error("reading {}: it changed while the job ran ({before_bytes} bytes, then {after_bytes})", path.display())]
    Changed { path: PathBuf, before_bytes: u64, after_bytes: u64 },
    #[error("reading {path}: there are no files")]
    NoFiles { path: String },
    #[error("reading {path}: {files} files are more than the {limit} that a table may have")]
    TooManyFiles { path: String, files: usize, limit: usize },
    #[error("reading the pattern {pattern}")]
    Pattern { pattern: String, source: glob::PatternError },
    #[error("creating {}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("writing {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("renaming {} to {}", from.display(), to.display())]
    Publish { from: PathBuf, to: PathBuf, source: io::Error },
    #[error("removing {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
}

impl Cause for StoreError {
    fn kind(&self) -> Kind {
        match self {
            StoreError::Short { .. } => Kind::Corrupt,
            StoreError::NoFiles { .. } | StoreError::TooManyFiles { .. } | StoreError::Pattern { .. } => Kind::Request,
            StoreError::Changed { .. } => Kind::Io,
            StoreError::Look { source, .. }
            | StoreError::Open { source, .. }
            | StoreError::Read { source, .. }
            | StoreError::Create { source, .. }
            | StoreError::Write { source, .. }
            | StoreError::Publish { source, .. }
            | StoreError::Remove { source, .. } => match source.kind() {
                ErrorKind::NotFound
                | ErrorKind::PermissionDenied
                | ErrorKind::AlreadyExists
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::ReadOnlyFilesystem => Kind::Request,
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Kind::Limit,
                _ => Kind::Io,
            },
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            StoreError::Changed { .. } => Some("run the job again once the file is at rest".to_owned()),
            StoreError::Create { source, .. } if source.kind() == ErrorKind::AlreadyExists => {
                Some("choose another output, or remove this one".to_owned())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_passes_over_hidden_folders() {
        let folder = tempfile::tempdir().unwrap();
        for place in ["out.csv/k=1", ".out.csv.windrow-p0123456789abcdef"] {
            fs::create_dir_all(folder.path().join(place)).unwrap();
            fs::write(folder.path().join(place).join("part-0.csv"), "a\n1\n").unwrap();
        }
        for pattern in ["*/*/*.csv", "**/*.csv"] {
            let found = expand(&format!("{}/{pattern}", folder.path().display())).unwrap();
            assert_eq!(found, [folder.path().join("out.csv/k=1/part-0.csv")], "{pattern}");
        }
        // Who names a hidden folder wants it.
        let named = format!("{}/.out.csv.windrow-p0123456789abcdef/*.csv", folder.path().display());
        assert_eq!(expand(&named).unwrap().len(), 1);
    }
}
