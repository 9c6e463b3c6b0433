//! `windrow jobs`: what a cluster runs and has run.
//!
//! In: a job's number. Out: JSON or tables of what the coordinator tells; a job that is ended. Never: a job that is waited for.

use std::str::FromStr;

use serde::Serialize;
use windrow::{
    cluster::protocol::{
        Answer, AttemptState, AttemptView, JobKind, JobState, JobSummary, JobView, RemoteError, Request, StageKind,
        StageView, stage_place,
    },
    shuffle::{JobId, StageId},
};

use super::cluster::{ClusterName, Contact, DEFAULT};
use crate::{columns::columns, error::Failure, output, size};

/// List, show and cancel jobs of a cluster
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  windrow jobs list\n  windrow jobs show 00f3a1c2d4e5b697 --json\n  windrow jobs cancel 00f3a1c2d4e5b697"
)]
pub struct Jobs {
    #[command(subcommand)]
    what: What,
    /// Of which cluster
    #[arg(long, value_name = "NAME", default_value = DEFAULT, global = true)]
    cluster: ClusterName,
    /// JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// All jobs, the newest first
    List,
    /// A job's stages and each try at its tasks
    Show {
        /// As `jobs list` shows it
        #[arg(value_name = "ID")]
        job: JobNumber,
    },
    /// End a job
    Cancel {
        /// As `jobs list` shows it
        #[arg(value_name = "ID")]
        job: JobNumber,
    },
}

/// A job's number as 16 hexadecimal digits.
#[derive(Clone, Copy)]
struct JobNumber(JobId);

impl FromStr for JobNumber {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<JobNumber, &'static str> {
        let is_number = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_number);
        number
            .map(|number| JobNumber(JobId(number)))
            .ok_or("a job has 16 hexadecimal digits, as `windrow jobs list` shows")
    }
}

impl Jobs {
    pub fn run(&self) -> Result<(), Failure> {
        let contact = Contact::of(&self.cluster)?;
        match self.what {
            What::List => {
                let Answer::Jobs(jobs) = contact.ask(&Request::Jobs)? else {
                    return Err(contact.misanswered().into());
                };
                let jobs: Vec<Job<'_>> = jobs.iter().map(Job::of).collect();
                if self.json { output::json(&jobs) } else { output::text(&list(&jobs)) }
            }
            What::Show { job: JobNumber(job) } => {
                let view = self.view(&contact, job)?;
                let shown = ShownJob::of(&view);
                if self.json { output::json(&shown) } else { output::text(&shown.tables()) }
            }
            What::Cancel { job: JobNumber(job) } => {
                let Answer::CancelDone { .. } = contact.ask(&Request::Cancel { job })? else {
                    return Err(contact.misanswered().into());
                };
                let view = self.view(&contact, job)?;
                let job = Job::of(&view.summary);
                if self.json { output::json(&job) } else { output::text(&format!("{} is {}\n", job.id, job.state)) }
            }
        }
    }

    fn view(&self, contact: &Contact, job: JobId) -> Result<Box<JobView>, Failure> {
        match contact.ask(&Request::Job { job })? {
            Answer::Job(view) => Ok(view),
            _ => Err(contact.misanswered().into()),
        }
    }
}

/// A job in a list.
#[derive(Serialize)]
struct Job<'a> {
    id: String,
    state: &'static str,
    kind: &'static str,
    label: &'a str,
    /// From its submission to its end, or until now.
    seconds: f64,
    submitted_unix_ms: u64,
    error: Option<Told<'a>>,
}

/// An error as it is told.
#[derive(Serialize)]
struct Told<'a> {
    sentence: &'a str,
    because: &'a [String],
    hint: Option<&'a str>,
    origin: &'a str,
}

/// A job in full.
#[derive(Serialize)]
struct ShownJob<'a> {
    #[serde(flatten)]
    job: Job<'a>,
    /// The worker that plans it.
    driver: Option<&'a str>,
    driver_runs: u32,
    stages: Vec<Stage>,
    attempts: Vec<Attempt<'a>>,
    /// There are more attempts than are shown.
    is_cut: bool,
}

#[derive(Serialize)]
struct Stage {
    /// `ACTION.INDEX`.
    stage: String,
    kind: &'static str,
    tasks: u32,
    done: u32,
    running: u32,
    retried: u32,
    rows: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Attempt<'a> {
    stage: String,
    task: u32,
    attempt: u32,
    worker: &'a str,
    state: &'static str,
    rows: u64,
    bytes: u64,
    cause: Option<Told<'a>>,
}

