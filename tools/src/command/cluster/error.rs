//! How the handling of a cluster fails.
//!
//! In: what was tried, on which cluster or process. Out: a sentence, a kind, what to do next. Never: a process's log without its
//! name.

use std::{fmt, io, net::SocketAddr, path::PathBuf, process::ExitStatus, time::Duration};

use windrow::{
    Kind,
    error::{Cause, Error},
};
use windrow_net::NetError;

use super::folder::ClusterName;

/// Not a name of a cluster.
#[derive(Debug, thiserror::Error)]
#[error(
    "a name is made of small letters, digits, '-', '_' and '.', begins with a letter or digit, and has 63 letters at most"
)]
pub struct NameError;

/// What fails around a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("looking for the folder in which clusters are written down: no variable names one")]
    NoHome,
    #[error("{doing} {}", path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("reading the cluster's record {}", path.display())]
    Record { path: PathBuf, source: serde_json::Error },
    #[error("reading the cluster's record {}: it has version {found}, this windrow knows {known}", path.display())]
    RecordVersion { path: PathBuf, found: u32, known: u32 },
    #[error("making certificates for the cluster {name}")]
    Certificates { name: ClusterName, source: Box<NetError> },
    #[error("the cluster {name} is being started or stopped by somebody else")]
    Busy { name: ClusterName },
    #[error("the cluster {name} runs already: {who} is process {pid}")]
    Runs { name: ClusterName, who: String, pid: u32 },
    #[error("the cluster {name} has {workers} workers, and of those {} dead", are(dead))]
    OtherSize { name: ClusterName, workers: usize, dead: Vec<String> },
    #[error("making the spool's folder {}: it is there already", path.display())]
    SpoolExists { path: PathBuf },
    #[error("starting {who} of the cluster {name}")]
    Spawn { name: ClusterName, who: String, source: io::Error },
    #[error("starting {who} of the cluster {name}: it ended ({status})")]
    Ended { name: ClusterName, who: String, status: Status, source: LogTail },
    #[error("starting {who} of the cluster {name}: it was not ready within {} s", after.as_secs())]
    Late { name: ClusterName, who: String, after: Duration, source: LogTail },
    #[error("starting {who} of the cluster {name}: it said {line:?} instead of its address")]
    Line { name: ClusterName, who: String, line: String },
    #[error("no cluster is called {name}")]
    Unknown { name: ClusterName, others: Vec<ClusterName> },
    #[error("the cluster {name} has no coordinator")]
    Unfinished { name: ClusterName },
    #[error("asking the coordinator of the cluster {name} at {address}")]
    Unanswered { name: ClusterName, address: SocketAddr, is_running: bool, log: PathBuf, source: Error },
    #[error(transparent)]
    Answered(Error),
    #[error("the coordinator of the cluster {name} gave an answer to another question")]
    Answer { name: ClusterName },
    #[error("stopping {who} of the cluster {name}: process {pid} does not end")]
    Undead { name: ClusterName, who: String, pid: u32 },
    #[error("interrupted while the cluster {name} was started")]
    Interrupted { name: ClusterName },
}

/// How a process ended, as far as it is known.
#[derive(Debug)]
pub struct Status(pub Option<ExitStatus>);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(status) => fmt::Display::fmt(&status, f),
            None => f.write_str("nobody knows how"),
        }
    }
}

/// The last lines of a process's log.
#[derive(Debug, thiserror::Error)]
pub struct LogTail {
    path: PathBuf,
    lines: Vec<String>,
}

