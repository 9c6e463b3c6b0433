//! Every bound of the cluster: its unit, where the number comes from, and what must hold between them.
//!
//! In: nothing. Out: constants, and compile-time proofs that they agree. Never: a number that a user sets (those stand
//! in `JobOptions` and in the machines' options).

/// Longest payload of a message: what an envelope of `windrow-net` carries (16 MiB + 64 KiB with its header), less a
/// page so that no message is refused by a few bytes.
pub const MESSAGE_BYTES_MAX: usize = (16 << 20) + (60 << 10);
/// Bytes of a part of a plan: a quarter of a message, so that beats pass between parts.
pub const PART_BYTES: usize = 4 << 20;
/// Largest plan: literals of a long IN list, a table of file names; a thousand times the plan of a large query.
pub const PLAN_BYTES_MAX: usize = 256 << 20;
/// Plans that the coordinator holds in memory, all jobs together.
pub const PLANS_BYTES_MAX: usize = 1 << 30;
/// Largest text or program reference of a job.
pub const SPEC_BYTES_MAX: usize = 8 << 20;
/// Largest skeleton as bytes: a million splits of five bytes, and as much again for all else.
pub const SKELETON_BYTES_MAX: usize = 10 << 20;
/// Largest value that the driver gives back as the job's answer; rows never travel here.
pub const VALUE_BYTES_MAX: usize = 4 << 20;
/// Largest value of a parameter: what a recorded decision holds.
pub const PARAMETER_BYTES_MAX: usize = 64 << 10;
/// Largest manifest of one task.
pub const MANIFEST_BYTES_MAX: usize = crate::limits::MANIFEST_BYTES_MAX;
/// Most bytes of what a job's own code has counted: its counters with their names, and the records that are shown of those left out
/// (`observe/counted.rs`).
pub const COUNTED_BYTES_MAX: usize = 160 << 10;
/// Bytes of manifests in one page of an action's outcome.
pub const PAGE_BYTES: usize = 4 << 20;

/// Largest binary of a program, without its symbols: ten times that of a program with all of the engine in it.
pub const BINARY_BYTES_MAX: u64 = 1 << 30;
/// Binaries that the coordinator keeps, and each worker, all together; those go that were used longest ago.
pub const BINARIES_BYTES_MAX: u64 = 2 << 30;
/// Binaries that are on their way to the coordinator at a time; the one that heard nothing for longest makes room.
pub const BINARY_UPLOADS_MAX: usize = 16;
/// What clients and workers ask of binaries and waits for the disk; beyond it is asked again.
pub const BINARY_ASKS_MAX: usize = 256;
/// Tries at a piece of a binary that does not come, before the attempt that needs it fails.
pub const BINARY_TRIES_MAX: u32 = 3;

/// Longest name: of a worker, an address, a label's line.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest label of a job.
pub const LABEL_BYTES_MAX: usize = 1024;
/// Longest sentence, hint or cause of an error.
pub const SENTENCE_BYTES_MAX: usize = 4096;
/// Most causes of an error.
pub const CAUSES_MAX: usize = 16;

/// Most stages of an action: its stage numbers are `action * STAGES_PER_ACTION_MAX + index`.
pub const STAGES_PER_ACTION_MAX: usize = 4096;
/// Most actions of a job: a loop of a thousand turns with room for a hundred actions each, and within a stage number.
pub const ACTIONS_PER_JOB_MAX: usize = 100_000;
/// Most edges of an action.
pub const EDGES_PER_ACTION_MAX: usize = 4096;
/// Most splits of a stage: a hundred thousand files of ten row groups.
pub const SPLITS_PER_STAGE_MAX: usize = 1_000_000;
/// Most parameters of an action.
pub const PARAMETERS_PER_ACTION_MAX: usize = 1024;
/// Most tasks of a stage: an order names each task of each input with its groups, 256 groups of some 18 bytes each,
/// and an order is one message.
pub const TASKS_PER_STAGE_MAX: usize = 2048;
/// Fewest and most groups of an exchange.
pub const GROUPS_MIN: usize = 16;
/// Most groups of an exchange: the top eight bits of a hash.
pub const GROUPS_MAX: usize = 256;

/// Most workers of a cluster.
pub const WORKERS_MAX: usize = 1024;
/// Most connections of clients at a time.
pub const CLIENTS_MAX: usize = 1024;
/// Running attempts of one worker: one computes, the next one pulls its first input meanwhile.
pub const SLOTS_MAX: usize = 2;
/// Most attempts that a worker lists: ten jobs of a thousand tasks each, tenfold.
pub const ATTEMPTS_PER_WORKER_MAX: usize = 200_000;
/// Jobs that run at a time; others wait in line.
pub const JOBS_RUNNING_MAX: usize = 16;
/// Jobs that the coordinator holds, waiting ones included; beyond it a job is refused.
pub const JOBS_MAX: usize = 256;
/// Ended jobs that `jobs list` still shows, and whose number is not taken again.
pub const SUMMARIES_MAX: usize = 1024;
/// Attempts of all retired jobs together that are still shown; some twenty megabytes.
pub const ATTEMPTS_REMEMBERED_MAX: usize = 100_000;
/// Attempts shown of one job.
pub const ATTEMPTS_SHOWN_MAX: usize = 20_000;
/// Stages of a job whose cost is told: as many as a statement has at most.
pub const STAGES_SHOWN_MAX: usize = STAGES_PER_ACTION_MAX;
/// Pipelines, steps and tests of an attempt whose counts travel: a stage of TPC-H has fifty, and a report some forty kilobytes at most. An
/// attempt with more tells none.
pub const PROFILE_NUMBERS_MAX: usize = 4096;
/// The same of all stages of a job together; further stages are told without.
pub const JOB_PROFILE_NUMBERS_MAX: usize = 100_000;
/// Messages and other commands that wait for the journal; beyond it the journal's disk has stopped.
pub const COMMANDS_HELD_MAX: usize = 1 << 20;

