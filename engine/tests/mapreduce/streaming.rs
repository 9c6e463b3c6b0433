//! Mappers and reducers that are programs.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use windrow::{Kind, Session, Settings, mapreduce::Streaming};

use super::{check, file, lines, words_of};

/// The lines of a folder of texts, in order.
fn read(path: &Path) -> Vec<String> {
    let session = Session::new(Settings::default()).unwrap();
    let mut lines = session.read_text(path.to_str().unwrap()).unwrap().collect().unwrap();
    lines.sort();
    lines
}

/// What a script under `sh` is as a command.
fn sh(script: &str) -> String {
    format!("sh -c '{script}'")
}

const WORDS: &str = r#"tr -s " " "\n" | sed "/^$/d; s/$/\t1/""#;
const SUMS: &str =
    r#"awk -F "\t" "{ if (\$1 != k) { if (n) print k FS n; k = \$1; n = 0 } n += \$2 } END { if (n) print k FS n }""#;

#[test]
fn words_are_counted_by_programs() {
    let text = lines(3_000);
    let (folder, path) = file(&text);
    let expected: Vec<String> = words_of(&text).iter().map(|(word, count)| format!("{word}\t{count}")).collect();
    check(|session| {
        let out = folder.path().join("out");
        let streaming = Streaming::new(sh(WORDS)).reducer(sh(SUMS)).parts(3).overwrite();
        let plain = streaming.run(session, std::slice::from_ref(&path), &out).unwrap();
        assert_eq!(read(&out), expected);
        let combined = streaming.combiner(sh(SUMS)).run(session, std::slice::from_ref(&path), &out).unwrap();
        assert_eq!(read(&out), expected);
        let digests = [plain, combined].map(|finished| finished.written.unwrap().digest);
        assert_eq!(digests[0], digests[1]);
        digests
    });
}

#[test]
fn without_a_reducer_the_mappers_lines_are_the_output() {
    let (folder, path) = file("b 1\na 2\r\nb 3");
    check(|session| {
        let out = folder.path().join("out");
        let script = "echo reporter:counter:a group,splits,1 >&2; grep -v a";
        let finished =
            Streaming::new(sh(script)).overwrite().run(session, &[path.clone(), path.clone()], &out).unwrap();
        assert_eq!(read(&out), ["b 1", "b 1", "b 3", "b 3"]);
        assert_eq!(finished.counter("a group.splits"), 2);
    });
}

