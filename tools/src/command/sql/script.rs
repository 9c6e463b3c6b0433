//! Where statements come from: `-c` and `-f`, in the order in which they stand on the command line.
//!
//! In: arguments. Out: scripts, each with the name that errors give it. Never: splits statements; the engine's parser does.

use std::{fs, io, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};

use crate::error::{CommandError, Failure};

/// A text of statements.
pub struct Script {
    /// As errors name it.
    pub name: String,
    /// What it says.
    pub text: String,
}

impl Script {
    /// All of standard input.
    pub fn of_stdin() -> Result<Script, Failure> {
        let text = io::read_to_string(io::stdin()).map_err(|source| CommandError::Input { source })?;
        Ok(Script { name: "standard input".to_owned(), text })
    }
}

/// What was given by `-c` and `-f`.
pub struct Scripts(Vec<Given>);

enum Given {
    Command(String),
    File(PathBuf),
}

impl Scripts {
    /// Reads them; none if none was given.
    pub fn read(&self) -> Result<Option<Vec<Script>>, Failure> {
        if self.0.is_empty() {
            return Ok(None);
        }
        self.0.iter().map(Given::read).collect::<Result<Vec<_>, _>>().map(Some)
    }
}

impl Given {
    fn read(&self) -> Result<Script, Failure> {
        match self {
            Given::Command(text) => Ok(Script { name: "-c".to_owned(), text: text.clone() }),
            Given::File(path) => {
                let read = fs::read_to_string(path);
                let text =
                    read.map_err(|source| CommandError::File { doing: "reading", path: path.clone(), source })?;
                Ok(Script { name: path.display().to_string(), text })
            }
        }
    }
}

// By hand: a derived struct would keep the two kinds apart and lose the order between them.
impl clap::Args for Scripts {
    fn augment_args(command: Command) -> Command {
        let sql = Arg::new("command").short('c').long("command").value_name("SQL").action(ArgAction::Append);
        let file = Arg::new("file").short('f').long("file").value_name("FILE").action(ArgAction::Append);
        command
            .arg(sql.help("Run these statements; may be repeated, also between -f").allow_hyphen_values(true))
            .arg(file.help("Run the statements of this file").value_parser(clap::value_parser!(PathBuf)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Scripts::augment_args(command)
    }
}

impl FromArgMatches for Scripts {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Scripts, clap::Error> {
        let mut given = Vec::new();
        if let (Some(at), Some(texts)) = (matches.indices_of("command"), matches.get_many::<String>("command")) {
            given.extend(at.zip(texts.cloned().map(Given::Command)));
        }
        if let (Some(at), Some(paths)) = (matches.indices_of("file"), matches.get_many::<PathBuf>("file")) {
            given.extend(at.zip(paths.cloned().map(Given::File)));
        }
        given.sort_by_key(|(at, _)| *at);
        Ok(Scripts(given.into_iter().map(|(_, given)| given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Scripts::from_arg_matches(matches)?;
        Ok(())
    }
}
