//! A program's main: its flags, its session, its job, its exit code.
//!
//! In: the process's arguments. Out: the exit code; errors on stderr, with what to do next. Never: keeps an argument that it does not
//! know from the job.
//!
//! ```text
//!   0 done · 1 the job failed · 2 wrong flags · 3 no cluster · 4 not allowed · 5 a limit was reached · 6 bytes are broken · 7 a bug of ours
//! ```

use std::{
    error::Error as StdError,
    ffi::OsString,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use super::{closure::message_of, error::DatasetError, named, progress::ProgressLine, remote, session::Session};
use crate::{
    cluster::{
        drive::{
            ClusterAddress,
            binary::{LAUNCHED, Shipped},
            child::{CHILD_VARIABLE, Program, ProgramSpec},
        },
        protocol::JobUpdate,
    },
    error::{Cause, Error, Kind, Result},
    operator::Cancel,
    settings::Settings,
};

/// Runs `job` as the program: `fn main() -> ExitCode { windrow::launch(|session, arguments| …) }`.
///
/// Takes `--threads N`, `--memory SIZE` (as `512MiB`, `4G`), `--spill FOLDER` (any number of times), `--verify` and `--cluster NAME` from the
/// program's arguments, up to a `--`; the job gets the others, without the program's name. With `--cluster` the program is handed in to that cluster: workers run it, what it prints there is
/// printed here, and this process only waits.
pub fn launch(job: impl FnOnce(&Session, &[String]) -> Result<()>) -> ExitCode {
    // Kept as it stands there, to be found in the binary.
    std::hint::black_box(LAUNCHED);
    let arguments = std::env::args_os().skip(1);
    if let Some(socket) = std::env::var_os(CHILD_VARIABLE) {
        // Flags were read where the program was handed in: these are the job's.
        let arguments: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
        return exit(run_under_worker(Path::new(&socket), |session| job(session, &arguments)));
    }
    let flags = match read_flags(arguments) {
        Ok(read) => read,
        Err(error) => return tell(&error, 2),
    };
    exit(if let Some(cluster) = &flags.cluster {
        named::address(cluster)
            .and_then(|address| {
                let line = ProgressLine::begin();
                submit(&address, &flags.arguments, &Cancel::default(), &|update| line.update(update))
            })
            .and_then(|printed| print(&printed))
    } else {
        Session::new(flags.settings).and_then(|session| {
            session.set_verifies(flags.verifies);
            job(&session, &flags.arguments)
        })
    })
}

fn exit(ran: Result<()>) -> ExitCode {
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => tell(&error, exit_code(error.kind())),
    }
}

/// Runs a program's entry in the process that a worker has started for it.
fn run_under_worker(socket: &Path, job: impl FnOnce(&Session) -> Result<()>) -> Result<()> {
    let (program, settings) = Program::connect(socket)?;
    let session = Session::under_worker(Arc::clone(&program), settings)?;
    let ran = catch_unwind(AssertUnwindSafe(|| job(&session)));
    let ran = ran.unwrap_or_else(|panic| Err(DatasetError::EntryPanicked { message: message_of(&*panic) }.into()));
    // What it has printed goes before the word that it is done.
    let _ = std::io::stdout().flush();
    // Where its end cannot be told, another driver goes on with what it has cached.
    if program.ended(ran.as_ref().err()) {
        session.remove_cached();
    }
    Ok(())
}

/// Hands this program in to a cluster and waits for its end, or until `cancel` says so; `seen` hears how it goes. Gives what it printed
/// there.
pub fn submit(
    address: &ClusterAddress,
    arguments: &[String],
    cancel: &Cancel,
    seen: &dyn Fn(&JobUpdate),
) -> Result<Vec<u8>> {
    submit_as(address, None, arguments, cancel, seen)
}

