//! The spool: what is put is given, whatever lies in memory and in files; damage, full folders and quotas are told;
//! nothing is left behind.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use proptest::prelude::*;

use super::*;
use crate::{
    batch::{
        Batch,
        array::{ArrayRef, Int64Array, StringArray},
        buffer::Buffer,
        datatypes::SchemaRef,
    },
    error::Error,
    kernel::testing::{Random, cases, random_batch},
    shuffle::{
        AttemptId, Digest, FrameLimits, Ledger, StageId, TaskId, decode_frame,
        frame::frame_bytes,
        index::{END_BYTES_MAX, SpoolIndex},
    },
};

/// A spool in these folders.
fn spool_with(folders: &[&Path], change: impl FnOnce(&mut SpoolOptions)) -> Arc<Spool> {
    let mut options = SpoolOptions {
        folders: folders.iter().map(|folder| folder.to_path_buf()).collect(),
        codec: Codec::None,
        memory_bytes: 0,
        job_bytes: u64::MAX,
        epoch: Epoch(3),
    };
    change(&mut options);
    Spool::open(options, &Io::start().unwrap()).unwrap()
}

/// Everything goes to files.
fn spool_in(folders: &[&Path]) -> Arc<Spool> {
    spool_with(folders, |_| {})
}

fn key(job: u64, task: u32) -> AttemptKey {
    AttemptKey { job: JobId(job), stage: StageId(1), task: TaskId(task), attempt: AttemptId(0) }
}

fn numbers(first: i64, rows: i64) -> Batch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + rows));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("row {row}"))));
    Batch::try_from_iter([("number", numbers), ("text", texts)]).unwrap()
}

/// An attempt of these batches, with the number of the group as hash sum.
fn write(spool: &Arc<Spool>, key: AttemptKey, groups: &[Vec<Batch>]) -> Result<Vec<GroupTotal>> {
    let writer = spool.begin(key, groups.len());
    for turn in 0..groups.iter().map(Vec::len).max().unwrap_or(0) {
        for (group, batches) in groups.iter().enumerate() {
            if let Some(batch) = batches.get(turn) {
                writer.put(GroupId(group as u16), batch, group as u64)?;
            }
        }
    }
    writer.finish()
}

/// Rows of some groups as a digest, counted by the ledger.
fn read(
    spool: &Arc<Spool>,
    key: AttemptKey,
    schema: &SchemaRef,
    groups: &[usize],
    totals: &[GroupTotal],
) -> Result<Digest> {
    let (mut ledger, mut digest) = (Ledger::default(), Digest::default());
    let wanted: Vec<GroupId> = groups.iter().map(|group| GroupId(*group as u16)).collect();
    wanted.iter().for_each(|group| ledger.expect(key, *group, totals[usize::from(group.0)]));
    for frames in spool.frames(&key, &wanted).expect("it is held") {
        let mut frames = frames?;
        while !frames.is_empty() {
            let frame = frames.split_to(frame_bytes(&frames, &FrameLimits::default())?);
            ledger.take(&frame)?;
            let (_, batch) = decode_frame(Buffer::from(frame), schema, &FrameLimits::default())?;
            digest.merge(&Digest::of(&batch).unwrap());
        }
    }
    ledger.close(key)?;
    Ok(digest)
}

fn digest_of(batches: &[Batch]) -> Digest {
    let mut digest = Digest::default();
    batches.iter().for_each(|batch| digest.merge(&Digest::of(batch).unwrap()));
    digest
}

/// The files below a folder, by their paths.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn cut_to_groups(random: &mut Random, batch: &Batch) -> Vec<Vec<Batch>> {
    let mut groups = vec![Vec::new(); 1 << random.below(4)];
    for _ in 0..random.below(20) {
        let first = random.below(batch.num_rows() + 1);
        let rows = random.below(batch.num_rows() - first + 1);
        let group = random.below(groups.len());
        groups[group].push(batch.slice(first, rows));
    }
    groups
}

