//! Combiners, and what they group by (Hadoop's `TestNewCombinerGrouping`, `TestCombinerOutputCollector`).

use windrow::{
    Result, Sum,
    mapreduce::{Context, Job, Mapper, Reducer, Values},
};

use super::{Sums, Tokens, check, file, lines, sorted, words_of};

/// Lines as `A|a,1`: the key has two columns.
#[derive(Clone)]
struct Fields;

impl Mapper for Fields {
    type In = String;
    type Out = ((String, String), i64);

    fn map(&mut self, line: &str, context: &mut Context<'_, ((String, String), i64)>) -> Result<()> {
        let (key, value) = line.split_once(',').unwrap();
        let (group, rest) = key.split_once('|').unwrap();
        context.emit(((group, rest), value.parse().unwrap()));
        Ok(())
    }
}

/// The greatest value of a group, with the key it came with.
#[derive(Clone)]
struct Greatest;

impl Reducer for Greatest {
    type Key = (String, String);
    type Value = i64;
    type Out = ((String, String), i64);

    fn reduce(
        &mut self,
        key: (&str, &str),
        values: &mut Values<'_, '_, (String, String), i64>,
        context: &mut Context<'_, ((String, String), i64)>,
    ) -> Result<()> {
        context.count("groups", 1);
        let mut greatest = i64::MIN;
        while let Some(((group, _), value)) = values.next_pair() {
            assert_eq!(group, key.0);
            greatest = greatest.max(value);
        }
        context.emit((key, greatest));
        Ok(())
    }
}

#[test]
fn a_combiner_has_a_grouping_of_its_own() {
    let (_folder, path) = file("A|a,1\nA|b,2\nB|a,3\nB|b,4\nB|c,5\n");
    let found = check(|session| {
        let job = || Job::new(session.read_text(&path).unwrap(), Fields);
        // The combiner sees A and B whole; so the reducer, which sees each key by itself, gets two.
        let (combined, finished) = job().combiner_of(Greatest, 1).reduce(Greatest).unwrap().collect().unwrap();
        let (plain, _) = job().group_by(1).reduce(Greatest).unwrap().collect().unwrap();
        assert_eq!(sorted(plain), sorted(combined.clone()));
        (sorted(combined), finished.counter("groups"))
    });
    let pair = |key: (&str, &str), value| ((key.0.to_owned(), key.1.to_owned()), value);
    assert_eq!(found, (vec![pair(("A", "a"), 2), pair(("B", "a"), 5)], 4));
}

#[test]
fn a_combiner_sees_what_one_split_has_and_no_setting_moves_it() {
    let text = lines(200_000);
    let (_folder, path) = file(&text);
    let keys = check(|session| {
        let job = Job::new(session.read_text(&path).unwrap(), Tokens).combiner(Sums).reduce(Sums).unwrap();
        let (rows, finished) = job.collect().unwrap();
        assert_eq!(sorted(rows), words_of(&text));
        finished.counter("keys")
    });
    let words = text.split_whitespace().count() as i64;
    // Five words: five for each time that it is called, and five that the reducer counts.
    let calls = keys / 5 - 1;
    assert!(keys % 5 == 0 && calls >= words >> 17 && calls <= (words >> 17) + (text.len() as i64 >> 21) + 1, "{calls}");
}

#[test]
fn a_known_function_combines_columns() {
    let text = lines(3_000);
    let (_folder, path) = file(&text);
    let counted = check(|session| {
        /// How many values came.
        #[derive(Clone)]
        struct HowMany;
        impl Reducer for HowMany {
            type Key = String;
            type Value = i64;
            type Out = i64;
            fn reduce(
                &mut self,
                _: &str,
                values: &mut Values<'_, '_, String, i64>,
                context: &mut Context<'_, i64>,
            ) -> Result<()> {
                context.emit(values.count());
                Ok(())
            }
        }
        let job = Job::new(session.read_text(&path).unwrap(), Tokens).combine_by(Sum);
        sorted(job.reduce(HowMany).unwrap().collect().unwrap().0)
    });
    assert_eq!(counted, [1; 5]);
}
