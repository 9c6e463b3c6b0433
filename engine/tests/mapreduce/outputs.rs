//! Named outputs (Hadoop's `TestMRMultipleOutputs`, `LazyOutputFormat`).

use std::{fs, path::Path};

use tempfile::TempDir;
use windrow::{
    Kind, Record, Result,
    mapreduce::{Context, Job, Mapper, Output, Reducer, Values},
};

use super::{Tokens, check, file, lines, sorted, words_of};

#[derive(Clone, Debug, PartialEq, Record)]
struct Rare {
    word: String,
    times: Option<i64>,
    is_short: bool,
}

/// Words that are often there go to the job's own output, the others to two of their own.
#[derive(Clone)]
struct Sorts {
    rare: Output<Rare>,
    lengths: Output<i64>,
    none: Output<String>,
}

impl Sorts {
    fn new() -> Sorts {
        Sorts { rare: Output::new("rare"), lengths: Output::new("lengths"), none: Output::new("none") }
    }
}

impl Reducer for Sorts {
    type Key = String;
    type Value = i64;
    type Out = (String, i64);

    fn reduce(
        &mut self,
        word: &str,
        values: &mut Values<'_, '_, String, i64>,
        context: &mut Context<'_, (String, i64)>,
    ) -> Result<()> {
        let times = values.count();
        if word.len() > 3 {
            context.emit((word, times));
        } else {
            context.emit_to(&self.rare, RareView { word, times: Some(times), is_short: true });
        }
        (0..times).for_each(|_| context.emit_to(&self.lengths, word.len() as i64));
        Ok(())
    }
}

fn folders(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    sorted(names.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap()).collect())
}

#[test]
fn outputs_are_folders_of_their_own_that_appear_together() {
    let text = lines(3_000);
    let (_folder, path) = file(&text);
    let (main, rare, lengths, counted) = check(|session| {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let read = |name: &str| session.read_parquet(out.join(name).to_str().unwrap()).unwrap();
        let job = || {
            let sorts = Sorts::new();
            let job = Job::new(session.read_text(&path).unwrap(), Tokens);
            job.output(&sorts.rare).output(&sorts.lengths).output(&sorts.none).lazy_outputs().reduce(sorts).unwrap()
        };
        let finished = job().write_parquet(&out).unwrap();
        assert_eq!(folders(&out), ["lengths", "rare"], "what has no rows leaves nothing");
        assert_eq!(folders(folder.path()), ["out"]);
        assert!(out.join("_SUCCESS").is_file() && out.join("rare/_SUCCESS").is_file());
        let error = job().write_parquet(&out).unwrap_err();
        assert!(error.kind() == Kind::Request && error.to_string().contains("there already"), "{error}");
        assert_eq!(folders(folder.path()), ["out"]);
        let main = sorted(read("").typed::<(String, i64)>().unwrap().collect().unwrap());
        assert_eq!(sorted(job().collect().unwrap().0), main);
        let mut rare = read("rare").typed::<Rare>().unwrap().collect().unwrap();
        rare.sort_by(|one, other| one.word.cmp(&other.word));
        let lengths = sorted(read("lengths").typed::<i64>().unwrap().collect().unwrap());
        let rows = [finished.written.unwrap().rows, finished.outputs["rare"].rows, finished.outputs["lengths"].rows];
        assert_eq!(finished.outputs["rare"].path, out.join("rare"));
        (main, rare, lengths, rows)
    });
    let words = words_of(&text);
    let (long, short): (Vec<_>, Vec<_>) = words.iter().cloned().partition(|(word, _)| word.len() > 3);
    assert_eq!(main, long);
    let rare_expected = |(word, times): (String, i64)| Rare { word, times: Some(times), is_short: true };
    assert_eq!(rare, short.into_iter().map(rare_expected).collect::<Vec<_>>());
    assert_eq!(lengths, sorted(text.split_whitespace().map(|word| word.len() as i64).collect()));
    assert_eq!(counted, [long.len() as u64, rare.len() as u64, lengths.len() as u64]);
}

/// Lines by their first letter, in a job without a reducer.
#[derive(Clone)]
struct ByLetter {
    others: Output<(String, i64)>,
}

impl Mapper for ByLetter {
    type In = String;
    type Out = String;

    fn map(&mut self, line: &str, context: &mut Context<'_, String>) -> Result<()> {
        if line.starts_with('m') {
            context.emit(line);
        } else {
            context.emit_to(&self.others, (line, line.len() as i64));
        }
        Ok(())
    }
}

#[test]
fn mappers_without_a_reducer_have_outputs_too() {
    let text = lines(2_000);
    let (_folder, path) = file(&text);
    let (main, others) = check(|session| {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let others = Output::new("others");
        let job = Job::new(session.read_text(&path).unwrap(), ByLetter { others: others.clone() });
        job.output(&others).write_parquet(&out).unwrap();
        let main = session.read_parquet(out.to_str().unwrap()).unwrap().typed::<String>().unwrap();
        let others = session.read_parquet(out.join("others").to_str().unwrap()).unwrap();
        (sorted(main.collect().unwrap()), sorted(others.typed::<(String, i64)>().unwrap().collect().unwrap()))
    });
    let (of_m, of_others): (Vec<_>, Vec<_>) = text.lines().map(str::to_owned).partition(|line| line.starts_with('m'));
    assert_eq!(main, sorted(of_m));
    assert_eq!(others, sorted(of_others.into_iter().map(|line| (line.clone(), line.len() as i64)).collect()));
}

#[test]
fn an_output_that_is_not_there_is_told() {
    let (folder, path) = file("map\nx\n");
    check(|session| {
        let others: Output<(String, i64)> = Output::new("others");
        let job = || Job::new(session.read_text(&path).unwrap(), ByLetter { others: others.clone() });
        let error = job().collect().unwrap_err();
        assert!(error.to_string().contains("\"others\": there are no outputs here"), "{error}");
        // Of the same name, for other records.
        let error = job().output(&Output::<i64>::new("others")).collect().unwrap_err();
        assert!(error.to_string().contains("of the outputs here (others) none"), "{error}");
        for wrong in ["", "a/b", ".hidden", "_SUCCESS"] {
            let error = job().output(&Output::<i64>::new(wrong)).write_parquet(folder.path().join("out")).unwrap_err();
            assert_eq!(error.kind(), Kind::Request, "{wrong}");
        }
        assert_eq!(job().output(&others).output(&others).collect().unwrap_err().kind(), Kind::Request);
    });
}
