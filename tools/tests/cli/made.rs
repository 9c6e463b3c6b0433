//! What commands make: tables, results of benches, the demo's folder.

use super::*;

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
fn benched_shuffles_lose_no_row() {
    let place = Place::new();
    for partitions in ["1", "200", "4096"] {
        let words = [
            "bench",
            "shuffle",
            "--input",
            "DATA/lineitem.parquet",
            "--partitions",
            partitions,
            "--hash-columns",
            "0,3",
        ];
        let lines = place.prints(&[&words[..], &["--runs", "2", "--json"]].concat());
        assert_eq!(lines.lines().count(), 2, "{lines}");
        for line in lines.lines() {
            assert!(line.contains(&format!("\"partitions\":{partitions},\"rows\":60175,")), "{line}");
        }
    }
    assert!(place.files().is_empty(), "frames are left behind");
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
