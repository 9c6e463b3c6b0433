//! A program that was found, its arguments, the folder in which it runs.
//!
//! In: a command as people write it, files beside it. Out: what a process is started by. Never: a program that is looked for only when the job runs.

use std::{
    env,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::error::StreamingError;
use crate::{cluster::drive::child::own_folder, error::Result};

/// A program that can be run.
#[derive(Debug)]
pub(super) struct Command {
    /// What it is to the job.
    pub(super) role: &'static str,
    /// As it was given.
    pub(super) text: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// With links to the files; the process's own if there are none.
    pub(super) folder: Option<TempDir>,
}

impl Command {
    /// Looks for the program: by its path, among the files, in `PATH`.
    pub(super) fn find(role: &'static str, text: &str, files: &[PathBuf]) -> Result<Command> {
        let (program, arguments) = words(role, text)?;
        let files = files.iter().map(|path| absolute(path)).collect::<Result<Vec<_>>>()?;
        let named = files.iter().find(|path| path.file_name().is_some_and(|name| name.to_str() == Some(&program)));
        let path = if program.contains('/') {
            Some(absolute(Path::new(&program))?).filter(|path| path.is_file())
        } else {
            named.cloned().or_else(|| in_path(&program))
        };
        let path = path.ok_or(StreamingError::NotFound { role, program })?;
        if !is_executable(&path) {
            return Err(StreamingError::NotExecutable { role, path }.into());
        }
        Ok(Command { role, text: text.to_owned(), program: path, arguments, folder: folder_of(&files)? })
    }
}

/// The program and its arguments. Nothing is looked for.
pub(super) fn words(role: &'static str, text: &str) -> Result<(String, Vec<String>)> {
    let mut words = shlex::split(text).unwrap_or_default().into_iter();
    let program = words.next().ok_or_else(|| StreamingError::NoCommand { role, text: text.to_owned() })?;
    Ok((program, words.collect()))
}

/// The files are there, and each has a name of its own.
pub(super) fn check_files(files: &[PathBuf]) -> Result<()> {
    for (place, file) in files.iter().enumerate() {
        if let Some(other) = files[..place].iter().find(|other| other.file_name() == file.file_name()) {
            let (path, other) = (file.clone(), other.clone());
            return Err(StreamingError::SameName { path, other }.into());
        }
        file.metadata().map_err(|source| StreamingError::NoFile { path: file.clone(), source })?;
    }
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    Ok(std::path::absolute(path).map_err(|source| StreamingError::File { path: path.to_owned(), source })?)
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn in_path(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| is_executable(path))
}

/// A folder with the files by their names.
fn folder_of(files: &[PathBuf]) -> Result<Option<TempDir>> {
    check_files(files)?;
    let (Some(first), failed) = (files.first(), |path: &Path| {
        let path = path.to_owned();
        move |source| StreamingError::File { path, source }
    }) else {
        return Ok(None);
    };
    // What a worker has started is ended without a word: then its folder goes with that of its process.
    let folder = match own_folder() {
        Some(own) => TempDir::with_prefix_in("streaming-", own),
        None => TempDir::with_prefix("windrow-streaming-"),
    };
    let folder = folder.map_err(failed(first))?;
    for file in files {
        symlink(file, folder.path().join(file.file_name().unwrap_or_default())).map_err(failed(file))?;
    }
    Ok(Some(folder))
}
