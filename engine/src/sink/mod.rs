//! Where rows go: files written aside, then committed all at once.
//!
//! In: morsels. Out: a folder of files and `_SUCCESS`, or nothing. Never: lets anybody see a half-written output.

mod commit; // Commit: the temporary folder, the renames, _SUCCESS
mod target; // Target: where and in which shape
mod write; // Writing: one part file a thread, encoded on the compute threads, written on the I/O threads

pub use commit::Written;
pub use target::Target;
pub use write::Writing;
