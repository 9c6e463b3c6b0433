//! What clients ask, hear and check.
//!
//! In: jobs and answers to them. Out: the answer held against the oracle. Never: chance that is not the seed's.

use super::*;

impl World {
    pub(super) fn client_asks(&mut self, client: usize, body: Request) {
        let asking = &mut self.clients[client];
        let Some(link) = asking.link else { return };
        asking.request += 1;
        let message = FromClient { request: asking.request, body };
        let bytes = message.to_bytes().unwrap();
        self.send(FIRST_CLIENT + client, COORDINATOR, Packet::Control { link, bytes });
    }

    pub(super) fn client_step(&mut self, client: usize) -> Result<(), String> {
        let now = self.now;
        let asking = &mut self.clients[client];
        if matches!(asking.state, ClientState::Done | ClientState::Gone) {
            return Ok(());
        }
        if asking.vanishes_at.is_some_and(|at| now >= at) {
            asking.state = ClientState::Gone;
            self.fire("client vanished");
            return Ok(());
        }
        let job = asking.submission.job;
        let body = match asking.state {
            ClientState::Submitting => Some(Request::Submit(Box::new(asking.submission.clone()))),
            ClientState::Watching if asking.cancels_at.is_some_and(|at| now >= at) => {
                asking.has_cancelled = true;
                Some(Request::Cancel { job })
            }
            ClientState::Watching if now >= asking.watched_at + WATCH_AGAIN => {
                asking.watched_at = now;
                Some(Request::Watch { job })
            }
            ClientState::Taking => Some(Request::Taken { job }),
            _ => None,
        };
        if let Some(body) = body {
            self.client_asks(client, body);
        }
        self.after(500_000, Happening::ClientStep { client });
        Ok(())
    }

    pub(super) fn client_hears(&mut self, client: usize, message: ToClient) -> Result<(), String> {
        let asking = &mut self.clients[client];
        let job = asking.submission.job;
        match message.body {
            Answer::Submitted { job } => {
                self.submitted.insert(job);
                if asking.state == ClientState::Submitting {
                    asking.state = ClientState::Watching;
                }
            }
            Answer::Update(update) => return self.client_sees(client, *update),
            Answer::TakenDone { .. } if asking.state == ClientState::Taking => asking.state = ClientState::Done,
            // The next watch shows the end.
            Answer::CancelDone { .. } if asking.cancels_at.take().is_some() => self.fire("client cancelled"),
            Answer::Failed(error) if asking.state == ClientState::Taking || asking.state == ClientState::Watching => {
                return Err(format!("job {job}: the coordinator answers: {error}"));
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn client_sees(&mut self, client: usize, update: JobUpdate) -> Result<(), String> {
        let asking = &mut self.clients[client];
        if asking.state != ClientState::Watching || asking.pull.is_some() || update.revision <= asking.revision {
            return Ok(());
        }
        let oracle = asking.model.oracle();
        let job = asking.submission.job;
        match update.state {
            JobState::Queued | JobState::Running => {}
            JobState::Cancelled => {
                if asking.vanishes_at.is_none() && !asking.has_cancelled {
                    return Err(format!("job {job} was cancelled by nobody"));
                }
                asking.state = ClientState::Taking;
            }
            JobState::Failed(error) => {
                if oracle.is_some() || error.kind() != Kind::Job {
                    return Err(format!("job {job} failed and should not, or otherwise: {error}: {error:?}"));
                }
                asking.state = ClientState::Taking;
                self.fire("job failed");
            }
            JobState::Done => {
                let Some((digest, _)) = oracle else {
                    return Err(format!("job {job} is done, but the user's code fails in it"));
                };
                if !asking.model.is_sql {
                    // Of a job whose epitaph is all that stays there is no value.
                    if update.value.is_some_and(|value| value[..] != digest.to_le_bytes()) {
                        return Err(format!("the driver of job {job} gave back another digest"));
                    }
                    asking.state = ClientState::Taking;
                } else if let Some(sources) = update.result {
                    asking.revision = update.revision;
                    asking.pull = Some(Pull::new(sources));
                    return self.begin_pull(FIRST_CLIENT + client, Puller::Client);
                } else if update.revision == u64::MAX {
                    // Nobody heard of the client for so long that its rows went.
                    asking.state = ClientState::Taking;
                    self.fire("rows given up");
                }
            }
        }
        Ok(())
    }

    pub(super) fn client_pulled(&mut self, client: usize) -> Result<(), String> {
        let asking = &mut self.clients[client];
        let Some(pull) = asking.pull.take().filter(|_| asking.state == ClientState::Watching) else { return Ok(()) };
        let mut rows: Vec<u64> = pull.arrived.into_iter().flatten().flatten().flatten().collect();
        rows.sort();
        let job = asking.submission.job;
        let Some((_, expected)) = asking.model.oracle() else {
            return Err(format!("job {job} gave rows and should fail"));
        };
        if rows != expected {
            return Err(format!("job {job} gave {} rows, {} expected, or others", rows.len(), expected.len()));
        }
        asking.state = ClientState::Taking;
        self.fire("rows compared");
        Ok(())
    }
}
