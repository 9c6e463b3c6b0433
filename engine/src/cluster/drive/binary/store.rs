//! A folder of binaries by their names: the coordinator's, and each worker's.
//!
//! In: pieces in their order. Out: a file that has the bytes which its name says, executable. Never: a file under its name before it was checked;
//! one that is given out to be run without being checked again.
//!
//! ```text
//!   <folder>/<sha256>.*.part  what has come so far: goes at the start, and when its bytes turn out to be others
//!   <folder>/<sha256>         whole; its time of change is that of its last use
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};

use crate::{
    cluster::{
        drive::random,
        limits::{BINARY_BYTES_MAX, BINARY_UPLOADS_MAX, PART_BYTES},
        protocol::BinaryId,
    },
    error::{Cause, Kind, Result},
};

/// A folder of binaries.
pub struct BinaryStore {
    folder: PathBuf,
    /// Of all that are whole.
    bytes_max: u64,
    /// What is whole stays so when the machine fails.
    is_durable: bool,
    coming: BTreeMap<BinaryId, Coming>,
}

/// A binary that is not whole yet.
struct Coming {
    file: File,
    path: PathBuf,
    hasher: Sha256,
    bytes: u64,
    heard_at: Instant,
}

impl BinaryStore {
    /// The binaries in `folder`, of at most so many bytes together; synced, if they are `is_durable`. What the machine's end leaves of others is seen
    /// when they are checked.
    pub fn open(folder: PathBuf, bytes_max: u64, is_durable: bool) -> Result<BinaryStore> {
        fs::create_dir_all(&folder).map_err(failed("making", &folder))?;
        for (path, ..) in files(&folder)? {
            if path.extension().is_some_and(|ending| ending == "part") {
                fs::remove_file(&path).map_err(failed("removing", &path))?;
            }
        }
        Ok(BinaryStore { folder, bytes_max, is_durable, coming: BTreeMap::new() })
    }

    /// The file of a binary that is here whole; it is read and checked, and counts as used now.
    pub fn whole(&self, id: &BinaryId) -> Result<Option<PathBuf>> {
        let path = self.path(id);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed("opening", &path))?,
        };
        if !agrees(&file, id).map_err(failed("reading", &path))? {
            tracing::warn!(binary = %id, "a binary that is kept here has other bytes now: it is taken again");
            fs::remove_file(&path).map_err(failed("removing", &path))?;
            return Ok(None);
        }
        // What is swept first hangs on it, and nothing else.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(path))
    }

    /// How much of a binary is here.
    pub fn held(&self, id: &BinaryId) -> Result<u64> {
        Ok(match self.coming.get(id) {
            Some(coming) => coming.bytes,
            None => self.whole(id)?.map_or(0, |_| id.bytes),
        })
    }

    /// Takes a piece, if it is the next one; how much is here then. With the last piece the whole is checked.
    pub fn append(&mut self, id: &BinaryId, at: u64, piece: &[u8]) -> Result<u64> {
        if id.bytes > BINARY_BYTES_MAX {
            return Err(StoreError::Large { binary: *id, bytes: id.bytes }.into());
        }
        if !self.coming.contains_key(id) {
            if self.whole(id)?.is_some() {
                return Ok(id.bytes);
            }
            if at > 0 {
                return Ok(0);
            }
            self.begin(id)?;
        }
        let Some(coming) = self.coming.get_mut(id) else { return Ok(0) };
        coming.heard_at = Instant::now();
        if at != coming.bytes || piece.len() as u64 > id.bytes - at {
            return Ok(coming.bytes);
        }
        coming.file.write_all_at(piece, at).map_err(failed("writing", &coming.path))?;
        coming.hasher.update(piece);
        coming.bytes += piece.len() as u64;
        if coming.bytes < id.bytes {
            return Ok(coming.bytes);
        }
        let coming = self.coming.remove(id);
        coming.map_or(Ok(0), |coming| self.finish(id, coming))
    }

    /// A piece of a binary that is here whole, for who asks for it. It is checked by who takes it.
    pub fn piece(&self, id: &BinaryId, at: u64) -> Result<Vec<u8>> {
        let path = self.path(id);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(StoreError::Gone { binary: *id }.into()),
            opened => opened.map_err(failed("opening", &path))?,
        };
        let mut piece = vec![0; id.bytes.saturating_sub(at).min(PART_BYTES as u64) as usize];
        file.read_exact_at(&mut piece, at).map_err(failed("reading", &path))?;
        Ok(piece)
    }

    fn begin(&mut self, id: &BinaryId) -> Result<()> {
        if self.coming.len() >= BINARY_UPLOADS_MAX
            && let Some(oldest) = self.coming.iter().min_by_key(|(_, coming)| coming.heard_at).map(|(id, _)| *id)
        {
            // Who sends it begins again, if anybody does.
            let gone = self.coming.remove(&oldest);
            gone.iter().for_each(|gone| drop(fs::remove_file(&gone.path)));
        }
        // A name of its own: an earlier life of the process may still write to another.
        let path = self.folder.join(format!("{id}.{:016x}.part", random()));
        // Somebody may have tidied up.
        fs::create_dir_all(&self.folder).map_err(failed("making", &self.folder))?;
        let mut options = OpenOptions::new();
        // Executable from the start: it is never another file's name.
        let opened = options.create_new(true).write(true).mode(0o700).open(&path);
        let file = opened.map_err(failed("making", &path))?;
        let coming = Coming { file, path, hasher: Sha256::new(), bytes: 0, heard_at: Instant::now() };
        self.coming.insert(*id, coming);
        Ok(())
    }

    fn finish(&self, id: &BinaryId, coming: Coming) -> Result<u64> {
        let Coming { file, path, hasher, bytes, .. } = coming;
        if <[u8; 32]>::from(hasher.finalize()) != id.sha256 {
            let _ = fs::remove_file(&path);
            return Err(StoreError::OtherBytes { binary: *id }.into());
        }
        self.sweep(bytes)?;
        if self.is_durable {
            file.sync_all().map_err(failed("syncing", &path))?;
        }
        drop(file);
        let whole = self.path(id);
        fs::rename(&path, &whole).map_err(failed("naming", &whole))?;
        if self.is_durable {
            let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
            folder.map_err(failed("syncing", &self.folder))?;
        }
        tracing::info!(binary = %id, bytes, "a program's binary has come");
        Ok(bytes)
    }

    /// Makes room for so many bytes: those go that were used longest ago. A process that runs one keeps it.
    fn sweep(&self, bytes: u64) -> Result<()> {
        let mut kept = files(&self.folder)?;
        kept.retain(|(path, ..)| path.extension().is_none());
        kept.sort_by_key(|(_, used, _)| *used);
        let mut all = kept.iter().map(|(.., bytes)| bytes).sum::<u64>() + bytes;
        for (path, _, bytes) in kept {
            if all <= self.bytes_max {
                break;
            }
            fs::remove_file(&path).map_err(failed("removing", &path))?;
            all -= bytes;
        }
        Ok(())
    }

    fn path(&self, id: &BinaryId) -> PathBuf {
        self.folder.join(id.to_string())
    }
}