impl LogTail {
    /// Reads them.
    pub fn read(path: PathBuf) -> LogTail {
        const LINES_MAX: usize = 20;
        let text = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let lines = lines[lines.len().saturating_sub(LINES_MAX)..].iter().map(|line| (*line).to_owned()).collect();
        LogTail { path, lines }
    }
}

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() {
            return write!(f, "its log {} is empty", self.path.display());
        }
        write!(f, "its log {} ends with", self.path.display())?;
        self.lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl Cause for ClusterError {
    fn kind(&self) -> Kind {
        match self {
            ClusterError::NoHome
            | ClusterError::Runs { .. }
            | ClusterError::OtherSize { .. }
            | ClusterError::Busy { .. }
            | ClusterError::SpoolExists { .. } => Kind::Request,
            ClusterError::RecordVersion { .. } => Kind::Unsupported,
            ClusterError::Record { .. } => Kind::Corrupt,
            ClusterError::File { .. }
            | ClusterError::Spawn { .. }
            | ClusterError::Ended { .. }
            | ClusterError::Late { .. }
            | ClusterError::Undead { .. } => Kind::Io,
            ClusterError::Unknown { .. } | ClusterError::Unfinished { .. } => Kind::Unreachable,
            ClusterError::Unanswered { source, .. } | ClusterError::Answered(source) => source.kind(),
            ClusterError::Certificates { .. } | ClusterError::Answer { .. } | ClusterError::Line { .. } => {
                Kind::Internal
            }
            ClusterError::Interrupted { .. } => Kind::Cancelled,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ClusterError::NoHome => Some("set WINDROW_STATE_DIR, XDG_STATE_HOME or HOME to a folder".to_owned()),
            ClusterError::Runs { name, .. } => Some(format!("`{}` stops it", told("stop", name))),
            ClusterError::OtherSize { name, workers, dead } => {
                let them = if dead.len() == 1 { "it" } else { "them" };
                Some(format!("`{}` starts {them} again, with the folders they had", start_again(name, *workers)))
            }
            ClusterError::Busy { .. } => Some("wait until that is done".to_owned()),
            ClusterError::SpoolExists { .. } => Some("remove it, or name another folder by --spool".to_owned()),
            ClusterError::Unknown { name, others } => {
                let start = format!("`{}` starts it", told("start --local 2", name));
                let names: Vec<&str> = others.iter().map(ClusterName::as_str).collect();
                let others = format!("; there is {}", names.join(", "));
                Some(if names.is_empty() { start } else { start + &others })
            }
            ClusterError::Unfinished { name } => Some(format!("`{}` removes what is left of it", told("stop", name))),
            ClusterError::Record { .. } | ClusterError::RecordVersion { .. } => {
                Some("stop the cluster with the windrow that started it, or remove its folder".to_owned())
            }
            ClusterError::Unanswered { name, is_running: false, log, .. } => Some(format!(
                "its process has ended, {} says why; `{}` stops what is left",
                log.display(),
                told("stop", name)
            )),
            ClusterError::Unanswered { source, .. } | ClusterError::Answered(source) => source.hint(),
            _ => None,
        }
    }
}

/// "w1 is", "w1 and w3 are", "w1, w2 and w3 are".
pub fn are(workers: &[String]) -> String {
    match workers {
        [] => "none is".to_owned(),
        [one] => format!("{one} is"),
        [first @ .., last] => format!("{} and {last} are", first.join(", ")),
    }
}

/// The command that starts those of the cluster's workers again that are dead.
pub fn start_again(name: &ClusterName, workers: usize) -> String {
    told(&format!("start --local {workers}"), name)
}

/// A command about the cluster `name`.
fn told(verb: &str, name: &ClusterName) -> String {
    if name.as_str() == super::DEFAULT {
        format!("windrow cluster {verb}")
    } else {
        format!("windrow cluster {verb} --name {name}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_last_lines() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("w1.log");
        assert!(LogTail::read(path.clone()).to_string().ends_with("is empty"));
        let lines: Vec<String> = (0..50).map(|number| format!("line {number}")).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let text = LogTail::read(path).to_string();
        assert_eq!(text.lines().count(), 21);
        assert!(text.ends_with("\n    line 49") && text.contains("line 30") && !text.contains("line 29"), "{text}");
    }

    #[test]
    fn an_unknown_cluster_is_told_with_those_that_are_known() {
        let name = |text: &str| text.parse().unwrap();
        let error = ClusterError::Unknown { name: name("field"), others: vec![name("local"), name("x")] };
        assert_eq!(error.kind(), Kind::Unreachable);
        let hint = "`windrow cluster start --local 2 --name field` starts it; there is local, x";
        assert_eq!(error.hint().unwrap(), hint);
        let error = ClusterError::Unknown { name: name("local"), others: Vec::new() };
        assert_eq!(error.hint().unwrap(), "`windrow cluster start --local 2` starts it");
    }
}
