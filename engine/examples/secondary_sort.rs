//! The readings of each station in order of their time, by a secondary sort: `secondary_sort [--threads N] [--cluster NAME] READINGS OUTPUT` reads lines as
//! `station,second,value` and writes Parquet files of (station, second, change since the reading before).

use std::process::ExitCode;

use windrow::{
    Record, Result,
    mapreduce::{Context, Job, Mapper, Reducer, Values, failure},
};

/// Station and second are the key, the value is the value.
#[derive(Clone)]
struct Parse;

impl Mapper for Parse {
    type In = String;
    type Out = ((String, i64), f64);

    fn map(&mut self, line: &str, context: &mut Context<'_, Self::Out>) -> Result<()> {
        let mut fields = line.split(',').map(str::trim);
        let (Some(station), Some(second), Some(value)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(failure("expected station,second,value"));
        };
        context.emit(((station, second.parse().map_err(failure)?), value.parse().map_err(failure)?));
        Ok(())
    }
}

#[derive(Record)]
struct Change {
    station: String,
    second: i64,
    change: f64,
}

/// Sees the readings of a station one after the other, however many there are.
#[derive(Clone)]
struct Changes;

impl Reducer for Changes {
    type Key = (String, i64);
    type Value = f64;
    type Out = Change;

    fn reduce(
        &mut self,
        _first: (&str, i64),
        readings: &mut Values<'_, '_, Self::Key, f64>,
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

fn main() -> ExitCode {
    windrow::launch(|session, arguments| {
        let [readings, output] = arguments else {
            return Err(failure("expected two arguments: readings to read and a folder to write"));
        };
        let job = Job::new(session.read_text(readings)?, Parse).skip_bad_records(1_000);
        // Stations are the groups; the second column of the key is the order in them.
        let finished = job.group_by(1).reduce(Changes)?.write_parquet(output)?;
        for bad in &finished.bad_records {
            eprintln!("left out {} in {}: {}", bad.record, bad.place, bad.error);
        }
        println!("{} readings in {output}", finished.written.map_or(0, |written| written.rows));
        Ok(())
    })
}
