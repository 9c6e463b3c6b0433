//! COPY on a cluster: the files of one process, in every format; what is there is replaced or added to; a full disk leaves nothing.
//!
//! In: tables at scale 0.1, small tasks. Out: passes, or says what differed. Never: something left beside an output.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use windrow::{Answer, Session, Settings};
use windrow_bench::TABLES;

use super::{
    bad_input::small_disk,
    place::{self, Cluster},
};

fn success(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path.join("_SUCCESS")).unwrap()).unwrap()
}

fn here(tables: &Path) -> Session {
    let session = Session::new(Settings { threads: 2, ..Settings::default() }).unwrap();
    for name in TABLES {
        session.register(name, tables.join(format!("{name}.parquet")).to_str().unwrap()).unwrap();
    }
    session
}

/// The digest of a query's rows.
fn digest(session: &Session, query: &str) -> String {
    let answer: Answer = session.query(query).unwrap_or_else(|error| panic!("{query}: {error:?}"));
    answer.digest().unwrap().to_string()
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_a_cluster_copies_is_what_one_process_copies() {
    let _machine = place::machine();
    let tables = place::tables();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let cluster = Cluster::start(2);
    let (away, here) = (cluster.session(tables.path()), here(tables.path()));
    let rows = "select l_orderkey, l_linenumber, l_returnflag, l_shipmode, l_extendedprice, l_shipdate, l_comment from lineitem \
        where l_orderkey % 7 = 3";
    let expected = digest(&here, rows);
    let mut paths: Vec<PathBuf> = Vec::new();
    for ending in ["parquet", "csv", "jsonl", "arrow"] {
        let path = folder.path().join(format!("out.{ending}"));
        let copy = format!("copy ({rows}) to '{}' partitioned by (l_returnflag, l_shipmode)", path.display());
        let answer = away.query(&copy).unwrap_or_else(|error| panic!("{copy}: {error:?}"));
        assert_eq!(answer.rows(), 1);
        let said = success(&path);
        assert_eq!(said["digest"], expected.as_str(), "{ending}");
        assert_eq!(names_in(&path), ["_SUCCESS", "l_returnflag=A", "l_returnflag=N", "l_returnflag=R"]);
        assert!(path.join("l_returnflag=A/l_shipmode=REG AIR").is_dir());
        // Read again on the cluster: the columns that are in the files, and all rows of them.
        let count = |rows: &str| {
            format!("select count(*), count(distinct l_orderkey), min(l_comment), max(l_shipdate) from {rows}")
        };
        let files = count(&format!("'{}/*/*/part-*.{ending}'", path.display()));
        let files =
            if ending == "jsonl" { files.replace("max(l_shipdate)", "max(cast(l_shipdate as date))") } else { files };
        assert_eq!(digest(&away, &files), digest(&here, &count(&format!("({rows})"))), "{ending}");
        // It is there now.
        let error = away.query(&copy).unwrap_err();
        assert!(error.to_string().contains("something is there already") && error.hint().is_some(), "{error:?}");
        paths.push(path);
    }
    // An output in the place of another, and one beside it.
    let path = folder.path().join("whole.arrow");
    let copy = |rows: &str, options: &str| format!("copy ({rows}) to '{}' {options}", path.display());
    for options in ["", "options (overwrite)", "options (append)", "options (append)"] {
        away.query(&copy(rows, options)).unwrap_or_else(|error| panic!("{options}: {error:?}"));
    }
    let thrice = format!("{rows} union all {rows} union all {rows}");
    let expected = digest(&here, &thrice);
    assert_eq!(success(&path)["digest"], expected.as_str());
    let all = format!("select * from '{}'", path.display());
    assert_eq!((digest(&away, &all), digest(&here, &all)), (expected.clone(), expected));
    let plan = away.query(&format!("explain {}", copy(rows, "options (overwrite)"))).unwrap();
    assert!(plan.rows() > 1);
    let analyzed =
        away.query(&format!("explain analyze {}", copy("select 1 as l_orderkey", "options (overwrite)"))).unwrap();
    assert!(analyzed.rows() > 1);
    assert_eq!(success(&path)["rows"], 1);
    let wrong = away.query("copy lineitem to 'x.csv' options (owerwrite)").unwrap_err();
    assert!(wrong.place().is_some() && wrong.hint().unwrap().contains("overwrite"), "{wrong:?}");
    // A job that fails leaves nothing.
    let never = folder.path().join("never.csv");
    let fails = format!("copy (select l_comment, 1 / (l_orderkey - 1) from lineitem) to '{}'", never.display());
    assert!(away.query(&fails).unwrap_err().is_user());
    let expected: Vec<String> =
        ["out.arrow", "out.csv", "out.jsonl", "out.parquet", "whole.arrow"].map(str::to_owned).into();
    place::eventually("nothing left behind", place::PATIENCE, || {
        let found = names_in(folder.path());
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn a_full_disk_under_an_output_leaves_what_was_there() {
    let _machine = place::machine();
    let tables = place::tables();
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (before, why) = small_disk(disk.path());
    let out = disk.path().join("out");
    let windrow = env!("CARGO_BIN_EXE_windrow");
    let lineitem = tables.path().join("lineitem.parquet");
    for format in ["parquet", "csv", "json", "arrow"] {
        let copy =
            |rows: &str, options: &str| format!("copy ({rows}) to '{}' stored as {format} {options}", out.display());
        let small = copy("select 1 as l_orderkey, 'x' as l_comment", "");
        let rows = format!("select l_orderkey, l_comment from '{}'", lineitem.display());
        // The disk goes with the shell that sees it: it tells what is there.
        let script = format!(
            "\"$0\" sql -c \"$1\" >&2; \"$0\" sql -c \"$2\" >&2; echo $?; \"$0\" sql -c \"$3\" >&2; echo $?; ls -A '{disk}'; cat '{disk}/out/_SUCCESS'; rm -r '{disk}/out'",
            disk = disk.path().display()
        );
        let overwrite = copy(&rows, "options (overwrite)");
        let append = copy(&rows, "options (append)");
        let mut command = Command::new(&before[0]);
        command.args(&before[1..]).args(["sh", "-c", &script, windrow, &small, &overwrite, &append]);
        let output = command.output().unwrap();
        let (said, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[..3], ["5", "5", "out"], "{format}: {said}{told}");
        assert!(lines[3].contains("\"rows\":1,"), "{format}: {said}{told}");
        assert_eq!(told.matches(why).count(), 2, "{format}: {said}{told}");
    }
}
