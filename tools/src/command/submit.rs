//! `windrow submit`: jobs that are programs.
//!
//! In: a streaming job's mapper and reducer with their files; or a program of the Rust API and its arguments. Out: what the job printed, wrote and
//! counted. Never: a shell between us and a program.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    iter,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};
use windrow::{
    Result as Windrow, Session,
    dataset::may_launch,
    mapreduce::{Finished, KeyOrder, Streaming},
    operator::Cancel,
};

use super::cluster::{ClusterName, Contact};
use crate::{
    error::{CommandError, Failure},
    output,
    progress::Progress,
    settings::{EngineFlags, SplitFlag},
    signal::Signals,
};

/// Run a program as a job: one of the Rust API, or mappers and reducers of any language
#[derive(clap::Args)]
#[command(
    override_usage = "windrow submit [--cluster NAME] PROGRAM [ARGUMENT]...\n       \
                      windrow submit streaming --mapper COMMAND --input PATH --output FOLDER [OPTIONS]",
    after_help = "PROGRAM is a path; a name without a slash is looked for in this folder first, then in PATH.\n\n\
                  Examples:\n  windrow submit --cluster local ./target/release/my-job in.txt out\n  \
                  windrow submit streaming --mapper ./m.py --reducer ./r.py --input 'text/*.txt' --output counts\n  \
                  windrow submit streaming --mapper \"awk '/ab/'\" --input text.txt --output found"
)]
pub struct Submit {
    #[command(subcommand)]
    what: What,
    /// Run it on this cluster
    #[arg(long, value_name = "NAME", global = true)]
    cluster: Option<ClusterName>,
}

#[derive(clap::Subcommand)]
enum What {
    Streaming(Box<StreamingFlags>),
    #[command(external_subcommand)]
    Program(Vec<OsString>),
}

/// Mappers and reducers that read lines and print lines, as Hadoop Streaming runs them
#[derive(clap::Args)]
struct StreamingFlags {
    #[command(flatten)]
    job: StreamingJob,
    #[command(flatten)]
    engine: EngineFlags,
    /// JSON instead of lines
    #[arg(long)]
    json: bool,
}

/// What is said of a streaming job; a program under a worker gets it as JSON.
#[derive(clap::Args, Serialize, Deserialize)]
struct StreamingJob {
    /// The mapper: a program and its arguments, in quotes
    #[arg(long, value_name = "COMMAND")]
    mapper: String,
    /// The reducer; without one the mappers' lines are the output
    #[arg(long, value_name = "COMMAND")]
    reducer: Option<String>,
    /// A reducer over some of what a mapper has printed, before it travels
    #[arg(long, value_name = "COMMAND")]
    combiner: Option<String>,
    /// Texts: a file, a folder or a pattern; may be given several times
    #[arg(long, value_name = "PATH", required = true)]
    input: Vec<String>,
    /// The folder to write
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// A file that the programs find by its name where they run; may be given several times
    #[arg(long, value_name = "PATH")]
    file: Vec<PathBuf>,
    /// A variable of their environment; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    cmdenv: Vec<String>,
    /// What stands between fields: a character
    #[arg(long, value_name = "CHAR", default_value = "\t")]
    separator: String,
    /// So many fields of a line are its key
    #[arg(long, value_name = "N", default_value_t = 1)]
    key_fields: usize,
    /// Lines whose keys agree in so many fields go to one reducer
    #[arg(long, value_name = "N")]
    partition_fields: Option<usize>,
    /// The order of a reducer's lines, by fields of their keys: 1,2nr is the second as numbers, the largest first
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    key_order: Vec<String>,
    /// Processes of the reducer
    #[arg(long, value_name = "N", default_value_t = windrow::mapreduce::PARTS)]
    reducers: u32,
    /// Small files are read together by one mapper process, as many as have the bytes of a split
    #[arg(long)]
    combine_files: bool,
    #[command(flatten)]
    splits: SplitFlag,
    /// Replace an output that is there
    #[arg(long)]
    overwrite: bool,
}

/// How a program under a worker is told that it is a streaming job.
pub const PROGRAM: &str = "streaming-program";

/// The entry of such a program: `streaming-program JOB`.
pub fn program(session: &Session, arguments: &[String]) -> Windrow<()> {
    let [_, job] = arguments else {
        return Err(windrow::dataset::failure("a streaming job without what is said of it"));
    };
    let job: StreamingJob = serde_json::from_str(job).map_err(windrow::dataset::failure)?;
    let told = Told::of(&job.run(session)?);
    println!("{}", serde_json::to_string(&told).map_err(windrow::dataset::failure)?);
    Ok(())
}

impl Submit {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        match &self.what {
            What::Streaming(flags) => flags.run(self.cluster.as_ref(), signals),
            What::Program(words) => run_program(words, self.cluster.as_ref()),
        }
    }
}