/// As [`submit`]; `label`: what lists of jobs show of it, the program's name and its arguments otherwise.
pub fn submit_as(
    address: &ClusterAddress,
    label: Option<&str>,
    arguments: &[String],
    cancel: &Cancel,
    seen: &dyn Fn(&JobUpdate),
) -> Result<Vec<u8>> {
    let path = std::env::current_exe().map_err(|source| FlagError::Own { source })?;
    hand_in(address, (&path, label), arguments, cancel, seen)
}

/// As [`submit`], with a program that is this file: one that may be built for another machine than this one. Its flags are for it to read.
pub fn submit_binary(
    address: &ClusterAddress,
    program: &Path,
    arguments: &[String],
    cancel: &Cancel,
    seen: &dyn Fn(&JobUpdate),
) -> Result<Vec<u8>> {
    hand_in(address, (program, None), arguments, cancel, seen)
}

fn hand_in(
    address: &ClusterAddress,
    (program, label): (&Path, Option<&str>),
    arguments: &[String],
    cancel: &Cancel,
    seen: &dyn Fn(&JobUpdate),
) -> Result<Vec<u8>> {
    let path = std::path::absolute(program).map_err(|source| FlagError::Own { source })?;
    let binary = Shipped::open(&path)?;
    let folder = std::env::current_dir().map_err(|source| FlagError::Own { source })?;
    let spec = ProgramSpec {
        binary: binary.id,
        path: path.to_string_lossy().into_owned(),
        arguments: arguments.to_vec(),
        folder: folder.to_string_lossy().into_owned(),
    };
    let words = || {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        std::iter::once(name).chain(arguments.iter().cloned()).collect::<Vec<_>>().join(" ")
    };
    let label = label.map_or_else(words, str::to_owned);
    remote::submit_program(address, &binary, &spec, &label, cancel, seen)
}

/// Prints what a program has printed elsewhere.
fn print(printed: &[u8]) -> Result<()> {
    let mut out = std::io::stdout();
    Ok(out.write_all(printed).and_then(|()| out.flush()).map_err(|source| FlagError::Print { source })?)
}

fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::Request | Kind::Job | Kind::Unsupported | Kind::Io | Kind::Cancelled => 1,
        Kind::Unreachable => 3,
        Kind::Denied => 4,
        Kind::Limit => 5,
        Kind::Corrupt => 6,
        Kind::Internal => 7,
    }
}

fn tell(error: &Error, code: u8) -> ExitCode {
    eprintln!("error: {error}");
    let mut source = error.source();
    while let Some(next) = source {
        eprintln!("  because: {next}");
        source = next.source();
    }
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(code)
}

/// What the flags say.
struct Flags {
    settings: Settings,
    cluster: Option<String>,
    verifies: bool,
    arguments: Vec<String>,
}

/// The settings by the flags, and the arguments that are no flags of ours.
fn read_flags(arguments: impl IntoIterator<Item = OsString>) -> Result<Flags> {
    let (mut settings, mut cluster, mut others) = (Settings::default(), None, Vec::new());
    let (mut spill_folders, mut verifies) = (Vec::new(), false);
    let mut arguments = arguments
        .into_iter()
        .map(|argument| argument.into_string().map_err(|argument| Error::from(FlagError::NotUtf8 { argument })));
    while let Some(argument) = arguments.next() {
        let argument = argument?;
        if argument == "--" {
            others.extend(arguments.collect::<Result<Vec<_>>>()?);
            break;
        }
        if argument == "--verify" {
            verifies = true;
            continue;
        }
        let (flag, attached) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        if !matches!(flag, "--threads" | "--memory" | "--spill" | "--cluster") {
            others.push(argument);
            continue;
        }
        let value = match attached {
            Some(value) => value,
            None => arguments.next().ok_or_else(|| FlagError::NoValue { flag: flag.to_owned() })??,
        };
        match flag {
            "--threads" => settings.threads = value.parse().map_err(|_| FlagError::Threads { value })?,
            "--cluster" => cluster = Some(value),
            "--spill" => spill_folders.push(PathBuf::from(value)),
            _ => settings.memory_bytes = bytes_of(&value).ok_or(FlagError::Memory { value })?,
        }
    }
    if !spill_folders.is_empty() {
        settings.spill_folders = spill_folders;
    }
    if verifies && cluster.is_some() {
        return Err(FlagError::VerifyAway.into());
    }
    Ok(Flags { settings: settings.checked()?, cluster, verifies, arguments: others })
}