impl<'a> Job<'a> {
    fn of(summary: &'a JobSummary) -> Job<'a> {
        let (state, error) = match &summary.state {
            JobState::Queued => ("queued", None),
            JobState::Running => ("running", None),
            JobState::Done => ("done", None),
            JobState::Failed(error) => ("failed", Some(Told::of(error))),
            JobState::Cancelled => ("cancelled", None),
        };
        let kind = match summary.kind {
            JobKind::Sql => "sql",
            JobKind::Program => "program",
        };
        Job {
            id: summary.job.to_string(),
            state,
            kind,
            label: &summary.label,
            seconds: summary.micros as f64 / 1e6,
            submitted_unix_ms: summary.submitted_unix_ms,
            error,
        }
    }
}

impl<'a> Told<'a> {
    fn of(error: &'a RemoteError) -> Told<'a> {
        let RemoteError { sentence, because, hint, origin, .. } = error;
        Told { sentence, because, hint: hint.as_deref(), origin }
    }

    /// In one line.
    fn line(&self) -> String {
        let mut line = self.sentence.to_owned();
        for cause in self.because {
            line.push_str(": ");
            line.push_str(cause);
        }
        line
    }
}

impl<'a> ShownJob<'a> {
    fn of(view: &'a JobView) -> ShownJob<'a> {
        ShownJob {
            job: Job::of(&view.summary),
            driver: view.driver.as_ref().map(|worker| worker.as_str()),
            driver_runs: view.driver_runs,
            stages: view.stages.iter().map(Stage::of).collect(),
            attempts: view.attempts.iter().map(Attempt::of).collect(),
            is_cut: view.is_cut,
        }
    }

    fn tables(&self) -> String {
        let job = &self.job;
        let mut text = format!("job {}, {}, {}, {:.1} s", job.id, job.kind, job.state, job.seconds);
        if let Some(driver) = self.driver {
            text.push_str(&format!(", planned by {driver}"));
        }
        if self.driver_runs > 1 {
            text.push_str(&format!(", started {} times", self.driver_runs));
        }
        text.push_str(&format!("\n{}\n", crate::error::printable(job.label)));
        if let Some(error) = &job.error {
            text.push_str(&format!("error: {}\n", crate::error::printable(&error.line())));
        }
        let stages: Vec<Vec<String>> = self.stages.iter().map(Stage::cells).collect();
        let heads = ["stage", "cut", "tasks", "done", "running", "retried", "rows", "given"];
        text.push_str(&format!("\n{}", columns(&heads, &stages)));
        let attempts: Vec<Vec<String>> = self.attempts.iter().map(Attempt::cells).collect();
        let heads = ["stage", "task", "attempt", "worker", "state", "rows", "read", "cause"];
        text.push_str(&format!("\n{}", columns(&heads, &attempts)));
        if self.is_cut {
            text.push_str("and more attempts than are shown\n");
        }
        text
    }
}

impl Stage {
    fn of(view: &StageView) -> Stage {
        let progress = &view.progress;
        let kind = match view.kind {
            StageKind::BySplits => "splits",
            StageKind::ByGroups => "groups",
            StageKind::Single => "single",
        };
        Stage {
            stage: place(progress.stage),
            kind,
            tasks: progress.tasks,
            done: progress.done,
            running: progress.running,
            retried: view.retried,
            rows: progress.rows,
            bytes: progress.bytes,
        }
    }

