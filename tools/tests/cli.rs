//! The command as its users see it: what it prints where, and with which exit code it ends.
//!
//! In: the binary, tables made by it. Out: passes, or the whole of what was printed. Never: a panic, a raw trace, a half-written file or
//! data on standard output where there must be none; every case is checked for all of these.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cli/bad_input.rs"]
mod bad_input; // exit codes, and what is said
#[path = "cli/ends.rs"]
mod ends; // closed pipes, signals
#[path = "cli/made.rs"]
mod made; // gen, bench, demo

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

/// A sort that little memory does not hold.
const BIG_SORT: &str = "select count(*), min(l_comment), max(l_comment), sum(l_partkey) from \
                        (select * from 'DATA/lineitem.parquet' order by l_comment, l_partkey limit 50000 offset 100)";

/// `bytes` with the bits of `mask` flipped in one of them.
fn flipped(bytes: &[u8], at: usize, mask: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= mask;
    bytes
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
