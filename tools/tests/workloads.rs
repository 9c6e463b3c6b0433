//! The workloads against plain Rust, on any number of threads, with tiny morsels and spilled: the same rows, to the bit.
//!
//! In: inputs made here, of some hundred kilobytes. Out: passes, or says what differs. Never: trusts the engine to sort what it compares.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use windrow::{Kind, Session, Settings};
use windrow_bench::{Done, Job, Output, WORKLOADS, Workload, WorkloadRun, chart, tera_validate, workload};

const BYTES: u64 = 300_000;
const PATTERN: &str = "a[a-z]*e";

/// With 0 revocable bytes what can be spilled is.
fn session(threads: usize, rows_per_morsel: usize, revocable_bytes: Option<u64>, folder: &Path) -> Session {
    let spill_folders = vec![folder.to_owned()];
    Session::new(Settings { threads, rows_per_morsel, revocable_bytes, spill_folders, ..Settings::default() }).unwrap()
}

struct Place {
    folder: TempDir,
    input: PathBuf,
    workload: &'static Workload,
}

impl Place {
    fn new(name: &str) -> Place {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let workload = workload(name).unwrap();
        let input = workload.input.make(&Session::new(Settings::default()).unwrap(), BYTES, folder.path()).unwrap();
        Place { folder, input, workload }
    }

    /// Runs it once in each way, of which three are about the size of splits; what came of it is the same, and so is each line of the output that `rows` reads. The output of one of them.
    fn same_in_each_way(&self) -> (PathBuf, Done) {
        let mut first: Option<(PathBuf, Done)> = None;
        let ways = [
            (1, 65_536, None, None),
            (2, 64, None, None),
            (8, 1_000, None, Some(777)),
            (2, 65_536, None, Some(1 << 30)),
            (2, 65_536, Some(0), None),
            (3, 500, Some(0), Some(64 << 10)),
        ];
        for (number, (threads, rows_per_morsel, revocable_bytes, split_bytes)) in ways.into_iter().enumerate() {
            let session = session(threads, rows_per_morsel, revocable_bytes, self.folder.path());
            split_bytes.map_or(Ok(()), |bytes| session.set_split_bytes(bytes)).unwrap();
            let out = self.folder.path().join(format!("out-{number}"));
            let job = Job { input: &self.input, out: &out, pattern: PATTERN, bytes: BYTES };
            let done = (self.workload.job)(&session, &job).unwrap();
            let name = self.workload.name;
            if name.ends_with("sort") {
                // What is one morsel has nothing to give away.
                let is_forced = revocable_bytes.is_some() && rows_per_morsel < 65_536;
                assert_eq!(session.spilled_bytes() > 0, is_forced, "{name}, way {number}");
            }
            let Some((before, expected)) = &first else {
                first = Some((out, done));
                continue;
            };
            assert_eq!((done.rows, &done.digest), (expected.rows, &expected.digest), "{name}, way {number}");
            if matches!(self.workload.output, Output::Lines) || name == "terasort" {
                assert!(only_file(&out) == only_file(before), "{name}, way {number}: another order");
            }
        }
        first.unwrap()
    }

    fn digest_of(&self, statement: &str) -> String {
        let session = Session::new(Settings::default()).unwrap();
        session.query(&statement.replace("IN", self.input.to_str().unwrap())).unwrap().digest().unwrap().to_string()
    }
}

/// The bytes of the only file of an output.
fn only_file(out: &Path) -> Vec<u8> {
    let files = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = files.filter(|path| path.file_name().unwrap() != "_SUCCESS").collect();
    assert_eq!(files.len(), 1, "{files:?}");
    fs::read(&files[0]).unwrap()
}

fn typed<T: windrow::Record + Ord>(out: &Path) -> Vec<T> {
    let session = Session::new(Settings::default()).unwrap();
    let mut rows = session.read_parquet(out.to_str().unwrap()).unwrap().typed::<T>().unwrap().collect().unwrap();
    rows.sort();
    rows
}

fn counted<'a>(words: impl Iterator<Item = &'a str>) -> Vec<(String, i64)> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    words.for_each(|word| *counts.entry(word.to_owned()).or_default() += 1);
    counts.into_iter().collect()
}

#[test]
fn words_are_counted() {
    let place = Place::new("wordcount");
    let (out, _) = place.same_in_each_way();
    let text = fs::read_to_string(&place.input).unwrap();
    assert_eq!(typed::<(String, i64)>(&out), counted(text.split_ascii_whitespace()));
}

