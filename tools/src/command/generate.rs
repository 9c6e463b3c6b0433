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
        #[command(flatten)]
        made: Made,
    },
    /// Lines of words, few of them frequent and most of them rare
    #[command(after_help = "Example:\n  windrow gen text --size 1GiB --out words.txt")]
    Text {
        /// Size of the file, as 100MiB
        #[arg(long, value_name = "SIZE", value_parser = size::parse_some)]
        size: u64,
        /// Chooses the words
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        target: Target,
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
        #[command(flatten)]
        made: Made,
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
        #[command(flatten)]
        made: Made,
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
        #[command(flatten)]
        made: Made,
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
        #[command(flatten)]
        made: Made,
    },
}

/// Where to.
#[derive(clap::Args)]
struct Target {
    /// The file; of several tables the folder for NAME.parquet
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Replace what is there
    #[arg(long)]
    overwrite: bool,
}

/// Where to, and by how many threads.
#[derive(clap::Args)]
struct Made {
    #[command(flatten)]
    target: Target,
    /// Threads that generate [default: all of the machine]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl Made {
    /// The path, the number of threads, whether it may be replaced.
    fn parts(&self) -> (PathBuf, usize, bool) {
        (self.target.out.clone(), settings::threads(self.threads), self.target.overwrite)
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Key {
    U64,
    String,
}

impl Generate {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        let _on_exit = self.remove_unfinished(signals);
        let written = match &self.what {
            What::Tpch { scale, made } => {
                let (out, threads, overwrite) = made.parts();
                write_tpch(&TpchOptions { threads, overwrite, ..TpchOptions::new(*scale, out) })
            }
            What::Text { size, seed, target: Target { out, overwrite } } => {
                let options = TextOptions { bytes: *size, seed: *seed, out: out.clone(), overwrite: *overwrite };
                write_text(&options).map(|file| vec![file])
            }
            What::Groups { rows, keys, key_type, made } => {
                let (out, threads, overwrite) = made.parts();
                let key_type = match key_type {
                    Key::U64 => KeyType::Number,
                    Key::String => KeyType::Text,
                };
                let options = GroupsOptions { rows: *rows, keys: *keys, key_type, threads, out, overwrite };
                write_groups(&options).map(|file| vec![file])
            }
            What::Graph { scale, edges, seed, made } => {
                let (out, threads, overwrite) = made.parts();
                let options = GraphOptions { scale: *scale, edges: *edges, seed: *seed, threads, out, overwrite };
                write_graph(&options).map(|file| vec![file])
            }
            What::Points { rows, dimensions, clusters, seed, made } => {
                let (out, threads, overwrite) = made.parts();
                let (rows, dimensions, clusters, seed) = (*rows, *dimensions, *clusters, *seed);
                let options = PointsOptions { rows, dimensions, clusters, seed, threads, out, overwrite };
                write_points(&options).map(|file| vec![file])
            }
            What::Dbbench { rows, keys, seed, made } => {
                let (out, threads, overwrite) = made.parts();
                write_dbbench(&DbBenchOptions { rows: *rows, keys: *keys, seed: *seed, threads, out, overwrite })
            }
        };
        let written = written.map_err(Failure::of_dataset)?;
        let mut out = io::stdout().lock();
        let rows = |file: &Written| size::show_count(file.rows);
        let width = written.iter().map(|file| rows(file).len()).max().unwrap_or(0);
        for file in &written {
            let (rows, bytes, path) = (rows(file), size::show(file.bytes), file.path.display());
            writeln!(out, "{rows:>width$} rows  {bytes:>9}  {path}").map_err(Failure::of_output)?;
        }
        Ok(())
    }

    /// See [`remove_unfinished`], of the folder that is written to.
    fn remove_unfinished(&self, signals: &Signals) -> OnExit {
        match &self.what {
            What::Tpch { made, .. } | What::Dbbench { made, .. } => remove_unfinished(signals, &made.target.out),
            What::Text { target, .. } => remove_unfinished(signals, folder_of(&target.out)),
            What::Groups { made, .. } | What::Graph { made, .. } | What::Points { made, .. } => {
                remove_unfinished(signals, folder_of(&made.target.out))
            }
        }
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
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
