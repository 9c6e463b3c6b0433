//! The command as its users see it: what it prints where, and with which exit code it ends.
//!
//! In: the binary, tables made by it. Out: passes, or the whole of what was printed. Never: a panic, a raw trace, a half-written file or
//! data on standard output where there must be none; every case is checked for all of these.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use windrow_bench::TABLES;

/// What a command did.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn command(arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windrow"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("NO_COLOR", "1");
    command
}

fn run(arguments: &[String], input: &str) -> Ran {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    // A command that ends before it has read everything closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    finish(child)
}

fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
    for sign in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!ran.stdout.contains(sign) && !ran.stderr.contains(sign), "{ran:#?}");
    }
    ran
}

/// A folder of a test's own, and the tables that all tests read.
struct Place {
    here: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { here: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.here.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Words of a command line; `HERE` and `DATA` stand for the folders.
    fn arguments(&self, words: &[&str]) -> Vec<String> {
        let (here, data) = (self.here.path().to_str().unwrap(), data().to_str().unwrap());
        words.iter().map(|word| word.replace("HERE", here).replace("DATA", data)).collect()
    }

    fn run(&self, words: &[&str]) -> Ran {
        run(&self.arguments(words), "")
    }

    /// What a good command prints.
    fn prints(&self, words: &[&str]) -> String {
        self.prints_given(words, "")
    }

    fn prints_given(&self, words: &[&str], input: &str) -> String {
        let ran = run(&self.arguments(words), input);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{words:?}: {ran:#?}");
        ran.stdout
    }

    /// All files below the folder.
    fn files(&self) -> BTreeSet<PathBuf> {
        fn walk(folder: &Path, files: &mut BTreeSet<PathBuf>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, files);
                } else {
                    files.insert(path);
                }
            }
        }
        let mut files = BTreeSet::new();
        walk(self.here.path(), &mut files);
        files
    }
}

/// TPC-H at scale 0.01, made by the command once.
fn data() -> &'static Path {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-tpch");
        let out = data.to_str().unwrap().to_owned();
        let words = ["gen", "tpch", "--scale", "0.01", "--overwrite", "--out"];
        let arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).chain([out]).collect();
        let ran = run(&arguments, "");
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        assert_eq!(ran.stdout.lines().count(), 8, "{ran:#?}");
        data
    })
}

/// A command that must fail: its exit code, and what standard error must say.
struct Bad {
    words: &'static [&'static str],
    code: i32,
    says: &'static [&'static str],
}

const fn bad(words: &'static [&'static str], code: i32, says: &'static [&'static str]) -> Bad {
    Bad { words, code, says }
}

const DISTINCT: &str = "select l_linestatus, count(distinct l_comment), count(distinct l_orderkey), count(distinct l_extendedprice), \
                        count(distinct l_partkey), sum(l_quantity) from 'DATA/lineitem.parquet' group by 1";
const BIG: &str = "select l_orderkey, l_linenumber, l_comment, count(*) as n from 'DATA/lineitem.parquet' \
                   group by l_orderkey, l_linenumber, l_comment order by n limit 3";
const BIG_JOIN: &str = "select max(b.l_comment), max(b.l_shipinstruct), max(b.l_shipmode), max(b.l_tax), max(b.l_quantity) \
                        from 'DATA/lineitem.parquet' a join 'DATA/lineitem.parquet' b on a.l_orderkey = b.l_orderkey";
const BIG_SORT: &str = "select count(*), min(l_comment), max(l_comment), sum(l_partkey) from \
                        (select * from 'DATA/lineitem.parquet' order by l_comment, l_partkey limit 50000 offset 100)";