/// The matches of [`PATTERN`]: of an `a` and the letters behind it up to the last `e`.
fn matches(line: &str) -> Vec<&str> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(start) = line[at..].find('a').map(|start| at + start) {
        let letters =
            line[start..].find(|letter: char| !letter.is_ascii_lowercase()).map_or(line.len(), |end| start + end);
        match line[start..letters].rfind('e') {
            Some(end) => {
                found.push(&line[start..=start + end]);
                at = start + end + 1;
            }
            None => at = start + 1,
        }
    }
    found
}

#[test]
fn matches_are_counted() {
    let place = Place::new("grep");
    let (out, _) = place.same_in_each_way();
    let text = fs::read_to_string(&place.input).unwrap();
    let expected = counted(text.lines().flat_map(matches));
    assert!(expected.len() > 100);
    assert_eq!(typed::<(String, i64)>(&out), expected);
    let session = Session::new(Settings::default()).unwrap();
    let Err(error) = session.read_text(place.input.to_str().unwrap()).unwrap().matches("a(") else { panic!() };
    assert!(error.kind() == Kind::Request && error.to_string().contains("\"a(\""), "{error}");
    // What looks around sees a line's borders.
    let lines = session.read_text(place.input.to_str().unwrap()).unwrap();
    let found = lines.matches("^[a-z]+").unwrap().count().unwrap();
    assert_eq!(
        found as usize,
        text.lines().filter(|line| line.starts_with(|letter: char| letter.is_ascii_lowercase())).count()
    );
}

#[test]
fn lines_are_sorted() {
    let place = Place::new("sort");
    let (out, _) = place.same_in_each_way();
    let text = fs::read_to_string(&place.input).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let expected = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    assert!(only_file(&out) == expected.as_bytes());
}

#[test]
fn records_are_made_sorted_and_validated() {
    let made = Place::new("teragen").same_in_each_way();
    let place = Place::new("terasort");
    assert_eq!(made.1.rows, BYTES / 100);
    let input = fs::read(&place.input).unwrap();
    let (out, _) = place.same_in_each_way();
    let mut records: Vec<&[u8]> = input.chunks(100).collect();
    records.sort_unstable();
    assert!(only_file(&out) == records.concat());
    let sum: u64 = records.iter().map(|record| u64::from(crc32(record))).sum();
    for rows_per_morsel in [7, 65_536] {
        let session = session(2, rows_per_morsel, None, place.folder.path());
        let found = tera_validate(&session, &out).unwrap();
        assert_eq!((found.records, found.sum), (BYTES / 100, sum));
        let error = tera_validate(&session, &place.input).unwrap_err();
        assert!(error.kind() == Kind::Corrupt && error.to_string().contains("record "), "{error}");
    }
    // Two files that are in order, but not one behind the other.
    let two = place.folder.path().join("two");
    fs::create_dir(&two).unwrap();
    let (low, high) = (records[..10].concat(), records[10..].concat());
    for (first, second, is_valid) in [(&low, &high, true), (&high, &low, false)] {
        fs::write(two.join("part-0.bin"), first).unwrap();
        fs::write(two.join("part-1.bin"), second).unwrap();
        assert_eq!(tera_validate(&session(2, 64, None, place.folder.path()), &two).is_ok(), is_valid);
    }
    Place::new("teravalidate").same_in_each_way();
}

/// Bit by bit, as the polynomial says.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

#[test]
fn readings_become_changes() {
    let place = Place::new("secondarysort");
    let (out, _) = place.same_in_each_way();
    let text = fs::read_to_string(&place.input).unwrap();
    let mut stations: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        stations
            .entry(fields[0].to_owned())
            .or_default()
            .push((fields[1].parse().unwrap(), fields[2].parse().unwrap()));
    }
    let mut expected = Vec::new();
    for (station, mut readings) in stations {
        readings.sort_unstable();
        let before = std::iter::once(readings[0].1).chain(readings.iter().map(|(_, value)| *value));
        expected.extend(
            readings.iter().zip(before).map(|((second, value), before)| (station.clone(), *second, value - before)),
        );
    }
    expected.sort();
    assert_eq!(typed::<(String, i64, i64)>(&out), expected);
}

