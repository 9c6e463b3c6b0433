//! The process of a user's program on a worker: where its closures run, and its driver.
//!
//! In: a program, by the name of its binary; orders. Out: attempts, as files that the worker takes into its spool; plans. Never: a network socket or
//! a key in the user's process; a panic, an abort or an endless loop that reaches the worker.
//!
//! ```text
//!   worker ──starts──► the user's binary, with WINDROW_CHILD=<socket>
//!          ◄─control─►   one Unix connection: orders, plans, outcomes / ends, plans, results          wire.rs
//!          ◄──pull───►   one more for each node that it pulls from: the worker asks, and passes frames on
//! ```
//! The process runs the program's entry from the start. At each action it has named all closures that the action's plan can hold; there it
//! waits for the action's result, and runs the tasks that it is ordered. A plan carries what was given since the one before it, and that one
//! comes first, so a process that was started later catches up by itself; only in the driver's process an action is planned.

mod children; // Children: the processes of a worker, by job
mod host; // Child: the worker's side
mod program; // Program: the process's side
mod started; // what the process has started, to be ended with it
mod wire; // messages over the Unix connection

pub use children::{Children, ToDriver};
pub use host::{Child, ProgramSpec};
pub use program::{Program, Want, batches_of};
pub use wire::{ActionResult, PlanEnvelope};

use std::path::{Path, PathBuf};

/// The variable that tells a program which socket its worker listens at.
pub const CHILD_VARIABLE: &str = "WINDROW_CHILD";

/// The folder of this process, if a worker has started it: it is removed when the process has ended.
pub fn own_folder() -> Option<PathBuf> {
    PathBuf::from(std::env::var_os(CHILD_VARIABLE)?).parent().map(Path::to_owned)
}
