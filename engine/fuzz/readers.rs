//! Each reader of bytes that cross a border, as the fuzz targets call it, and the tests that replay the corpus.
//!
//! In: bytes of anybody. Out: what they mean, or the engine's typed error. Never: a panic but for a batch that should
//! not be: what is read is validated once more, and must be the same when it is written and read again.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target uses its reader")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use windrow::{
    Result,
    batch::{
        Batch,
        array::{
            Array, ArrayRef, BooleanArray, DictionaryArray, Int64Array, ListArray, StringArray, StringViewArray,
            UInt64Array,
        },
        buffer::Buffer,
        datatypes::{Int32Type, SchemaRef},
    },
    shuffle::{
        AttemptId, AttemptKey, Codec, Digest, Epoch, FrameHeader, FrameLimits, GroupId, GroupTotal, JobId, Run, Runs,
        RunsOptions, Sequence, Spool, SpoolOptions, StageId, TaskId, decode_frame, encode_frame_with,
        frame::frame_bytes,
        index::{END_BYTES_MAX, SpoolIndex},
    },
    store::Io,
};

/// Every codec.
pub const CODECS: [Codec; 3] = [Codec::None, Codec::Lz4, Codec::Zstd];

/// Some rows of each layout that is common, with nulls; `seed` chooses the values.
pub fn batch(rows: u64, seed: u64) -> Batch {
    let number = |row: u64| (row + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let is_null = |row: u64| number(row) >> 61 == 0;
    let text = |row: u64| format!("text {} {}", row % 7, "x".repeat((number(row) >> 59) as usize));
    let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values((0..rows).map(number)));
    let small: ArrayRef =
        Arc::new((0..rows).map(|row| (!is_null(row)).then_some(row as i64 % 9)).collect::<Int64Array>());
    let bits: ArrayRef = Arc::new((0..rows).map(|row| Some(row % 3 == 0)).collect::<BooleanArray>());
    let texts: ArrayRef = Arc::new((0..rows).map(|row| (!is_null(row)).then(|| text(row))).collect::<StringArray>());
    let views: ArrayRef = Arc::new((0..rows).map(|row| Some(text(row))).collect::<StringViewArray>());
    let words = ["one", "two", "three"];
    let dictionary: DictionaryArray<Int32Type> = (0..rows).map(|row| Some(words[row as usize % 3])).collect();
    let lists = (0..rows).map(|row| (!is_null(row)).then(|| vec![Some(row as i32); (row % 4) as usize]));
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
    Batch::try_from_iter_with_nullable([
        ("numbers", numbers, false),
        ("small", small, true),
        ("bits", bits, true),
        ("texts", texts, true),
        ("views", views, true),
        ("dictionary", Arc::new(dictionary), true),
        ("lists", lists, true),
    ])
    .unwrap()
}

/// The schema of all seeds.
pub fn schema() -> SchemaRef {
    batch(0, 0).schema()
}

/// The attempt of all seeds.
pub fn key() -> AttemptKey {
    AttemptKey { job: JobId(7), stage: StageId(2), task: TaskId(3), attempt: AttemptId(1) }
}

/// A frame of [`batch`].
pub fn frame_of(batch: &Batch, codec: Codec) -> Vec<u8> {
    let AttemptKey { job, stage, task, attempt } = key();
    let (group, sequence) = (GroupId(1), Sequence(4));
    let header = FrameHeader { job, stage, task, attempt, group, sequence, hash_sum: 5, ..FrameHeader::default() };
    let mut bytes = Vec::new();
    encode_frame_with(&header, batch, codec, &mut bytes).unwrap();
    bytes
}

/// The batch of a frame.
pub fn frame(bytes: &[u8]) -> Result<Batch> {
    let (_, batch) = decode_frame(Buffer::from(bytes.to_vec()), &schema(), &FrameLimits::default())?;
    for column in batch.columns() {
        column.to_data().validate_full().unwrap();
    }
    let again = frame_of(&batch, Codec::Lz4);
    assert_eq!(decode_frame(Buffer::from_vec(again), &schema(), &FrameLimits::default()).unwrap().1, batch);
    Ok(batch)
}

/// The index at the end of a spool's file.
pub fn spool_index(bytes: &[u8]) -> Result<SpoolIndex> {
    let end = &bytes[bytes.len().saturating_sub(END_BYTES_MAX)..];
    let index = SpoolIndex::decode(end, bytes.len() as u64)?;
    let frames = index.frame_bytes() as usize;
    let mut again = bytes[..frames].to_vec();
    index.encode(&mut again);
    assert_eq!(again, bytes, "an index has one form only");
    Ok(index)
}

/// A spool that takes files of anybody.
pub struct SpoolReader {
    spool: Arc<Spool>,
    path: PathBuf,
}

impl SpoolReader {
    /// In `folder`, which is emptied.
    pub fn new(folder: &Path) -> SpoolReader {
        let options = SpoolOptions {
            folders: vec![folder.join("spool")],
            codec: Codec::None,
            memory_bytes: 0,
            job_bytes: u64::MAX,
            epoch: Epoch(1),
        };
        let spool = Spool::open(options, &Io::start().unwrap()).unwrap();
        SpoolReader { spool, path: folder.join("given.spool") }
    }