#[test]
fn a_reducer_gets_its_lines_in_the_order_that_is_asked_for() {
    let rows: Vec<(String, i64)> = (0..500).map(|n| (format!("k{}", n % 7), n * 7919 % 1_000 - 500)).collect();
    let text: String = rows.iter().map(|(key, n)| format!("{key},{n},rest {n}\n")).collect();
    let (folder, path) = file(&text);
    let mut expected: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    rows.iter().for_each(|(key, n)| expected.entry(key).or_default().push(*n));
    let first = |values: &mut Vec<i64>| {
        values.sort_by(|a, b| b.cmp(a));
        values[..3].to_vec()
    };
    let expected: Vec<String> = expected
        .iter_mut()
        .flat_map(|(key, values)| first(values).into_iter().map(move |n| format!("{key},{n},rest {n}")))
        .collect();
    let mut expected = expected;
    expected.sort();
    check(|session| {
        let out = folder.path().join("out");
        let streaming = Streaming::new("cat")
            .reducer(sh(r#"awk -F , "{ if (seen[\$1]++ < 3) print }""#))
            .separator(b',')
            .key_fields(2)
            .partition_fields(1)
            .in_order_of(["1", "2nr"].map(|field| field.parse().unwrap()))
            .overwrite();
        streaming.run(session, std::slice::from_ref(&path), &out).unwrap();
        assert_eq!(read(&out), expected);
    });
}

#[test]
fn files_and_variables_are_there_for_programs() {
    let (folder, path) = file("apple\npear\nplum\n");
    let stops = folder.path().join("stops.txt");
    fs::write(&stops, "pear\n").unwrap();
    check(|session| {
        let out = folder.path().join("out");
        let script = r#"grep -v -x -f stops.txt | sed "s/$/ $WHO/"; basename "$mapreduce_map_input_file""#;
        let streaming = Streaming::new(sh(script)).file(&stops).environment("WHO", "me").overwrite();
        streaming.run(session, std::slice::from_ref(&path), &out).unwrap();
        assert_eq!(read(&out), ["apple me", "input.txt", "plum me"]);
    });
}

#[test]
fn bytes_that_are_no_text_go_through_as_they_are() {
    let (folder, path) = file("");
    fs::write(&path, b"k\xff\t1\nk\t\xc3\nk\xff\t2\n").unwrap();
    check(|session| {
        let out = folder.path().join("out");
        let streaming = Streaming::new("cat").reducer("cat").parts(1).overwrite();
        streaming.run(session, std::slice::from_ref(&path), &out).unwrap();
        let mut lines = session.read_text_bytes(out.to_str().unwrap()).unwrap().collect().unwrap();
        lines.sort();
        assert_eq!(lines, [&b"k\t\xc3"[..], b"k\xff\t1", b"k\xff\t2"]);
    });
}

#[test]
fn small_files_share_a_process_where_that_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let (texts, out) = (folder.path().join("texts"), folder.path().join("out"));
    fs::create_dir(&texts).unwrap();
    (0..20).for_each(|number| fs::write(texts.join(format!("{number:02}")), format!("{number:02}\n")).unwrap());
    let input = [texts.to_str().unwrap().to_owned()];
    check(|session| {
        session.set_split_bytes(30).unwrap();
        let script = "echo reporter:counter:a,lives,1 >&2; cat";
        let each = Streaming::new(sh(script)).overwrite();
        assert_eq!(each.run(session, &input, &out).unwrap().counter("a.lives"), 20);
        let lines = read(&out);
        assert_eq!(each.combines_files().run(session, &input, &out).unwrap().counter("a.lives"), 2);
        assert_eq!((lines.len(), read(&out)), (20, lines));
    });
}

#[test]
fn programs_that_fail_fail_the_job() {
    let (folder, path) = file(&lines(100));
    let out = folder.path().join("out");
    check(|session| {
        let fails = |streaming: Streaming| {
            let error = streaming.run(session, std::slice::from_ref(&path), &out).unwrap_err();
            assert!(!out.exists());
            // Threads that are still at another split let go of the attempt's files when they see the error.
            let deadline = Instant::now() + Duration::from_secs(30);
            while fs::read_dir(folder.path()).unwrap().count() > 1 {
                assert!(
                    Instant::now() < deadline,
                    "something is left: {:?}",
                    fs::read_dir(folder.path()).unwrap().collect::<Vec<_>>()
                );
                std::thread::yield_now();
            }
            error
        };
        let error = fails(Streaming::new(sh("cat; echo oh no >&2; exit 3")).reducer("cat"));
        let text = format!("{error:?}");
        assert!(error.kind() == Kind::Job && text.contains("exit status: 3") && text.contains("oh no"), "{text}");
        assert!(text.contains(&path) && error.to_string().starts_with("the mapper sh -c 'cat; echo oh no"), "{text}");
        let error = fails(Streaming::new("cat").reducer(sh("cat > /dev/null; kill -9 $$")));
        assert!(format!("{error:?}").contains("signal: 9"), "{error:?}");
        let error = fails(Streaming::new("cat").combiner(sh("cat > /dev/null; exit 5")).reducer("cat"));
        assert!(error.to_string().starts_with("the combiner sh -c 'cat > /dev/null; exit 5' failed"), "{error}");
        assert!(format!("{error:?}").contains("exit status: 5"), "{error:?}");
        assert_eq!(fails(Streaming::new("no-such-program-anywhere")).kind(), Kind::Request);
        for wrong in [
            Streaming::new("cat").reducer("cat").key_fields(0),
            Streaming::new("cat").reducer("cat").parts(0),
            Streaming::new("cat").reducer("cat").partition_fields(2),
            Streaming::new("cat").reducer("cat").partition_fields(0),
            Streaming::new("cat").reducer("cat").in_order_of(["2n".parse().unwrap()]),
            Streaming::new("cat").combiner("cat"),
            Streaming::new("cat").in_order_of(["1".parse().unwrap()]),
            Streaming::new("cat").partition_fields(1),
            Streaming::new(" "),
            Streaming::new("cat").reducer("cat '"),
            Streaming::new("cat").file(folder.path().join("none")),
        ] {
            let error = fails(wrong);
            assert!(error.kind() == Kind::Request && error.hint().is_some(), "{error}");
        }
    });
    let session = Session::new(Settings::default()).unwrap();
    assert_eq!(Streaming::new("cat").run(&session, &[], &out).unwrap_err().kind(), Kind::Request);
    let none = TempDir::new().unwrap().path().join("none").to_str().unwrap().to_owned();
    assert!(Streaming::new("cat").run(&session, &[none], &out).is_err());
}
