//! The cluster's machines under an imagined network, clock and disk.
//!
//! In: seeds. Out: for each, that every job ended as the oracle says, whatever was lost, doubled, late, cut, crashed.
//! Never: a clock, a socket, a disk of this world; a fault that never fires.
//!
//! A seed is two phases: faults at random, then none, and everything must have ended within a bounded time. `SEED=7 cargo
//! test --test simulation` runs one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "simulation/disk.rs"]
mod disk;
#[path = "simulation/model.rs"]
mod model;
#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/world.rs"]
mod world;

use std::collections::BTreeMap;

use world::{Outcome, Switches, run};

const SEEDS: u64 = 200;
const ALL_ON: Switches = Switches { fencing: true, waits_for_journal: true };

fn seeds() -> std::ops::Range<u64> {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..std::env::var("SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(SEEDS),
    }
}

#[test]
fn every_job_ends_as_it_should_whatever_fails() {
    let mut fired: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut failed, mut events, mut time) = (Vec::new(), 0, 0);
    for seed in seeds() {
        match run(seed, ALL_ON) {
            Ok(outcome) => {
                outcome.fired.into_iter().for_each(|(fault, count)| *fired.entry(fault).or_default() += count);
                events += outcome.events;
                time += outcome.time;
            }
            Err(broken) => failed.push(format!("seed {seed} {}", broken.chars().take(1500).collect::<String>())),
        }
    }
    println!("{events} events, {} s of imagined time, fired: {fired:?}", time / 1_000_000);
    assert!(failed.is_empty(), "{} seeds failed:\n{}", failed.len(), failed.join("\n"));
    if std::env::var("SEED").is_ok() {
        return;
    }
    for fault in FAULTS {
        assert!(fired.contains_key(fault), "{fault:?} never fired");
    }
}

const FAULTS: &[&str] = &[
    "action replayed",
    "attempt failed",
    "attempt panicked",
    "broken connection",
    "child died",
    "client cancelled",
    "client cut",
    "client vanished",
    "coordinator crash",
    "coordinator paused",
    "cut",
    "denied",
    "driver crash",
    "duplicate",
    "isolated worker",
    "job failed",
    "late message",
    "loss",
    "message of an old connection",
    "one-way cut",
    "plan not stored",
    "reply to nobody",
    "rows compared",
    "slow sync",
    "slow worker",
    "stale reply",
    "torn tail",
    "two-way cut",
    "unreachable",
    "worker asked to leave",
    "worker crash",
    "worker fenced",
    "worker left",
    "worker paused",
];

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..10 {
        let traces =
            [0, 1].map(|_| run(seed, ALL_ON).as_ref().map(|Outcome { trace, .. }| *trace).map_err(Clone::clone));
        assert_eq!(traces[0], traces[1], "seed {seed}");
    }
}

/// The test of the test.
#[test]
fn without_fencing_some_seed_fails() {
    let switches = Switches { fencing: false, ..ALL_ON };
    assert!((0..SEEDS).any(|seed| run(seed, switches).is_err()));
}

/// The test of the test.
#[test]
fn what_is_said_before_it_is_durable_is_seen() {
    let switches = Switches { waits_for_journal: false, ..ALL_ON };
    let broken = (0..SEEDS).find_map(|seed| run(seed, switches).err());
    assert!(broken.is_some_and(|broken| broken.contains("durable")));
}
