//! One coordinator, many workers: what each knows, what it says, what it does next.
//!
//! In: events (a message, a timer, a file that is durable) with the time at which they happened. Out: commands. Never: a
//! socket, a disk, a clock, a thread: the machines are values, the same under the real world and under a simulated one.
//!
//! ```text
//!   client ──submit, watch──► coordinator ──orders──► worker ──rows──► worker
//!                               │   ▲                   │  ▲
//!                             journal└──beats, ends─────┘  └─ plans, outcomes ── driver
//! ```
//! `README.md` has the protocol in numbered steps and the race each step closes.

#![deny(clippy::disallowed_types)]

pub mod coordinator; // Coordinator: jobs, stages, tasks, attempts; journals before it acts
pub mod drive; // where the machines meet network, disk, threads and clock
pub mod driver; // Driver: plans one action after the other, replays those that ended
pub mod limits; // every bound, with its unit and derivation
pub mod protocol; // messages between them, as bytes
pub mod worker; // Worker: runs what it is told, tells what it has
