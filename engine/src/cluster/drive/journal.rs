//! The journal's files: one folder a job, one file an epoch, appended and synced in groups.
//!
//! In: records, numbered; epitaphs. Out: the number up to which everything is on the disk; at the start, every record that counts. Never: a
//! number before its bytes are synced; an `fsync` tried again after it failed: then nothing can be promised, and the process ends.
//!
//! ```text
//!   <folder>/epoch                      the last life's number
//!   <folder>/jobs/<job>/journal.<epoch> records (checkpoint/journal.rs)
//!   <folder>/jobs/<job>/events.jsonl    the event log: not synced, may lose its tail
//!   <folder>/ended/<job>                what stays of a job: its epitaph
//!   <folder>/ended/<job>.jsonl          and its event log
//! ```
//! One thread writes. It takes all that waits, writes it, and syncs each file once: a job's fast tasks share a sync.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crossbeam::channel::{Receiver, Sender, unbounded};

use crate::{
    checkpoint::journal::{JournalFile, JournalWriter, Position, recover},
    cluster::{
        coordinator::{Epitaph, JobEvent, JournalRecord},
        limits::SUMMARIES_MAX,
    },
    error::{Cause, Error, Kind, Result},
    shuffle::{Epoch, JobId},
};

/// What the journal's thread is asked.
pub enum Entry {
    /// Append a record.
    Append { number: u64, job: JobId, record: JournalRecord },
    /// Write a line of the event log.
    Log { job: JobId, event: JobEvent },
    /// Keep the epitaph, remove the journal.
    Retire { number: u64, epitaph: Box<Epitaph> },
}

/// What it answers.
pub enum Wrote {
    /// Every record up to this number is on the disk.
    Synced(u64),
    /// The disk failed.
    Failed(Error),
}

/// What an earlier life has left.
pub struct Left {
    /// This life's number.
    pub epoch: Epoch,
    /// The records of each job that had not ended for good.
    pub jobs: Vec<(JobId, Vec<JournalRecord>)>,
    /// What stayed of those that had.
    pub epitaphs: Vec<Epitaph>,
    positions: BTreeMap<JobId, Position>,
}

/// Reads what is there and counts this life, durably.
pub fn open(folder: &Path) -> Result<Left> {
    for part in ["jobs", "ended"] {
        fs::create_dir_all(folder.join(part)).map_err(failed("making", &folder.join(part)))?;
    }
    let epoch = next_epoch(folder)?;
    let mut left = Left { epoch, jobs: Vec::new(), epitaphs: Vec::new(), positions: BTreeMap::new() };
    for path in entries(&folder.join("ended"))? {
        if path.extension().is_none() {
            let bytes = fs::read(&path).map_err(failed("reading", &path))?;
            left.epitaphs.push(postcard::from_bytes(&bytes).map_err(|source| NoEpitaph { path, source })?);
        }
    }
    for path in entries(&folder.join("jobs"))? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Ok(job) = u64::from_str_radix(name, 16).map(JobId) else { continue };
        let (records, position) = read_job(&path, job)?;
        if records.is_empty() {
            // Its first record was never synced: nobody was told that it exists.
            fs::remove_dir_all(&path).map_err(failed("removing", &path))?;
            continue;
        }
        left.positions.insert(job, position);
        left.jobs.push((job, records));
    }
    Ok(left)
}

/// The records of one job; torn tails are cut.
fn read_job(folder: &Path, job: JobId) -> Result<(Vec<JournalRecord>, Position)> {
    let mut files: Vec<(Epoch, PathBuf, Vec<u8>)> = Vec::new();
    for path in entries(folder)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(Ok(epoch)) = name.strip_prefix("journal.").map(str::parse::<u32>) else { continue };
        let bytes = fs::read(&path).map_err(failed("reading", &path))?;
        files.push((Epoch(epoch), path, bytes));
    }
    files.sort_by_key(|(epoch, ..)| *epoch);
    let views: Vec<JournalFile<'_>> =
        files.iter().map(|(epoch, _, bytes)| JournalFile { epoch: *epoch, bytes }).collect();
    let recovered = recover(job, &views)?;
    for cut in &recovered.cuts {
        if let Some((_, path, _)) = files.iter().find(|(epoch, ..)| *epoch == cut.epoch) {
            let file = OpenOptions::new().write(true).open(path).map_err(failed("opening", path))?;
            file.set_len(cut.keep_bytes as u64).and_then(|()| file.sync_all()).map_err(failed("cutting", path))?;
        }
    }
    let records = recovered.entries.iter().map(|entry| JournalRecord::from_payload(entry.kind, &entry.payload));
    Ok((records.collect::<std::result::Result<_, _>>()?, recovered.next))
}

