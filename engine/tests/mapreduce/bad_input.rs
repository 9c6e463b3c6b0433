//! Records that the job's code cannot use, and what a job does wrong.

use std::fs;

use windrow::{
    Kind, Result,
    mapreduce::{Context, Job, Mapper, Reducer, Values, failure},
};

use super::{Sums, Tokens, check, file, sorted};

/// A number a line.
#[derive(Clone)]
struct Numbers;

impl Mapper for Numbers {
    type In = String;
    type Out = (i64, i64);

    fn map(&mut self, line: &str, context: &mut Context<'_, (i64, i64)>) -> Result<()> {
        assert!(line != "panic", "I do not like it");
        context.set_status(format!("at {line}"));
        let number: i64 = line.parse().map_err(failure)?;
        context.emit((number % 10, number));
        Ok(())
    }
}

/// Sums; a key of 7 is refused.
#[derive(Clone)]
struct NotSeven;

impl Reducer for NotSeven {
    type Key = i64;
    type Value = i64;
    type Out = (i64, i64);

    fn reduce(
        &mut self,
        key: i64,
        values: &mut Values<'_, '_, i64, i64>,
        context: &mut Context<'_, (i64, i64)>,
    ) -> Result<()> {
        if key == 7 {
            return Err(failure("seven is refused"));
        }
        let sum = values.fold(0, |sum, value| sum + value);
        context.emit((key, sum));
        Ok(())
    }
}