fn agrees(mut file: &File, id: &BinaryId) -> io::Result<bool> {
    if file.metadata()?.len() != id.bytes {
        return Ok(false);
    }
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(<[u8; 32]>::from(hasher.finalize()) == id.sha256),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// The files of a folder, when they were used last, and their bytes.
fn files(folder: &Path) -> Result<Vec<(PathBuf, SystemTime, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("listing", folder))? {
        let entry = entry.map_err(failed("listing", folder))?;
        let Ok(about) = entry.metadata() else { continue };
        found.push((entry.path(), about.modified().unwrap_or(UNIX_EPOCH), about.len()));
    }
    Ok(found)
}

fn failed<'a>(tried: &'static str, path: &'a Path) -> impl Fn(io::Error) -> StoreError + 'a {
    move |source| StoreError::Disk { tried, path: path.to_owned(), source }
}

#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error("{tried} {}, where binaries of programs are kept", path.display())]
    Disk { tried: &'static str, path: PathBuf, source: io::Error },
    #[error("taking the binary {binary} of a program: its {bytes} bytes are more than {BINARY_BYTES_MAX}")]
    Large { binary: BinaryId, bytes: u64 },
    #[error("taking the binary {binary} of a program: the bytes that came have another SHA-256")]
    OtherBytes { binary: BinaryId },
    #[error("giving the binary {binary} of a program: it is not kept here any more")]
    Gone { binary: BinaryId },
}

