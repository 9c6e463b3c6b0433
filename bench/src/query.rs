//! A query, measured; and several, each as often as asked.
//!
//! In: a session with its tables, a text. Out: its answer and what it cost. Never: the digest within the time; it is made after the clock
//! has stopped.

use windrow::{Answer, Error, Result, Session};

use crate::{
    measure::Clock,
    report::{Measurement, Nodes, Ran},
};

/// A query of a workload.
pub(crate) struct Query<'a> {
    pub(crate) workload: &'static str,
    /// "q1", "g1".
    pub(crate) name: String,
    pub(crate) text: &'a str,
}

/// Runs `query` as run `run` and measures it.
pub(crate) fn measure(session: &Session, nodes: Nodes, query: Query<'_>, run: u32) -> Result<(Measurement, Answer)> {
    let clock = Clock::start()?;
    let answer = session.query(query.text)?;
    let cost = clock.stop()?.of_workers(answer.report.workers);
    let ran = Ran {
        workload: query.workload,
        query: Some(query.name),
        run,
        nodes,
        bytes_in: answer.report.bytes_in,
        rows: answer.rows() as u64,
        spilled_bytes: answer.report.spilled_bytes,
        shuffled_bytes: answer.report.shuffled_bytes,
        digest: answer.digest()?.to_string(),
    };
    Ok((Measurement::new(ran, cost), answer))
}

/// Runs each of `queries` `runs` times in turn; `told` gets what came of it, each time. One that failed once is not run again, and the
/// others still run; somebody who cancels stops all.
pub(crate) fn run_each<Q: Copy, E: From<Error>>(
    queries: &[Q],
    runs: u32,
    mut measure: impl FnMut(Q, u32) -> Result<(Measurement, Answer)>,
    mut told: impl FnMut(Q, Result<(Measurement, Answer)>) -> Result<(), E>,
) -> Result<Vec<Measurement>, E> {
    let mut measurements = Vec::new();
    for query in queries {
        for run in 1..=runs {
            let ran = measure(*query, run);
            match &ran {
                Ok((measurement, _)) => measurements.push(measurement.clone()),
                Err(error) if error.is_cancelled() => return Ok(ran.map(|_| measurements)?),
                Err(_) => {}
            }
            let is_failed = ran.is_err();
            told(*query, ran)?;
            if is_failed {
                break;
            }
        }
    }
    Ok(measurements)
}
