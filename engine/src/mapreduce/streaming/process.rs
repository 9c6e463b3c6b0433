//! A process that is fed with lines and read by lines at once.
//!
//! In: lines. Out: the lines that it prints; what it counts, and the end of what it says, from its standard error. Never: waits for a process that
//! waits for it: what it prints is taken while it is fed.
//!
//! ```text
//!   lines ──► pieces ──► thread ──► standard input   ┐
//!                                                    │ the process
//!   lines ◄── pieces ◄── thread ◄── standard output  ┤
//!   counts, last words ◄── thread ◄── standard error ┘
//! ```

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    mem,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam::{
    channel::{Receiver, RecvTimeoutError, Sender, bounded, never},
    select,
};
use memchr::{memchr, memrchr};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{error::StreamingError, lines::Feed};
use crate::{
    error::{Result, bug},
    limits,
    observe::COUNTERS_MAX,
    operator::Cancel,
};

/// Bytes that are worth to be handed over.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait on each side.
const PIECES: usize = 4;
/// How often it is looked whether somebody has cancelled the job.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// So long is waited for what a program that has failed says at its end, while others keep its pipes open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// So much of what it said at the end is told.
const SAID_BYTES: usize = 4 << 10;

/// A process at work.
pub(super) struct Piped {
    program: PathBuf,
    child: Child,
    cancel: Cancel,
    /// What was not handed over yet.
    piece: Vec<u8>,
    /// None when it wants no more.
    input: Option<Sender<Vec<u8>>>,
    output: Receiver<Result<Vec<u8>>>,
    /// It has closed its output.
    is_silent: bool,
    said: Arc<Mutex<Said>>,
    threads: Vec<JoinHandle<()>>,
}

/// What it has written to standard error.
#[derive(Default)]
pub(super) struct Said {
    /// By `group.name`.
    pub(super) counters: BTreeMap<String, i64>,
    pub(super) status: String,
    last: Vec<u8>,
}

