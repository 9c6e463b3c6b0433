//! Runs: what is written is read, by part and in order; damage and full disks are told, and nothing stays behind.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::{
    batch::{
        Batch,
        array::{ArrayRef, Int64Array, RecordBatchOptions, StringViewArray},
        concat,
        datatypes::Schema,
    },
    error::{Error, Kind, Result},
    kernel::testing::{Random, cases, random_array, random_batch},
    shuffle::Digest,
};

fn runs_in(folders: &[&Path]) -> Arc<Runs> {
    let folders = folders.iter().map(|folder| folder.to_path_buf()).collect();
    Runs::new(RunsOptions { folders, bytes_max: u64::MAX })
}

/// Batches of one random schema, each with the part that it is for.
fn random_batches(random: &mut Random) -> (SchemaRef, Vec<(usize, Batch)>) {
    let schema = random_batch(random).schema();
    let parts = 1 + random.below(5);
    let batch = |random: &mut Random| {
        let rows = if random.chance(10) { 0 } else { random.below(150) };
        let column = |field: &crate::batch::datatypes::Field, random: &mut Random| {
            random_array(random, field.data_type(), field.is_nullable(), rows)
        };
        let columns: Vec<ArrayRef> = schema.fields().iter().map(|field| column(field, random)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Batch::try_new_with_options(Arc::clone(&schema), columns, &options).unwrap()
    };
    let batches = (0..random.below(12)).map(|_| (random.below(parts), batch(random))).collect();
    (schema, batches)
}

fn write(runs: &Arc<Runs>, schema: &SchemaRef, batches: &[(usize, Batch)]) -> Result<Arc<Run>> {
    let mut writer = runs.begin("test", schema);
    for (part, batch) in batches {
        writer.append(*part, batch)?;
    }
    writer.finish().map(Arc::new)
}

fn read(run: &Arc<Run>, part: usize) -> Result<Vec<Batch>> {
    let mut reader = run.read(part);
    let mut batches = Vec::new();
    while let Some(batch) = reader.next()? {
        batches.push(batch);
    }
    assert_eq!(reader.rows_left(), 0);
    Ok(batches)
}

fn read_all(run: &Arc<Run>) -> Result<()> {
    (0..run.part_count()).try_for_each(|part| read(run, part).map(drop))
}

/// What stands in the folder and below it.
fn entries(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.display().to_string());
        if path.is_dir() {
            found.extend(entries(&path));
        }
    }
    found
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_was_written_is_read_by_part_and_in_order(seed: u64) {
        let random = &mut Random::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let runs = runs_in(&[folder.path()]);
        let (schema, batches) = random_batches(random);
        let run = write(&runs, &schema, &batches).unwrap();
        prop_assert_eq!(runs.used_bytes(), run.all_bytes());
        for part in 0..6 {
            let written: Vec<Batch> = batches.iter().filter(|(of, _)| *of == part).map(|(_, b)| b.clone()).collect();
            let found = read(&run, part).unwrap();
            let rows: usize = written.iter().map(Batch::num_rows).sum();
            prop_assert_eq!(run.rows(part), rows as u64);
            prop_assert_eq!(run.bytes(part) > 0, rows > 0);
            // Each is less than a frame. They are not put together: codes of several dictionaries may not fit into one.
            let written: Vec<Batch> = written.into_iter().filter(|batch| batch.num_rows() > 0).collect();
            for (written, found) in written.iter().zip(&found) {
                prop_assert_eq!(Digest::of(written).unwrap(), Digest::of(found).unwrap());
            }
            prop_assert_eq!(written, found);
        }
        drop(run);
        prop_assert_eq!(runs.used_bytes(), 0);
        drop(runs);
        prop_assert_eq!(entries(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn a_flipped_byte_and_a_cut_are_told(seed: u64, flip in 1..=255_u8) {
        let random = &mut Random::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let runs = runs_in(&[folder.path()]);
        let (schema, batches) = random_batches(random);
        let run = write(&runs, &schema, &batches).unwrap();
        let Some(RunFile { path, bytes, .. }) = run.files.first() else { return Ok(()) };
        let told = |run: &Arc<Run>, path: &Path| {
            let error = read_all(run).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{error:?}");
            assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
            assert!(error.to_string().contains("at byte"), "{error}");
        };
        let file = File::options().read(true).write(true).open(path).unwrap();
        let at = random.next() % bytes;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ flip], at).unwrap();
        told(&run, path);
        file.write_all_at(&byte, at).unwrap();
        read_all(&run).unwrap();
        file.set_len(random.next() % bytes).unwrap();
        told(&run, path);
    }
}

