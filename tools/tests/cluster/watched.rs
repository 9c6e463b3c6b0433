//! A session whose statements are looked at while they run.
//!
//! In: statements. Out: answers, each with the coordinator's last account of its job before its rows were taken. Never: two
//! statements of one session at a time.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use windrow::{
    Answer, Error, Result, Session,
    cluster::{
        drive::Client,
        protocol::{self, AttemptState, AttemptView, JobProfile, JobView, Request},
    },
    shuffle::JobId,
};

use super::place::{Cluster, PATIENCE};

/// A session, and a client beside it that looks.
pub struct Watched {
    session: Session,
    client: Client,
    began: Receiver<JobId>,
    last: Arc<Mutex<Option<Account>>>,
}

/// The coordinator's account of a job, and of its cost.
type Account = (JobView, Option<JobProfile>);

/// A statement that ended.
#[derive(Debug)]
pub struct Ended {
    pub answer: Result<Answer>,
    /// Before its rows were taken, and the job forgotten but for its name.
    pub view: JobView,
    /// The same moment's account of its cost.
    pub profile: Option<JobProfile>,
    pub took: Duration,
}

impl Watched {
    pub fn new(cluster: &Cluster, tables: &Path) -> Watched {
        let (session, looker) = (cluster.session(tables), Mutex::new(cluster.client()));
        let (tell, began) = mpsc::channel();
        let last = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&last);
        session.watch(move |update| {
            if update.state.is_ended() {
                let looker = looker.lock().unwrap();
                *keep.lock().unwrap() = Some((view_of(&looker, update.job), looker.profile(update.job).ok()));
            }
            let _ = tell.send(update.job);
        });
        Watched { session, client: cluster.client(), began, last }
    }

    /// Runs a statement to its end.
    pub fn run(&self, text: &str) -> Ended {
        self.begin(text).end()
    }

    /// Begins a statement; returns when its job is known.
    pub fn begin(&self, text: &str) -> Running<'_> {
        while self.began.try_recv().is_ok() {}
        let (session, text, started) = (self.session.clone(), text.to_owned(), Instant::now());
        let (say, answer) = mpsc::channel();
        let thread = thread::spawn(move || {
            // Nobody listens to a test that failed.
            let _ = say.send((session.query(&text), started.elapsed()));
        });
        let job = match self.began.recv_timeout(PATIENCE) {
            Ok(job) => job,
            Err(_) => panic!("no job began: {:?}", answer.try_recv()),
        };
        Running { watched: self, job, answer, thread }
    }
}

/// A statement that runs.
pub struct Running<'a> {
    watched: &'a Watched,
    pub job: JobId,
    answer: Receiver<(Result<Answer>, Duration)>,
    thread: JoinHandle<()>,
}

impl Running<'_> {
    /// Waits until the job shows something. It must not end before.
    pub fn until<T>(&self, what: &str, find: impl Fn(&JobView) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let view = view_of(&self.watched.client, self.job);
            if let Some(found) = find(&view) {
                return found;
            }
            assert!(!view.summary.state.is_ended(), "the job ended, and never was it so that {what}: {view:#?}");
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}; {view:#?}");
            // Until the next news; progress is no news.
            match self.watched.began.recv_timeout(Duration::from_millis(10)) {
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("nobody watches"),
            }
        }
    }

    /// Waits for its end.
    pub fn end(self) -> Ended {
        let Ok((answer, took)) = self.answer.recv_timeout(PATIENCE) else {
            panic!("job {} does not end: {:#?}", self.job, view_of(&self.watched.client, self.job));
        };
        self.thread.join().unwrap();
        let last = self.watched.last.lock().unwrap().take();
        let last = last.filter(|(view, _)| view.summary.job == self.job);
        let (view, profile) = last.unwrap_or_else(|| (view_of(&self.watched.client, self.job), None));
        Ended { answer, view, profile, took }
    }
}

impl Ended {
    pub fn digest(&self) -> String {
        self.answer.as_ref().unwrap_or_else(|error| panic!("{error:?}\n{:#?}", self.view)).digest().unwrap().to_string()
    }

    pub fn error(&self) -> &Error {
        self.answer.as_ref().expect_err("it should have failed")
    }

    pub fn in_state(&self, state: AttemptState) -> Vec<&AttemptView> {
        self.view.attempts.iter().filter(|attempt| attempt.state == state).collect()
    }
}

/// A job in full.
pub fn view_of(client: &Client, job: JobId) -> JobView {
    match client.ask(&Request::Job { job }).unwrap() {
        protocol::Answer::Job(view) => *view,
        other => panic!("{other:?}"),
    }
}
