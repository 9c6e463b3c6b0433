//! Pulls: what tasks and clients ask workers for.
//!
//! In: requests. Out: replies, late, broken or whole, and what whoever asked makes of them. Never: chance that is not the seed's.

use super::*;

impl World {
    pub(super) fn pull_mut(&mut self, node: usize, puller: Puller) -> Option<&mut Pull> {
        match puller {
            Puller::Client => self.clients[node - FIRST_CLIENT].pull.as_mut(),
            Puller::Attempt(key) => {
                self.nodes[node - 1].process.as_mut()?.executing.get_mut(&key).map(|execution| &mut execution.pull)
            }
            Puller::Driver(driver) => {
                let hosted = self.nodes[node - 1].process.as_mut()?.drivers.get_mut(&driver.job)?;
                if hosted.driver.run() == driver { hosted.pull.as_mut() } else { None }
            }
        }
    }

    pub(super) fn begin_pull(&mut self, node: usize, puller: Puller) -> Result<(), String> {
        let Some(pull) = self.pull_mut(node, puller) else { return Ok(()) };
        let count = pull.sources.len();
        if count == 0 {
            return self.pull_done(node, puller);
        }
        (0..count).for_each(|place| self.ask(node, puller, place));
        Ok(())
    }

    pub(super) fn ask(&mut self, node: usize, puller: Puller, place: usize) {
        self.next_request += 1;
        let (request, life) = (self.next_request, self.life(node));
        let Some(pull) = self.pull_mut(node, puller) else { return };
        pull.asked[place] = (request, pull.asked[place].1 + 1);
        let ask = pull.ask(place);
        let to: usize = pull.sources[place].address.trim_start_matches("node").parse().unwrap();
        self.send(node, to, Packet::Ask { ask, puller });
        self.after(SECOND, Happening::PullTimeout { node, life, puller, request });
    }

    pub(super) fn pull_timed_out(&mut self, node: usize, puller: Puller, request: u64) -> Result<(), String> {
        let Some(pull) = self.pull_mut(node, puller) else { return Ok(()) };
        let Some(place) = pull.asked.iter().position(|(asked, _)| *asked == request) else { return Ok(()) };
        if pull.arrived[place].is_some() {
            return Ok(());
        }
        if pull.asked[place].1 >= 3 {
            return self.pull_failed(node, puller, place, false);
        }
        self.ask(node, puller, place);
        Ok(())
    }

    pub(super) fn pulled(&mut self, node: usize, puller: Puller, reply: Reply) -> Result<(), String> {
        let fencing = self.switches.fencing;
        let Some(pull) = self.pull_mut(node, puller) else {
            self.fire("reply to nobody");
            return Ok(());
        };
        match pull.take(&reply, fencing) {
            Taken::Stale => self.fire("stale reply"),
            Taken::Some => {}
            Taken::Denied(place) => {
                self.fire("denied");
                return self.pull_failed(node, puller, place, true);
            }
            Taken::All => {
                pull.check()?;
                return self.pull_done(node, puller);
            }
        }
        Ok(())
    }

    pub(super) fn pull_failed(
        &mut self,
        node: usize,
        puller: Puller,
        place: usize,
        is_denied: bool,
    ) -> Result<(), String> {
        if !is_denied {
            self.fire("unreachable");
        }
        let Some(lost) = self.pull_mut(node, puller).map(|pull| pull.lost(place, is_denied)) else { return Ok(()) };
        let again = 700_000;
        match puller {
            Puller::Attempt(key) => {
                if let Some(process) = &mut self.nodes[node - 1].process {
                    process.executing.remove(&key);
                }
                let error = RemoteError::unreachable(format!("pull attempt {} from {}", lost.key, lost.worker));
                let end = failed(error, FailureCause::Inputs, vec![lost]);
                self.worker_hears(node, worker::Event::Ended { key, end })
            }
            Puller::Driver(driver) => {
                let life = self.life(node);
                if let Some(process) = &mut self.nodes[node - 1].process
                    && let Some(hosted) = process.drivers.get_mut(&driver.job)
                {
                    // It tries again as long as it hears nothing else.
                    hosted.pull = None;
                    hosted.revision = 0;
                    self.after(again, Happening::DriverStep { node, life, driver });
                }
                self.worker_hears(node, worker::Event::DriverLost { driver, lost: vec![lost] })
            }
            Puller::Client => {
                let job = lost.key.job;
                let client = node - FIRST_CLIENT;
                self.clients[client].pull = None;
                self.clients[client].revision = 0;
                self.client_asks(client, Request::Lost { job, lost: vec![lost] });
                Ok(())
            }
        }
    }

    pub(super) fn pull_done(&mut self, node: usize, puller: Puller) -> Result<(), String> {
        let life = self.life(node);
        match puller {
            Puller::Attempt(key) => {
                let slowness = self.nodes[node - 1].slowness;
                let delay = self.random.between(1000, 400_000) * slowness;
                let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
                if let Some(execution) = process.executing.get_mut(&key) {
                    if std::mem::replace(&mut execution.is_computing, true) {
                        return Ok(());
                    }
                    let rows = execution.pull.sources.iter().map(|source| source.rows()).sum();
                    self.after(delay, Happening::Computed { node, life, key });
                    let progress = AttemptProgress { rows, bytes: rows * 8 };
                    return self.worker_hears(node, worker::Event::Progress { key, progress });
                }
                Ok(())
            }
            Puller::Driver(driver) => {
                let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
                let Some(hosted) = process.drivers.get_mut(&driver.job) else { return Ok(()) };
                let Some(pull) = hosted.pull.take() else { return Ok(()) };
                let rows: Vec<u64> = pull.arrived.into_iter().flatten().flatten().flatten().collect();
                self.action_done(node, driver, rows)
            }
            Puller::Client => self.client_pulled(node - FIRST_CLIENT),
        }
    }
}