/// Such a program knows `--cluster` itself (`windrow::launch`). It takes this process's place, so that signals, and what it ends with, are its own.
fn run_program(words: &[OsString], cluster: Option<&ClusterName>) -> Result<(), Failure> {
    // There is one: that is how this subcommand is told from others.
    let (program, arguments) = words.split_first().map_or((OsStr::new(""), words), |(first, rest)| (first, rest));
    let program = located(program);
    let mut command = Command::new(&program);
    if let Some(cluster) = cluster {
        // Where it cannot be looked at, the system says why it cannot be run.
        if !may_launch(&program).unwrap_or(true) {
            let cluster = cluster.to_string();
            return Err(Failure::Usage(CommandError::NotOurs { program, cluster }.into()));
        }
        command.arg("--cluster").arg(cluster.to_string());
    }
    let source = command.args(arguments).stdin(Stdio::null()).exec();
    Err(CommandError::Program { program, source }.into())
}

/// A name without a slash that is a program in this folder is that one, as a file that is named to other commands is; else that of `PATH`.
fn located(program: &OsStr) -> PathBuf {
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    let named = Path::new(program);
    if named.parent().is_none_or(|folder| folder != Path::new("")) {
        return named.to_owned();
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let places = iter::once(PathBuf::from(".")).chain(env::split_paths(&folders));
    places.map(|folder| folder.join(named)).find(is_program).unwrap_or_else(|| named.to_owned())
}

impl StreamingFlags {
    fn run(&self, cluster: Option<&ClusterName>, signals: &Signals) -> Result<(), Failure> {
        let told = match cluster {
            None => {
                self.check()?;
                let session = Session::new(self.engine.settings()?)?;
                let _job = signals.job(session.cancel());
                Told::of(&self.job.run(&session)?)
            }
            Some(cluster) => {
                self.engine.none_on_cluster()?;
                // What is wrong with the job is told here, not by a worker.
                self.check()?;
                let contact = Contact::of(cluster)?;
                let (progress, cancel) = (Progress::default(), Cancel::default());
                let (_shown, _job) = (progress.begin(), signals.job(cancel.clone()));
                let job = serde_json::to_string(&self.job).map_err(|source| CommandError::Printed { source })?;
                let arguments = [PROGRAM.to_owned(), job];
                let (address, label, seen) =
                    (contact.address(), self.job.label(), |update: &_| progress.update(update));
                let printed = windrow::dataset::submit_as(&address, Some(&label), &arguments, &cancel, &seen)?;
                serde_json::from_slice(&printed).map_err(|source| CommandError::Printed { source })?
            }
        };
        if self.json { output::json(&told) } else { output::text(&told.to_text()) }
    }

    /// Fails, as wrong usage, where the flags contradict themselves.
    fn check(&self) -> Result<(), Failure> {
        self.job.input.iter().try_for_each(|path| Failure::unless_here(path))?;
        Failure::unless_written_here(&self.job.output.to_string_lossy())?;
        self.job.streaming().and_then(|streaming| streaming.check()).map_err(Failure::Usage)
    }
}

impl StreamingJob {
    fn streaming(&self) -> Windrow<Streaming> {
        let separator = match self.separator.as_bytes() {
            [byte] => *byte,
            b"\\t" => b'\t',
            _ => return Err(CommandError::Separator { given: self.separator.clone() }.into()),
        };
        let mut streaming = Streaming::new(&self.mapper).separator(separator).key_fields(self.key_fields);
        streaming = streaming.parts(self.reducers);
        if let Some(reducer) = self.reducer.as_ref().filter(|reducer| !reducer.eq_ignore_ascii_case("none")) {
            streaming = streaming.reducer(reducer);
        }
        if let Some(combiner) = &self.combiner {
            streaming = streaming.combiner(combiner);
        }
        if let Some(fields) = self.partition_fields {
            streaming = streaming.partition_fields(fields);
        }
        if self.combine_files {
            streaming = streaming.combines_files();
        }
        let order = self.key_order.iter().map(|field| field.parse()).collect::<Windrow<Vec<KeyOrder>>>()?;
        streaming = self.file.iter().fold(streaming.in_order_of(order), Streaming::file);
        for variable in &self.cmdenv {
            let Some((name, value)) = variable.split_once('=').filter(|(name, _)| !name.is_empty()) else {
                return Err(CommandError::Variable { given: variable.clone() }.into());
            };
            streaming = streaming.environment(name, value);
        }
        Ok(if self.overwrite { streaming.overwrite() } else { streaming })
    }

    fn run(&self, session: &Session) -> Windrow<Finished> {
        self.splits.set(session)?;
        self.streaming()?.run(session, &self.input, &self.output)
    }

    /// What lists of jobs show.
    fn label(&self) -> String {
        iter::once(&self.mapper).chain(&self.reducer).map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

/// What is told of a job that has ended.
#[derive(Serialize, Deserialize)]
struct Told {
    path: PathBuf,
    rows: u64,
    bytes: u64,
    digest: String,
    counters: BTreeMap<String, i64>,
}

impl Told {
    fn of(finished: &Finished) -> Told {
        let written = finished.written.as_ref();
        Told {
            path: written.map(|written| written.path.clone()).unwrap_or_default(),
            rows: written.map_or(0, |written| written.rows),
            bytes: written.map_or(0, |written| written.bytes),
            digest: written.map(|written| written.digest.to_string()).unwrap_or_default(),
            counters: finished.counters.clone(),
        }
    }

    fn to_text(&self) -> String {
        let mut text = format!("{} lines in {}\n", self.rows, self.path.display());
        self.counters.iter().for_each(|(name, count)| text += &format!("{name} {count}\n"));
        text
    }
}
