//! Outputs that are interrupted: at every call that changes the file system, once.
//!
//! In: a small job, new, in the place of an output, beside one; a process that ends, a write of which half is there, a full disk. Out: what a
//! reader sees is what was there or what is to be there, whole; the next run comes to its end and leaves nothing else. Never: a fault that
//! did not happen.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::*;
use crate::{
    batch::{
        Batch,
        array::{ArrayRef, AsArray, Int64Array, StringArray},
        datatypes::Int64Type,
    },
    error::{Kind, Result},
    format::FileFormat,
    operator::testing::{Random, context, cut, drain, feed},
    shuffle::{AttemptId, AttemptKey, JobId, StageId, TaskId, digest::Digest},
    store::{
        Disk, Io,
        faults::{Fault, What},
    },
};

/// The numbers of a range, each with the name of its folder.
fn rows(numbers: std::ops::Range<i64>) -> Batch {
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(numbers.clone().map(|n| format!("f{}", n % 3))));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    Batch::try_from_iter([("n", numbers), ("f", names)]).unwrap()
}

fn target(path: &Path, if_exists: IfExists, is_partitioned: bool) -> Target {
    let partitioned_by = if is_partitioned { vec!["f".to_owned()] } else { Vec::new() };
    Target { if_exists, partitioned_by, ..Target::new(path, FileFormat::Csv) }
}

/// Writes `batch` as a run in this process does.
fn write(disk: &Disk, target: &Target, batch: &Batch) -> Result<Written> {
    let io = Io::start_on(disk.clone())?;
    let context = context(5);
    let writing = Writing::begin(target, None, (batch.schema_ref(), Order::Any), &io, &context)?;
    let mut random = Random(7);
    let morsels = cut(batch, 5, &mut random);
    feed(&Arc::clone(&writing).sink(), morsels, 2, &mut random)?;
    if !target.partitioned_by.is_empty() {
        let rest = drain(&writing.source()?, 2, &mut random)?;
        feed(&Arc::clone(&writing).rest_sink(), rest, 2, &mut random)?;
    }
    writing.commit()
}

/// What a reader of the folder sees: the numbers, and what `_SUCCESS` says. `None` where there is no folder.
fn seen(path: &Path) -> Option<(Vec<i64>, String)> {
    let success = match fs::read_to_string(path.join(success::NAME)) {
        Ok(success) => success,
        Err(_) if !path.exists() => return None,
        Err(error) => panic!("an output without _SUCCESS: {error}"),
    };
    let mut numbers = Vec::new();
    for file in glob::glob(&format!("{}/**/*.csv", path.display())).unwrap().map(|file| file.unwrap()) {
        let hidden = |part: std::path::Component<'_>| part.as_os_str().to_str().unwrap().starts_with('.');
        assert!(!file.strip_prefix(path).unwrap().components().any(hidden), "{}", file.display());
        for line in fs::read_to_string(&file).unwrap().lines().skip(1) {
            numbers.push(line.split(',').next().unwrap().parse().unwrap());
        }
    }
    numbers.sort_unstable();
    let says: serde_json::Value = serde_json::from_str(&success).unwrap();
    assert_eq!(says["rows"], numbers.len(), "{success}");
    Some((numbers, says["digest"].as_str().unwrap().to_owned()))
}

fn expected(batches: &[&Batch]) -> Option<(Vec<i64>, String)> {
    let mut digest = Digest::default();
    let mut numbers = Vec::new();
    for batch in batches {
        digest.merge(&Digest::of(batch).unwrap());
        numbers.extend(batch.column(0).as_primitive::<Int64Type>().values());
    }
    numbers.sort_unstable();
    (!batches.is_empty()).then(|| (numbers, digest.to_string()))
}

fn left_in(folder: &Path) -> Vec<PathBuf> {
    let mut left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    left.sort();
    left
}

/// Nothing is beside the output.
fn is_alone(target: &Target) -> bool {
    left_in(target.path.parent().unwrap()).iter().eq([&target.path])
}