proptest! {
    #![proptest_config(cases(128))]

    /// In memory, in files, in both; by any codec; any of the groups.
    #[test]
    fn what_was_put_is_given(seed: u64, memory_bytes in prop::sample::select(vec![0, 1 << 10, 8 << 10, 1 << 20])) {
        let random = &mut Random::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let codec = [Codec::None, Codec::Lz4, Codec::Zstd][random.below(3)];
        let spool = spool_with(&[folder.path()], |options| {
            (options.memory_bytes, options.codec) = (memory_bytes, codec);
        });
        let batch = random_batch(random);
        let groups = cut_to_groups(random, &batch);
        let totals = write(&spool, key(1, 0), &groups).unwrap();
        let wanted: Vec<usize> = (0..groups.len()).filter(|_| random.chance(70)).collect();
        let expected: Vec<Batch> = wanted.iter().flat_map(|group| groups[*group].clone()).collect();
        // Any number of times.
        for _ in 0..2 {
            let digest = read(&spool, key(1, 0), &batch.schema(), &wanted, &totals).unwrap();
            prop_assert_eq!(digest, digest_of(&expected));
        }
        prop_assert!(files(folder.path()).iter().all(|path| path.extension().unwrap() == "spool"));
        spool.drop_job(JobId(1));
        prop_assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
        prop_assert_eq!(spool.memory_bytes(), 0);
    }

    /// One bit, or the end: told with the file and the place, and the attempt is held no longer.
    #[test]
    fn a_flipped_bit_and_a_cut_are_told(seed: u64, bit in 0u8..8) {
        let random = &mut Random::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let codec = [Codec::None, Codec::Lz4, Codec::Zstd][random.below(3)];
        let spool = spool_with(&[folder.path()], |options| options.codec = codec);
        let groups = vec![vec![numbers(0, 100), numbers(7, 20)], vec![numbers(1, 50)]];
        for is_cut in [false, true] {
            let totals = write(&spool, key(1, 0), &groups).unwrap();
            let all = files(folder.path());
            let path = &all[random.below(all.len())];
            let file = File::options().read(true).write(true).open(path).unwrap();
            let file_bytes = file.metadata().unwrap().len();
            let end = file_bytes - index_bytes(path);
            let at = random.next() % end;
            if is_cut {
                file.set_len(at).unwrap();
            } else {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ (1u8 << bit)], at).unwrap();
            }
            let schema = groups[0][0].schema();
            let error = read(&spool, key(1, 0), &schema, &[0, 1], &totals).unwrap_err();
            assert!(matches!(error.kind(), Kind::Corrupt | Kind::Unsupported), "{error:?}");
            let said = error.to_string();
            assert!(said.contains(path.to_str().unwrap()) && said.contains(" at byte "), "{said}");
            assert!(spool.frames(&key(1, 0), &[GroupId(0)]).is_none(), "it is held no longer");
            assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
        }
    }
}

/// How long the index and the tail of a file are.
fn index_bytes(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    let end = &bytes[bytes.len().saturating_sub(END_BYTES_MAX)..];
    bytes.len() as u64 - SpoolIndex::decode(end, bytes.len() as u64).unwrap().frame_bytes()
}

#[test]
fn long_groups_and_long_frames_are_read_by_windows() {
    let folder = tempfile::tempdir().unwrap();
    // All in one file, group by group.
    let spool = spool_with(&[folder.path()], |options| options.memory_bytes = 16 << 20);
    let long = "a value of some length ".repeat(200_000);
    let great: ArrayRef = Arc::new(StringArray::from(vec![long.as_str(); 2]));
    let great = Batch::try_from_iter([("number", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef), ("text", great)]);
    let groups = vec![
        (0..40).map(|piece| numbers(piece, 10_000)).collect(),
        vec![numbers(3, 10), great.unwrap(), numbers(5, 10)],
        (0..10).map(|piece| numbers(piece, 30_000)).collect::<Vec<_>>(),
        vec![numbers(0, 1)],
    ];
    let totals = write(&spool, key(1, 0), &groups).unwrap();
    assert!(files(folder.path()).iter().any(|path| path.metadata().unwrap().len() > 8 << 20));
    let schema = groups[0][0].schema();
    for wanted in [&[0_usize, 1, 2, 3][..], &[1], &[3, 0], &[]] {
        let expected: Vec<Batch> = wanted.iter().flat_map(|group| groups[*group].clone()).collect();
        assert_eq!(read(&spool, key(1, 0), &schema, wanted, &totals).unwrap(), digest_of(&expected));
    }
    // Who has begun to read goes on when the attempt is dropped.
    let mut frames = spool.frames(&key(1, 0), &[GroupId(0)]).unwrap();
    let first = frames.next().unwrap().unwrap();
    spool.drop_attempt(&key(1, 0));
    assert!(spool.frames(&key(1, 0), &[GroupId(0)]).is_none());
    let rest: usize = frames.map(|frames| frames.unwrap().len()).sum();
    assert_eq!((first.len() + rest) as u64, totals[0].bytes);
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn an_attempt_is_not_held_before_it_ends_and_leaves_nothing_when_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool_with(&[folder.path()], |options| options.memory_bytes = 4 << 10);
    let writer = spool.begin(key(1, 0), 2);
    for turn in 0..10 {
        writer.put(GroupId(turn % 2), &numbers(0, 100), 0).unwrap();
    }
    assert!(spool.frames(&key(1, 0), &[GroupId(0)]).is_none());
    drop(writer);
    // What was on its way when the writer went is written, and then removed.
    let whole = write(&spool, key(1, 1), &[vec![numbers(0, 1000)], vec![]]).unwrap();
    assert_eq!(whole[0].rows, 1000);
    let is_its_own = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("1.0.1.0.");
    wait_until(|| files(folder.path()).iter().all(is_its_own));
    spool.drop_attempt(&key(1, 1));
    wait_until(|| spool.memory_bytes() == 0 && files(folder.path()).is_empty());
    // Its bytes do not count any more.
    let spool = spool_with(&[folder.path()], |options| options.job_bytes = 20 << 10);
    for _ in 0..10 {
        let writer = spool.begin(key(1, 0), 1);
        writer.put(GroupId(0), &numbers(0, 500), 0).unwrap();
    }
}

