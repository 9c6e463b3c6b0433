//! The readings of each station in order of their time, by a secondary sort: `secondary_sort [--threads N] [--cluster NAME] READINGS OUTPUT` reads lines as
//! `station,second,value` and writes Parquet files of (station, second, change since the reading before).

use std::process::ExitCode;

use windrow::{
    Dataset, Record, Result,
    mapreduce::{Context, Job, Mapper, Reduced, Reducer, Values, failure},
};

/// Station and second are the key, the value is the value.
#[derive(Clone)]
struct Parse;

impl Mapper for Parse {
    type In = String;
    type Out = ((String, i64), i64);

    fn map(&mut self, line: &str, context: &mut Context<'_, Self::Out>) -> Result<()> {
        let mut fields = line.split(',').map(str::trim);
        let (Some(station), Some(second), Some(value)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(failure("expected station,second,value"));
        };
        context.emit(((station, second.parse().map_err(failure)?), value.parse().map_err(failure)?));
        Ok(())
    }
}

/// A reading, and how its value differs from the one before.
#[derive(Record)]
pub struct Change {
    /// Whose.
    pub station: String,
    /// When.
    pub second: i64,
    /// Of the value.
    pub change: i64,
}

/// Sees the readings of a station one after the other, however many there are.
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

/// The changes of each station. Stations are the groups; the second column of the key is the order in them. So many lines may be none.
pub fn secondary_sort(lines: Dataset<String>, bad_max: u64) -> Result<Reduced<Change>> {
    Job::new(lines, Parse).skip_bad_records(bad_max).group_by(1).reduce(Changes)
}

fn main() -> ExitCode {
    windrow::launch(|session, arguments| {
        let [readings, output] = arguments else {
            return Err(failure("expected two arguments: readings to read and a folder to write"));
        };
        let finished = secondary_sort(session.read_text(readings)?, 1_000)?.write_parquet(output)?;
        for bad in &finished.bad_records {
            eprintln!("left out {} in {}: {}", bad.record, bad.place, bad.error);
        }
        println!("{} readings in {output}", finished.written.map_or(0, |written| written.rows));
        Ok(())
    })
}