fn next_epoch(folder: &Path) -> Result<Epoch> {
    let path = folder.join("epoch");
    let last = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u32>().map_err(|_| NoEpoch { path: path.clone(), text })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(source) => return Err(failed("reading", &path)(source)),
    };
    write_whole(&path, format!("{}\n", last + 1).as_bytes())?;
    Ok(Epoch(last + 1))
}

/// Writes a file so that it is there whole, or as it was.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let aside = path.with_extension("new");
    let write = || {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        sync_folder(path)
    };
    write().map_err(failed("writing", path))
}

/// A new name in a folder is durable once the folder is.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(folder).map_err(failed("listing", folder))?;
    let mut paths = Vec::new();
    for entry in listed {
        paths.push(entry.map_err(failed("listing", folder))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Starts the thread that writes. It ends when the sender is dropped.
pub fn start(folder: PathBuf, left: &Left, tell: impl Fn(Wrote) + Send + 'static) -> Result<Sender<Entry>> {
    let (sender, receiver) = unbounded();
    let mut writer = Writer { folder, epoch: left.epoch, jobs: BTreeMap::new(), positions: left.positions.clone() };
    let work = move || {
        while let Ok(first) = receiver.recv() {
            match writer.write_group(first, &receiver) {
                Ok(Some(number)) => tell(Wrote::Synced(number)),
                Ok(None) => {}
                Err(error) => {
                    tell(Wrote::Failed(error));
                    return;
                }
            }
        }
    };
    let spawned = std::thread::Builder::new().name("windrow-journal".to_owned()).spawn(work);
    spawned.map_err(failed("starting the thread of", Path::new("the journal")))?;
    Ok(sender)
}

struct Writer {
    folder: PathBuf,
    epoch: Epoch,
    jobs: BTreeMap<JobId, JobFiles>,
    positions: BTreeMap<JobId, Position>,
}

struct JobFiles {
    writer: JournalWriter,
    journal: File,
    path: PathBuf,
    events: File,
    is_dirty: bool,
}

impl Writer {
    /// Writes what waits and syncs it; the highest number of a record among it.
    fn write_group(&mut self, first: Entry, receiver: &Receiver<Entry>) -> Result<Option<u64>> {
        let mut highest = None;
        let mut next = Some(first);
        while let Some(write) = next {
            match write {
                Entry::Append { number, job, record } => {
                    self.append(job, &record)?;
                    highest = Some(number);
                }
                Entry::Log { job, event } => self.log(job, &event),
                Entry::Retire { number, epitaph } => {
                    self.sync()?;
                    self.retire(&epitaph)?;
                    highest = Some(number);
                }
            }
            next = receiver.try_recv().ok();
        }
        self.sync()?;
        Ok(highest)
    }

    fn append(&mut self, job: JobId, record: &JournalRecord) -> Result<()> {
        let (kind, payload) = record.to_payload()?;
        let files = self.files(job)?;
        let mut bytes = Vec::new();
        files.writer.append(kind, &payload, &mut bytes)?;
        files.journal.write_all(&bytes).map_err(failed("appending to", &files.path))?;
        files.is_dirty = true;
        Ok(())
    }

    fn log(&mut self, job: JobId, event: &JobEvent) {
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let Ok(files) = self.files(job) else { return };
        let line = Line { unix_ms, job: job.to_string(), event };
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            // The log is for people: what it loses is in the journal.
            let _ = files.events.write_all(&text);
        }
    }

    fn files(&mut self, job: JobId) -> Result<&mut JobFiles> {
        let name = job.to_string();
        if !self.jobs.contains_key(&job) {
            let folder = self.folder.join("jobs").join(&name);
            fs::create_dir_all(&folder).map_err(failed("making", &folder))?;
            let path = folder.join(format!("journal.{}", self.epoch));
            let journal = OpenOptions::new().create(true).append(true).open(&path).map_err(failed("opening", &path))?;
            let synced = sync_folder(&path).and_then(|()| sync_folder(&folder));
            synced.map_err(failed("syncing the folder of", &path))?;
            let events = folder.join("events.jsonl");
            let events =
                OpenOptions::new().create(true).append(true).open(&events).map_err(failed("opening", &events))?;
            let position = self.positions.get(&job).copied().unwrap_or_default();
            let writer = JournalWriter::new(job, self.epoch, position);
            self.jobs.insert(job, JobFiles { writer, journal, path, events, is_dirty: false });
        }
        self.jobs.get_mut(&job).ok_or_else(|| crate::error::bug("cluster", "a journal that was just opened"))
    }

    fn sync(&mut self) -> Result<()> {
        for files in self.jobs.values_mut().filter(|files| files.is_dirty) {
            files.journal.sync_data().map_err(failed("syncing", &files.path))?;
            files.is_dirty = false;
        }
        Ok(())
    }

    fn retire(&mut self, epitaph: &Epitaph) -> Result<()> {
        let name = epitaph.job.to_string();
        let ended = self.folder.join("ended");
        let bytes = postcard::to_allocvec(epitaph).map_err(|source| NoEpitaph { path: ended.join(&name), source })?;
        write_whole(&ended.join(&name), &bytes)?;
        self.jobs.remove(&epitaph.job);
        self.positions.remove(&epitaph.job);
        let folder = self.folder.join("jobs").join(&name);
        // The log outlives the journal; a job of an earlier life may have none.
        let _ = fs::rename(folder.join("events.jsonl"), ended.join(format!("{name}.jsonl")));
        match fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(failed("removing", &folder)(source)),
            _ => self.forget_oldest(&ended),
        }
    }

    /// Keeps as many epitaphs as lists show.
    fn forget_oldest(&self, ended: &Path) -> Result<()> {
        let mut kept = entries(ended)?;
        kept.retain(|path| path.extension().is_none());
        if kept.len() > SUMMARIES_MAX {
            let written = |path: &PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(UNIX_EPOCH);
            kept.sort_by_key(written);
            for path in &kept[..kept.len() - SUMMARIES_MAX] {
                let _ = fs::remove_file(path.with_extension("jsonl"));
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }
}

/// A line of the event log.
#[derive(serde::Serialize)]
struct Line<'a> {
    unix_ms: u64,
    job: String,
    #[serde(flatten)]
    event: &'a JobEvent,
}

fn failed<'a>(tried: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> Error + 'a {
    move |source| JournalFailed { tried, path: path.to_owned(), source }.into()
}

#[derive(Debug, thiserror::Error)]
#[error("{tried} {}", path.display())]
struct JournalFailed {
    tried: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

impl Cause for JournalFailed {
    fn kind(&self) -> Kind {
        Kind::Io
    }
    fn hint(&self) -> Option<String> {
        Some("the coordinator needs a folder that it can write and sync".to_owned())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("reading {}: {text:?} is no epoch", path.display())]
struct NoEpoch {
    path: PathBuf,
    text: String,
}

impl Cause for NoEpoch {
    fn kind(&self) -> Kind {
        Kind::Corrupt
    }
}

#[derive(Debug, thiserror::Error)]
#[error("reading or writing what stays of a job, {}", path.display())]
struct NoEpitaph {
    path: PathBuf,
    source: postcard::Error,
}

impl Cause for NoEpitaph {
    fn kind(&self) -> Kind {
        Kind::Corrupt
    }
}
