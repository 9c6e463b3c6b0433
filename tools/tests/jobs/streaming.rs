//! `windrow submit streaming`, here and on a cluster.
//!
//! In: texts made here, programs of every system. Out: passes, or what was printed. Never: an output of a job that failed.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    json,
    place::{self, Cluster},
    run,
};

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
    let split = streaming("HERE/cut", &["--cluster", "local", "--split-size", "100KB", "--combine-files"]);
    assert_eq!(json(&split)["digest"], one["digest"]);
    assert!(json(&split)["counters"]["my.lives"].as_u64().unwrap() >= 21, "{split:#?}");
    let listed = run(here, &["jobs", "list", "--json"]);
    let label = |job: &serde_json::Value| job["label"].as_str().unwrap().to_owned();
    let labels: Vec<String> = json(&listed).as_array().unwrap().iter().map(label).collect();
    assert!(labels.len() == 2 && labels.iter().all(|label| label.starts_with("sh -c 'tr -s")), "{labels:?}");
    let counted = run(here, &["sql", "--format", "json", "-c", "select count(*) as n from 'HERE/there/*.txt'"]);
    assert!(counted.stdout.contains(&format!("{}", one["rows"])), "{counted:#?}");
    let text = fs::read_to_string(here.join("text")).unwrap();
    assert_eq!(
        one["rows"].as_u64().unwrap() as usize,
        text.split(' ').flat_map(str::lines).filter(|word| !word.is_empty()).collect::<BTreeSet<_>>().len()
    );
    // The folder in which programs find files goes with the processes.
    let files = ["--mapper", "pwd", "--file", "HERE/text", "--cluster", "local"];
    run(here, &[&["submit", "streaming", "--input", "HERE/text", "--output", "HERE/folders"], &files[..]].concat())
        .printed();
    let written = fs::read_dir(here.join("folders")).unwrap().map(|entry| entry.unwrap().path());
    let texts = written.filter(|path| path.extension().is_some_and(|ending| ending == "txt"));
    let folders: BTreeSet<String> = texts
        .flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(!folders.is_empty() && folders.iter().all(|folder| folder.contains("streaming-")), "{folders:?}");
    let deadline = Instant::now() + Duration::from_secs(30);
    while folders.iter().any(|folder| Path::new(folder).exists()) {
        assert!(Instant::now() < deadline, "one of them is left: {folders:?}");
        std::thread::yield_now();
    }
    // What a program says at its end comes from there.
    let failed = streaming("HERE/none", &["--cluster", "local", "--reducer", "sh -c 'echo I am broken >&2; exit 9'"]);
    assert_eq!(failed.code, Some(2), "{failed:#?}");
    let broken =
        ["submit", "streaming", "--input", "HERE/text", "--output", "HERE/none", "--cluster", "local", "--mapper"];
    let failed = run(here, &[&broken[..], &["sh -c 'echo I am broken >&2; exit 9'"]].concat());
    assert!(failed.code == Some(1) && failed.stderr.contains("I am broken"), "{failed:#?}");
    assert!(!here.join("none").exists());
}