#[test]
fn a_mapper_that_fails_names_its_record() {
    let (_folder, path) = file("1\n2\nthree\n4\n");
    check(|session| {
        let job = Job::new(session.read_text(&path).unwrap(), Numbers).reduce(NotSeven).unwrap();
        let error = job.collect().unwrap_err();
        let text = format!("{error:?}");
        assert_eq!(error.kind(), Kind::Job);
        for part in ["mapper", "Numbers", "\"three\"", &path, "bytes 0 to 12", "at three", "invalid digit"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(error.hint().unwrap().contains("skip_bad_records"));
    });
}

#[test]
fn a_panic_names_its_record_too() {
    let (_folder, path) = file("1\npanic\n");
    check(|session| {
        let job = Job::new(session.read_text(&path).unwrap(), Numbers).skip_bad_records(10).reduce(NotSeven).unwrap();
        let text = format!("{:?}", job.collect().unwrap_err());
        assert!(text.contains("the record \"panic\"") && text.contains("I do not like it"), "{text}");
    });
}

#[test]
fn bad_records_are_left_out_up_to_a_limit() {
    let text: String =
        (0..1_000).map(|k| if k % 100 == 50 { format!("bad {k}\n") } else { format!("{k}\n") }).collect();
    let (folder, path) = file(&text);
    let (rows, skipped, bad) = check(|session| {
        let job = |limit| {
            let job = Job::new(session.read_text(&path).unwrap(), Numbers).skip_bad_records(limit);
            job.reduce(NotSeven).unwrap()
        };
        // Ten lines and a key.
        let out = folder.path().join("out");
        let error = job(10).write_parquet(&out).unwrap_err();
        assert!(error.to_string().contains("more than 10"), "{error}");
        assert!(!fs::exists(&out).unwrap());
        let (rows, finished) = job(11).collect().unwrap();
        (sorted(rows), finished.skipped, finished.bad_records)
    });
    assert_eq!((rows.len(), skipped, bad.len()), (9, 11, 11));
    let sum = |key: i64| (0..1_000).filter(|k| k % 10 == key && k % 100 != 50).sum::<i64>();
    assert!(rows.iter().all(|(key, found)| *found == sum(*key)));
    let of_reducer: Vec<_> = bad.iter().filter(|bad| bad.place.starts_with("part ")).collect();
    assert!(of_reducer.len() == 1 && of_reducer[0].record == "the key \"7\"", "{bad:?}");
    let of_mapper = bad.iter().find(|bad| bad.record.contains("bad 150")).unwrap();
    assert!(of_mapper.place.contains("input.txt, bytes 0 to") && !of_mapper.error.is_empty(), "{of_mapper:?}");
}

#[test]
fn what_is_not_utf8_is_told_with_its_place() {
    let (_folder, path) = file("");
    fs::write(&path, b"good\nbad \xff\n").unwrap();
    check(|session| {
        let error = Job::new(session.read_text(&path).unwrap(), Tokens).reduce(Sums).unwrap().collect().unwrap_err();
        assert!(error.kind() == Kind::Corrupt && error.to_string().contains("byte 9"), "{error}");
    });
}

#[test]
fn lines_as_bytes_may_be_anything() {
    let (_folder, path) = file("");
    fs::write(&path, b"good\nbad \xff\r\n\n\xc3 and more than twelve bytes\nlast\r").unwrap();
    let expected: [&[u8]; 5] = [b"good", b"bad \xff", b"", b"\xc3 and more than twelve bytes", b"last\r"];
    for split_bytes in [1, 7, 1 << 20] {
        check(|session| {
            session.set_split_bytes(split_bytes).unwrap();
            assert_eq!(session.read_text_bytes(&path).unwrap().collect().unwrap(), expected);
            let error = session.read_text(&path).unwrap().collect().unwrap_err();
            assert!(error.hint().unwrap().contains("read_text_bytes"), "{error}");
        });
    }
}

#[test]
fn set_up_and_clean_up_may_fail() {
    /// Fails where it is told.
    #[derive(Clone)]
    struct Fails(&'static str);
    impl Fails {
        fn at(&self, place: &str) -> Result<()> {
            if self.0 == place { Err(failure(format!("not at {place}"))) } else { Ok(()) }
        }
    }
    impl Mapper for Fails {
        type In = String;
        type Out = (i64, i64);
        fn set_up(&mut self, _: &mut Context<'_, (i64, i64)>) -> Result<()> {
            self.at("set-up of mappers")
        }
        fn map(&mut self, _: &str, context: &mut Context<'_, (i64, i64)>) -> Result<()> {
            context.emit((1, 1));
            Ok(())
        }
        fn clean_up(&mut self, _: &mut Context<'_, (i64, i64)>) -> Result<()> {
            self.at("clean-up of mappers")
        }
    }
    impl Reducer for Fails {
        type Key = i64;
        type Value = i64;
        type Out = i64;
        fn set_up(&mut self, _: &mut Context<'_, i64>) -> Result<()> {
            self.at("set-up of reducers")
        }
        fn reduce(&mut self, key: i64, _: &mut Values<'_, '_, i64, i64>, context: &mut Context<'_, i64>) -> Result<()> {
            context.emit(key);
            Ok(())
        }
        fn clean_up(&mut self, _: &mut Context<'_, i64>) -> Result<()> {
            self.at("clean-up of reducers")
        }
    }
    let (_folder, path) = file("a\nb\n");
    for place in ["set-up of mappers", "clean-up of mappers", "set-up of reducers", "clean-up of reducers"] {
        check(|session| {
            // Who cannot begin or end is no bad record.
            let job = Job::new(session.read_text(&path).unwrap(), Fails(place)).skip_bad_records(100);
            let text = format!("{:?}", job.reduce(Fails(place)).unwrap().collect().unwrap_err());
            assert!(text.contains("outside of its records") && text.contains(&format!("not at {place}")), "{text}");
        });
    }
}

#[test]
fn side_files_are_read_once_and_known_by_name() {
    /// Keeps the words that the side file has.
    #[derive(Clone, Default)]
    struct Known {
        words: Vec<String>,
    }
    impl Mapper for Known {
        type In = String;
        type Out = String;
        fn set_up(&mut self, context: &mut Context<'_, String>) -> Result<()> {
            let text = std::str::from_utf8(context.side_file("words")?).map_err(failure)?;
            self.words = text.lines().map(str::to_owned).collect();
            Ok(())
        }
        fn map(&mut self, line: &str, context: &mut Context<'_, String>) -> Result<()> {
            line.split_whitespace()
                .filter(|word| self.words.iter().any(|known| known == word))
                .for_each(|word| context.emit(word));
            Ok(())
        }
    }
    let (folder, path) = file("a b c\nb c d\n");
    let side = folder.path().join("side");
    fs::write(&side, "b\nd\n").unwrap();
    let found = check(|session| {
        let job = || Job::new(session.read_text(&path).unwrap(), Known::default());
        let error = job().collect().unwrap_err();
        assert!(format!("{error:?}").contains("the job has none"), "{error:?}");
        let error = job().side_file("words", folder.path().join("nowhere")).err().unwrap();
        assert!(error.kind() == Kind::Io && error.to_string().contains("nowhere"), "{error}");
        sorted(job().side_file("words", &side).unwrap().collect().unwrap().0)
    });
    assert_eq!(found, ["b", "b", "d"]);
}
