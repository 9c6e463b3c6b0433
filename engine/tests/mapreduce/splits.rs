//! Input splits (Hadoop's `TestTextInputFormat`, `TestNLineInputFormat`, `TestFixedLengthInputFormat`, `TestCombineFileInputFormat`).

use std::fs;

use tempfile::TempDir;
use windrow::{
    Kind, Result,
    dataset::Dataset,
    mapreduce::{Context, Job, Mapper},
};

use super::{check, sorted};

/// Says of each split its lines, with `|` between them.
#[derive(Clone, Default)]
struct Joined {
    lines: Vec<String>,
}

impl Mapper for Joined {
    type In = String;
    type Out = String;

    fn map(&mut self, line: &str, _context: &mut Context<'_, String>) -> Result<()> {
        self.lines.push(line.to_owned());
        Ok(())
    }

    fn clean_up(&mut self, context: &mut Context<'_, String>) -> Result<()> {
        context.emit(&self.lines.join("|"));
        Ok(())
    }
}

#[test]
fn a_split_has_the_lines_that_were_asked_for() {
    let folder = TempDir::new().unwrap();
    for (text, lines, expected) in [
        ("", 2, &[][..]),
        ("one", 1, &["one"][..]),
        ("one\ntwo\r\nthree\n", 1, &["one", "two", "three"]),
        ("one\ntwo\nthree\nfour\nfive", 2, &["one|two", "three|four", "five"]),
        ("one\n\n\nfour\n", 3, &["one||", "four"]),
        ("one\ntwo\n", 100, &["one|two"]),
    ] {
        let path = folder.path().join("lines.txt");
        fs::write(&path, text).unwrap();
        let found = check(|session| {
            let input = session.read_text_by_lines(path.to_str().unwrap(), lines).unwrap();
            sorted(Job::new(input, Joined::default()).collect().unwrap().0)
        });
        assert_eq!(found, sorted(expected.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()), "{text:?}");
    }
    check(|session| {
        let error = session.read_text_by_lines(folder.path().to_str().unwrap(), 0).unwrap_err();
        assert_eq!(error.kind(), Kind::Request);
    });
}

#[test]
fn many_small_files_are_each_a_split_of_its_own() {
    let folder = TempDir::new().unwrap();
    for number in 0..300 {
        fs::write(folder.path().join(format!("{number:03}.txt")), "a\nb\n".repeat(number % 3)).unwrap();
    }
    let found = check(|session| {
        let input = session.read_text(folder.path().to_str().unwrap()).unwrap();
        sorted(Job::new(input, Joined::default()).collect().unwrap().0)
    });
    // A file of no bytes has no split.
    assert_eq!(found, sorted(["a|b", "a|b|a|b"].iter().flat_map(|text| vec![(*text).to_owned(); 100]).collect()));
}

#[test]
fn many_small_files_are_read_together_where_that_is_asked_for() {
    const SPLIT_BYTES: usize = 100;
    let folder = TempDir::new().unwrap();
    let text = |number: usize| match number {
        // Longer than a split.
        40 => (0..60).map(|line| format!("line {line}\n")).collect(),
        _ => format!("{number} a\r\n").repeat(number % 3 * 2) + if number.is_multiple_of(5) { "no end" } else { "" },
    };
    let (mut expected, mut together, mut held) = (Vec::new(), Vec::new(), 0);
    let mut end = |together: &mut Vec<String>| {
        if !together.is_empty() {
            expected.push(std::mem::take(together).join("|"));
        }
    };
    for number in 0..100 {
        let text: String = text(number);
        fs::write(folder.path().join(format!("{number:03}.txt")), &text).unwrap();
        if held + text.len() > SPLIT_BYTES {
            end(&mut together);
            held = 0;
        }
        if text.len() > SPLIT_BYTES {
            for split in 0..text.len().div_ceil(SPLIT_BYTES) {
                let mut start = 0;
                for line in text.split_inclusive('\n') {
                    if start / SPLIT_BYTES == split {
                        together.push(line.trim_end().to_owned());
                    }
                    start += line.len();
                }
                end(&mut together);
            }
            continue;
        }
        held += text.len();
        together.extend(text.lines().map(str::to_owned));
    }
    end(&mut together);
    assert!(expected.len() < 40);
    let all: Vec<String> =
        (0..100).flat_map(|number| text(number).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let found = check(|session| {
        session.set_split_bytes(SPLIT_BYTES as u64).unwrap();
        let input: Dataset<String> = session.read_text_combined(folder.path().to_str().unwrap()).unwrap();
        assert_eq!(input.clone().collect().unwrap(), all);
        let bytes: Dataset<Vec<u8>> = session.read_text_combined(folder.path().to_str().unwrap()).unwrap();
        assert_eq!(bytes.count().unwrap() as usize, all.len());
        sorted(Job::new(input, Joined::default()).collect().unwrap().0)
    });
    assert_eq!(found, sorted(expected));
}

#[test]
fn a_mapper_lives_once_a_split_whatever_its_size() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("lines.txt");
    fs::write(&path, "12345678\n".repeat(100)).unwrap();
    for (bytes, lives) in [(9, 100), (90, 10), (450, 2), (1 << 20, 1)] {
        let found = check(|session| {
            session.set_split_bytes(bytes).unwrap();
            let input = session.read_text(path.to_str().unwrap()).unwrap();
            sorted(Job::new(input, Joined::default()).collect().unwrap().0)
        });
        assert_eq!(found.len(), lives, "splits of {bytes} bytes");
        assert_eq!(found.join("|"), vec!["12345678"; 100].join("|"));
    }
}

/// The sum of the bytes of a record.
#[derive(Clone)]
struct ByteSums;

impl Mapper for ByteSums {
    type In = Vec<u8>;
    type Out = (u8, u64);

    fn map(&mut self, record: &[u8], context: &mut Context<'_, (u8, u64)>) -> Result<()> {
        context.count("bytes", record.len() as i64);
        context.emit((record[0], record.iter().map(|byte| u64::from(*byte)).sum()));
        Ok(())
    }
}

#[test]
fn records_of_one_length_are_read_whole() {
    let folder = TempDir::new().unwrap();
    // More than a split of 4 MiB, which is no multiple of the length.
    for (length, count) in [(1, 1_000), (13, 2_000), (100, 50_000)] {
        let bytes: Vec<u8> = (0..length * count).map(|place: usize| (place * 31 % 251) as u8).collect();
        let path = folder.path().join("records.bin");
        fs::write(&path, &bytes).unwrap();
        let (found, counted) = check(|session| {
            let input = session.read_fixed(path.to_str().unwrap(), length as u32).unwrap();
            assert_eq!(input.clone().count().unwrap(), count as u64);
            let (rows, finished) = Job::new(input, ByteSums).collect().unwrap();
            (sorted(rows), finished.counter("bytes"))
        });
        let sum = |record: &[u8]| (record[0], record.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        assert_eq!(counted as usize, bytes.len());
        assert!(found == sorted(bytes.chunks(length).map(sum).collect()), "{length} bytes");
    }
}

#[test]
fn records_that_are_cut_short_are_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("records.bin");
    fs::write(&path, [0; 1_003]).unwrap();
    check(|session| {
        let error = session.read_fixed(path.to_str().unwrap(), 10).unwrap_err();
        assert!(error.kind() == Kind::Corrupt && error.to_string().contains("of which 3 are cut short"), "{error}");
        assert_eq!(session.read_fixed(path.to_str().unwrap(), 0).unwrap_err().kind(), Kind::Request);
    });
}