/// What is written, and over what.
struct Case {
    if_exists: IfExists,
    is_partitioned: bool,
    is_there: bool,
    has_exchange: bool,
}

impl Case {
    /// A folder with what is there before; the target in it.
    fn begin(&self, before: &Batch) -> (tempfile::TempDir, Target) {
        let folder = tempfile::tempdir().unwrap();
        let target = target(&folder.path().join("out"), self.if_exists, self.is_partitioned);
        if self.is_there {
            write(&Disk::default(), &Target { if_exists: IfExists::Fail, ..target.clone() }, before).unwrap();
        }
        (folder, target)
    }
}

/// Every way to write, over nothing and over an output.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for is_partitioned in [false, true] {
        cases.push(Case { if_exists: IfExists::Fail, is_partitioned, is_there: false, has_exchange: true });
        for if_exists in [IfExists::Overwrite, IfExists::Append] {
            for (is_there, has_exchange) in [(false, true), (true, true), (true, false)] {
                cases.push(Case { if_exists, is_partitioned, is_there, has_exchange });
            }
        }
    }
    cases
}

#[test]
fn whoever_ends_where_leaves_the_old_or_the_new() {
    let (before, now) = (rows(0..20), rows(100..131));
    let mut interrupted = 0;
    for case in cases() {
        let old = if case.is_there { vec![&before] } else { Vec::new() };
        let new = match case.if_exists {
            IfExists::Append => [old.clone(), vec![&now]].concat(),
            _ => vec![&now],
        };
        let (old, new) = (expected(&old), expected(&new));
        let calls = {
            let (_folder, target) = case.begin(&before);
            let fault = Fault::on(What::Nothing, 0, case.has_exchange);
            write(&Disk::with_fault(&fault), &target, &now).unwrap();
            assert_eq!(seen(&target.path), new);
            assert!(is_alone(&target), "something was left behind");
            fault.calls()
        };
        assert!(calls > 15, "only {calls} calls");
        for what in [What::End, What::Torn, What::Full] {
            for at in 0..calls {
                let (folder, target) = case.begin(&before);
                let fault = Fault::on(what, at, case.has_exchange);
                let ended = write(&Disk::with_fault(&fault), &target, &now);
                assert!(fault.has_happened(), "call {at} of {calls} was not made");
                interrupted += 1;
                let told = format!("{what:?} at call {at} of {calls}: {ended:?}");
                if let Err(error) = &ended {
                    let kind = if what == What::Full { Kind::Limit } else { Kind::Io };
                    assert_eq!(error.kind(), kind, "{told}");
                }
                let mut found = seen(&target.path);
                // Between two renames: the one moment at which neither is there, and only where names cannot be exchanged at once.
                let is_between = found.is_none() && case.is_there && !case.has_exchange && what != What::Full;
                assert!(found == old || found == new || is_between, "{told}: {found:?}");
                assert!(ended.is_err() || found == new, "{told}");
                if what == What::Full {
                    assert!(found != new || left_in(folder.path()).len() <= 2, "{told}");
                }
                // The next run over it: whatever it finds there is as it was, or as it is to be.
                prepare(&Disk::default(), &Target { if_exists: IfExists::Overwrite, ..target.clone() }).ok();
                if is_between {
                    found = seen(&target.path);
                    assert_eq!(found, old, "{told}");
                }
                let again = match (case.if_exists, &found) {
                    // It did become visible before the end: adding once more would be twice.
                    (IfExists::Append, there) if *there == new && new != old => {
                        Target { if_exists: IfExists::Overwrite, ..target.clone() }
                    }
                    (IfExists::Fail, Some(_)) => Target { if_exists: IfExists::Overwrite, ..target.clone() },
                    _ => target.clone(),
                };
                write(&Disk::default(), &again, &now).unwrap_or_else(|error| panic!("{told}: {error:?}"));
                let whole = if again == target { new.clone() } else { expected(&[&now]) };
                assert_eq!(seen(&target.path), whole, "{told}");
                assert!(is_alone(&target), "{told}: {:?}", left_in(folder.path()));
            }
        }
    }
    assert!(interrupted > 1_000, "only {interrupted} runs were interrupted");
}

