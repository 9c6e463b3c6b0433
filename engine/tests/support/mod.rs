//! What several of the engine's tests share.
//!
//! In: flows, rows, the name of an example. Out: what a flow gives, the same in every shape; rows in order; a program. Never: anything of one test alone.

use std::{fmt::Debug, process::Command};

use windrow::{Session, Settings};

/// How a flow is run: threads, rows a morsel, and how many bytes may stay in memory that can be spilled (0: what can be spilled is).
pub type Shape = (usize, usize, Option<u64>);

/// Runs `flow` in each of the shapes; it must give the same each time.
pub fn check_in<R: PartialEq + Debug>(shapes: impl IntoIterator<Item = Shape>, flow: impl Fn(&Session) -> R) -> R {
    let mut first: Option<R> = None;
    for (threads, rows_per_morsel, revocable_bytes) in shapes {
        let settings = Settings { threads, rows_per_morsel, revocable_bytes, ..Settings::default() };
        let found = flow(&Session::new(settings).unwrap());
        match &first {
            None => first = Some(found),
            Some(first) => assert_eq!(
                &found, first,
                "{threads} threads, {rows_per_morsel} rows per morsel, {revocable_bytes:?} bytes revocable"
            ),
        }
    }
    first.unwrap()
}

/// The rows, in order.
pub fn sorted<T: Ord>(mut rows: Vec<T>) -> Vec<T> {
    rows.sort();
    rows
}

/// An example as its users run it. `cargo test` builds it before it runs these tests, beside them, unless it was told to build these alone.
pub fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    let program = folder.join("examples").join(name);
    if !program.is_file() {
        let profile = folder.file_name().unwrap().to_str().unwrap().replace("debug", "dev");
        let target = folder.parent().unwrap().to_str().unwrap();
        let build = ["build", "--package", "windrow", "--example", name, "--profile", &profile, "--target-dir", target];
        assert!(Command::new(env!("CARGO")).args(build).status().unwrap().success(), "building {name}");
    }
    Command::new(program)
}