/// Asks until it is so; the I/O threads need a moment.
fn wait_until(is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
        std::thread::yield_now();
    }
}

#[test]
fn what_an_earlier_life_left_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    for place in [&first, &second] {
        fs::create_dir_all(place.join("000000000000000a")).unwrap();
        fs::write(place.join("000000000000000a/1.0.0.0.0.spool"), "frames").unwrap();
        fs::write(place.join("000000000000000a/1.0.0.0.1.spool.part"), "fra").unwrap();
    }
    let spool = spool_in(&[&first, &second]);
    assert!(first.is_dir() && second.is_dir() && files(folder.path()).is_empty());
    assert!(spool.frames(&key(10, 0), &[GroupId(0)]).is_none());
    // A folder that cannot be made is told.
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let options = SpoolOptions { folders: vec![file.join("below")], ..spool.options.clone() };
    let error = Spool::open(options, &Io::start().unwrap()).err().unwrap();
    assert!(error.to_string().contains("file/below"), "{error}");
}

#[test]
fn the_next_folder_takes_what_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let [bad, good] = ["bad", "good"].map(|name| folder.path().join(name));
    let batches = [vec![numbers(0, 100)]];
    let schema = batches[0][0].schema();
    // No folder can be made there any more.
    let spool = spool_in(&[&bad, &good]);
    fs::remove_dir(&bad).unwrap();
    fs::write(&bad, "in the way").unwrap();
    let totals = write(&spool, key(1, 0), &batches).unwrap();
    assert_eq!(read(&spool, key(1, 0), &schema, &[0], &totals).unwrap(), digest_of(&batches[0]));
    assert!(files(&good)[0].starts_with(good.join(JobId(1).to_string())));
    drop(spool);
    fs::remove_file(&bad).unwrap();

    // The file is written and cannot take its name: the part goes, the next folder is used.
    let spool = spool_in(&[&bad, &good]);
    let taken = bad.join(JobId(1).to_string()).join("1.0.0.0.0.spool");
    fs::create_dir_all(taken.join("full")).unwrap();
    write(&spool, key(1, 0), &batches).unwrap();
    assert_eq!((files(&bad).len(), files(&good).len()), (0, 1));
    spool.drop_job(JobId(1));

    // None takes it: the last one is named, nothing is left, the spool goes on.
    for place in [&bad, &good] {
        fs::remove_dir_all(place.join(JobId(1).to_string())).ok();
        fs::write(place.join(JobId(1).to_string()), "in the way").unwrap();
    }
    let error = write(&spool, key(1, 0), &batches).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains("good/0000000000000001/1.0.0.0.0.spool"), "{error}");
    assert!(spool.frames(&key(1, 0), &[GroupId(0)]).is_none());
    assert_eq!(spool.memory_bytes(), 0);
    write(&spool, key(2, 0), &batches).unwrap();
    let error = write(&spool_in(&[]), key(1, 0), &batches).unwrap_err();
    assert_eq!(error.kind(), Kind::Limit);
}

