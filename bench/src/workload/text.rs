//! Workloads over text: word count, grep, sort, inverted index, secondary sort.
//!
//! In: a text file, or a folder of them. Out: folders of Parquet files, of a sort one text. Never: looks into the engine; it is what a user writes.

use std::path::Path;

use windrow::{
    Record, Result, Session, Sum,
    dataset::asc,
    mapreduce::{Context, Job, Mapper, Reducer, Values, failure},
    sink::Written,
};

/// Counts the words of `input`, between white space, into the folder `out`, which must not be there yet.
pub fn word_count(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    session.read_text(&input.to_string_lossy())?.words().count_by_value().named(["word", "count"])?.write_parquet(out)
}

/// Counts the matches of a regular expression in the lines of `input`, each by itself.
pub fn grep(session: &Session, input: &Path, out: &Path, pattern: &str) -> Result<Written> {
    let lines = session.read_text(&input.to_string_lossy())?;
    lines.matches(pattern)?.count_by_value().named(["match", "count"])?.write_parquet(out)
}

/// The lines of `input` in the order of their bytes, as one text.
pub fn sort(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    session.read_text(&input.to_string_lossy())?.named(["line"])?.sort_by([asc("line")])?.write_text(out)
}

/// For each word of the texts in the folder `input` the files that have it, and how often: `a.txt:3 b.txt:1`.
pub fn inverted_index(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    let texts = session.read_text(&input.to_string_lossy())?;
    let index = Job::new(texts, Places::default()).combine_by(Sum).group_by(1).reduce(Files)?;
    index.dataset()?.named(["word", "files"])?.write_parquet(out)
}

/// Each word with the name of its file.
#[derive(Clone, Default)]
struct Places {
    file: String,
}

impl Mapper for Places {
    type In = String;
    type Out = ((String, String), i64);

    fn set_up(&mut self, context: &mut Context<'_, Self::Out>) -> Result<()> {
        let name = context.input_file().and_then(|file| file.file_name());
        self.file = name.unwrap_or_default().to_string_lossy().into_owned();
        Ok(())
    }

    fn map(&mut self, line: &str, context: &mut Context<'_, Self::Out>) -> Result<()> {
        line.split_ascii_whitespace().for_each(|word| context.emit(((word, &self.file), 1)));
        Ok(())
    }
}

/// The files of a word, in the order of their names.
#[derive(Clone)]
struct Files;

impl Reducer for Files {
    type Key = (String, String);
    type Value = i64;
    type Out = (String, String);

    fn reduce(
        &mut self,
        (word, _): (&str, &str),
        counts: &mut Values<'_, '_, Self::Key, i64>,
        context: &mut Context<'_, Self::Out>,
    ) -> Result<()> {
        let mut files = String::new();
        while let Some(((_, file), count)) = counts.next_pair() {
            if !files.is_empty() {
                files.push(' ');
            }
            files.push_str(&format!("{file}:{count}"));
        }
        context.emit((word, &files));
        Ok(())
    }
}

/// The readings of each station, `station,second,value` a line, in order of their seconds, as changes since the one before.
pub fn secondary_sort(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    let readings = Job::new(session.read_text(&input.to_string_lossy())?, Parse);
    readings.group_by(1).reduce(Changes)?.dataset()?.write_parquet(out)
}

#[derive(Clone)]
struct Parse;

impl Mapper for Parse {
    type In = String;
    type Out = ((String, i64), i64);

    fn map(&mut self, line: &str, context: &mut Context<'_, Self::Out>) -> Result<()> {
        let mut fields = line.split(',');
        let (Some(station), Some(second), Some(value)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(failure("expected station,second,value"));
        };
        context.emit(((station, second.parse().map_err(failure)?), value.parse().map_err(failure)?));
        Ok(())
    }
}

/// A reading, and how its value differs from the one before.
#[derive(Record)]
struct Change {
    station: String,
    second: i64,
    change: i64,
}

#[derive(Clone)]
struct Changes;

impl Reducer for Changes {
    type Key = (String, i64);
    type Value = i64;
    type Out = Change;

    fn reduce(
        &mut self,
        _first: (&str, i64),
        readings: &mut Values<'_, '_, Self::Key, i64>,
        context: &mut Context<'_, Change>,
    ) -> Result<()> {
        let mut before = None;
        while let Some(((station, second), value)) = readings.next_pair() {
            context.emit(ChangeView { station, second, change: value - before.unwrap_or(value) });
            before = Some(value);
        }
        Ok(())
    }
}