const BAD: &[Bad] = &[
    // Files that are not there, or not what they must be.
    bad(
        &["sql", "-c", "select * from 'HERE/none.parquet'"],
        1,
        &["error: ", "none.parquet", " --> -c:1:15", "^^^", "No such file"],
    ),
    bad(&["sql", "--table", "t=HERE/none.parquet", "-c", "select 1"], 1, &["error: ", "none.parquet", "No such file"]),
    bad(&["sql", "-f", "HERE/none.sql"], 1, &["error: reading ", "none.sql", "caused by: No such file"]),
    bad(&["sql", "-c", "select * from 'HERE/none/*.parquet'"], 1, &["error: ", "none/*.parquet"]),
    bad(&["sql", "-c", "select * from 'HERE/folder'"], 1, &["error: ", "folder"]),
    bad(&["sql", "-c", "select * from 'HERE/notes.md'"], 1, &["error: ", "notes.md", "hint: "]),
    bad(&["sql", "-c", "select * from 'HERE/empty.parquet'"], 6, &["error: ", "empty.parquet"]),
    bad(&["sql", "-c", "select * from 'HERE/empty.csv'"], 6, &["error: ", "empty.csv"]),
    bad(
        &["sql", "-c", "select sum(b) from 'HERE/late.csv'"],
        6,
        &["late.csv", "line 1200004", "`x` in column b", "Int64"],
    ),
    bad(&["sql", "-c", "select * from 'HERE/empty.jsonl'"], 6, &["error: ", "empty.jsonl", "no object with a key"]),
    bad(&["sql", "-c", "select * from 'HERE/array.json'"], 6, &["error: ", "array.json", "one array", "hint: ", "jq"]),
    bad(&["sql", "-c", "select * from 'HERE/broken.jsonl'"], 6, &["error: ", "broken.jsonl", "line 2", "a colon"]),
    bad(
        &["sql", "-c", "select sum(n) from 'HERE/late.jsonl'"],
        6,
        &["late.jsonl", "line 20002", "`0.5` in column n", "Int64"],
    ),
    bad(&["sql", "-c", "select * from 'HERE/truncated.parquet'"], 6, &["error: ", "truncated.parquet"]),
    bad(&["sql", "-c", "select * from 'HERE/footer.parquet'"], 6, &["error: ", "footer.parquet"]),
    bad(&["sql", "-c", "select * from 'HERE/footer_length.parquet'"], 6, &["error: ", "footer_length.parquet"]),
    bad(&["sql", "-c", "select * from 'HERE/page.parquet'"], 6, &["error: ", "page.parquet"]),
    bad(&["sql", "-c", "select * from 'HERE/text.parquet'"], 6, &["error: ", "text.parquet"]),
    bad(&["sql", "-f", "HERE/binary.sql"], 1, &["error: reading ", "binary.sql"]),
    // SQL that does not bind, with the place and what may have been meant.
    bad(&["sql", "-c", "select * from nothing"], 1, &["error: ", "nothing", " --> -c:1:15", "^^^^^^^"]),
    bad(
        &["sql", "--table", "lineitem=DATA/lineitem.parquet", "-c", "select * from lineitm"],
        1,
        &["^^^^^^^", "did you mean lineitem?"],
    ),
    bad(&["sql", "-c", "select n_nam from 'DATA/nation.parquet'"], 1, &[" --> -c:1:8", "^^^^^", "did you mean n_name"]),
    bad(&["sql", "-c", "select coutn(*) from 'DATA/nation.parquet'"], 1, &[" --> -c:1:8", "^^^^^", "count"]),
    bad(&["sql", "-c", "selec 1"], 1, &["error: ", " --> -c:1:1", "^^^^^"]),
    bad(&["sql", "-c", "select 1 from where"], 1, &["error: ", " --> -c:1:"]),
    bad(&["sql", "-c", "select (1"], 1, &["error: ", " --> -c:1:"]),
    bad(&["sql", "-c", "select 'open"], 1, &["error: ", " --> -c:1:8"]),
    bad(&["sql", "-c", "select n_name, count(*) from 'DATA/nation.parquet'"], 1, &["error: ", "n_name"]),
    bad(&["sql", "-c", "select n_name + 1 from 'DATA/nation.parquet'"], 1, &["error: "]),
    bad(&["sql", "-c", "select 1 / 0"], 1, &["error: ", "zero"]),
    bad(&["sql", "-c", "select n_nationkey / (n_nationkey - 3) from 'DATA/nation.parquet'"], 1, &["error: ", "zero"]),
    // Valid SQL that is not supported, named, with its place.
    bad(
        &["sql", "-c", "select distinct on (n_regionkey) n_name from 'DATA/nation.parquet'"],
        1,
        &["DISTINCT ON", "not supported", " --> -c:1:17", "^^"],
    ),
    bad(&["sql", "-c", "create table t (a int)"], 1, &["CREATE", "not supported", " --> -c:1:1"]),
    bad(&["sql", "-c", "insert into t values (1)"], 1, &["INSERT", "not supported", " --> -c:1:1"]),
    // Over budget, by what cannot spill: who asked, and what to do. On one thread, so that the operator and not its scan asks last.
    bad(
        &["sql", "--threads", "1", "--memory", "6MiB", "-c", DISTINCT],
        5,
        &["error: ", "aggregat", "6.0 MiB", "--memory"],
    ),
    bad(
        &["sql", "--threads", "1", "--memory", "6MiB", "-c", "select * from 'DATA/lineitem.parquet'"],
        5,
        &["error: ", "answer", "6.0 MiB", "--memory"],
    ),
    // Outputs.
    bad(
        &["gen", "text", "--size", "10", "--out", "HERE/there.txt"],
        1,
        &["there.txt", "exists already", "hint: --overwrite"],
    ),
    bad(
        &["gen", "tpch", "--scale", "0.001", "--out", "HERE/there"],
        1,
        &["nation.parquet", "exists already", "hint: --overwrite"],
    ),
    bad(
        &["gen", "groups", "--rows", "10", "--keys", "2", "--out", "HERE/there.txt"],
        1,
        &["there.txt", "exists already", "hint: --overwrite"],
    ),
    bad(&["gen", "text", "--size", "10", "--out", "HERE/there.txt/words.txt"], 1, &["error: ", "caused by: "]),
    bad(&["gen", "text", "--size", "10", "--out", "/proc/none/words.txt"], 1, &["error: ", "caused by: "]),
    bad(&["gen", "tpch", "--scale", "0.001", "--out", "HERE/there.txt/tpch"], 1, &["error: ", "caused by: "]),
    bad(&["bench", "tpch", "--input", "DATA", "--results", "HERE/there.txt/answers"], 1, &["error: ", "caused by: "]),
    bad(&["bench", "tpch", "--input", "HERE/none"], 1, &["error: ", "none"]),
    bad(&["bench", "wordcount", "--input", "HERE/none.txt", "--json"], 1, &["error: ", "none.txt"]),
    // Wrong usage.
    bad(&[], 2, &["Usage: "]),
    bad(&["sq"], 2, &["'sql'"]),
    bad(&["sql", "--nope"], 2, &["--nope"]),
    bad(&["sql", "--format", "xml"], 2, &["xml", "table", "csv", "json"]),
    bad(&["sql", "--memory", "lots"], 2, &["lots", "100MiB"]),
    bad(&["sql", "--memory", "4Q"], 2, &["4Q", "unit"]),
    bad(&["sql", "--memory", "64KB"], 2, &["memory"]),
    bad(&["sql", "--threads", "0"], 2, &["threads"]),
    bad(&["sql", "--threads", "many"], 2, &["many"]),
    bad(&["sql", "--table", "lineitem"], 2, &["NAME=PATH"]),
    bad(&["gen", "tpch", "--scale", "-1", "--out", "HERE/x"], 2, &[]),
    bad(&["gen", "tpch", "--scale", "nan", "--out", "HERE/x"], 2, &["scale"]),
    bad(&["gen", "tpch", "--scale", "1", "--threads", "0", "--out", "HERE/x"], 2, &["threads"]),
    bad(&["gen", "text", "--out", "HERE/x"], 2, &["--size"]),
    bad(&["gen", "groups", "--rows", "10", "--out", "HERE/x"], 2, &["--keys"]),
    bad(&["gen", "groups", "--rows", "1.5", "--keys", "1", "--out", "HERE/x"], 2, &["1.5", "whole number"]),
    bad(&["gen", "groups", "--rows", "10", "--keys", "0", "--out", "HERE/x"], 2, &["0 different keys"]),
    bad(&["gen", "groups", "--rows", "10", "--keys", "1", "--type", "i8", "--out", "HERE/x"], 2, &["u64", "string"]),
    bad(&["bench", "tpch"], 2, &["--input", "--scale"]),
    bad(&["bench", "tpch", "--input", "DATA", "--scale", "1"], 2, &["--input", "--scale"]),
    bad(&["bench", "tpch", "--input", "DATA", "--query", "23"], 2, &["1 to 22"]),
    bad(&["bench", "tpch", "--input", "DATA", "--runs", "0"], 2, &["--runs"]),
    bad(&["bench", "wordcount"], 2, &["--input", "--size"]),
];