    /// A file of two groups, some frames each, and what is reported of it.
    pub fn seed(&self, codec: Codec, rows: u64) -> (Vec<u8>, Vec<GroupTotal>) {
        let options = SpoolOptions {
            folders: vec![self.path.with_file_name("made")],
            codec,
            memory_bytes: u64::MAX,
            job_bytes: u64::MAX,
            epoch: Epoch(1),
        };
        let spool = Spool::open(options, &Io::start().unwrap()).unwrap();
        let writer = spool.begin(key(), 2);
        for (group, seed) in [(0, 1), (1, 2), (1, 3)] {
            writer.put(GroupId(group), &batch(rows, seed), seed).unwrap();
        }
        let totals = writer.finish().unwrap();
        let path = spool.release(&key()).unwrap().remove(0);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        (bytes, totals)
    }

    /// The rows of a file, of which this was reported; by default, what its own index says.
    pub fn read(&self, bytes: &[u8], reported: Option<&[GroupTotal]>) -> Result<Digest> {
        let (key, totals) = match reported {
            Some(reported) => (key(), reported.to_vec()),
            None => {
                let SpoolIndex { job, stage, task, attempt, groups, .. } = spool_index(bytes)?;
                let totals = groups.iter().map(|group| group.total()).collect();
                (AttemptKey { job, stage, task, attempt }, totals)
            }
        };
        fs::write(&self.path, bytes).unwrap();
        self.spool.adopt(key, vec![self.path.clone()], &totals)?;
        let read = self.rows(key, totals.len());
        self.spool.drop_job(key.job);
        assert!(!self.path.exists(), "the file was the spool's");
        read
    }

    fn rows(&self, key: AttemptKey, group_count: usize) -> Result<Digest> {
        let groups: Vec<GroupId> = (0..group_count).map(|group| GroupId(group as u16)).collect();
        let mut digest = Digest::default();
        for frames in self.spool.frames(&key, &groups).expect("it is held") {
            let mut frames = frames?;
            while !frames.is_empty() {
                let frame = frames.split_to(frame_bytes(&frames, &FrameLimits::default())?);
                let (_, batch) = decode_frame(Buffer::from(frame), &schema(), &FrameLimits::default())?;
                digest.merge(&Digest::of(&batch)?);
            }
        }
        Ok(digest)
    }

    /// Where a file stands while it is read.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A run whose file somebody else writes.
pub struct RunReader {
    run: Arc<Run>,
    path: PathBuf,
    _runs: Arc<Runs>,
}

impl RunReader {
    /// A run of two parts in `folder`.
    pub fn new(folder: &Path, rows: u64) -> RunReader {
        let runs = Runs::new(RunsOptions { folders: vec![folder.join("runs")], bytes_max: u64::MAX });
        let mut writer = runs.begin("fuzzer", &schema());
        for (part, seed) in [(0, 1), (1, 2), (0, 3)] {
            writer.append(part, &batch(rows, seed)).unwrap();
        }
        let run = Arc::new(writer.finish().unwrap());
        let path = run_file(&folder.join("runs")).expect("a run has a file");
        RunReader { run, path, _runs: runs }
    }

    /// The bytes of its file.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    /// Its rows when its file has these bytes.
    pub fn read(&self, bytes: &[u8]) -> Result<Digest> {
        fs::write(&self.path, bytes).unwrap();
        let mut digest = Digest::default();
        for part in 0..self.run.part_count() {
            let mut reader = self.run.read(part);
            while let Some(batch) = reader.next()? {
                digest.merge(&Digest::of(&batch)?);
            }
        }
        Ok(digest)
    }

    /// Where the file stands.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The first file below a folder that is a run's.
fn run_file(folder: &Path) -> Option<PathBuf> {
    let paths: Vec<PathBuf> = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).collect();
    let of_run = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "run");
    paths.iter().find(|path| of_run(path)).cloned().or_else(|| paths.iter().find_map(|path| run_file(path)))
}

/// A folder of this process for a target, under the system's temporary one.
pub fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("windrow-fuzz-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The seeds of the corpus: of which target, under which name, which bytes.
pub fn seeds(folder: &Path) -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let (spools, runs) = (SpoolReader::new(folder), RunReader::new(folder, 5));
    for codec in CODECS {
        let name = format!("{codec:?}").to_lowercase();
        for rows in [0, 3, 40] {
            seeds.push(("frame", format!("seed-{name}-{rows}"), frame_of(&batch(rows, 1), codec)));
        }
        seeds.push(("spool_file", format!("seed-{name}"), spools.seed(codec, 20).0));
    }
    let (file, _) = spools.seed(Codec::None, 0);
    let index = SpoolIndex::decode(&file, file.len() as u64).unwrap();
    let none = SpoolIndex { groups: vec![Default::default(); 4], ..index };
    let mut bytes = Vec::new();
    none.encode(&mut bytes);
    seeds.push(("spool_index", "seed-empty".to_owned(), bytes));
    seeds.push(("spool_index", "seed-frames".to_owned(), file));
    seeds.push(("run", "seed-run".to_owned(), runs.bytes()));
    seeds
}
