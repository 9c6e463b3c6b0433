//! Set-up and clean-up of mappers and reducers, and what they count (Hadoop's `TestMapReduce`, `TestCounters`, `TestJobCounters`).

use std::{collections::BTreeMap, fs};

use tempfile::TempDir;
use windrow::{
    Result,
    mapreduce::{Context, IdentityMapper, Job, Mapper, Reducer, Values},
};

use super::{Sums, Tokens, check, file, lines, sorted, words_of};

/// Says of each split which file it is of, and how many lines it has.
#[derive(Clone, Default)]
struct Splits {
    file: String,
    lines: i64,
    is_set_up: bool,
}

impl Mapper for Splits {
    type In = String;
    type Out = (String, i64);

    fn set_up(&mut self, context: &mut Context<'_, (String, i64)>) -> Result<()> {
        assert!(!self.is_set_up && self.lines == 0, "each split has a clone of its own");
        assert_eq!(context.part(), None);
        self.file = context.input_file().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        self.is_set_up = true;
        context.count("splits begun", 1);
        Ok(())
    }

    fn map(&mut self, _line: &str, _context: &mut Context<'_, (String, i64)>) -> Result<()> {
        assert!(self.is_set_up);
        self.lines += 1;
        Ok(())
    }

    fn clean_up(&mut self, context: &mut Context<'_, (String, i64)>) -> Result<()> {
        context.count("splits ended", 1);
        context.emit((&self.file, self.lines));
        Ok(())
    }
}

#[test]
fn a_mapper_lives_for_one_split() {
    let folder = TempDir::new().unwrap();
    // 10 MB are three splits; a split may have no line of its own, and a file none at all.
    let long = "x".repeat(5 << 20);
    let texts = [
        ("a.txt", format!("{}\n", "a line ".repeat(20)).repeat(75_000)),
        ("b.txt", format!("{long}\n{long}\nend")),
        ("c.txt", "c".to_owned()),
    ];
    for (name, text) in &texts {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let (rows, counters) = check(|session| {
        let input = session.read_text(folder.path().to_str().unwrap()).unwrap();
        let (rows, finished) = Job::new(input, Splits::default()).collect().unwrap();
        (sorted(rows), finished.counters)
    });
    // A line is of the split in which it begins.
    let split = 2 << 20;
    let mut expected = Vec::new();
    for (name, text) in &texts {
        let mut begun = vec![0; text.len().div_ceil(split)];
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            begun[at / split] += 1;
            at += line.len();
        }
        expected.extend(begun.into_iter().map(|lines| ((*name).to_owned(), lines)));
    }
    assert_eq!(rows, sorted(expected.clone()));
    let splits = expected.len() as i64;
    assert_eq!(counters, BTreeMap::from([("splits begun".to_owned(), splits), ("splits ended".to_owned(), splits)]));
}

/// Says of each part how many keys it had, in `clean_up`.
#[derive(Clone, Default)]
struct PartSizes {
    keys: i64,
    is_set_up: bool,
}

impl Reducer for PartSizes {
    type Key = i64;
    type Value = i64;
    type Out = (u32, i64);

    fn set_up(&mut self, context: &mut Context<'_, (u32, i64)>) -> Result<()> {
        assert!(!self.is_set_up);
        self.is_set_up = true;
        context.emit((context.part().unwrap(), -1));
        Ok(())
    }

    fn reduce(
        &mut self,
        _key: i64,
        _values: &mut Values<'_, '_, i64, i64>,
        _context: &mut Context<'_, (u32, i64)>,
    ) -> Result<()> {
        self.keys += 1;
        Ok(())
    }

    fn clean_up(&mut self, context: &mut Context<'_, (u32, i64)>) -> Result<()> {
        assert!(self.is_set_up);
        context.count("parts", 1);
        context.emit((context.part().unwrap(), self.keys));
        Ok(())
    }
}

#[test]
fn a_reducer_lives_for_one_part_with_rows_or_without() {
    for (keys, parts) in [(0, 1), (0, 5), (1, 7), (10, 40), (5_000, 4)] {
        let (rows, counted) = check(|session| {
            let input = session.from_vec((0..keys).map(|key| (key, 0)).collect()).unwrap();
            let job = Job::new(input, IdentityMapper::default()).parts(parts).reduce(PartSizes::default()).unwrap();
            let (rows, finished) = job.collect().unwrap();
            (sorted(rows), finished.counter("parts"))
        });
        assert_eq!((rows.len() as u32, counted as u32), (2 * parts, parts));
        // Of each part: begun, then its keys.
        assert!(rows.chunks(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 == -1 && pair[1].1 >= 0), "{rows:?}");
        assert_eq!(rows.iter().filter(|row| row.1 > 0).map(|row| row.1).sum::<i64>(), keys);
    }
}

#[test]
fn counters_are_sums_over_all_tasks() {
    let text = lines(20_000);
    let (_folder, path) = file(&text);
    let found = check(|session| {
        let folder = TempDir::new().unwrap();
        let job = Job::new(session.read_text(&path).unwrap(), Tokens).reduce(Sums).unwrap();
        let finished = job.write_parquet(folder.path().join("out")).unwrap();
        assert_eq!(finished.written.as_ref().unwrap().rows as usize, words_of(&text).len());
        // Each run counts afresh.
        let again = job.write_parquet(folder.path().join("again")).unwrap();
        assert_eq!(again.counters, finished.counters);
        (finished.counter("lines"), finished.counter("words"), finished.counter("keys"), finished.counter("none"))
    });
    assert_eq!(found, (20_000, text.split_whitespace().count() as i64, 5, 0));
}
