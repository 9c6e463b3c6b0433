//! A client's program on its way to the coordinator.
//!
//! In: a program's file. Out: its bytes as they are shipped, in pieces, and their name. Never: its symbols, which are most of its bytes and of
//! no use where it runs; the whole of it in memory.
//!
//! A program runs by its segments; what follows them in the file (symbols, debug sections, the section headers that tell where those are)
//! is left out, and the header says that there are no sections. A file whose layout is another is shipped as it is.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use memchr::memmem;
use sha2::{Digest, Sha256};

use super::elf::{Elf, HEADER_BYTES};
use crate::{
    cluster::{
        limits::{BINARY_BYTES_MAX, PART_BYTES},
        protocol::BinaryId,
    },
    error::{Cause, Kind, Result},
};

/// What stands in the binary of each program that can hand itself in, so that others are told from it.
pub const LAUNCHED: &str = "this program begins with windrow::launch";

/// So much of a binary is searched at once.
const SEARCHED_BYTES: usize = 1 << 20;

/// Whether a file may be a program that hands itself in: what is no binary may start one.
pub fn may_launch(path: &Path) -> Result<bool> {
    let failed = |source| ShipError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if Elf::read(&file).map_err(failed)?.is_none() {
        return Ok(true);
    }
    let (finder, mut piece, mut at) = (memmem::Finder::new(LAUNCHED), vec![0; SEARCHED_BYTES], 0);
    loop {
        let read = file.read_at(&mut piece, at).map_err(failed)?;
        if finder.find(&piece[..read]).is_some() {
            return Ok(true);
        }
        if read < LAUNCHED.len() {
            return Ok(false);
        }
        // It may stand over the end of what was read.
        at += (read - (LAUNCHED.len() - 1)) as u64;
    }
}

/// A program's file, less what it does not need to run.
pub struct Shipped {
    path: PathBuf,
    file: File,
    /// What stands in place of its header.
    head: [u8; HEADER_BYTES],
    /// Bytes of the file as it is.
    pub whole_bytes: u64,
    /// Its name.
    pub id: BinaryId,
}

impl Shipped {
    /// Opens a program's file and finds out its name.
    pub fn open(path: &Path) -> Result<Shipped> {
        let failed = |source| ShipError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let whole_bytes = file.metadata().map_err(failed)?.len();
        let elf = Elf::read(&file).map_err(failed)?.ok_or_else(|| ShipError::NoProgram { path: path.to_owned() })?;
        let mut head = [0; HEADER_BYTES];
        file.read_exact_at(&mut head, 0).map_err(failed)?;
        let mut bytes = whole_bytes;
        if let Some(end) = elf.end().filter(|end| *end < whole_bytes) {
            bytes = end;
            // Where the section headers are, how many there are, which of them has their names.
            head[40..48].fill(0);
            head[60..64].fill(0);
        }
        if bytes > BINARY_BYTES_MAX {
            return Err(ShipError::Large { path: path.to_owned(), bytes }.into());
        }
        let mut shipped =
            Shipped { path: path.to_owned(), file, head, whole_bytes, id: BinaryId { sha256: [0; 32], bytes } };
        let (mut hasher, mut at) = (Sha256::new(), 0);
        while at < bytes {
            let piece = shipped.piece(at)?;
            hasher.update(&piece);
            at += piece.len() as u64;
        }
        shipped.id.sha256 = hasher.finalize().into();
        Ok(shipped)
    }

    /// The piece that begins at `at`.
    pub fn piece(&self, at: u64) -> Result<Vec<u8>> {
        let mut piece = vec![0; (self.id.bytes - at).min(PART_BYTES as u64) as usize];
        let read = self.file.read_exact_at(&mut piece, at);
        read.map_err(|source| ShipError::Unreadable { path: self.path.clone(), source })?;
        if let Some(head) = self.head.get(at as usize..) {
            let count = head.len().min(piece.len());
            piece[..count].copy_from_slice(&head[..count]);
        }
        Ok(piece)
    }
}

#[derive(Debug, thiserror::Error)]
enum ShipError {
    #[error("reading the program {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("reading the program {}: it is no executable file in the ELF format", path.display())]
    NoProgram { path: PathBuf },
    #[error("shipping the program {}: without its symbols it has {bytes} bytes, at most {BINARY_BYTES_MAX} are shipped", path.display())]
    Large { path: PathBuf, bytes: u64 },
}

impl Cause for ShipError {
    fn kind(&self) -> Kind {
        match self {
            ShipError::Unreadable { .. } | ShipError::NoProgram { .. } => Kind::Request,
            ShipError::Large { .. } => Kind::Limit,
        }
    }
    fn hint(&self) -> Option<String> {
        Some(match self {
            ShipError::Unreadable { .. } => "it must stay where it is until it is handed in".to_owned(),
            ShipError::NoProgram { .. } => "name the program itself, not a script that starts it".to_owned(),
            ShipError::Large { .. } => "let the program read its data from files".to_owned(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    #[test]
    fn what_is_shipped_runs_and_is_less() {
        let shipped = Shipped::open(Path::new("/proc/self/exe")).unwrap();
        assert!(shipped.id.bytes < shipped.whole_bytes, "{} of {}", shipped.id.bytes, shipped.whole_bytes);
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < shipped.id.bytes {
            bytes.extend(shipped.piece(bytes.len() as u64).unwrap());
        }
        assert_eq!(shipped.id.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, &bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        // What is shipped of what was shipped is the same.
        assert_eq!(Shipped::open(&path).unwrap().id, shipped.id);
        let ran = loop {
            match Command::new(&path).arg("--list").output() {
                // A process that another test has just started still has the file as we wrote it.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                ran => break ran.unwrap(),
            }
        };
        let listed = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.status.success() && listed.contains("what_is_shipped_runs_and_is_less"), "{:?}", ran.status);
    }

    #[test]
    fn what_may_launch_is_told_from_what_does_not() {
        let folder = tempfile::tempdir().unwrap();
        // This test has the words in it, a program of the system has not, and a script may start anything.
        assert!(may_launch(Path::new("/proc/self/exe")).unwrap());
        let other = ["/bin/true", "/usr/bin/true"].iter().map(Path::new).find(|path| path.exists()).unwrap();
        assert!(!may_launch(other).unwrap());
        let script = folder.path().join("script");
        fs::write(&script, "#!/bin/sh\nexec true\n").unwrap();
        assert!(may_launch(&script).unwrap());
        // Over the end of a piece, and at the end of the file.
        let head = fs::read(other).unwrap();
        for at in [SEARCHED_BYTES - 5, SEARCHED_BYTES - LAUNCHED.len(), SEARCHED_BYTES, 3 * SEARCHED_BYTES] {
            let mut bytes = head.clone();
            bytes.resize(at.max(head.len()), 0);
            bytes.extend_from_slice(LAUNCHED.as_bytes());
            let path = folder.path().join("binary");
            fs::write(&path, &bytes).unwrap();
            assert!(may_launch(&path).unwrap(), "{at}");
            bytes.pop();
            fs::write(&path, &bytes).unwrap();
            assert!(!may_launch(&path).unwrap(), "{at}");
        }
        assert_eq!(may_launch(Path::new("/no/such/program")).unwrap_err().kind(), Kind::Request);
    }

    #[test]
    fn what_is_no_program_is_told() {
        let error = Shipped::open(Path::new("/proc/self/status")).err().unwrap();
        assert!(error.kind() == Kind::Request && error.to_string().contains("no executable"), "{error}");
        assert_eq!(Shipped::open(Path::new("/no/such/program")).err().unwrap().kind(), Kind::Request);
    }
}