/// `512MiB`, `512M` (powers of 1024), `512MB` (powers of 1000), `536870912`.
fn bytes_of(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let (letter, base) = match unit.strip_suffix("ib") {
        Some(letter) if !letter.is_empty() => (letter, 1024),
        _ => match unit.strip_suffix('b') {
            Some(letter) => (letter, 1000u64),
            None => (unit.as_str(), 1024),
        },
    };
    let power = match letter {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(base.checked_pow(power)?)
}

#[derive(Debug, thiserror::Error)]
enum FlagError {
    #[error("finding out what this program is")]
    Own { source: std::io::Error },
    #[error("printing what the program printed on the cluster")]
    Print { source: std::io::Error },
    #[error("reading the argument {argument:?}: it is not valid UTF-8")]
    NotUtf8 { argument: OsString },
    #[error("reading the flag {flag}: its value is missing")]
    NoValue { flag: String },
    #[error("reading the flag --threads: {value:?} is not a number of threads")]
    Threads { value: String },
    #[error("reading the flag --verify: it is for programs in process, and --cluster was given, too")]
    VerifyAway,
    #[error("reading the flag --memory: {value:?} is not a size")]
    Memory { value: String },
}

impl Cause for FlagError {
    fn kind(&self) -> Kind {
        Kind::Request
    }
    fn hint(&self) -> Option<String> {
        Some(
            "the flags are --threads N, --memory SIZE as 512MiB or 4GiB, --spill FOLDER, --verify, and --cluster NAME"
                .to_owned(),
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<(Settings, Vec<String>)> {
        let Flags { settings, arguments, .. } = read_flags(arguments.iter().map(OsString::from))?;
        Ok((settings, arguments))
    }

    #[test]
    fn takes_its_flags_and_leaves_the_others() {
        let (settings, others) = read(&["in.txt", "--threads", "3", "--top", "10", "--memory=64MiB", "out"]).unwrap();
        assert_eq!((settings.threads, settings.memory_bytes), (3, 64 << 20));
        assert_eq!(others, ["in.txt", "--top", "10", "out"]);
        assert_eq!(settings.spill_folders, Settings::default().spill_folders);
        let (settings, others) = read(&["--spill", "/one", "out", "--spill=/two"]).unwrap();
        assert_eq!((settings.spill_folders, others), (vec!["/one".into(), "/two".into()], vec!["out".to_owned()]));
        let flags = read_flags(["--verify", "out"].map(OsString::from)).unwrap();
        assert_eq!((flags.verifies, flags.arguments), (true, vec!["out".to_owned()]));
        let (_, others) = read(&["--threads=2", "--", "--threads", "x"]).unwrap();
        assert_eq!(others, ["--threads", "x"]);
    }

    #[test]
    fn wrong_flags_are_told() {
        for wrong in [
            &["--threads"][..],
            &["--threads", "many"],
            &["--threads", "0"],
            &["--memory", "4 parsecs"],
            &["--memory=1k"],
            &["--spill"],
            &["--verify", "--cluster", "local"],
        ] {
            assert_eq!(read(wrong).unwrap_err().kind(), Kind::Request, "{wrong:?}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes_of("7"), Some(7));
        assert_eq!(bytes_of("7B"), Some(7));
        assert_eq!(bytes_of("2k"), Some(2048));
        assert_eq!(bytes_of("2KiB"), Some(2048));
        assert_eq!(bytes_of("2KB"), Some(2000));
        assert_eq!(bytes_of("1 GiB"), Some(1 << 30));
        assert_eq!(bytes_of("99999999T"), None);
        assert_eq!(bytes_of("GiB"), None);
        assert_eq!(bytes_of("-1"), None);
    }
}
