//! `--profile FILE`: what each step of each statement did.
//!
//! In: a statement and its profile, one after the other. Out: `FILE`, a JSON array of them; `FILE.svg`, their flame graph; both whole after each
//! statement. Never: a file of an earlier run left as it was when this one fails at its first statement.

use std::{
    cell::RefCell,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use windrow::observe::{ProfileReport, flame_graph};

use crate::error::{CommandError, Failure};

/// Where profiles go.
pub struct Profiler {
    json: PathBuf,
    svg: PathBuf,
    profiles: RefCell<Vec<(String, ProfileReport)>>,
}

#[derive(serde::Serialize)]
struct Profiled<'a> {
    statement: &'a str,
    profile: &'a ProfileReport,
}

impl Profiler {
    /// Writes that there is nothing yet, so that a path that cannot be written is known before anything runs.
    pub fn begin(path: &Path) -> Result<Profiler, Failure> {
        let mut svg = OsString::from(path);
        svg.push(".svg");
        let profiler = Profiler { json: path.to_owned(), svg: svg.into(), profiles: RefCell::default() };
        profiler.write()?;
        Ok(profiler)
    }

    /// One more statement has run.
    pub fn add(&self, statement: &str, report: ProfileReport) -> Result<(), Failure> {
        self.profiles.borrow_mut().push((statement.split_whitespace().collect::<Vec<_>>().join(" "), report));
        self.write()
    }

    fn write(&self) -> Result<(), Failure> {
        let profiles = self.profiles.borrow();
        let all: Vec<Profiled<'_>> =
            profiles.iter().map(|(statement, profile)| Profiled { statement, profile }).collect();
        let json = serde_json::to_vec_pretty(&all).map_err(|error| Failure::of_output(error.into()))?;
        let put = |path: &Path, bytes: &[u8]| -> Result<(), Failure> {
            let failed = |source| CommandError::File { doing: "writing the profile", path: path.to_owned(), source };
            Ok(fs::write(path, bytes).map_err(failed)?)
        };
        put(&self.json, &json)?;
        put(&self.svg, flame_graph(&profiles).as_bytes())
    }
}
