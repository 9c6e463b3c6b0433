//! MapReduce's contract, by the cases of Hadoop's own tests: each on several numbers of threads and sizes of morsels, in memory and spilled; what
//! is given and counted must be equal.
//!
//! In: small inputs made here. Out: what jobs give, against plain Rust. Never: knows how a job is run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::type_complexity)]

#[path = "mapreduce/bad_input.rs"]
mod bad_input; // records that the job's code cannot use; what a job does wrong
#[path = "mapreduce/combiners.rs"]
mod combiners; // combiners, and what they group by
#[path = "mapreduce/examples.rs"]
mod examples; // the examples as programs
#[path = "mapreduce/lives.rs"]
mod lives; // set-up, clean-up, counters: splits and parts
#[path = "mapreduce/order.rs"]
mod order; // secondary sort, sort orders, partitioners, total order
#[path = "mapreduce/outputs.rs"]
mod outputs; // named outputs
#[path = "mapreduce/partition_by.rs"]
mod partition_by; // Dataset::partition_by
#[path = "mapreduce/shapes.rs"]
mod shapes; // identity, map-only, chains, several inputs
#[path = "mapreduce/splits.rs"]
mod splits; // what one life of a mapper sees
#[path = "mapreduce/streaming.rs"]
mod streaming; // mappers and reducers that are programs
mod support;
#[path = "mapreduce/values.rs"]
mod values; // how a reducer may walk over values

use std::{collections::BTreeMap, fmt::Debug, fs};

use support::{check_in, sorted};
use tempfile::TempDir;
use windrow::{
    Result, Session,
    mapreduce::{Context, Mapper, Reducer, Values},
};

/// Runs `job` on several numbers of threads and sizes of morsels; it must give the same each time.
fn check<R: PartialEq + Debug>(job: impl Fn(&Session) -> R) -> R {
    let in_memory = [(1, 16_384), (2, 16_384), (2, 1), (3, 64)].map(|(threads, rows)| (threads, rows, None));
    check_in(in_memory.into_iter().chain([(1, 64, Some(0)), (2, 1_024, Some(0))]), job)
}

/// A folder, and the path of a file in it with this text.
fn file(text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("input.txt");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// A text of so many lines of some words.
fn lines(count: usize) -> String {
    let words = ["map", "reduce", "shuffle", "a_word_that_is_longer_than_twelve_bytes", "ü"];
    let line = |number: usize| {
        (0..number % 6).map(|place| words[(number * 7 + place * place) % words.len()]).collect::<Vec<_>>().join(" ")
    };
    (0..count).map(|number| line(number) + "\n").collect()
}

fn words_of(text: &str) -> Vec<(String, i64)> {
    let mut counts = BTreeMap::new();
    text.split_whitespace().for_each(|word| *counts.entry(word.to_owned()).or_insert(0) += 1);
    counts.into_iter().collect()
}

/// Each word of a line, with 1.
#[derive(Clone)]
struct Tokens;

impl Mapper for Tokens {
    type In = String;
    type Out = (String, i64);

    fn map(&mut self, line: &str, context: &mut Context<'_, (String, i64)>) -> Result<()> {
        context.count("lines", 1);
        for word in line.split_whitespace() {
            context.count("words", 1);
            context.emit((word, 1));
        }
        Ok(())
    }
}

/// The sum of the values of a key.
#[derive(Clone)]
struct Sums;

impl Reducer for Sums {
    type Key = String;
    type Value = i64;
    type Out = (String, i64);

    fn reduce(
        &mut self,
        key: &str,
        values: &mut Values<'_, '_, String, i64>,
        context: &mut Context<'_, (String, i64)>,
    ) -> Result<()> {
        let sum = values.fold(0, |sum, value| sum + value);
        context.count("keys", 1);
        context.emit((key, sum));
        Ok(())
    }
}
