//! `windrow gen`: inputs to try things on.
//!
//! In: a scale or a size, a place. Out: files, and a line about each. Never: replaces a file without being asked to.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process,
};

use windrow_datasets::{
    DbBenchOptions, GraphOptions, GroupsOptions, KeyType, PointsOptions, TextOptions, TpchOptions, Written,
    write_dbbench, write_graph, write_groups, write_points, write_text, write_tpch,
};

use crate::{
    error::Failure,
    settings,
    signal::{OnExit, Signals},
    size,
};

/// Write tables of TPC-H or the db-benchmark, text, rows to be grouped, a graph or points, the same bytes for the same options
#[derive(clap::Args)]
pub struct Generate {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The eight TPC-H tables as Parquet files
    #[command(after_help = "Example:\n  windrow gen tpch --scale 1 --out tpch")]
    Tpch {
        /// Scale factor; 1 is about 350 MB of files
        #[arg(long, value_name = "S")]
        scale: f64,
        /// Folder for NAME.parquet
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Threads that generate [default: all of the machine]
        #[arg(long, value_name = "N")]
        threads: Option<usize>,
        /// Replace files that are there
        #[arg(long)]
        overwrite: bool,
    },
    /// Lines of words, few of them frequent and most of them rare
    #[command(after_help = "Example:\n  windrow gen text --size 1GiB --out words.txt")]
    Text {
        /// Size of the file, as 100MiB
        #[arg(long, value_name = "SIZE", value_parser = size::parse)]
        size: u64,
        /// Chooses the words
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// The file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Replace a file that is there
        #[arg(long)]
        overwrite: bool,
    },
    /// Rows to be grouped: a key k with so many values, if there are as many rows, and a number v from 0 to 99
    #[command(after_help = "Example:\n  windrow gen groups --rows 100M --keys 10M --type u64 --out groups.parquet")]
    Groups {
        /// Rows, as 5000 or 100M (a million is 1,000,000)
        #[arg(long, value_name = "N", value_parser = size::parse_count)]
        rows: u64,
        /// Different keys, each as often as any other, or once more or less
        #[arg(long, value_name = "K", value_parser = size::parse_count)]
        keys: u64,
        /// What the key is: a number, or a text of 12 bytes
        #[arg(long = "type", value_name = "TYPE", value_enum, default_value = "u64")]
        key_type: Key,
        /// The Parquet file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Threads that generate [default: all of the machine]
        #[arg(long, value_name = "N")]
        threads: Option<usize>,
        /// Replace a file that is there
        #[arg(long)]
        overwrite: bool,
    },
    /// Edges src, dst of a graph with a few vertices of very many edges: R-MAT with the shares of the Graph 500
    #[command(after_help = "Example:\n  windrow gen graph --scale 20 --edges 16M --out edges.parquet")]
    Graph {
        /// 2^S vertices, 1 to 32
        #[arg(long, value_name = "S")]
        scale: u32,
        /// Edges, as 16M (a million is 1,000,000)
        #[arg(long, value_name = "N", value_parser = size::parse_count)]
        edges: u64,
        /// Chooses the edges
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// The Parquet file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Threads that generate [default: all of the machine]
        #[arg(long, value_name = "N")]
        threads: Option<usize>,
        /// Replace a file that is there
        #[arg(long)]
        overwrite: bool,
    },
    /// Points x0, x1… around centres, to be found again by clustering
    #[command(
        after_help = "Example:\n  windrow gen points --rows 10M --dimensions 32 --clusters 64 --out points.parquet"
    )]
    Points {
        /// Points, as 10M
        #[arg(long, value_name = "N", value_parser = size::parse_count)]
        rows: u64,
        /// Columns
        #[arg(long, value_name = "D", default_value_t = 32)]
        dimensions: u32,
        /// Centres
        #[arg(long, value_name = "K", default_value_t = 64)]
        clusters: u32,
        /// Chooses centres and points
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// The Parquet file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Threads that generate [default: all of the machine]
        #[arg(long, value_name = "N")]
        threads: Option<usize>,
        /// Replace a file that is there
        #[arg(long)]
        overwrite: bool,
    },
    /// The db-benchmark's table to group, g1, and its tables to join: x, small, medium and big
    #[command(after_help = "Example:\n  windrow gen dbbench --rows 10M --out dbbench")]
    Dbbench {
        /// Rows of g1, x and big, as 10M; small has a millionth, medium a thousandth, and ten at least
        #[arg(long, value_name = "N", value_parser = size::parse_count)]
        rows: u64,
        /// Values of each key of g1 with large groups; of the others there are rows / K
        #[arg(long, value_name = "K", default_value_t = 100, value_parser = size::parse_count)]
        keys: u64,
        /// Chooses the rows
        #[arg(long, value_name = "N", default_value_t = 108)]
        seed: u64,
        /// Folder for NAME.parquet
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Threads that generate [default: all of the machine]
        #[arg(long, value_name = "N")]
        threads: Option<usize>,
        /// Replace files that are there
        #[arg(long)]
        overwrite: bool,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Key {
    U64,
    String,
}

impl Generate {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        let written = match &self.what {
            What::Tpch { scale, out, threads, overwrite } => {
                let _on_exit = remove_unfinished(signals, out);
                tpch(*scale, out, *threads, *overwrite)?
            }
            What::Text { size, seed, out, overwrite } => {
                let _on_exit = remove_unfinished(signals, out.parent().unwrap_or(Path::new("")));
                let options = TextOptions { bytes: *size, seed: *seed, out: out.clone(), overwrite: *overwrite };
                vec![write_text(&options).map_err(Failure::of_dataset)?]
            }
            What::Groups { rows, keys, key_type, out, threads, overwrite } => {
                let _on_exit = remove_unfinished(signals, out.parent().unwrap_or(Path::new("")));
                let options = GroupsOptions {
                    rows: *rows,
                    keys: *keys,
                    key_type: match key_type {
                        Key::U64 => KeyType::Number,
                        Key::String => KeyType::Text,
                    },
                    threads: settings::threads(*threads),
                    out: out.clone(),
                    overwrite: *overwrite,
                };
                vec![write_groups(&options).map_err(Failure::of_dataset)?]
            }
            What::Graph { scale, edges, seed, out, threads, overwrite } => {
                let _on_exit = remove_unfinished(signals, out.parent().unwrap_or(Path::new("")));
                let threads = settings::threads(*threads);
                let (scale, edges, seed, out, overwrite) = (*scale, *edges, *seed, out.clone(), *overwrite);
                let options = GraphOptions { scale, edges, seed, threads, out, overwrite };
                vec![write_graph(&options).map_err(Failure::of_dataset)?]
            }
            What::Points { rows, dimensions, clusters, seed, out, threads, overwrite } => {
                let _on_exit = remove_unfinished(signals, out.parent().unwrap_or(Path::new("")));
                let options = PointsOptions {
                    rows: *rows,
                    dimensions: *dimensions,
                    clusters: *clusters,
                    seed: *seed,
                    threads: settings::threads(*threads),
                    out: out.clone(),
                    overwrite: *overwrite,
                };
                vec![write_points(&options).map_err(Failure::of_dataset)?]
            }
            What::Dbbench { rows, keys, seed, out, threads, overwrite } => {
                let _on_exit = remove_unfinished(signals, out);
                let options = DbBenchOptions {
                    rows: *rows,
                    keys: *keys,
                    seed: *seed,
                    threads: settings::threads(*threads),
                    out: out.clone(),
                    overwrite: *overwrite,
                };
                write_dbbench(&options).map_err(Failure::of_dataset)?
            }
        };
        let mut out = io::stdout().lock();
        let rows = |file: &Written| size::show_count(file.rows);
        let width = written.iter().map(|file| rows(file).len()).max().unwrap_or(0);
        for file in &written {
            let (rows, bytes, path) = (rows(file), size::show(file.bytes), file.path.display());
            writeln!(out, "{rows:>width$} rows  {bytes:>9}  {path}").map_err(Failure::of_output)?;
        }
        Ok(())
    }
}

/// The eight tables at `scale` in the folder `out`.
pub fn tpch(scale: f64, out: &Path, threads: Option<usize>, overwrite: bool) -> Result<Vec<Written>, Failure> {
    let options = TpchOptions { threads: settings::threads(threads), overwrite, ..TpchOptions::new(scale, out) };
    write_tpch(&options).map_err(Failure::of_dataset)
}

/// An exit by a signal does not unwind, so the temporary files that the datasets crate would remove are removed here: those that
/// carry this process's number.
fn remove_unfinished(signals: &Signals, folder: &Path) -> OnExit {
    let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() };
    signals.on_exit(move || {
        let ours = format!(".{}-", process::id());
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".tmp") && name.contains(&ours) {
                let _ = fs::remove_file(entry.path());
            }
        }
    })
}