#[test]
fn what_memory_does_not_hold_goes_to_the_folder_that_is_named() {
    let place = Place::new();
    place.write("spill/not ours", "");
    let only_theirs = || assert_eq!(place.files(), BTreeSet::from([place.path("spill/not ours")]));
    for (query, memory) in [(BIG, "6MiB"), (BIG_JOIN, "4MiB"), (BIG_SORT, "8MiB")] {
        let expected = place.prints(&["sql", "-c", query]);
        for threads in ["1", "3"] {
            let spilling = ["sql", "--threads", threads, "--memory", memory, "--spill", "HERE/spill"];
            assert_eq!(place.prints(&[&spilling[..], &["-c", query]].concat()), expected);
            only_theirs();

            // The disk takes but 64 KiB a file: it is named, with what to do, and nothing stays on it.
            let limit = ["-c", "trap '' XFSZ && ulimit -f 128 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_windrow")];
            let mut command = Command::new("sh");
            command.args(limit).args(place.arguments(&spilling)).args(place.arguments(&["-c", query]));
            let ran = finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(5), ""), "{ran:#?}");
            for part in ["error: ", "memory does not hold", &place.path("spill").to_string_lossy(), "large", "--spill"]
            {
                assert!(ran.stderr.contains(part), "no {part:?} in {ran:#?}");
            }
            only_theirs();
        }
        // A folder that is none is passed over; without another it is told.
        let words = ["sql", "--memory", memory, "--spill", "HERE/spill/not ours"];
        let ran = place.run(&[&words[..], &["-c", query]].concat());
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(ran.stderr.contains("not ours") && ran.stderr.contains("--spill"), "{ran:#?}");
        place.prints(&[&words[..], &["--spill", "HERE/spill", "-c", query]].concat());
        only_theirs();
    }
}