/// A cluster's job: an attempt writes, then each driver commits until one ends the commit.
#[test]
fn a_commit_that_comes_again_goes_on_or_knows_its_own() {
    let (before, now) = (rows(0..20), rows(100..131));
    for case in cases() {
        let old = if case.is_there { vec![&before] } else { Vec::new() };
        let new = match case.if_exists {
            IfExists::Append => [old.clone(), vec![&now]].concat(),
            _ => vec![&now],
        };
        let (old, new) = (expected(&old), expected(&new));
        let job = JobId(7);
        let attempt = |target: &Target, attempt: u32| -> Vec<u8> {
            let io = Io::start_on(Disk::default()).unwrap();
            let key = AttemptKey { job, stage: StageId(1), task: TaskId(0), attempt: AttemptId(attempt) };
            let writing = Writing::begin(target, Some(key), (now.schema_ref(), Order::Any), &io, &context(5)).unwrap();
            let mut random = Random(7);
            feed(&Arc::clone(&writing).sink(), cut(&now, 5, &mut random), 2, &mut random).unwrap();
            writing.manifest().unwrap()
        };
        let calls = {
            let (_folder, target) = case.begin(&before);
            let manifests = [attempt(&target, 0)];
            let fault = Fault::on(What::Nothing, 0, case.has_exchange);
            commit_manifests(&Disk::with_fault(&fault), &target, (job, 0), &manifests).unwrap();
            fault.calls()
        };
        for what in [What::End, What::Torn] {
            for at in 0..calls {
                let (folder, target) = case.begin(&before);
                // One that does not count leaves its files.
                let manifests = [attempt(&target, 1)];
                attempt(&target, 0);
                let fault = Fault::on(what, at, case.has_exchange);
                let ended = commit_manifests(&Disk::with_fault(&fault), &target, (job, 0), &manifests);
                assert!(fault.has_happened());
                let told = format!("{what:?} at call {at} of {calls}: {ended:?}");
                let found = seen(&target.path);
                let is_between = found.is_none() && case.is_there && !case.has_exchange;
                assert!(found == old || found == new || is_between, "{told}");
                let disk = Disk::with_fault(&Fault::on(What::Nothing, 0, case.has_exchange));
                for _ in 0..2 {
                    let written = commit_manifests(&disk, &target, (job, 0), &manifests).unwrap();
                    assert_eq!(written.rows, now.num_rows() as u64, "{told}");
                    assert_eq!(seen(&target.path), new, "{told}");
                }
                assert!(is_alone(&target), "{told}: {:?}", left_in(folder.path()));
            }
        }
        let (_folder, target) = case.begin(&before);
        let manifests = [attempt(&target, 0)];
        commit_manifests(&Disk::default(), &target, (job, 0), &manifests).unwrap();
        if case.if_exists == IfExists::Fail {
            let other = commit_manifests(&Disk::default(), &target, (JobId(8), 0), &manifests).unwrap_err();
            assert_eq!(other.kind(), Kind::Request);
        }
    }
}

