//! What drivers do.
//!
//! In: the state of a driver. Out: its next action asked for. Never: chance that is not the seed's.

use super::*;

impl World {
    pub(super) fn driver_step(&mut self, node: usize, driver: DriverRun) -> Result<(), String> {
        let delay = self.random.between(1000, 30_000);
        let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
        let Some(hosted) = process.drivers.get_mut(&driver.job) else { return Ok(()) };
        if hosted.driver.run() != driver || hosted.pull.is_some() {
            return Ok(());
        }
        let life = self.lives.get(&node).copied().unwrap_or_default();
        let Some(action) = hosted.waits else {
            let action = ActionNumber(hosted.next_action);
            let event = match hosted.driver.begin(action) {
                // The plan that tells what it gave is on its way.
                Begin::Replay => return Ok(()),
                Begin::Wait => None,
                Begin::Plan => {
                    let model = hosted.model.action(action.0, hosted.digest);
                    hosted.driver.shipped(action);
                    let plan = model.plan().into();
                    Some(worker::Event::DriverShipped { driver, action, skeleton: model.skeleton, plan })
                }
            };
            hosted.next_action += 1;
            hosted.waits = Some(action);
            if let Some(event) = event {
                self.worker_hears(node, event)?;
            }
            self.after(delay, Happening::DriverStep { node, life, driver });
            return Ok(());
        };
        let is_sql = hosted.model.is_sql;
        let Some((revision, outcome)) = hosted.driver.outcome(action) else { return Ok(()) };
        if revision == hosted.revision {
            return Ok(());
        }
        hosted.revision = revision;
        match outcome {
            ActionOutcome::Failed(error) => {
                let end = DriverEnd::Failed { error: error.clone(), cause: FailureCause::Error };
                process.drivers.remove(&driver.job);
                self.worker_hears(node, worker::Event::DriverEnded { driver, end })
            }
            ActionOutcome::Written(..) => {
                let rows = written_rows(outcome);
                self.action_done(node, driver, rows)
            }
            // The client pulls them.
            ActionOutcome::Rows(..) if is_sql => {
                let end = DriverEnd::Done { value: Vec::new().into(), result: Some(action) };
                process.drivers.remove(&driver.job);
                self.worker_hears(node, worker::Event::DriverEnded { driver, end })
            }
            ActionOutcome::Rows(sources, _) => {
                hosted.pull = Some(Pull::new(sources.clone()));
                self.begin_pull(node, Puller::Driver(driver))
            }
        }
    }

    pub(super) fn action_done(&mut self, node: usize, driver: DriverRun, rows: Vec<u64>) -> Result<(), String> {
        let life = self.life(node);
        let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
        let Some(hosted) = process.drivers.get_mut(&driver.job) else { return Ok(()) };
        let Some(action) = hosted.waits.take() else { return Ok(()) };
        hosted.digest = next_digest(hosted.digest, &rows);
        hosted.revision = 0;
        if action.0 + 1 < hosted.model.actions {
            self.after(1000, Happening::DriverStep { node, life, driver });
            return Ok(());
        }
        let value = hosted.digest.to_le_bytes().to_vec().into();
        process.drivers.remove(&driver.job);
        let end = DriverEnd::Done { value, result: None };
        self.worker_hears(node, worker::Event::DriverEnded { driver, end })
    }
}