impl Cause for StoreError {
    fn kind(&self) -> Kind {
        match self {
            StoreError::Disk { .. } => Kind::Io,
            StoreError::Large { .. } => Kind::Limit,
            StoreError::OtherBytes { .. } => Kind::Corrupt,
            StoreError::Gone { .. } => Kind::Request,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            StoreError::Disk { .. } => None,
            StoreError::Large { .. } => Some("let the program read its data from files".to_owned()),
            StoreError::OtherBytes { .. } | StoreError::Gone { .. } => Some("hand the program in again".to_owned()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    use super::*;

    fn bytes(seed: u8, count: usize) -> Vec<u8> {
        (0..count).map(|place| seed.wrapping_add((place * 7) as u8)).collect()
    }

    fn id(bytes: &[u8]) -> BinaryId {
        BinaryId { sha256: Sha256::digest(bytes).into(), bytes: bytes.len() as u64 }
    }

    fn put(store: &mut BinaryStore, bytes: &[u8]) -> BinaryId {
        let id = id(bytes);
        assert_eq!(store.append(&id, 0, bytes).unwrap(), id.bytes);
        id
    }

    #[test]
    fn pieces_make_a_whole_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = BinaryStore::open(folder.path().join("binaries"), 1 << 20, true).unwrap();
        let binary = bytes(1, 1000);
        let other = bytes(2, 50);
        let (id, other_id) = (id(&binary), id(&other));
        assert_eq!((store.held(&id).unwrap(), store.whole(&id).unwrap()), (0, None));
        // One that is not the next one, one that is too long, one that comes twice.
        for (at, piece, held) in [
            (300, &binary[300..], 0),
            (0, &binary[..300], 300),
            (0, &binary[..300], 300),
            (301, &binary[301..], 300),
            (300, &binary[..], 300),
            (300, &binary[300..999], 999),
            (999, &binary[999..], 1000),
            (999, &binary[999..], 1000),
        ] {
            assert_eq!(store.append(&id, at, piece).unwrap(), held, "{at}");
            assert_eq!(store.held(&id).unwrap(), held);
        }
        let path = store.whole(&id).unwrap().unwrap();
        assert_eq!(fs::read(&path).unwrap(), binary);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o700, 0o700);
        assert_eq!(store.piece(&id, 990).unwrap(), binary[990..]);
        // It is there for the next life as well; what was on its way is not.
        store.append(&other_id, 0, &other[..10]).unwrap();
        let store = BinaryStore::open(folder.path().join("binaries"), 1 << 20, true).unwrap();
        assert_eq!((store.held(&id).unwrap(), store.held(&other_id).unwrap()), (1000, 0));
        assert_eq!(files(&folder.path().join("binaries")).unwrap().len(), 1);
    }

    #[test]
    fn other_bytes_than_the_name_says_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = BinaryStore::open(folder.path().to_owned(), 1 << 20, true).unwrap();
        let binary = bytes(1, 1000);
        let mut flipped = binary.clone();
        flipped[500] ^= 1;
        let error = store.append(&id(&binary), 0, &flipped).unwrap_err();
        assert!(error.kind() == Kind::Corrupt && error.to_string().contains("another SHA-256"), "{error}");
        assert!(files(folder.path()).unwrap().is_empty());
        // A bit that flips on the disk is seen, and the whole is taken again.
        let id = put(&mut store, &binary);
        fs::write(folder.path().join(id.to_string()), &flipped).unwrap();
        assert_eq!(store.whole(&id).unwrap(), None);
        put(&mut store, &binary);
        assert!(store.whole(&id).unwrap().is_some());
        let large = BinaryId { bytes: BINARY_BYTES_MAX + 1, ..id };
        assert_eq!(store.append(&large, 0, &binary).unwrap_err().kind(), Kind::Limit);
        let gone = BinaryId { sha256: [0; 32], ..id };
        assert!(store.piece(&gone, 0).unwrap_err().hint().unwrap().contains("again"));
    }

    #[test]
    fn those_that_were_used_longest_ago_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = BinaryStore::open(folder.path().to_owned(), 3000, false).unwrap();
        let ids: Vec<BinaryId> = (0..3).map(|seed| put(&mut store, &bytes(seed, 1000))).collect();
        for (age, id) in [30, 20, 10].iter().zip(&ids) {
            let file = File::open(folder.path().join(id.to_string())).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(*age)).unwrap();
        }
        // The first is used again; so the second is the oldest.
        assert!(store.whole(&ids[0]).unwrap().is_some());
        put(&mut store, &bytes(9, 1000));
        let held: Vec<bool> = ids.iter().map(|id| store.whole(id).unwrap().is_some()).collect();
        assert_eq!(held, [true, false, true]);
    }

    #[test]
    fn the_one_that_heard_nothing_for_longest_makes_room_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = BinaryStore::open(folder.path().to_owned(), 1 << 20, true).unwrap();
        let all: Vec<Vec<u8>> = (0..=BINARY_UPLOADS_MAX as u8).map(|seed| bytes(seed, 100)).collect();
        for binary in &all {
            assert_eq!(store.append(&id(binary), 0, &binary[..50]).unwrap(), 50);
        }
        let held: Vec<u64> = all.iter().map(|binary| store.held(&id(binary)).unwrap()).collect();
        assert_eq!(held[0], 0);
        assert!(held[1..].iter().all(|held| *held == 50));
        assert_eq!(files(folder.path()).unwrap().len(), BINARY_UPLOADS_MAX);
    }
}