#[test]
fn what_is_no_output_is_neither_replaced_nor_added_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("letter.txt"), "dear").unwrap();
    for if_exists in [IfExists::Fail, IfExists::Overwrite, IfExists::Append] {
        let error = write(&Disk::default(), &target(&path, if_exists, false), &rows(0..3)).unwrap_err();
        assert!(error.kind() == Kind::Request && error.hint().is_some(), "{error}");
    }
    assert_eq!(fs::read_to_string(path.join("letter.txt")).unwrap(), "dear");
    let out = folder.path().join("out");
    write(&Disk::default(), &target(&out, IfExists::Fail, false), &rows(0..3)).unwrap();
    for other in [
        target(&out, IfExists::Append, true),
        Target { format: FileFormat::Json, ..target(&out, IfExists::Append, false) },
    ] {
        let error = write(&Disk::default(), &other, &rows(0..3)).unwrap_err();
        assert!(error.to_string().contains("there are CSV files"), "{error}");
    }
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&out, &link).unwrap();
    assert!(write(&Disk::default(), &target(&link, IfExists::Overwrite, false), &rows(0..3)).unwrap_err().is_user());
    assert_eq!(left_in(folder.path()).len(), 3);
}

/// A run that is alive keeps its place while others look for what ended ones have left.
#[test]
fn a_run_that_is_alive_keeps_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder.path().join("out"), IfExists::Append, false);
    let io = Io::start().unwrap();
    let (first, later) = (rows(0..9), rows(50..60));
    let writing = Writing::begin(&target, None, (first.schema_ref(), Order::Any), &io, &context(5)).unwrap();
    let mut random = Random(1);
    feed(&Arc::clone(&writing).sink(), cut(&first, 5, &mut random), 1, &mut random).unwrap();
    write(&Disk::default(), &target, &later).unwrap();
    writing.commit().unwrap();
    drop(writing);
    assert_eq!(seen(&target.path), expected(&[&first, &later]));
    assert!(is_alone(&target), "{:?}", left_in(folder.path()));
}

/// What hinders a look at `_SUCCESS` is not taken for its absence, which would ask people to remove the output.
#[test]
fn an_output_that_cannot_be_looked_at_is_not_taken_for_none() {
    let folder = tempfile::tempdir().unwrap();
    for (number, if_exists) in [IfExists::Append, IfExists::Overwrite].into_iter().enumerate() {
        let target = target(&folder.path().join(number.to_string()), if_exists, false);
        fs::create_dir_all(target.path.join(success::NAME)).unwrap();
        let error = write(&Disk::default(), &target, &rows(0..9)).unwrap_err();
        assert!(format!("{error:?}").contains("_SUCCESS: Is a directory"), "{error:?}");
    }
}

/// Of many that add to an output at once, none loses what another has added.
#[test]
fn those_who_add_at_once_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder.path().join("out"), IfExists::Append, false);
    let all: Vec<Batch> = (0..12i64).map(|n| rows(n * 100..n * 100 + 7)).collect();
    write(&Disk::default(), &target, &all[0]).unwrap();
    std::thread::scope(|scope| {
        for batch in &all[1..] {
            let target = &target;
            scope.spawn(move || write(&Disk::default(), target, batch).unwrap());
        }
    });
    assert_eq!(seen(&target.path), expected(&all.iter().collect::<Vec<_>>()));
    assert!(is_alone(&target), "{:?}", left_in(folder.path()));
}

#[test]
fn rows_of_folders_beyond_those_that_are_open_come_folder_by_folder() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder.path().join("out"), IfExists::Fail, true);
    let count = 200;
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..1_000).map(|n| format!("v{:03}", n % count))));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000));
    let batch = Batch::try_from_iter([("n", numbers), ("f", names)]).unwrap();
    let written = write(&Disk::default(), &target, &batch).unwrap();
    // Of a folder that the threads meet among the first a part each, and of the others one, or two where threads share a morsel's end.
    assert!((count..=2 * count).contains(&written.files), "{written:?}");
    assert_eq!(seen(&target.path), expected(&[&batch]));
    let mut values: BTreeMap<String, usize> = BTreeMap::new();
    for file in glob::glob(&format!("{}/*/*.csv", target.path.display())).unwrap().map(|file| file.unwrap()) {
        let name = file.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        *values.entry(name).or_default() += fs::read_to_string(&file).unwrap().lines().count() - 1;
    }
    assert!(values.len() == count && values.values().all(|rows| *rows == 5), "{values:?}");
}