/// `bytes` with the bits of `mask` flipped in one of them.
fn flipped(bytes: &[u8], at: usize, mask: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= mask;
    bytes
}

/// Where a Parquet file's footer begins.
fn footer_start(bytes: &[u8]) -> usize {
    let length = bytes.len() - 8;
    length - u32::from_le_bytes(bytes[length..length + 4].try_into().unwrap()) as usize
}

#[test]
fn bad_input_is_told_with_its_exit_code() {
    let place = Place::new();
    let nation = fs::read(data().join("nation.parquet")).unwrap();
    let length = nation.len();
    for (name, bytes) in [
        ("empty.parquet", Vec::new()),
        ("empty.csv", Vec::new()),
        // Some splits behind the rows that tell the columns; the newlines in quotes are lines, too.
        ("late.csv", [b"a,b\n".to_vec(), b"\"\n,\",12345678\n".repeat(600_001), b"y,x\n".to_vec()].concat()),
        ("empty.jsonl", Vec::new()),
        ("array.json", b"[\n{\"n\": 1}\n]\n".to_vec()),
        ("broken.jsonl", b"{\"n\": 1}\n{\"n\" 2}\n".to_vec()),
        // One row more than those that tell the columns.
        ("late.jsonl", [b"{\"n\":1}\n".repeat(20_001), b"{\"n\":0.5}".to_vec()].concat()),
        ("truncated.parquet", nation[..length / 2].to_vec()),
        ("footer.parquet", flipped(&nation, footer_start(&nation), 0xFF)),
        ("footer_length.parquet", flipped(&nation, length - 5, 0x80)),
        // The first page's header stands behind the four magic bytes.
        ("page.parquet", flipped(&nation, 4, 0xFF)),
        ("text.parquet", b"to be or not to be, that is no Parquet file".to_vec()),
        ("notes.md", b"# notes".to_vec()),
        ("binary.sql", vec![0xFF, 0xFE, 0x00]),
        ("there.txt", b"do not touch".to_vec()),
        ("there/nation.parquet", b"do not touch".to_vec()),
    ] {
        place.write(name, bytes);
    }
    fs::create_dir(place.path("folder")).unwrap();

    let before = place.files();
    let mut failures = Vec::new();
    for Bad { words, code, says } in BAD {
        let ran = place.run(words);
        let missing: Vec<_> = says.iter().filter(|text| !ran.stderr.contains(**text)).collect();
        let is_head_only = words.contains(&"bench") && ran.stdout.lines().count() <= 1;
        if ran.code != Some(*code) || !missing.is_empty() || !(ran.stdout.is_empty() || is_head_only) {
            failures.push(format!("{words:?}: exit code {code} expected, {missing:?} not said\n{ran:#?}"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), BAD.len(), failures.join("\n"));
    assert_eq!(place.files(), before);
    assert_eq!(fs::read(place.path("there.txt")).unwrap(), b"do not touch");
    assert_eq!(fs::read(place.path("there/nation.parquet")).unwrap(), b"do not touch");
}

#[test]
fn a_flipped_bit_anywhere_in_a_parquet_file_is_no_bug_of_ours() {
    let place = Place::new();
    let region = fs::read(data().join("region.parquet")).unwrap();
    let mut codes = BTreeSet::new();
    // Spread over the pages and the footer; prime steps, so that all fields of repeated structures are met.
    let footer = footer_start(&region);
    let places = (4..footer).step_by(13).chain((footer..region.len()).step_by(29));
    for (number, at) in places.enumerate() {
        place.write("region.parquet", flipped(&region, at, 1 << (number % 8)));
        let ran =
            place.run(&["sql", "--threads", "1", "--memory", "1GiB", "-c", "select * from 'HERE/region.parquet'"]);
        // What no checksum covers may be read as another value; all else is an error of the file or of a limit.
        assert!(matches!(ran.code, Some(0 | 1 | 5 | 6)), "byte {at}: {ran:#?}");
        codes.extend(ran.code);
    }
    assert!(codes.contains(&6), "{codes:?}");
}

#[test]
fn places_are_those_of_the_script() {
    let place = Place::new();
    place.write(
        "report.sql",
        "-- a report\nselect 1 as one;\n\nselect n_name,\n       n_rank\nfrom 'DATA/nation.parquet';\n"
            .replace("DATA", data().to_str().unwrap()),
    );
    let ran = place.run(&["sql", "-f", "HERE/report.sql"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), "one\n1\n"), "{ran:#?}");
    for text in ["report.sql:5:8", "5 |        n_rank", "|        ^^^^^^"] {
        assert!(ran.stderr.contains(text), "{text:?} in {ran:#?}");
    }
    let ran = run(&place.arguments(&["sql"]), "select 1 +\n");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("standard input:"), "{ran:#?}");
}

