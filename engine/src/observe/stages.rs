//! What the stages of a job on a cluster cost, and what each worker did for it.
//!
//! In: counts that the coordinator has added up over the attempts of tasks. Out: lines beside the plan, fields of the JSON. Never: work that
//! was done twice counted twice; what was in vain stands apart.

use std::fmt::Write;

use super::PipelineReport;

/// What a stage did. Of each task the one attempt counts whose rows do.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct StageReport {
    /// As the plan shows it.
    pub name: String,
    /// How many tasks it was cut into.
    pub tasks: u32,
    /// Tries at them, of all kinds.
    pub attempts: u32,
    /// Tries that failed.
    pub failed: u32,
    /// Tries that were lost with their worker, or whose rows were.
    pub lost: u32,
    /// Tries that were not needed.
    pub cancelled: u32,
    /// Rows that scans gave.
    pub rows_in: u64,
    /// Bytes read from files.
    pub bytes_in: u64,
    /// Rows taken of edges: counted as they came.
    pub rows_taken: u64,
    /// Bytes of their frames.
    pub bytes_taken: u64,
    /// Of those, bytes that came over the network; the others were at the same worker.
    pub pulled_bytes: u64,
    /// Rows given to the stage's edge: the sum of its ledger.
    pub rows_out: u64,
    /// Bytes of their frames.
    pub bytes_out: u64,
    /// Bytes written to disk for want of memory.
    pub spilled_bytes: u64,
    /// Seconds of the quickest task, of the middle one, of the slowest.
    pub task_seconds: [f64; 3],
    /// What was done in vain.
    pub wasted: WastedReport,
    /// Summed over the tasks, what was held at most: the most of one task. Empty where it was not recorded.
    pub pipelines: Vec<PipelineReport>,
}

/// What attempts did that do not count, as far as they or their workers told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct WastedReport {
    /// Rows that they read.
    pub rows: u64,
    /// Bytes that they read.
    pub bytes: u64,
    /// Seconds from start to end, of those that ended.
    pub seconds: f64,
}

/// What a worker did for a job.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct WorkerReport {
    /// Its name.
    pub name: String,
    /// Attempts that count.
    pub tasks: u32,
    /// Attempts that do not.
    pub wasted: u32,
    /// Processor seconds of its process, user and system, while attempts of the job ran there.
    pub cpu_seconds: f64,
    /// Bytes of frames that attempts of others pulled from it.
    pub sent_bytes: u64,
    /// Bytes of frames that its attempts pulled from others.
    pub pulled_bytes: u64,
    /// Bytes written to disk for want of memory.
    pub spilled_bytes: u64,
    /// Largest resident set of its process.
    pub peak_bytes: u64,
}

impl StageReport {
    /// Its lines; `all` seconds are those of all threads and stages.
    pub(super) fn write(&self, all: f64, text: &mut String) {
        let again: Vec<String> = [(self.failed, "failed"), (self.lost, "lost"), (self.cancelled, "not needed")]
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!(", {count} {what}"))
            .collect();
        let (name, tasks, attempts) = (&self.name, self.tasks, self.attempts);
        let _ = writeln!(text, "{name}: {tasks} tasks, {attempts} attempts{}", again.concat());
        if self.rows_in + self.bytes_in > 0 {
            let _ = writeln!(text, "  read: {} rows, {} bytes", self.rows_in, self.bytes_in);
        }
        if self.rows_taken + self.bytes_taken > 0 {
            let (rows, bytes, pulled) = (self.rows_taken, self.bytes_taken, self.pulled_bytes);
            let _ = writeln!(text, "  taken: {rows} rows, {bytes} bytes, {pulled} of them over the network");
        }
        let _ = write!(text, "  given: {} rows, {} bytes", self.rows_out, self.bytes_out);
        let _ = writeln!(text, ", {} spilled", self.spilled_bytes);
        let [min, median, max] = self.task_seconds;
        let _ = writeln!(text, "  a task: {min:.3} s at least, {median:.3} s median, {max:.3} s at most");
        if self.attempts > self.tasks {
            let WastedReport { rows, bytes, seconds } = self.wasted;
            let _ = writeln!(text, "  in vain: {rows} rows, {bytes} bytes, {seconds:.3} s");
        }
        if self.pipelines.is_empty() {
            let _ = writeln!(text, "  its steps were not recorded");
        }
        for pipeline in &self.pipelines {
            pipeline.write(all, "  ", text);
        }
    }
}

impl WorkerReport {
    /// Its line.
    pub(super) fn write(&self, text: &mut String) {
        let WorkerReport { name, tasks, wasted, cpu_seconds, sent_bytes, pulled_bytes, spilled_bytes, peak_bytes } =
            self;
        let wasted = if *wasted > 0 { format!(" and {wasted} in vain") } else { String::new() };
        let _ = writeln!(
            text,
            "worker {name}: {tasks} tasks{wasted}, {cpu_seconds:.3} s of processors, {sent_bytes} bytes sent, {pulled_bytes} received, \
             {spilled_bytes} spilled, {peak_bytes} resident at most"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{ProfileReport, StepReport, flame_graph};

    #[test]
    fn stages_and_workers_are_told() {
        let step = StepReport { name: "from edge 0".to_owned(), seconds: 0.5, rows: 9, bytes: 72 };
        let pipeline = PipelineReport { name: "pipeline 0".to_owned(), steps: vec![step], ..PipelineReport::default() };
        let quiet =
            StageReport { name: "stage 0".to_owned(), tasks: 1, attempts: 1, rows_in: 4, ..StageReport::default() };
        let retried = StageReport {
            name: "stage 1".to_owned(),
            tasks: 2,
            attempts: 4,
            failed: 1,
            lost: 1,
            rows_taken: 9,
            pulled_bytes: 5,
            task_seconds: [0.25, 0.5, 1.0],
            wasted: WastedReport { rows: 3, bytes: 24, seconds: 0.125 },
            pipelines: vec![pipeline],
            ..StageReport::default()
        };
        let worker =
            WorkerReport { name: "w1".to_owned(), tasks: 3, wasted: 1, sent_bytes: 5, ..WorkerReport::default() };
        let report = ProfileReport { stages: vec![quiet, retried], workers: vec![worker], ..ProfileReport::default() };
        let text = report.text();
        let expected = "\
stage 0: 1 tasks, 1 attempts
  read: 4 rows, 0 bytes
  given: 0 rows, 0 bytes, 0 spilled
  a task: 0.000 s at least, 0.000 s median, 0.000 s at most
  its steps were not recorded
stage 1: 2 tasks, 4 attempts, 1 failed, 1 lost
  taken: 9 rows, 0 bytes, 5 of them over the network
  given: 0 rows, 0 bytes, 0 spilled
  a task: 0.250 s at least, 0.500 s median, 1.000 s at most
  in vain: 3 rows, 24 bytes, 0.125 s
  pipeline 0: 0.000 s, 0.000 s of it not on all threads
      from edge 0
          9 rows, 72 bytes, 0.500 s, 100.0 %
worker w1: 3 tasks and 1 in vain, 0.000 s of processors, 5 bytes sent, 0 received, 0 spilled, 0 resident at most
";
        assert_eq!(text, expected);
        let svg = flame_graph(&[("select".to_owned(), report)]);
        assert!(svg.contains("<title>stage 1: 0.500 s, 100.0 %</title>") && svg.contains("from edge 0"), "{svg}");
    }
}
