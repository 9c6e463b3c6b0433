//! `windrow submit`: streaming jobs here and on a cluster, and what is wrong with a job.
//!
//! In: texts made here, programs of every system. Out: passes, or what was printed. Never: an output of a job that failed.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

use crate::place::{self, Cluster, Ran};

/// Runs a command; `HERE` in its words stands for the folder.
fn run(here: &Path, words: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windrow"));
    command.args(words.iter().map(|word| word.replace("HERE", here.to_str().unwrap())));
    Cluster::prepare_pipes(&mut command);
    command.env("WINDROW_STATE_DIR", here.join("state")).env_remove("WINDROW_LOG");
    place::spawn(command).end()
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(ran.printed()).unwrap_or_else(|error| panic!("{error}: {ran:#?}"))
}

#[test]
fn a_streaming_job_gives_the_same_here_and_on_a_cluster() {
    let _machine = place::machine();
    let cluster = Cluster::start(2);
    let here = cluster.here();
    run(here, &["gen", "text", "--size", "2MiB", "--seed", "3", "--out", "HERE/text"]).printed();
    let words = r#"sh -c 'tr -s " " "\n" | sed "/^$/d; s/$/\t1/"; echo reporter:counter:my,lives,1 >&2'"#;
    let sums = r#"sh -c 'awk -F "\t" "{ n[\$1] += \$2 } END { for (k in n) print k FS n[k] }"'"#;
    let streaming = |out: &str, more: &[&str]| {
        let words = ["submit", "streaming", "--mapper", words, "--reducer", sums, "--combiner", sums, "--json"];
        let paths = ["--input", "HERE/text", "--reducers", "5", "--output", out];
        run(here, &[&words[..], &paths, more].concat())
    };
    let (one, other) = (json(&streaming("HERE/here", &[])), json(&streaming("HERE/there", &["--cluster", "local"])));
    assert_eq!((&one["digest"], &one["rows"]), (&other["digest"], &other["rows"]), "{one} {other}");
    assert!(one["rows"].as_u64().unwrap() > 100 && one["counters"]["my.lives"].as_u64().unwrap() > 0, "{one}");
    let counted = run(here, &["sql", "--format", "json", "-c", "select count(*) as n from 'HERE/there/*.txt'"]);
    assert!(counted.stdout.contains(&format!("{}", one["rows"])), "{counted:#?}");
    let text = fs::read_to_string(here.join("text")).unwrap();
    assert_eq!(
        one["rows"].as_u64().unwrap() as usize,
        text.split(' ').flat_map(str::lines).filter(|word| !word.is_empty()).collect::<BTreeSet<_>>().len()
    );
    // What a program says at its end comes from there.
    let failed = streaming("HERE/none", &["--cluster", "local", "--reducer", "sh -c 'echo I am broken >&2; exit 9'"]);
    assert_eq!(failed.code, Some(2), "{failed:#?}");
    let broken =
        ["submit", "streaming", "--input", "HERE/text", "--output", "HERE/none", "--cluster", "local", "--mapper"];
    let failed = run(here, &[&broken[..], &["sh -c 'echo I am broken >&2; exit 9'"]].concat());
    assert!(failed.code == Some(1) && failed.stderr.contains("I am broken"), "{failed:#?}");
    assert!(!here.join("none").exists());
}

#[test]
fn what_is_wrong_with_a_submitted_job_is_told() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::write(folder.path().join("text"), "a line\n").unwrap();
    let streaming = |more: &[&'static str]| {
        [&["submit", "streaming", "--input", "HERE/text", "--output", "HERE/out"], more].concat()
    };
    for (words, code, says) in [
        (streaming(&["--mapper", "no-such-program"]), 1, "hint: name its path"),
        (streaming(&["--mapper", "cat", "--file", "HERE/none"]), 1, "No such file"),
        (streaming(&["--mapper", "cat", "--separator", "ab"]), 2, "not one byte"),
        (streaming(&["--mapper", "cat", "--reducer", "cat", "--key-order", "1x"]), 2, "hint: for example 1, 2nr"),
        (streaming(&["--mapper", "cat", "--cmdenv", "NAME"]), 2, "NAME=VALUE"),
        (streaming(&["--mapper", "cat 'quote"]), 1, "a quote does not end"),
        (streaming(&["--mapper", "cat", "--reducer", "cat", "--reducers", "0"]), 1, "making 0 parts"),
        (streaming(&[]), 2, "--mapper"),
        (vec!["submit"], 2, "Usage"),
        (vec!["submit", "HERE/no-program"], 1, "No such file"),
        (vec!["submit", "sh", "-c", "exit 5"], 5, ""),
    ] {
        let ran = run(folder.path(), &words);
        assert!(ran.code == Some(code) && ran.stderr.contains(says) && ran.stdout.is_empty(), "{words:?}: {ran:#?}");
        assert!(!folder.path().join("out").exists());
    }
}