fn numbers(rows: usize) -> Batch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    Batch::try_from_iter([("number", numbers)]).unwrap()
}

#[test]
fn frames_are_cut_and_windows_follow_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let runs = runs_in(&[folder.path()]);
    let batch = numbers(1_000_000);
    let parts: Vec<(usize, Batch)> = (0..10).map(|piece| (piece % 2, batch.slice(piece * 100_000, 100_000))).collect();
    let run = write(&runs, &batch.schema(), &parts).unwrap();
    assert!(run.parts.iter().flat_map(|part| &part.frames).all(|frame| frame.bytes < 1 << 20));
    assert_eq!((run.part_count(), run.rows(0), run.all_rows()), (2, 500_000, 1_000_000));
    for part in 0..2 {
        let found = concat(&batch.schema(), &read(&run, part).unwrap()).unwrap();
        let own: Vec<Batch> = parts.iter().filter(|(of, _)| *of == part).map(|(_, batch)| batch.clone()).collect();
        assert_eq!(found, concat(&batch.schema(), &own).unwrap());
    }
    // Two readers of one run do not disturb each other, and a batch outlives them all.
    let (mut first, mut second) = (run.read(0), run.read(0));
    let batch = first.next().unwrap().unwrap();
    assert_eq!(second.next().unwrap().unwrap(), batch);
    drop((first, second, run, runs));
    assert_eq!(batch.column(0).len(), batch.num_rows());
}

#[test]
fn only_what_a_batch_shows_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let runs = runs_in(&[folder.path()]);
    let long = "a text that does not fit into its view ".repeat(100);
    let texts: ArrayRef =
        Arc::new(StringViewArray::from_iter_values((0..1_000).map(|number| format!("{long}{number}"))));
    let batch = Batch::try_from_iter([("text", texts)]).unwrap();
    let run = write(&runs, &batch.schema(), &[(0, batch.slice(500, 1))]).unwrap();
    assert!(run.all_bytes() < 8 << 10, "{}", run.all_bytes());
    assert_eq!(read(&run, 0).unwrap(), [batch.slice(500, 1)]);
}

#[test]
fn rows_of_very_different_lengths_fit_their_frames() {
    let folder = tempfile::tempdir().unwrap();
    let runs = runs_in(&[folder.path()]);
    let texts: ArrayRef =
        Arc::new(StringViewArray::from_iter_values((0..64).map(|row| "x".repeat(if row < 4 { 30 << 20 } else { 1 }))));
    let batch = Batch::try_from_iter([("text", texts)]).unwrap();
    let run = write(&runs, &batch.schema(), &[(3, batch.clone())]).unwrap();
    assert_eq!(concat(&batch.schema(), &read(&run, 3).unwrap()).unwrap(), batch);
}

#[test]
fn the_frame_of_another_place_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let runs = runs_in(&[folder.path()]);
    let batch = numbers(100);
    let run = write(&runs, &batch.schema(), &[(0, batch.clone()), (1, batch.clone())]).unwrap();
    let bytes = fs::read(&run.files[0].path).unwrap();
    let half = bytes.len() / 2;
    fs::write(&run.files[0].path, [&bytes[half..], &bytes[..half]].concat()).unwrap();
    let error = read_all(&run).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("another"), "{error}");
}

#[test]
fn nothing_is_on_disk_before_the_first_write_and_nothing_after_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let runs = runs_in(&[&folder.path().join("not yet")]);
    let batch = numbers(1_000_000);
    let mut writer = runs.begin("test", &batch.schema());
    assert_eq!(entries(folder.path()), Vec::<String>::new());
    writer.append(0, &batch).unwrap();
    assert_eq!(entries(&folder.path().join("not yet")).len(), 3, "a folder, its lock, a file");
    drop(writer);
    assert_eq!((entries(&folder.path().join("not yet")).len(), runs.used_bytes()), (2, 0));
    drop(runs);
    assert_eq!(entries(&folder.path().join("not yet")), Vec::<String>::new());
}

