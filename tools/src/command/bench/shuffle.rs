//! `windrow bench shuffle`: how fast a table is split into groups, beside a copy of the same bytes.
//!
//! In: a Parquet file, how many groups, by which columns. Out: a line a run: the seconds of each part, and both speeds. Never: frames left
//! behind.

use std::path::PathBuf;

use windrow::{Session, shuffle::frame::Codec};
use windrow_bench::{ShuffleMeasurement, ShuffleRun};

use super::Lines;
use crate::{error::Failure, scratch::Scratch, settings::EngineFlags, signal::Signals};

/// A table split into groups by hash: reading, splitting, encoding, writing, beside memcpy
#[derive(clap::Args)]
#[command(
    after_help = "Splitting, encoding and writing take one thread.\n\nExamples:\n  windrow bench shuffle --input tpch/lineitem.parquet --partitions 200 --hash-columns 0,3\n  windrow bench shuffle --input tpch/lineitem.parquet --partitions 4096 --hash-columns 0 --codec lz4 --json"
)]
pub struct ShuffleBench {
    /// A Parquet or CSV file, which is read into memory whole
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Groups, 1 to 4096
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4096))]
    partitions: u16,
    /// Columns whose hash decides, counted from 0
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "0")]
    hash_columns: Vec<usize>,
    /// How frames are compressed
    #[arg(long, value_enum, default_value_t = FrameCodec::None)]
    codec: FrameCodec,
    /// How often
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// A JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineFlags,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FrameCodec {
    None,
    Lz4,
    Zstd,
}

/// Over the columns of [`ShuffleBench::line`].
const HEADER: &str = " run       rows       GB   read s  split s encode s  write s  split GB/s  memcpy GB/s  ratio";

impl ShuffleBench {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        let session = &Session::new(self.engine.settings()?)?;
        let _job = signals.job(session.cancel());
        let scratch = Scratch::new(signals)?;
        let codec = match self.codec {
            FrameCodec::None => Codec::None,
            FrameCodec::Lz4 => Codec::Lz4,
            FrameCodec::Zstd => Codec::Zstd,
        };
        let run = ShuffleRun {
            session,
            input: &self.input,
            partitions: usize::from(self.partitions),
            hash_columns: &self.hash_columns,
            codec,
            scratch: scratch.path(),
            runs: self.runs,
        };
        let lines = Lines { is_json: self.json };
        run.run(|measured| {
            if measured.run == 1 && !self.json {
                lines.write(HEADER)?;
            }
            lines.write(&self.line(measured)?)
        })
    }

    fn line(&self, measured: &ShuffleMeasurement) -> Result<String, Failure> {
        if self.json {
            return serde_json::to_string(measured).map_err(|source| Failure::of_output(source.into()));
        }
        let gigabytes = |bytes: f64| bytes / 1e9;
        Ok(format!(
            "{:>4} {:>10} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>11.3} {:>12.3} {:>5.0}%",
            measured.run,
            measured.rows,
            gigabytes(measured.bytes as f64),
            measured.read_seconds,
            measured.split_seconds,
            measured.encode_seconds,
            measured.write_seconds,
            gigabytes(measured.split_bytes_per_second),
            gigabytes(measured.memcpy_bytes_per_second),
            100.0 * measured.split_over_memcpy,
        ))
    }
}
