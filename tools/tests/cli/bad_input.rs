//! What is wrong with words, statements, files and folders: the exit code, and what standard error says.

use super::*;

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
    bad(
        &["bench", "shuffle", "--input", "DATA/nation.parquet", "--hash-columns", "0,4"],
        1,
        &["error: splitting rows by the hash of column 4", "4 columns"],
    ),
    bad(
        &["bench", "shuffle", "--input", "HERE/header.csv"],
        1,
        &["error: splitting the rows of", "header.csv", "none"],
    ),
    bad(&["bench", "shuffle", "--input", "DATA/nation.parquet", "--partitions", "4097"], 2, &["4097", "1..=4096"]),
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
        ("header.csv", b"a,b\n".to_vec()),
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