    fn cells(&self) -> Vec<String> {
        let counts = [self.tasks, self.done, self.running, self.retried].map(|count| count.to_string());
        let sizes = [size::show_count(self.rows), size::show(self.bytes)];
        [self.stage.clone(), self.kind.to_owned()].into_iter().chain(counts).chain(sizes).collect()
    }
}

impl<'a> Attempt<'a> {
    fn of(view: &'a AttemptView) -> Attempt<'a> {
        let state = match view.state {
            AttemptState::Running => "running",
            AttemptState::Finished => "finished",
            AttemptState::Failed => "failed",
            AttemptState::Cancelled => "cancelled",
            AttemptState::Lost => "lost",
        };
        Attempt {
            stage: place(view.stage),
            task: view.task.0,
            attempt: view.attempt.0,
            worker: view.worker.as_str(),
            state,
            rows: view.progress.rows,
            bytes: view.progress.bytes,
            cause: view.cause.as_ref().map(Told::of),
        }
    }

    fn cells(&self) -> Vec<String> {
        let names = [self.stage.clone(), self.task.to_string(), self.attempt.to_string()];
        let rest = [self.worker.to_owned(), self.state.to_owned(), size::show_count(self.rows), size::show(self.bytes)];
        let cause = self.cause.as_ref().map(Told::line);
        names.into_iter().chain(rest).chain(cause).collect()
    }
}

/// A stage's place in its job.
fn place(stage: StageId) -> String {
    let (action, index) = stage_place(stage);
    format!("{}.{index}", action.0)
}

fn list(jobs: &[Job<'_>]) -> String {
    /// Of a label; the whole stands in `jobs show`.
    const LABEL_LETTERS_MAX: usize = 60;
    let row = |job: &Job<'_>| {
        let label = job.label.split_whitespace().collect::<Vec<_>>().join(" ");
        let cut = label.char_indices().nth(LABEL_LETTERS_MAX).map(|(at, _)| format!("{}...", &label[..at]));
        let seconds = format!("{:.1}", job.seconds);
        vec![job.id.clone(), job.state.to_owned(), job.kind.to_owned(), seconds, cut.unwrap_or(label)]
    };
    columns(&["id", "state", "kind", "seconds", "label"], &jobs.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use windrow::{
        Kind,
        cluster::protocol::{ActionNumber, AttemptProgress, StageProgress, WorkerName, stage_id},
        shuffle::{AttemptId, TaskId},
    };

    use super::*;

    fn view() -> JobView {
        let worker = WorkerName::new("w2").unwrap();
        let stage = stage_id(ActionNumber(1), 3);
        let error = RemoteError::new(Kind::Io, "pulling frames").because("the link is lost").at("worker w2");
        JobView {
            summary: JobSummary {
                job: JobId(0xa1),
                label: "select\n  1".to_owned(),
                kind: JobKind::Sql,
                submitted_unix_ms: 1_700_000_000_000,
                state: JobState::Failed(error.clone()),
                micros: 1_250_000,
            },
            driver: Some(worker.clone()),
            driver_runs: 2,
            stages: vec![StageView {
                progress: StageProgress { stage, tasks: 4, done: 3, running: 1, rows: 1_000, bytes: 2_000 },
                kind: StageKind::ByGroups,
                retried: 1,
            }],
            attempts: vec![AttemptView {
                stage,
                task: TaskId(2),
                attempt: AttemptId(1),
                worker,
                state: AttemptState::Lost,
                cause: Some(error),
                progress: AttemptProgress { rows: 10, bytes: 20 },
            }],
            is_cut: true,
        }
    }

    #[test]
    fn a_job_is_shown_in_tables() {
        let text = ShownJob::of(&view()).tables();
        let expected = "\
job 00000000000000a1, sql, failed, 1.2 s, planned by w2, started 2 times
select
  1
error: pulling frames: the link is lost

stage  cut     tasks  done  running  retried  rows   given
1.3    groups  4      3     1        1        1,000  2.0 kB

stage  task  attempt  worker  state  rows  read  cause
1.3    2     1        w2      lost   10    20 B  pulling frames: the link is lost
and more attempts than are shown
";
        assert_eq!(text, expected);
        let view = view();
        let listed = list(&[Job::of(&view.summary)]);
        let expected = "\
id                state   kind  seconds  label
00000000000000a1  failed  sql   1.2      select 1
";
        assert_eq!(listed, expected);
    }

    #[test]
    fn a_job_is_shown_as_json() {
        let view = view();
        let json = serde_json::to_value(ShownJob::of(&view)).unwrap();
        for (pointer, value) in [
            ("/id", serde_json::json!("00000000000000a1")),
            ("/state", "failed".into()),
            ("/kind", "sql".into()),
            ("/label", "select\n  1".into()),
            ("/seconds", 1.25.into()),
            ("/error/sentence", "pulling frames".into()),
            ("/error/because/0", "the link is lost".into()),
            ("/stages/0/stage", "1.3".into()),
            ("/stages/0/retried", 1.into()),
            ("/attempts/0/worker", "w2".into()),
            ("/attempts/0/state", "lost".into()),
            ("/attempts/0/cause/origin", "worker w2".into()),
        ] {
            assert_eq!(json.pointer(pointer), Some(&value), "{pointer} of {json}");
        }
    }

    #[test]
    fn numbers_of_jobs() {
        assert_eq!("00f3a1c2d4e5b697".parse::<JobNumber>().ok().unwrap().0, JobId(0x00f3_a1c2_d4e5_b697));
        for text in ["", "1", "00f3a1c2d4e5b69", "00f3a1c2d4e5b69x", "+0f3a1c2d4e5b697", "00f3a1c2d4e5b6970"] {
            assert!(text.parse::<JobNumber>().is_err(), "{text}");
        }
    }
}