/// Tries at a task that failed by themselves, before its action fails.
pub const FAILURES_PER_TASK_MAX: u32 = 4;
/// Tries at a task that failed because an input could not be pulled from a living worker: a cut link heals or its
/// producer is made again within the first few.
pub const CUTS_PER_TASK_MAX: u32 = 24;
/// Tries at a task of all kinds, lost ones included.
pub const ATTEMPTS_PER_TASK_MAX: usize = 64;
/// Starts of a driver: its worker died, or it did.
pub const DRIVER_RUNS_MAX: u32 = 16;
/// Starts of a driver that failed by themselves with what a retry may mend.
pub const DRIVER_FAILURES_MAX: u32 = 3;
/// Reports of a failed pull from a living worker after which the attempt is made again elsewhere.
pub const CUTS_PER_ATTEMPT_MAX: u32 = 2;

/// One second in the machines' clock, which counts microseconds.
pub const SECOND: u64 = 1_000_000;
/// Between two ticks of a machine.
pub const TICK: u64 = SECOND / 10;
/// Between two beats of a worker: ten fit in the time after which it is dead.
pub const BEAT: u64 = SECOND / 2;
/// A worker without a beat for so long is dead: DESIGN's five seconds.
pub const DEAD_AFTER: u64 = 5 * SECOND;
/// A worker whose connection was lost is dead after so long without another.
pub const LINK_GRACE: u64 = 5 * SECOND / 2;
/// After the coordinator's start, workers named in the journal have so long to come back.
pub const RETURN_GRACE: u64 = 10 * SECOND;
/// A tick that comes so much too late says that we stood still, not that the workers are silent.
pub const TICK_LATE: u64 = SECOND;
/// What was sent and not answered is sent again after so long.
pub const RESEND: u64 = SECOND;
/// A worker that heard nothing from its coordinator for so long registers again.
pub const SILENCE: u64 = 3 * SECOND;
/// Without any worker for so long, running jobs fail.
pub const NO_WORKERS: u64 = 20 * SECOND;
/// A worker's own last waiting task is kept for it so long, then it may be stolen.
pub const STEAL_GUARD: u64 = 3 * SECOND;
/// First and longest delay before a failed task is tried again; it doubles between.
pub const RETRY_DELAY: u64 = SECOND / 5;
/// The longest.
pub const RETRY_DELAY_MAX: u64 = 5 * SECOND;
/// How long a pair of workers that could not reach each other is avoided.
pub const CUT_REMEMBERED: u64 = 10 * SECOND;
/// Rows that nobody takes are kept so long after the client was last heard, unless the options say otherwise.
pub const RETENTION: u64 = 60 * SECOND;
/// A job that is to end with its client is cancelled so long after the client was last heard.
pub const CLIENT_GRACE: u64 = 10 * SECOND;
/// Between two updates of one watcher while nothing ends.
pub const WATCH_EVERY: u64 = SECOND / 5;
/// Between two `Watch` of a client, which also say that it lives.
pub const WATCH_AGAIN: u64 = 2 * SECOND;
/// What a task should read, unless the options say otherwise.
pub const TASK_BYTES: u64 = 128 << 20;

const _: () = assert!(PART_BYTES * 4 <= MESSAGE_BYTES_MAX);
const _: () = assert!(BINARY_BYTES_MAX * 2 <= BINARIES_BYTES_MAX);
const _: () = assert!(SPEC_BYTES_MAX + VALUE_BYTES_MAX < MESSAGE_BYTES_MAX);
// The first part of a plan travels with its skeleton.
const _: () = assert!(SKELETON_BYTES_MAX + PART_BYTES < MESSAGE_BYTES_MAX);
const _: () = assert!(PAGE_BYTES + MANIFEST_BYTES_MAX + COUNTED_BYTES_MAX < MESSAGE_BYTES_MAX);
// Five numbers of at most ten bytes each; a stage has thirty, a worker its name and seven.
const _: () = assert!(
    JOB_PROFILE_NUMBERS_MAX * 50 + STAGES_SHOWN_MAX * 300 + 2 * WORKERS_MAX * (NAME_BYTES_MAX + 80) < MESSAGE_BYTES_MAX
);
// An order with two such inputs fits.
const _: () = assert!(TASKS_PER_STAGE_MAX * (GROUPS_MAX / 2) * 18 * 2 < MESSAGE_BYTES_MAX);
const _: () = assert!((ACTIONS_PER_JOB_MAX as u64 + 1) * (STAGES_PER_ACTION_MAX as u64) < u32::MAX as u64);
const _: () = assert!(BEAT * 10 <= DEAD_AFTER && LINK_GRACE < DEAD_AFTER && DEAD_AFTER < NO_WORKERS);
const _: () = assert!(GROUPS_MIN.is_power_of_two() && GROUPS_MAX.is_power_of_two());
