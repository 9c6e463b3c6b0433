//! What a job can be made of.

use tempfile::TempDir;
use windrow::{
    Result, Sum,
    mapreduce::{Context, IdentityMapper, IdentityReducer, Job, Mapper},
};

use super::{Sums, Tokens, check, file, lines, sorted, words_of};

#[test]
fn words_are_counted_with_and_without_a_combiner() {
    let text = lines(5_000);
    let (_folder, path) = file(&text);
    let (found, counters) = check(|session| {
        let job = || Job::new(session.read_text(&path).unwrap(), Tokens);
        let (plain, finished) = job().reduce(Sums).unwrap().collect().unwrap();
        let (combined, _) = job().combiner(Sums).reduce(Sums).unwrap().collect().unwrap();
        let (by_sum, _) = job().combine_by(Sum).reduce(Sums).unwrap().collect().unwrap();
        assert_eq!(sorted(combined), sorted(plain.clone()));
        assert_eq!(sorted(by_sum), sorted(plain.clone()));
        (sorted(plain), finished.counters)
    });
    assert_eq!(found, words_of(&text));
    let all = found.iter().map(|(_, count)| count).sum();
    let expected = [("keys", found.len() as i64), ("lines", 5_000), ("words", all)];
    assert_eq!(counters, expected.map(|(name, count)| (name.to_owned(), count)).into());
}

#[test]
fn an_identity_job_gives_its_input() {
    let rows: Vec<(String, i64)> = (0..3_000).map(|number| (format!("key {}", number % 11), number)).collect();
    let found = check(|session| {
        let input = session.from_vec(rows.clone()).unwrap();
        let job = Job::new(input, IdentityMapper::default()).reduce(IdentityReducer::default()).unwrap();
        sorted(job.collect().unwrap().0)
    });
    assert_eq!(found, sorted(rows));
}

/// Lines in capitals.
#[derive(Clone)]
struct Capitals;

impl Mapper for Capitals {
    type In = String;
    type Out = String;

    fn map(&mut self, line: &str, context: &mut Context<'_, String>) -> Result<()> {
        context.emit(&line.to_uppercase());
        Ok(())
    }
}

#[test]
fn a_job_without_a_reducer_is_its_mappers() {
    let text = lines(2_000);
    let (_folder, path) = file(&text);
    let found = check(|session| {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let job = || Job::new(session.read_text(&path).unwrap(), Capitals);
        let finished = job().write_parquet(&out).unwrap();
        assert_eq!(finished.written.unwrap().rows, 2_000);
        let written = session.read_parquet(out.to_str().unwrap()).unwrap().typed::<String>().unwrap();
        let written = sorted(written.collect().unwrap());
        assert_eq!(sorted(job().collect().unwrap().0), written);
        written
    });
    assert_eq!(found, sorted(text.lines().map(str::to_uppercase).collect()));
}

#[test]
fn mappers_are_chained_before_and_behind_a_reducer() {
    /// A word and how often, as text.
    #[derive(Clone)]
    struct Said;
    impl Mapper for Said {
        type In = (String, i64);
        type Out = String;
        fn map(&mut self, (word, count): (&str, i64), context: &mut Context<'_, String>) -> Result<()> {
            context.count("said", 1);
            context.emit(&format!("{word} {count}"));
            Ok(())
        }
    }
    let text = lines(1_000);
    let (_folder, path) = file(&text);
    let (found, said) = check(|session| {
        let job = Job::new(session.read_text(&path).unwrap(), Capitals.then(Tokens)).reduce(Sums).unwrap();
        let (rows, finished) = job.then(Said).unwrap().collect().unwrap();
        (sorted(rows), finished.counter("said"))
    });
    let expected: Vec<String> =
        words_of(&text.to_uppercase()).iter().map(|(word, count)| format!("{word} {count}")).collect();
    assert_eq!((said as usize, found), (expected.len(), sorted(expected)));
}

#[test]
fn inputs_have_mappers_of_their_own() {
    /// Numbers to words.
    #[derive(Clone)]
    struct Named;
    impl Mapper for Named {
        type In = i64;
        type Out = (String, i64);
        fn map(&mut self, number: i64, context: &mut Context<'_, (String, i64)>) -> Result<()> {
            context.emit((["map", "nothing"][number as usize % 2], number));
            Ok(())
        }
    }
    let text = lines(1_000);
    let (_folder, path) = file(&text);
    let found = check(|session| {
        let numbers = session.from_vec((0..100i64).collect()).unwrap();
        let job = Job::new(session.read_text(&path).unwrap(), Tokens).input(numbers, Named).parts(3);
        sorted(job.reduce(Sums).unwrap().collect().unwrap().0)
    });
    let mut expected = words_of(&text);
    expected
        .iter_mut()
        .filter(|(word, _)| word == "map")
        .for_each(|(_, count)| *count += (0..100).step_by(2).sum::<i64>());
    expected.push(("nothing".to_owned(), (1..100).step_by(2).sum()));
    assert_eq!(found, sorted(expected));
}

#[test]
fn texts_end_as_they_like() {
    for text in ["", "one", "one\n", "one two\r\nthree\r\n", "\n\n", "\r\n", "one\ntwo", "ü\n"] {
        let (_folder, path) = file(text);
        let found = check(|session| {
            let job = Job::new(session.read_text(&path).unwrap(), Tokens).combiner(Sums).reduce(Sums).unwrap();
            let (rows, finished) = job.collect().unwrap();
            (sorted(rows), finished.counter("lines"))
        });
        assert_eq!(found, (words_of(text), text.lines().count() as i64), "{text:?}");
    }
}

#[test]
fn an_empty_input_gives_an_empty_output() {
    let found = check(|session| {
        let nothing = || session.from_vec(Vec::<(String, i64)>::new()).unwrap();
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let job = Job::new(nothing(), IdentityMapper::default()).reduce(Sums).unwrap();
        let written = job.write_parquet(&out).unwrap().written.unwrap();
        let schema = session.read_parquet(out.to_str().unwrap()).unwrap().schema().fields().len();
        let total = Job::new(nothing(), IdentityMapper::default()).total_order().reduce(Sums).unwrap();
        (written.rows, schema, total.collect().unwrap().0.len())
    });
    assert_eq!(found, (0, 2, 0));
}