impl Piped {
    /// Starts it, with these variables beside those that it always has.
    pub(super) fn start(feed: &Feed, variables: &[(&str, String)]) -> Result<Piped> {
        let program = feed.command.program.clone();
        let mut command = std::process::Command::new(&program);
        command.args(&feed.command.arguments).envs(feed.environment.iter().map(|(name, value)| (name, value)));
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(folder) = &feed.command.folder {
            command.current_dir(folder.path());
        }
        // What it starts itself ends with it: they are a group of their own.
        command.process_group(0);
        let mut child = command.spawn().map_err(|source| StreamingError::Start { program: program.clone(), source })?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(bug("mapreduce", "a process without pipes"));
        };
        let (input, pieces) = bounded::<Vec<u8>>(PIECES);
        let (lines, output) = bounded(PIECES);
        let said: Arc<Mutex<Said>> = Arc::default();
        let (to_say, reads) = (Arc::clone(&said), program.clone());
        let threads = vec![
            spawn("stdin", move || feed_in(stdin, &pieces))?,
            spawn("stdout", move || read_lines(stdout, &lines, &reads))?,
            spawn("stderr", move || listen(stderr, &to_say))?,
        ];
        let (piece, cancel) = (Vec::with_capacity(PIECE_BYTES), feed.cancel.clone());
        Ok(Piped { program, child, cancel, piece, input: Some(input), output, is_silent: false, said, threads })
    }

    /// Feeds it with a line, in parts; `give` gets lines that it has printed until now.
    pub(super) fn line(&mut self, parts: &[&[u8]], give: &mut dyn FnMut(&[u8])) -> Result<()> {
        parts.iter().for_each(|part| self.piece.extend_from_slice(part));
        self.piece.push(b'\n');
        if self.piece.len() < PIECE_BYTES { Ok(()) } else { self.hand_over(give) }
    }

    fn hand_over(&mut self, give: &mut dyn FnMut(&[u8])) -> Result<()> {
        let piece = mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        while let Some(input) = &self.input {
            self.cancel.check()?;
            select! {
                send(input, piece) -> sent => {
                    if sent.is_err() {
                        // It has closed its input: it knows enough.
                        self.input = None;
                    }
                    return Ok(());
                }
                recv(self.output) -> lines => match lines {
                    Ok(lines) => each_line(&lines?, give),
                    // It prints no more, but may want to be fed to its end.
                    Err(_) => (self.output, self.is_silent) = (never(), true),
                },
                default(LOOK_AGAIN) => {}
            }
        }
        Ok(())
    }

    /// There are no more lines: what it prints at its end, and what it said.
    pub(super) fn finish(mut self, give: &mut dyn FnMut(&[u8])) -> Result<Said> {
        self.hand_over(give)?;
        self.input = None;
        while !self.is_silent {
            self.cancel.check()?;
            match self.output.recv_timeout(LOOK_AGAIN) {
                Ok(lines) => each_line(&lines?, give),
                // One that has failed may have left others behind that keep its output open.
                Err(RecvTimeoutError::Timeout) => match self.status()? {
                    Some(status) if !status.success() => return Err(self.ended(status).into()),
                    _ => {}
                },
                Err(RecvTimeoutError::Disconnected) => self.is_silent = true,
            }
        }
        // It may close its output and go on.
        let status = loop {
            self.cancel.check()?;
            if let Some(status) = self.status()? {
                break status;
            }
            thread::park_timeout(LOOK_AGAIN / 10);
        };
        if !status.success() {
            return Err(self.ended(status).into());
        }
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| bug("mapreduce", "a thread beside a process panicked"))?;
        }
        Ok(mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Ends it, and those that it has started and that have not left its group.
    fn kill_group(&self) {
        // The number is the group's while it lives or was not asked for its end; behind that only while somebody of the group lives, which open
        // pipes tell.
        let is_there = self.threads.iter().any(|thread| !thread.is_finished());
        if let (Some(group), true) = (i32::try_from(self.child.id()).ok().and_then(Pid::from_raw), is_there) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// How it has ended, if it has.
    fn status(&mut self) -> Result<Option<ExitStatus>> {
        let failed = |source| StreamingError::Pipe { what: "waiting for", program: self.program.clone(), source };
        Ok(self.child.try_wait().map_err(failed)?)
    }

    /// It has failed: with its last words, once they are read, or a moment later if somebody else keeps the pipe open.
    fn ended(&self, status: ExitStatus) -> StreamingError {
        let deadline = Instant::now() + LAST_WORDS;
        while self.threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < deadline {
            thread::park_timeout(LOOK_AGAIN / 10);
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said.last).trim().to_owned();
        StreamingError::Ended { program: self.program.clone(), status: status.to_string(), said }
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // One that was not finished is not wanted any more, nor is what it has started itself. The threads end when their pipes do.
        if !self.threads.is_empty() {
            self.kill_group();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let builder = thread::Builder::new().name(format!("windrow-{name}"));
    let failed =
        |source| StreamingError::Pipe { what: "starting a thread beside", program: PathBuf::from(name), source };
    Ok(builder.spawn(work).map_err(failed)?)
}

/// A process that closes its input, or has ended, wants no more: how it ended says whether that was well.
fn feed_in(mut stdin: ChildStdin, pieces: &Receiver<Vec<u8>>) {
    for piece in pieces {
        if stdin.write_all(&piece).is_err() {
            return;
        }
    }
}

/// Pieces of whole lines.
fn read_lines(mut stdout: impl Read, lines: &Sender<Result<Vec<u8>>>, program: &Path) {
    let mut piece: Vec<u8> = Vec::with_capacity(2 * PIECE_BYTES);
    loop {
        let held = piece.len();
        piece.resize(held + PIECE_BYTES, 0);
        let read = match stdout.read(&mut piece[held..]) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(source) => {
                let error = StreamingError::Pipe { what: "reading from", program: program.to_owned(), source };
                return drop(lines.send(Err(error.into())));
            }
        };
        piece.truncate(held + read);
        if read == 0 {
            if !piece.is_empty() {
                let _ = lines.send(Ok(piece));
            }
            return;
        }
        match memrchr(b'\n', &piece[held..]) {
            Some(end) => {
                let rest = piece.split_off(held + end + 1);
                // Nobody reads on when the attempt has failed.
                if lines.send(Ok(mem::replace(&mut piece, rest))).is_err() {
                    return;
                }
            }
            None if piece.len() > limits::STREAMED_LINE_BYTES_MAX => {
                let (program, max) = (program.to_owned(), limits::STREAMED_LINE_BYTES_MAX);
                return drop(lines.send(Err(StreamingError::LongLine { program, max }.into())));
            }
            None => {}
        }
    }
}

fn each_line(piece: &[u8], give: &mut dyn FnMut(&[u8])) {
    let mut rest = piece;
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        give(line.strip_suffix(b"\r").unwrap_or(line));
        rest = rest.get(end + 1..).unwrap_or(&[]);
    }
}

/// Counts, and keeps the end of the rest. What it floods us with is read and forgotten.
fn listen(mut stderr: impl Read, said: &Mutex<Said>) {
    let (mut bytes, mut line) = ([0; 8 << 10], Vec::new());
    while let Ok(read) = stderr.read(&mut bytes) {
        if read == 0 {
            break;
        }
        let mut rest = &bytes[..read];
        while let Some(end) = memchr(b'\n', rest) {
            line.extend_from_slice(&rest[..end]);
            said.lock().unwrap_or_else(PoisonError::into_inner).add(&mem::take(&mut line));
            rest = &rest[end + 1..];
        }
        // Of a line without an end the last of it.
        line.extend_from_slice(rest);
        line.drain(..line.len().saturating_sub(SAID_BYTES));
    }
    if !line.is_empty() {
        said.lock().unwrap_or_else(PoisonError::into_inner).add(&line);
    }
}

impl Said {
    fn add(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        if let Some(status) = text.strip_prefix("reporter:status:") {
            self.status = status.to_owned();
        } else if let Some((name, by)) = text.strip_prefix("reporter:counter:").and_then(counter) {
            // What has more names than may be counted is told when they are counted.
            if self.counters.len() <= COUNTERS_MAX || self.counters.contains_key(&name) {
                *self.counters.entry(name).or_insert(0) += by;
            }
        } else {
            self.last.extend_from_slice(line);
            self.last.push(b'\n');
            self.last.drain(..self.last.len().saturating_sub(SAID_BYTES));
        }
    }
}

/// `group,name,amount`
fn counter(text: &str) -> Option<(String, i64)> {
    let (names, amount) = text.rsplit_once(',')?;
    let (group, name) = names.split_once(',')?;
    Some((format!("{group}.{name}"), amount.trim().parse().ok()?))
}
