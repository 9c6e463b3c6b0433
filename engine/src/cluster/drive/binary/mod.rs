//! The binaries of users' programs: shipped once to the coordinator, fetched once by each worker that needs them, and checked before they run.
//!
//! In: a program's file, as its client has it. Out: on a worker, the same program as a file of its own, which this machine can run. Never: a
//! binary that is run before its bytes have the name under which they came; more of them kept than their bound.
//!
//! ```text
//!   client                      coordinator                        worker
//!   Shipped: the file less      <folder>/binaries/<sha256>         <folder>/windrow-binaries/<sha256>
//!   its symbols, its SHA-256      store.rs                           store.rs
//!      │ Held? ──────────────►      │                                  │
//!      │ Piece, Piece, …  ───►  checked, synced, renamed               │
//!      │ Submit                     │  ◄───────── BinaryWanted ────  fetch.rs: not held here
//!                                   │  ─────────── a piece ───────►  checked, renamed; is it for this machine? ─► child
//! ```
//! The name is that of the bytes as they are shipped. A piece that comes twice changes nothing, so a client that is interrupted, and the next
//! one with the same program, goes on where the first stopped.

mod elf; // Elf, Machine: what the file says about itself
mod fetch; // Binaries, Uplink: the worker's side
mod serve; // Server: the coordinator's side
mod ship; // Shipped: the client's side; may_launch
mod store; // BinaryStore: a folder of binaries by name

pub use fetch::{Binaries, Uplink};
pub use serve::{Asked, BINARY, Server};
pub use ship::{LAUNCHED, Shipped, may_launch};
