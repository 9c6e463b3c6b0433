//! Damaged bytes at each border: frames, spools, runs. Ten thousand flipped bits and cuts, and the corpus of the
//! fuzzers.
//!
//! In: bytes as they are written today, changed. Out: each a typed error with its place. Never: a panic, a wrong batch,
//! memory by the measure of a damaged length.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

use windrow::{Error, Kind, shuffle::Digest};

#[path = "../fuzz/readers.rs"]
mod readers;

use readers::{CODECS, RunReader, SpoolReader, batch, frame, frame_of, seeds, spool_index};

/// SplitMix64, so that a case is its number.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    /// A bit flipped, or, one time in five, the end cut off.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        let place = self.below(bytes.len());
        if self.below(5) == 0 {
            damaged.truncate(place);
        } else {
            damaged[place] ^= 1 << self.below(8);
        }
        damaged
    }
}

/// The most that the process has had of the system's memory, mapped or not; 0 where that is not told.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmPeak:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

/// How often each kind of error was told.
type Told = BTreeMap<String, usize>;

/// The error is one of damage; `path`: the file that it must name, with a place in it.
fn check(error: &Error, path: Option<&Path>, told: &mut Told) {
    // Versions and codecs that nobody knows; counts and lengths that are more than a frame may have.
    assert!(matches!(error.kind(), Kind::Corrupt | Kind::Unsupported | Kind::Limit), "{error:?}");
    if let Some(path) = path {
        assert_ne!(error.kind(), Kind::Limit, "{error:?}");
        let said = error.to_string();
        assert!(said.contains(path.to_str().unwrap()) && said.contains(" at byte "), "{said}");
    }
    *told.entry(format!("{:?}", error.kind())).or_default() += 1;
}

const FRAME_CASES: usize = 2_000;
const INDEX_CASES: usize = 1_500;
const SPOOL_CASES: usize = 500;
const RUN_CASES: usize = 1_000;

/// One at a time: the threads of one test would take address space in the count of another.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn ten_thousand_flipped_bits_and_cuts_are_told() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let random = &mut Random(1);
    let (spools, runs) = (SpoolReader::new(folder.path()), RunReader::new(folder.path(), 200));
    // Everything is made and read once first: what that needs is no matter of damage.
    let frames = CODECS.map(|codec| [0, 1, 10, 300].map(|rows| (rows, frame_of(&batch(rows, rows), codec))));
    for (rows, bytes) in frames.iter().flatten() {
        assert_eq!(frame(bytes).unwrap(), batch(*rows, *rows));
    }
    let files = CODECS.map(|codec| spools.seed(codec, 100));
    for (bytes, totals) in &files {
        assert_eq!(spools.read(bytes, Some(totals)).unwrap(), digest_of(&[1, 2, 3], 100));
    }
    let (small, small_totals) = spools.seed(CODECS[0], 1);
    let index_at = spool_index(&small).unwrap().frame_bytes() as usize;
    let run = runs.bytes();
    assert_eq!(runs.read(&run).unwrap(), digest_of(&[1, 2, 3], 200));

    let before = peak_bytes();
    let (mut told, mut count) = (Told::new(), 0);
    let mut is_told = |error: Error, path: Option<&Path>| {
        check(&error, path, &mut told);
        count += 1;
    };
    for frames in &frames {
        for case in 0..FRAME_CASES {
            let damaged = random.damage(&frames[case % frames.len()].1);
            is_told(frame(&damaged).expect_err("a damaged frame was read"), None);
        }
    }
    for (bytes, totals) in &files {
        for _ in 0..SPOOL_CASES {
            let read = spools.read(&random.damage(bytes), Some(totals));
            is_told(read.expect_err("a damaged spool was read"), Some(spools.path()));
        }
    }
    for case in 0..INDEX_CASES {
        // Only what stands in the index and behind it.
        let damaged = [&small[..index_at], &random.damage(&small[index_at..])].concat();
        if case % 3 == 0 {
            let read = spools.read(&damaged, Some(&small_totals));
            is_told(read.expect_err("a damaged index was read"), Some(spools.path()));
        } else {
            is_told(spool_index(&damaged).expect_err("a damaged index was read"), None);
        }
    }
    for _ in 0..RUN_CASES {
        let error = runs.read(&random.damage(&run)).expect_err("a damaged run was read");
        assert_eq!(error.kind(), Kind::Corrupt, "{error:?}");
        is_told(error, Some(runs.path()));
    }
    assert!(count >= 10_000 && told["Corrupt"] > 9 * count / 10, "{count}: {told:?}");
    // No frame has more than 100 KB here; a damaged length could say gigabytes.
    let grown = peak_bytes() - before;
    assert!(grown < 256 << 20, "{grown} bytes of memory were asked for");
}

fn digest_of(seeds: &[u64], rows: u64) -> Digest {
    let mut digest = Digest::default();
    seeds.iter().for_each(|seed| digest.merge(&Digest::of(&batch(rows, *seed)).unwrap()));
    digest
}

#[test]
fn the_corpus_is_read_as_the_fuzzers_read_it() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let old = "run this test with WINDROW_SEEDS=write";
    let all = seeds(folder.path());
    for (target, name, bytes) in &all {
        if std::env::var_os("WINDROW_SEEDS").is_some_and(|word| word == "write") {
            fs::create_dir_all(corpus.join(target)).unwrap();
            fs::write(corpus.join(target).join(name), bytes).unwrap();
        }
        let kept = fs::read(corpus.join(target).join(name)).unwrap_or_else(|_| panic!("no {target}/{name}: {old}"));
        // What a codec makes of bytes is its version's; a run's frames name the process that wrote them.
        let may_differ = ["lz4", "zstd", "run"].iter().any(|word| name.contains(word));
        assert!(kept == *bytes || may_differ, "{target}/{name} is old: {old}");
    }
    let (spools, runs) = (SpoolReader::new(folder.path()), RunReader::new(folder.path(), 5));
    for (target, replay) in [
        ("frame", &(|bytes: &[u8]| frame(bytes).map(drop)) as &dyn Fn(&[u8]) -> windrow::Result<()>),
        ("spool_index", &|bytes| spool_index(bytes).map(drop)),
        ("spool_file", &|bytes| spools.read(bytes, None).map(drop)),
        ("run", &|bytes| runs.read(bytes).map(drop)),
    ] {
        for entry in fs::read_dir(corpus.join(target)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let read = replay(&fs::read(&path).unwrap());
            // Seeds are good; what a fuzzer has found may be anything but a panic.
            let is_known = all.iter().any(|(of, seed, _)| *of == target && *seed == name);
            assert!(read.is_ok() || !is_known, "{target}/{name}: {read:?}; {old}");
        }
    }
}