#[test]
fn answers_as_csv_json_and_table() {
    let place = Place::new();
    let query = "select 1 as n, null as nothing, 'a \"b\", c' as t, date '2020-02-29' as d, cast(1.5 as decimal(5,2)) as x, \
                 cast(0.1 as double) as f, true as b union all select 22, null, 'é' || chr(10), null, cast(100 as decimal(5,2)), cast('1e300' as double), false order by n";
    let csv = "n,nothing,t,d,x,f,b\n1,,\"a \"\"b\"\", c\",2020-02-29,1.50,0.1,true\n22,,\"é\n\",,100.00,1e300,false\n";
    // Piped, CSV is the default.
    assert_eq!(place.prints(&["sql", "-c", query]), csv);
    assert_eq!(place.prints(&["sql", "--format", "csv", "-c", query]), csv);

    let json = "\
{\"n\":1,\"nothing\":null,\"t\":\"a \\\"b\\\", c\",\"d\":\"2020-02-29\",\"x\":1.50,\"f\":0.1,\"b\":true}
{\"n\":22,\"nothing\":null,\"t\":\"é\\n\",\"d\":null,\"x\":100.00,\"f\":1.0e300,\"b\":false}
";
    assert_eq!(place.prints(&["sql", "--format", "json", "-c", query]), json);

    let table = "\
┌────────┬─────────┬──────────┬────────────┬──────────────┬────────┬─────────┐
│      n │ nothing │ t        │ d          │            x │      f │ b       │
│ bigint │ null    │ text     │ date       │ decimal(5,2) │ double │ boolean │
├────────┼─────────┼──────────┼────────────┼──────────────┼────────┼─────────┤
│      1 │ NULL    │ a \"b\", c │ 2020-02-29 │         1.50 │    0.1 │ true    │
│     22 │ NULL    │ é\\n      │ NULL       │       100.00 │  1e300 │ false   │
└────────┴─────────┴──────────┴────────────┴──────────────┴────────┴─────────┘
";
    assert_eq!(place.prints(&["sql", "--format", "table", "-c", query]), table);
}

#[test]
fn an_answer_without_rows_still_has_its_columns() {
    let place = Place::new();
    let query = "select n_name, n_nationkey from 'DATA/nation.parquet' where n_nationkey < 0";
    assert_eq!(place.prints(&["sql", "-c", query]), "n_name,n_nationkey\n");
    assert_eq!(place.prints(&["sql", "--format", "json", "-c", query]), "");
    assert!(place.prints(&["sql", "--format", "table", "-c", query]).ends_with("┘\n0 rows\n"));
}

#[test]
fn tables_are_files_folders_patterns_and_names() {
    let place = Place::new();
    for (name, text) in [
        ("parts/a.csv", "n,word\n1,one\n2,\n"),
        ("parts/b.csv", "n,word\n3,\"th\"\"ree\"\n"),
        ("words.txt", "to be\nor not\n"),
        ("lines/a.jsonl", "{\"n\": 1, \"word\": \"one\"}\n\n{\"word\": null, \"x\": 0.5, \"n\": 2}\n"),
        ("lines/b.ndjson", "{\"ok\":true,\"n\":3,\"word\":\"th\\\"ree \\u00e9\",\"list\":[1,{\"a\":2}]}"),
    ] {
        place.write(name, text);
    }
    for (words, expected) in [
        (&["sql", "-c", "select 1 as one"] as &[&str], "one\n1\n"),
        (&["sql", "-c", "select count(*) as n from 'DATA/lineitem.parquet'"], "n\n60175\n"),
        (&["sql", "-c", "select * from 'HERE/parts/a.csv' order by n"], "n,word\n1,one\n2,\n"),
        (&["sql", "-c", "select count(*) as n, sum(n) as s from 'HERE/parts'"], "n,s\n3,6\n"),
        (&["sql", "-c", "select max(word) as w from 'HERE/parts/*.csv'"], "w\n\"th\"\"ree\"\n"),
        (&["sql", "-c", "select count(*) as lines from 'HERE/words.txt'"], "lines\n2\n"),
        (&["sql", "-c", "select x, n from 'HERE/lines/a.jsonl' where n > 1"], "x,n\n0.5,2\n"),
        (&["sql", "-c", "select count(*) as n, sum(n) as s, count(word) as w from 'HERE/lines'"], "n,s,w\n3,6,2\n"),
        (
            &["sql", "-c", "select * from 'HERE/lines/*' where ok or n = 1 order by n"],
            "n,word,x,ok,list\n1,one,,,\n3,\"th\"\"ree é\",,true,\"[1,{\"\"a\"\":2}]\"\n",
        ),
        (
            &[
                "sql",
                "--table",
                "p=HERE/parts",
                "--table",
                "n=DATA/nation.parquet",
                "-c",
                "select n_name, word from n join p on n_nationkey = p.n order by 1",
            ],
            "n_name,word\nARGENTINA,one\nBRAZIL,\nCANADA,\"th\"\"ree\"\n",
        ),
        (
            &[
                "sql",
                "--threads",
                "1",
                "--memory",
                "100MiB",
                "--rows-per-morsel",
                "7",
                "-c",
                "select sum(l_quantity) as q from 'DATA/lineitem.parquet'",
            ],
            "q\n1536127.00\n",
        ),
        // Several statements, in the order of the command line.
        (&["sql", "-c", "select 1 as a; select 2 as b;", "-c", "select 3 as c"], "a\n1\nb\n2\nc\n3\n"),
        (&["sql", "-c", ""], ""),
    ] {
        assert_eq!(place.prints(words), expected, "{words:?}");
    }
    place.write("two.sql", "select 2 as b -- the second\n;");
    assert_eq!(
        place.prints(&["sql", "-c", "select 1 as a", "-f", "HERE/two.sql", "-c", "select 3 as c"]),
        "a\n1\nb\n2\nc\n3\n"
    );
    let script = "/* from a pipe */ select ';' as a;\n\nselect 2\n as b;\n";
    assert_eq!(place.prints_given(&["sql"], script), "a\n;\nb\n2\n");
}

#[test]
fn explain_shows_the_pipelines() {
    let plan = Place::new().prints(&[
        "sql",
        "-c",
        "explain select l_shipmode, count(*) from 'DATA/lineitem.parquet' group by 1 order by 1",
    ]);
    for text in ["stage 0", "pipeline 0", "scan lineitem", "aggregate", "pipeline 1, after 0", "sort"] {
        assert!(plan.contains(text), "{text:?} in\n{plan}");
    }
}

#[test]
fn a_profile_tells_what_each_step_did() {
    let place = Place::new();
    let query = "select o_orderpriority, count(*) from 'DATA/lineitem.parquet' join 'DATA/orders.parquet' on l_orderkey = o_orderkey \
                 where o_orderdate < date '1993-01-01' and l_quantity < 20 group by 1 order by 1";
    let answer = place.prints(&["sql", "-c", query]);
    let count = |query: &str| place.prints(&["sql", "-c", query]).lines().nth(1).unwrap().parse::<u64>().unwrap();
    let all = count("select count(*) from 'DATA/lineitem.parquet'");
    let few = count("select count(*) from 'DATA/lineitem.parquet' where l_quantity < 20");
    let orders = count("select count(*) from 'DATA/orders.parquet' where o_orderdate < date '1993-01-01'");
    let joined: u64 = answer.lines().skip(1).map(|line| line.split_once(',').unwrap().1.parse::<u64>().unwrap()).sum();

    let words = ["sql", "--threads", "2", "--profile", "HERE/q.json", "-c", query, "-c", "select 1"];
    assert_eq!(place.prints(&words), format!("{answer}1\n1\n"));
    let json: serde_json::Value = serde_json::from_slice(&fs::read(place.path("q.json")).unwrap()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    let profile = &json[0]["profile"];
    let steps: Vec<&serde_json::Value> =
        profile["pipelines"].as_array().unwrap().iter().flat_map(|p| p["steps"].as_array().unwrap()).collect();
    let rows = |name: &str| {
        let step = steps.iter().find(|step| step["name"].as_str().unwrap().starts_with(name));
        step.unwrap_or_else(|| panic!("{name}: {json:#}"))["rows"].as_u64().unwrap()
    };
    assert_eq!((rows("scan orders"), rows("build hash join"), rows("from sort")), (orders, orders, 5));
    assert_eq!(rows("into aggregate"), joined);
    let seconds = |value: &serde_json::Value| value["seconds"].as_f64().unwrap();
    let busy: f64 = steps.iter().map(|step| seconds(step)).sum();
    assert!(busy > 0.0 && busy <= 2.0 * seconds(profile), "{busy}: {json:#}");
    // The conditions, then the keys of the orders: bits, so that only rows with a partner are left.
    let tests: Vec<serde_json::Value> =
        profile["pipelines"].as_array().unwrap().iter().map(|p| p["tests"].clone()).collect();
    assert!(tests.contains(&serde_json::json!([[all, few], [few, joined]])), "{tests:?}");
    let held: u64 =
        profile["pipelines"].as_array().unwrap().iter().map(|p| p["peak_bytes"].as_u64().unwrap()).max().unwrap();
    assert!(held >= orders * 8, "{json:#}");
    let svg = fs::read_to_string(place.path("q.json.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("scan lineitem") && svg.ends_with("</svg>\n"), "{svg}");

    let plan = place.prints(&["sql", "--threads", "2", "-c", &format!("explain analyze {query}")]);
    for text in ["of it not on all threads", &format!("kept {few} of {all} rows"), "bytes held", "ran in"] {
        assert!(plan.contains(text), "{text:?} in\n{plan}");
    }
    let spilling = ["sql", "--memory", "8MiB", "--profile", "HERE/s.json", "-c", BIG_SORT];
    place.prints(&spilling);
    let json: serde_json::Value = serde_json::from_slice(&fs::read(place.path("s.json")).unwrap()).unwrap();
    let pipelines = json[0]["profile"]["pipelines"].as_array().unwrap();
    let spilled: u64 = pipelines.iter().map(|pipeline| pipeline["spilled_bytes"].as_u64().unwrap()).sum();
    assert!(spilled > 100_000, "{json:#}");
    let ran = place.run(&["sql", "--profile", "HERE/no/q.json", "-c", "select 1"]);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("writing the profile") && ran.code == Some(1), "{ran:#?}");
}

#[test]
fn help_fits_a_screen_and_has_examples() {
    let place = Place::new();
    for words in [
        &["--help"] as &[&str],
        &["sql", "--help"],
        &["gen", "tpch", "--help"],
        &["gen", "groups", "--help"],
        &["gen", "dbbench", "--help"],
        &["bench", "tpch", "--help"],
        &["bench", "dbbench", "--help"],
        &["demo", "--help"],
    ] {
        let help = place.prints(words);
        assert!(help.lines().count() <= 45 && help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert!(!help.contains("rows-per-morsel"), "{help}");
    }
    assert!(place.prints(&["sql", "--help"]).contains("Examples:\n  windrow sql -c "));
    assert_eq!(place.prints(&["--version"]), format!("windrow {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn generating_twice_gives_the_same_bytes() {
    let place = Place::new();
    assert!(place.prints(&["gen", "text", "--size", "10KB", "--out", "HERE/a.txt"]).contains("10.0 kB"));
    let first = fs::read(place.path("a.txt")).unwrap();
    assert_eq!(first.len(), 10_000);
    place.write("a.txt", "other");
    place.prints(&["gen", "text", "--size", "10KB", "--out", "HERE/a.txt", "--overwrite"]);
    assert_eq!(fs::read(place.path("a.txt")).unwrap(), first);
    place.prints(&["gen", "text", "--size", "10KB", "--seed", "2", "--out", "HERE/b.txt"]);
    assert_ne!(fs::read(place.path("b.txt")).unwrap(), first);
    assert_eq!(place.files().len(), 2);
}

#[test]
fn generated_groups_are_as_many_as_asked_for() {
    let place = Place::new();
    for key_type in ["u64", "string"] {
        let words = [
            "gen",
            "groups",
            "--rows",
            "20K",
            "--keys",
            "3000",
            "--type",
            key_type,
            "--out",
            "HERE/g.parquet",
            "--overwrite",
        ];
        assert!(place.prints(&words).contains("20,000 rows"));
        let query = "select count(*) as groups, sum(n) as n, min(n) as least, max(n) as most from \
                     (select k, count(*) as n from 'HERE/g.parquet' group by k)";
        assert_eq!(place.prints(&["sql", "--format", "csv", "-c", query]), "groups,n,least,most\n3000,20000,6,7\n");
    }
}

#[test]
fn bench_replaces_its_results_and_prints_lines() {
    let place = Place::new();
    place.write("answers/q6.csv", "yesterday's");
    let words = [
        "bench",
        "tpch",
        "--input",
        "DATA",
        "--results",
        "HERE/answers",
        "--query",
        "6",
        "--query",
        "14",
        "--runs",
        "2",
    ];
    let lines = place.prints(&[&words[..], &["--json"]].concat());
    assert_eq!(lines.lines().count(), 4, "{lines}");
    for line in lines.lines() {
        for part in [
            "{\"workload\":\"tpch\",\"query\":\"q",
            "\"engine\":\"windrow\"",
            "\"workers\":1",
            "\"rows\":1,",
            "\"digest\":\"",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
    let answer = fs::read_to_string(place.path("answers/q6.csv")).unwrap();
    assert!(answer.starts_with("revenue\n") && answer.lines().count() == 2, "{answer}");
    assert_eq!(place.files().len(), 2);

    let table = place.prints(&words);
    assert_eq!(table.lines().count(), 1 + 4 + 2, "{table}");
    assert!(table.contains("tpch q14") && table.contains("sum of 2 queries, best of 2: "), "{table}");

    let line = place.prints(&["bench", "wordcount", "--size", "100KB", "--runs", "1", "--threads", "2", "--json"]);
    assert!(
        line.starts_with("{\"workload\":\"wordcount\",\"query\":null,") && line.contains("\"bytes_in\":100000,"),
        "{line}"
    );
}

#[test]
fn a_query_that_fails_does_not_leave_an_old_result() {
    let place = Place::new();
    for table in TABLES {
        let name = format!("{table}.parquet");
        place.write(&format!("tables/{name}"), fs::read(data().join(name)).unwrap());
    }
    let region = fs::read(place.path("tables/region.parquet")).unwrap();
    place.write("tables/region.parquet", flipped(&region, 4, 0xFF));
    place.write("answers/q5.csv", "yesterday's");
    let words =
        ["bench", "tpch", "--input", "HERE/tables", "--results", "HERE/answers", "--query", "5", "--query", "6"];
    let ran = place.run(&words);
    assert_eq!(ran.code, Some(6), "{ran:#?}");
    assert!(ran.stderr.contains("query 5 failed") && ran.stderr.contains("region.parquet"), "{ran:#?}");
    assert!(ran.stdout.contains("tpch q6") && !ran.stdout.contains("tpch q5"), "{ran:#?}");
    let answers: Vec<_> =
        fs::read_dir(place.path("answers")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(answers, ["q6.csv"]);
}

#[test]
fn the_demo_runs_and_cleans_up() {
    let place = Place::new();
    let mut command = command(&place.arguments(&["demo", "--scale", "0.01", "--text-size", "1MB", "--threads", "2"]));
    let ran = finish(command.env("TMPDIR", place.here.path()).spawn().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:#?}");
    for text in [
        "2 threads",
        "8 tables",
        "l_orderkey",
        "count_by_value",
        "│ word",
        "digest",
        "a coordinator and 2 workers",
        "The digests agree",
        "What to try next",
        "windrow bench",
    ] {
        assert!(ran.stdout.contains(text), "{text:?} in\n{}", ran.stdout);
    }
    assert_eq!(fs::read_dir(place.here.path()).unwrap().count(), 0);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let place = Place::new();
    for format in ["csv", "json", "table"] {
        let words = ["sql", "--format", format, "-c", "select * from 'DATA/lineitem.parquet'"];
        let mut child = command(&place.arguments(&words)).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let ran = finish(child);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{format}");
    }
}

/// Runs a command, sends it `signal` once it has worked for a while, and gives what came of it.
fn interrupted(place: &Place, words: &[&str], signal: &str) -> Ran {
    let child = command(&place.arguments(words)).env("TMPDIR", place.here.path()).spawn().unwrap();
    // Not by the clock: on a loaded machine it may not have begun after any time. In ticks of 10 ms.
    const WORKED_TICKS: u64 = 20;
    while processor_ticks(child.id()).expect("ended before it was interrupted") < WORKED_TICKS {
        std::thread::yield_now();
    }
    let sent = Instant::now();
    let kill = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let ran = finish(child);
    assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
    ran
}

/// Processor time of a process until now; none when it has ended.
fn processor_ticks(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let is_ended = fields.first()? == &"Z";
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    (!is_ended).then_some(ticks)
}

#[test]
#[cfg(target_os = "linux")]
fn signals_end_it_within_two_seconds() {
    let place = Place::new();
    let query = "select count(*) from 'DATA/lineitem.parquet' a, 'DATA/lineitem.parquet' b, 'DATA/orders.parquet' c \
                 where a.l_partkey + b.l_partkey + c.o_custkey = -1";
    for (words, signal, code) in [
        (&["sql", "-c", query] as &[&str], "INT", 130),
        (&["sql", "-c", query], "TERM", 143),
        (&["gen", "tpch", "--scale", "3", "--out", "HERE/tpch"], "INT", 130),
        (&["gen", "groups", "--rows", "1G", "--keys", "1M", "--out", "HERE/groups/g.parquet"], "INT", 130),
        (&["gen", "text", "--size", "100GB", "--out", "HERE/text/words.txt"], "TERM", 143),
        (&["bench", "wordcount", "--size", "200MB", "--runs", "1000"], "INT", 130),
        (&["demo", "--scale", "3"], "INT", 130),
    ] {
        let ran = interrupted(&place, words, signal);
        assert_eq!(ran.code, Some(code), "{words:?}: {ran:#?}");
        assert!(ran.stderr.contains("interrupted") || ran.stderr.contains("cancelled"), "{words:?}: {ran:#?}");
        assert_eq!(place.files(), BTreeSet::new(), "{words:?}");
    }
}

#[test]
fn errors_go_to_standard_error_without_colour_when_piped() {
    let place = Place::new();
    let mut command = command(&place.arguments(&["sql", "-c", "select x"]));
    let mut child = command.env_remove("NO_COLOR").spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    assert!(text.starts_with("error: ") && !text.contains('\u{1b}'), "{text:?}");
}
