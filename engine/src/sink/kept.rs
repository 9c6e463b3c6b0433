//! An output that a run finds where it would write one itself: a checkpoint.
//!
//! In: where rows are to be kept, and their columns. Out: whether they are there already, whole. Never: an output of other columns taken for this
//! one; a folder removed that holds anything but files of such an output.
//!
//! ```text
//!   nothing there                      ──► to be written
//!   _SUCCESS, these columns, all files ──► there
//!   _SUCCESS, other columns or format  ──► an error
//!   _SUCCESS, a file gone or cut       ──► to be written again, in its place
//!   files of parts, no _SUCCESS        ──► removed; to be written again
//!   anything else                      ──► to be written, which the commit then refuses
//! ```

use std::{fs, path::Path};

use super::{
    Target,
    beside::{exists, inside},
    success::Success,
};
use crate::{error::Result, store::Disk};

/// The rows of the output that is there, if it is whole. One that is torn is removed, or is replaced by a target that overwrites.
pub fn kept(disk: &Disk, target: &Target) -> Result<Option<u64>> {
    if !exists(&target.path) {
        return Ok(None);
    }
    let Some(success) = Success::read(&target.path)? else {
        if is_rest(target)? {
            disk.remove_all(&target.path)?;
        }
        return Ok(None);
    };
    success.check_kept(target)?;
    let (mut files, mut bytes) = (0, 0);
    for path in inside(&target.path)?.into_iter().filter(|path| is_part(path, target)) {
        files += 1;
        bytes += fs::metadata(&path).map_or(0, |about| about.len());
    }
    Ok(success.is_of(files, bytes).then(|| success.rows()))
}

/// All that is there are parts: of an output that was copied or removed halfway.
fn is_rest(target: &Target) -> Result<bool> {
    Ok(target.path.is_dir()
        && !target.path.is_symlink()
        && inside(&target.path)?.iter().all(|path| is_part(path, target)))
}

fn is_part(path: &Path, target: &Target) -> bool {
    let is_named = |name: &str| name.starts_with("part-") && name.ends_with(target.format.ending());
    path.is_file() && path.file_name().and_then(|name| name.to_str()).is_some_and(is_named)
}