#[test]
fn a_folder_that_takes_nothing_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let (no_folder, good) = (folder.path().join("file"), folder.path().join("good"));
    fs::write(&no_folder, "in the way").unwrap();
    let batch = numbers(10);
    let runs = runs_in(&[&no_folder, &good]);
    let run = write(&runs, &batch.schema(), &[(0, batch.clone())]).unwrap();
    assert!(run.files[0].path.starts_with(&good));
    assert_eq!(read(&run, 0).unwrap(), std::slice::from_ref(&batch));
    let error = write(&runs_in(&[&no_folder]), &batch.schema(), &[(0, batch.clone())]).unwrap_err();
    assert!(error.to_string().contains("of the test") && error.to_string().contains("file"), "{error}");
    assert!(error.hint().unwrap().contains("--spill"));
    let error = write(&runs_in(&[]), &batch.schema(), &[(0, batch)]).unwrap_err();
    assert_eq!(error.kind(), Kind::Limit);
}

#[test]
fn a_file_that_took_no_more_is_followed_by_one_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let runs = runs_in(&[&first, &second]);
    let batch = numbers(1_000_000);
    let mut writer = runs.begin("test", &batch.schema());
    writer.append(0, &batch.slice(0, 400_000)).unwrap();
    // From here on every write to it fails, as on a full disk: it is open for reading only.
    let path = writer.files[0].path.clone();
    writer.file = Some(File::open(&path).unwrap());
    writer.append(0, &batch.slice(400_000, 600_000)).unwrap();
    let run = Arc::new(writer.finish().unwrap());
    assert_eq!(run.files.len(), 2);
    assert!(run.files[1].path.starts_with(&second));
    assert_eq!(concat(&batch.schema(), &read(&run, 0).unwrap()).unwrap(), batch);
    assert_eq!(runs.used_bytes(), run.all_bytes());
}

#[test]
fn full_disks_and_quotas_are_limits() {
    let full = |kind: io::ErrorKind| -> Error {
        RunError::Write { holder: "test", folder: PathBuf::from("/full"), source: kind.into() }.into()
    };
    assert_eq!(full(io::ErrorKind::StorageFull).kind(), Kind::Limit);
    assert!(full(io::ErrorKind::StorageFull).to_string().contains("/full"));
    assert_eq!(full(io::ErrorKind::PermissionDenied).kind(), Kind::Io);
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::new(RunsOptions { folders: vec![folder.path().to_owned()], bytes_max: 3 << 20 });
    let batch = numbers(1 << 17);
    let kept = write(&runs, &batch.schema(), &[(0, batch.clone())]).unwrap();
    let error =
        write(&runs, &batch.schema(), &[(0, batch.clone()), (0, batch.clone()), (0, batch.clone())]).unwrap_err();
    assert_eq!(error.kind(), Kind::Limit);
    assert_eq!(runs.used_bytes(), kept.all_bytes());
    drop(kept);
    write(&runs, &batch.schema(), &[(0, batch.clone()), (0, batch)]).unwrap();
}

#[test]
fn what_dead_processes_left_is_swept_and_what_the_living_hold_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let dead = folder.path().join("windrow-runs-1-0");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("0.0.run"), "rows").unwrap();
    fs::write(dead.with_extension("lock"), "").unwrap();
    fs::write(folder.path().join("something else"), "").unwrap();
    let batch = numbers(10);
    let first = runs_in(&[folder.path()]);
    let kept = write(&first, &batch.schema(), &[(0, batch.clone())]).unwrap();
    assert!(!dead.exists() && !dead.with_extension("lock").exists());
    let second = runs_in(&[folder.path()]);
    let also_kept = write(&second, &batch.schema(), &[(0, batch.clone())]).unwrap();
    assert_ne!(kept.files[0].path.parent(), also_kept.files[0].path.parent());
    for run in [&kept, &also_kept] {
        assert_eq!(read(run, 0).unwrap(), std::slice::from_ref(&batch));
    }
    drop((kept, also_kept, first, second));
    assert_eq!(entries(folder.path()).len(), 1);
}

#[test]
fn who_ends_without_waiting_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let runs = runs_in(&[folder.path()]);
    let batch = numbers(10);
    let run = write(&runs, &batch.schema(), &[(0, batch.clone())]).unwrap();
    runs.abandon();
    assert_eq!(entries(folder.path()), Vec::<String>::new());
    assert_eq!(read_all(&run).unwrap_err().kind(), Kind::Io);
}

#[test]
fn a_run_without_rows_is_one() {
    let runs = runs_in(&[]);
    let run = write(&runs, &Arc::new(Schema::empty()), &[]).unwrap();
    assert_eq!((run.part_count(), run.rows(7), run.bytes(7)), (0, 0, 0));
    assert!(run.read(7).next().unwrap().is_none());
}
