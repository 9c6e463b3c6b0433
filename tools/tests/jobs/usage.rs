//! What is wrong with a job, with an input that is to be made, with a flag: told with its exit code and what to do, before anything is done.
//!
//! In: commands. Out: passes, or what was printed. Never: a cluster.

use std::fs;

use crate::run;

#[test]
fn what_is_wrong_is_told() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::write(folder.path().join("text"), "a line\n").unwrap();
    fs::write(folder.path().join("packed.GZ"), "no text").unwrap();
    fs::create_dir(folder.path().join("other")).unwrap();
    fs::write(folder.path().join("other/text"), "another line\n").unwrap();
    let streaming = |more: &[&'static str]| {
        [&["submit", "streaming", "--input", "HERE/text", "--output", "HERE/out"], more].concat()
    };
    let reduced = |more: &[&'static str]| streaming(&[&["--mapper", "cat", "--reducer", "cat"], more].concat());
    let generated = |what, more: &[&'static str]| [&["gen", what, "--out", "HERE/out"], more].concat();
    let benched = |more: &[&'static str]| [&["bench"], more].concat();
    let same_name = ["--mapper", "cat", "--file", "HERE/text", "--file", "HERE/other/text"];
    let mut failures = Vec::new();
    for (words, code, says) in [
        (streaming(&["--mapper", "no-such-program"]), 1, ["the mapper", "hint: name its path"]),
        (streaming(&["--mapper", "cat", "--file", "HERE/none"]), 2, ["HERE/none", "hint: name one that is there"]),
        (streaming(&same_name), 2, ["has the same name", "hint: programs find a file by its name"]),
        (streaming(&["--mapper", "cat", "--separator", "ab"]), 2, ["error: ", "not one byte"]),
        (reduced(&["--key-order", "1x"]), 2, ["error: ", "hint: for example 1, 2nr"]),
        (reduced(&["--key-order", "99"]), 2, ["field 99: they have 1", "hint: fields are counted from 1"]),
        (reduced(&["--key-fields", "0"]), 2, ["a key of 0 fields", "hint: "]),
        (reduced(&["--partition-fields", "0"]), 2, ["by 0 fields of the key: it has 1", "hint: "]),
        (reduced(&["--partition-fields", "2"]), 2, ["by 2 fields of the key: it has 1", "hint: "]),
        (reduced(&["--reducers", "0"]), 2, ["making 0 parts: there can be 1 to ", "hint: "]),
        (streaming(&["--mapper", "cat", "--combiner", "cat"]), 2, ["there is no reducer", "hint: name a --reducer"]),
        (streaming(&["--mapper", "cat", "--cmdenv", "NAME"]), 2, ["error: ", "NAME=VALUE"]),
        (streaming(&["--mapper", "cat", "--input", "s3://b/t"]), 2, ["s3://b/t", "hint: copy it to this machine"]),
        (
            streaming(&["--mapper", "cat", "--input", "HERE/packed.GZ"]),
            1,
            ["packed.GZ as lines", "hint: unpack it first"],
        ),
        (streaming(&["--mapper", "cat 'quote"]), 2, ["a quote does not end", "hint: a program and its arguments"]),
        (streaming(&["--mapper", ""]), 2, ["the mapper \"\" is no command: it is empty", "hint: a program and"]),
        (reduced(&["--combiner", "'"]), 2, ["the combiner \"'\" is no command", "hint: a program and"]),
        (
            vec!["submit", "streaming", "--mapper", "cat", "--input", "HERE/text", "--output", "s3://b/o"],
            2,
            ["writing s3://b/o", "hint: write to this machine"],
        ),
        (streaming(&["--mapper", "cat", "--key-order", "1"]), 2, ["there is no reducer", "hint: name a --reducer"]),
        (streaming(&["--mapper", "cat", "--partition-fields", "1"]), 2, ["no reducer", "hint: name a --reducer"]),
        (streaming(&[]), 2, ["error: ", "--mapper"]),
        (vec!["submit"], 2, ["Usage", ""]),
        (vec!["submit", "HERE/no-program"], 1, ["No such file", "hint: a name without a slash"]),
        (vec!["submit", "HERE/text"], 1, ["Permission denied", "hint: `chmod +x"]),
        (vec!["submit", "sh", "-c", "exit 5"], 5, ["", ""]),
        (generated("graph", &["--scale", "0", "--edges", "9"]), 2, ["2^0 vertices", "1 to 32"]),
        (generated("graph", &["--scale", "33", "--edges", "9"]), 2, ["2^33 vertices", "1 to 32"]),
        (generated("points", &["--rows", "9", "--dimensions", "0"]), 2, ["0 dimensions", "it must be 1 to"]),
        (generated("points", &["--rows", "9", "--clusters", "0"]), 2, ["0 centres", "it must be 1 to"]),
        (generated("text", &["--size", "0"]), 2, ["--size", "1 byte at least"]),
        (benched(&["grep", "--pattern", "[", "--size", "1KB"]), 2, ["error: ", "\"[\""]),
        (benched(&["wordcount", "--size", "0"]), 2, ["--size", "1 byte at least"]),
        (
            benched(&["wordcount", "--size", "1KB", "--split-size", "0"]),
            2,
            ["--split-size", "splits of 0 bytes: they can have 1 to"],
        ),
        (vec!["sql", "--split-size", "2GiB", "-c", "select 1"], 2, ["--split-size", "splits of 2147483648 bytes"]),
        (benched(&["wordcount", "--input", "s3://b/t"]), 2, ["s3://b/t", "hint: copy it to this machine"]),
        (benched(&["wordcount", "--size", "1KB", "--rivals", "pig"]), 2, ["pig", "plain"]),
    ] {
        let ran = run(folder.path(), &words);
        let here = folder.path().to_str().unwrap();
        let is_said = says.iter().all(|says| ran.stderr.contains(&says.replace("HERE", here)));
        if ran.code != Some(code) || !is_said || !ran.stdout.is_empty() || folder.path().join("out").exists() {
            failures.push(format!("{words:?}, {code} and {says:?} expected: {ran:#?}"));
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn plain_programs_give_the_same_rows_beside() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for name in ["pagerank", "connectedcomponents", "kmeans"] {
        let words = ["bench", name, "--size", "300KB", "--runs", "2", "--threads", "2", "--rivals", "plain,plain"];
        let ran = run(folder.path(), &[&words[..], &["--json"]].concat());
        let lines: Vec<serde_json::Value> =
            ran.printed().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // Each is run once, and told before ours.
        let engines: Vec<&str> = lines.iter().map(|line| line["engine"].as_str().unwrap()).collect();
        assert_eq!(engines, ["plain", "plain", "windrow", "windrow"], "{ran:#?}");
        for (plain, ours) in lines[..2].iter().zip(&lines[2..]) {
            let same = |key: &str| plain[key] == ours[key];
            assert!(
                same("rows") && same("digest") && same("bytes_in") && plain["rows"].as_u64().unwrap() > 0,
                "{ran:#?}"
            );
            assert!(plain["seconds"].as_f64().unwrap() > 0.0 && plain["cpu_seconds"].is_f64(), "{ran:#?}");
            assert!(plain["rows_equal"] == true && ours["rows_equal"].is_null(), "{ran:#?}");
        }
        assert_eq!(lines[0]["threads"], if name == "kmeans" { 2 } else { 1 });
        let table = run(folder.path(), &words);
        assert_eq!(table.printed().matches("  rows equal\n").count(), 2, "{table:#?}");
    }
    // What has no rival says so, and runs.
    for (name, engine, why) in [
        ("wordcount", "plain", "without plain: there is no plain program for wordcount"),
        ("teragen", "plain", "without plain: teragen reads nothing"),
        ("grep", "duckdb", "without duckdb: there is no /no/python"),
    ] {
        let words = ["bench", name, "--size", "10KB", "--runs", "1", "--rivals", engine, "--python", "/no/python"];
        let ran = run(folder.path(), &words);
        assert!(ran.printed().contains("windrow") && ran.stderr.contains(why), "{ran:#?}");
    }
    // One that fails is told with the last that it said.
    let words = ["bench", "grep", "--size", "10KB", "--rivals", "polars", "--python", "/bin/false"];
    run(folder.path(), &words).fails(1, &["error: running polars beside: it ended with exit status: 1"]);
}
