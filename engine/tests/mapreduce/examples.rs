//! The examples as their users run them.

use std::{collections::BTreeMap, fs};

use tempfile::TempDir;
use windrow::{Session, Settings};

use super::support::{example, sorted};

fn run(name: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = example(name).args(["--threads", "2"]).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn readings_become_changes_in_the_order_of_their_time() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let reading = |number: i64| format!("station {},{},{}\n", number % 3, (number * 37) % 1_000, number % 10);
    let text: String = (0..1_000).map(reading).collect();
    fs::write(path("readings.csv"), text.clone() + "not a reading\n").unwrap();
    let (code, stdout, stderr) = run("secondary_sort", &[&path("readings.csv"), &path("out")]);
    assert!(code == Some(0) && stdout.starts_with("1000 readings"), "{stdout} {stderr}");
    assert!(stderr.contains("left out the record \"not a reading\""), "{stderr}");
    let session = Session::new(Settings::default()).unwrap();
    let rows = session.read_parquet(&path("out")).unwrap().typed::<(String, i64, i64)>().unwrap().collect().unwrap();
    let mut stations: BTreeMap<String, BTreeMap<i64, i64>> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let (second, value) = (fields[1].parse().unwrap(), fields[2].parse().unwrap());
        stations.entry(fields[0].to_owned()).or_default().insert(second, value);
    }
    let mut expected = Vec::new();
    for (station, readings) in stations {
        let mut before = None;
        for (second, value) in readings {
            expected.push((station.clone(), second, value - before.unwrap_or(value)));
            before = Some(value);
        }
    }
    assert_eq!(sorted(rows), sorted(expected));
}

#[test]
fn an_inverted_index_says_where_a_word_is() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("texts")).unwrap();
    for (name, text) in [("a.txt", "To be, or not\tto  be\n"), ("b.txt", "be quick"), ("c.txt", "")] {
        fs::write(folder.path().join("texts").join(name), text).unwrap();
    }
    let (code, stdout, stderr) = run("inverted_index", &[&path("texts"), &path("out")]);
    assert!(code == Some(0) && stdout.starts_with("7 words"), "{stdout} {stderr}");
    let session = Session::new(Settings::default()).unwrap();
    let rows = session.read_parquet(&path("out")).unwrap().typed::<(String, String)>().unwrap().collect().unwrap();
    let expected = [
        ("To", "a.txt:1"),
        ("be", "a.txt:1 b.txt:1"),
        ("be,", "a.txt:1"),
        ("not", "a.txt:1"),
        ("or", "a.txt:1"),
        ("quick", "b.txt:1"),
        ("to", "a.txt:1"),
    ];
    assert_eq!(sorted(rows), expected.map(|(word, files)| (word.to_owned(), files.to_owned())));
    assert_eq!(run("inverted_index", &[&path("texts")]).0, Some(1));
}