#[test]
fn a_full_disk_is_a_limit_with_a_hint() {
    for (source, kind) in [
        (std::io::ErrorKind::StorageFull, Kind::Limit),
        (std::io::ErrorKind::QuotaExceeded, Kind::Limit),
        (std::io::ErrorKind::FileTooLarge, Kind::Limit),
        (std::io::ErrorKind::PermissionDenied, Kind::Io),
    ] {
        let error: Error = SpoolError::Write { path: "/full/1".into(), source: source.into() }.into();
        assert_eq!((error.kind(), error.hint().is_some()), (kind, kind == Kind::Limit));
        assert!(error.to_string().contains("/full/1"));
    }
}

#[test]
fn a_job_has_a_quota_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let batch = numbers(0, 1000);
    let bytes = {
        let spool = spool_in(&[folder.path()]);
        write(&spool, key(1, 0), &[vec![batch.clone()]]).unwrap()[0].bytes
    };
    for memory_bytes in [0, 1 << 30] {
        let quota = |options: &mut SpoolOptions| {
            (options.job_bytes, options.memory_bytes) = (3 * bytes, memory_bytes);
        };
        let spool = spool_with(&[folder.path()], quota);
        let write = |job, task, count| write(&spool, key(job, task), &[vec![batch.clone(); count]]);
        write(1, 0, 2).unwrap();
        write(1, 1, 1).unwrap();
        // Memory and files count alike; the other job has its own.
        write(2, 0, 3).unwrap();
        let error = write(1, 2, 1).unwrap_err();
        assert_eq!(error.kind(), Kind::Limit);
        assert!(error.to_string().contains("job 0000000000000001") && error.hint().is_some(), "{error}");
        // What failed does not count, what was dropped neither.
        spool.drop_attempt(&key(1, 1));
        write(1, 3, 1).unwrap();
        spool.drop_job(JobId(1));
        write(1, 4, 3).unwrap();
        spool.drop_job(JobId(1));
        spool.drop_job(JobId(2));
        wait_until(|| files(folder.path()).is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no folder of a job is left");
    }
}

#[test]
fn an_attempt_is_given_away_and_taken_by_another_spool() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
    // Some of its frames in files, some in memory.
    let (child, worker) = (spool_with(&[&from], |options| options.memory_bytes = 8 << 10), spool_in(&[&to]));
    let groups = vec![vec![numbers(0, 200), numbers(9, 100)], vec![numbers(5, 10)]];
    let schema = groups[0][0].schema();
    let expected = digest_of(&groups.concat());
    let give = || {
        let totals = write(&child, key(1, 0), &groups).unwrap();
        let paths = child.release(&key(1, 0)).unwrap();
        assert!(child.frames(&key(1, 0), &[GroupId(0)]).is_none() && child.memory_bytes() == 0);
        (totals, paths)
    };
    let (totals, paths) = give();
    assert_eq!(files(&from).len(), paths.len());
    worker.adopt(key(1, 0), paths, &totals).unwrap();
    assert_eq!(read(&worker, key(1, 0), &schema, &[0, 1], &totals).unwrap(), expected);
    worker.drop_job(JobId(1));
    assert_eq!(files(&from), Vec::<PathBuf>::new(), "they were the worker's");

    // Refused, and nothing of it is left.
    let refused = |key: AttemptKey, change: fn(&mut Vec<GroupTotal>)| {
        let (mut totals, paths) = give();
        change(&mut totals);
        let error = worker.adopt(key, paths, &totals).unwrap_err();
        assert_eq!(files(&from), Vec::<PathBuf>::new());
        assert!(worker.frames(&key, &[GroupId(0)]).is_none());
        error
    };
    assert_eq!(refused(key(1, 1), |_| {}).kind(), Kind::Corrupt);
    assert_eq!(refused(key(1, 0), |totals| totals[0].rows += 1).kind(), Kind::Corrupt);
    assert_eq!(refused(key(1, 0), |totals| totals[1].hash_sum += 1).kind(), Kind::Corrupt);
    assert_eq!(refused(key(1, 0), |totals| totals.truncate(1)).kind(), Kind::Corrupt);
    let (totals, paths) = give();
    let file = File::options().write(true).open(&paths[0]).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let error = worker.adopt(key(1, 0), paths.clone(), &totals).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains(paths[0].to_str().unwrap()) && error.to_string().contains(" at byte "));
    assert_eq!(files(&from), Vec::<PathBuf>::new());
    let (totals, paths) = give();
    let narrow = spool_with(&[&to], |options| options.job_bytes = 1 << 10);
    assert_eq!(narrow.adopt(key(1, 0), paths, &totals).unwrap_err().kind(), Kind::Limit);
    assert_eq!(files(&from), Vec::<PathBuf>::new());
}