#[test]
fn words_have_their_files() {
    let place = Place::new("invertedindex");
    let (out, _) = place.same_in_each_way();
    let mut index: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for entry in fs::read_dir(&place.input).unwrap() {
        let path = entry.unwrap().path();
        for word in fs::read_to_string(&path).unwrap().split_ascii_whitespace() {
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            *index.entry(word.to_owned()).or_default().entry(file).or_default() += 1;
        }
    }
    let places = |files: BTreeMap<String, i64>| {
        files.iter().map(|(file, count)| format!("{file}:{count}")).collect::<Vec<_>>().join(" ")
    };
    let expected: Vec<(String, String)> = index.into_iter().map(|(word, files)| (word, places(files))).collect();
    assert_eq!(typed::<(String, String)>(&out), expected);
}

#[test]
fn tables_are_joined_and_grouped() {
    let place = Place::new("aggregation");
    let (_, done) = place.same_in_each_way();
    assert_eq!(done.digest, place.digest_of("select k, count(*), sum(v) from 'IN' group by k"));
    let place = Place::new("join");
    let (_, done) = place.same_in_each_way();
    let joined = "select f.k, f.v, d.v as number from 'IN/facts.parquet' f join 'IN/keys.parquet' d on f.k = d.k";
    assert_eq!(done.digest, place.digest_of(joined));
}

fn edges_of(place: &Place) -> Vec<(u32, u32)> {
    let session = Session::new(Settings::default()).unwrap();
    session.read_parquet(place.input.to_str().unwrap()).unwrap().typed::<(u32, u32)>().unwrap().collect().unwrap()
}

#[test]
fn vertices_are_ranked_as_a_plain_program_ranks_them() {
    let place = Place::new("pagerank");
    let (out, _) = place.same_in_each_way();
    let edges = edges_of(&place);
    let vertices = edges.iter().map(|(source, target)| source.max(target) + 1).max().unwrap() as usize;
    let expected = windrow_bench::plain::page_rank(&edges, vertices, 10);
    let session = Session::new(Settings::default()).unwrap();
    let ranks = session.read_parquet(out.to_str().unwrap()).unwrap().typed::<(u32, f64)>().unwrap().collect().unwrap();
    assert_eq!(ranks.len(), vertices);
    for (vertex, rank) in ranks {
        assert!((rank - expected[vertex as usize]).abs() < 1e-12, "{vertex}: {rank}");
    }
}

#[test]
fn vertices_have_the_least_vertex_of_their_component() {
    let place = Place::new("connectedcomponents");
    let (out, _) = place.same_in_each_way();
    let mut names: BTreeMap<u32, u32> = BTreeMap::new();
    let edges = edges_of(&place);
    for (source, target) in &edges {
        names.extend([(*source, *source), (*target, *target)]);
    }
    loop {
        let before = names.clone();
        for (source, target) in &edges {
            let least = names[source].min(names[target]);
            names.extend([(*source, least), (*target, least)]);
        }
        if names == before {
            break;
        }
    }
    assert_eq!(typed::<(u32, u32)>(&out), names.into_iter().collect::<Vec<_>>());
}

#[test]
fn points_find_their_clusters() {
    let place = Place::new("kmeans");
    let (out, done) = place.same_in_each_way();
    assert_eq!(done.rows, 64);
    let count = |path: &Path, what: &str| {
        let session = Session::new(Settings::default()).unwrap();
        let answer = session.query(&format!("select {what} from '{}'", path.display())).unwrap();
        answer.digest().unwrap()
    };
    assert_eq!(count(&out, "cast(sum(points) as bigint)"), count(&place.input, "count(*)"));
}

#[test]
fn a_run_is_bounded_and_drawn() {
    for workload in WORKLOADS.iter().filter(|workload| workload.output != Output::Nothing) {
        let place = Place::new(workload.name);
        let session = &Session::new(Settings { threads: 2, ..Settings::default() }).unwrap();
        let nothing = Path::new("");
        let input = if workload.name == "teragen" { nothing } else { &place.input };
        let scratch = place.folder.path();
        let run = WorkloadRun { workload, session, input, pattern: PATTERN, bytes: BYTES, scratch, runs: 2 };
        let measurements = run
            .run(|_, out| -> windrow::Result<()> {
                assert!(out.is_dir());
                Ok(())
            })
            .unwrap();
        assert!(
            measurements.iter().all(|m| m.bound_fraction.is_some_and(|fraction| fraction > 0.0)),
            "{measurements:?}"
        );
        let drawn = chart(&measurements);
        assert!(
            drawn.starts_with("<svg") && drawn.matches("<rect").count() == 1 && drawn.ends_with("</svg>\n"),
            "{drawn}"
        );
    }
}
