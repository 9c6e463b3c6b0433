//! Bytes that lie in memory or in a file: the one call that maps a file.
//!
//! In: a file of our own. Out: its bytes, seen where they lie. Never: maps a file that somebody else may change; those are read.

#![allow(unsafe_code)]

use std::{fs::File, io};

use bytes::Bytes;
use memmap2::{Advice, MmapOptions};

/// The bytes of `file`, all of them, read by the kernel as they are touched. They stay valid when the file is unlinked.
///
/// The file must be one that this process has written whole and that nobody writes or truncates afterwards: spools and runs.
pub fn map_file(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the file is not changed while it is mapped, as the caller promises: spools and runs are written once, by one process, in a
    // folder that it has made for itself, and only ever unlinked.
    let mapped = unsafe { MmapOptions::new().map(file)? };
    // A hint; without it the bytes come all the same.
    let _ = mapped.advise(Advice::Sequential);
    Ok(Bytes::from_owner(mapped))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_outlives_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        std::fs::write(&path, [7; 5000]).unwrap();
        let bytes = map_file(&File::open(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&bytes[..], [7; 5000]);
        std::fs::write(&path, []).unwrap();
        assert!(map_file(&File::open(&path).unwrap()).unwrap().is_empty());
    }
}
