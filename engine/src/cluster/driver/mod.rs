//! The driver: plans one action after the other, replays those that ended.
//!
//! In: how it was started, plans as they are made, outcomes as they come. Out: for each action whether to plan it, what to
//! ship, how it ended. Never: an action planned twice in a job's life; two accounts of an outcome mixed.
//!
//! ```text
//!   asked ─► was it shipped by an earlier run? ──no──► plan ─► shipped ─► outcome
//!                          ├──yes, as the last─────────────────────────────►┘
//!                          └──yes, and a later one too──► replay: what it gave stands in the next one's plan
//! ```
//! A driver's program asks for actions in an order that depends on nothing but the outcomes of earlier ones, so the
//! k-th action of each run is the same action.

use std::collections::BTreeMap;

use crate::cluster::protocol::{ActionNumber, ActionOutcome, DriverRun, DriverStart};

/// The machine of one run.
#[derive(Debug)]
pub struct Driver {
    driver: DriverRun,
    nodes: u32,
    actions: BTreeMap<ActionNumber, Action>,
}

#[derive(Debug, Default)]
struct Action {
    /// Its plan is durable, or on its way there.
    is_shipped: bool,
    /// The latest account of its end.
    outcome: Option<(u64, ActionOutcome)>,
}

/// What to do with an action that the program asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Plan it, and ship the plan.
    Plan,
    /// It is shipped, by an earlier run perhaps: wait for its outcome.
    Wait,
    /// A later action is shipped too; what this one gave stands in the plan of the next one.
    Replay,
}

impl Driver {
    /// A run as it was started.
    pub fn new(start: &DriverStart) -> Driver {
        Driver::begun(start.driver, start.nodes, start.shipped.iter().map(|shipped| shipped.action))
    }

    /// A run for so many nodes; these actions were shipped by earlier ones.
    pub fn begun(driver: DriverRun, nodes: u32, shipped: impl IntoIterator<Item = ActionNumber>) -> Driver {
        let action = |number| (number, Action { is_shipped: true, outcome: None });
        Driver { driver, nodes, actions: shipped.into_iter().map(action).collect() }
    }

    /// Which run of which job.
    pub fn run(&self) -> DriverRun {
        self.driver
    }

    /// How many workers to plan for.
    pub fn nodes(&self) -> u32 {
        self.nodes
    }

    /// The program asks for an action.
    pub fn begin(&self, action: ActionNumber) -> Begin {
        let mut shipped =
            self.actions.range(action..).filter(|(_, action)| action.is_shipped).map(|(number, _)| *number);
        match (shipped.next(), shipped.next()) {
            (Some(first), None) if first == action => Begin::Wait,
            (Some(_), _) => Begin::Replay,
            (None, _) => Begin::Plan,
        }
    }

    /// The last action before this one that was shipped: its plan tells what those before it gave.
    pub fn shipped_before(&self, action: ActionNumber) -> Option<ActionNumber> {
        let mut before = self.actions.range(..action).filter(|(_, action)| action.is_shipped);
        before.next_back().map(|(number, _)| *number)
    }

    /// The action was planned: its plan goes to the worker's machine as `Event::DriverShipped`.
    pub fn shipped(&mut self, action: ActionNumber) {
        self.actions.entry(action).or_default().is_shipped = true;
    }

    /// An outcome has come; true when it is news: the first, or rows that lie elsewhere than before.
    pub fn handle_outcome(&mut self, action: ActionNumber, revision: u64, outcome: ActionOutcome) -> bool {
        let known = &mut self.actions.entry(action).or_default().outcome;
        let is_news = known.as_ref().is_none_or(|(at, known)| *at < revision && *known != outcome);
        if known.as_ref().is_none_or(|(at, _)| *at < revision) {
            *known = Some((revision, outcome));
        }
        is_news
    }

    /// The latest account of an action's end, with its revision.
    pub fn outcome(&self, action: ActionNumber) -> Option<(u64, &ActionOutcome)> {
        self.actions.get(&action)?.outcome.as_ref().map(|(revision, outcome)| (*revision, outcome))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::cluster::protocol::{JobKind, JobOptions, ShippedAction};
    use crate::observe::Counted;
    use crate::shuffle::JobId;

    fn start(shipped: &[u32]) -> DriverStart {
        let action = |number: &u32| ShippedAction { action: ActionNumber(*number), plan_hash: 9, plan_bytes: 9 };
        let shipped = shipped.iter().map(action);
        DriverStart {
            driver: DriverRun { job: JobId(1), run: 2 },
            kind: JobKind::Program,
            spec: Vec::new().into(),
            options: JobOptions::default(),
            nodes: 3,
            shipped: shipped.collect(),
        }
    }

    #[test]
    fn what_was_shipped_is_not_planned_again() {
        let mut driver = Driver::new(&start(&[0]));
        assert_eq!(driver.begin(ActionNumber(0)), Begin::Wait);
        assert_eq!(driver.begin(ActionNumber(1)), Begin::Plan);
        driver.shipped(ActionNumber(1));
        assert_eq!(driver.begin(ActionNumber(1)), Begin::Wait);
        assert_eq!(driver.begin(ActionNumber(0)), Begin::Replay);
        assert_eq!(driver.shipped_before(ActionNumber(1)), Some(ActionNumber(0)));
        assert_eq!(driver.shipped_before(ActionNumber(0)), None);
    }

    #[test]
    fn an_old_account_never_replaces_a_newer() {
        let mut driver = Driver::new(&start(&[]));
        let action = ActionNumber(0);
        assert!(driver.handle_outcome(action, 1, ActionOutcome::Rows(vec![], Counted::default())));
        assert!(!driver.handle_outcome(action, 0, ActionOutcome::Written(vec![], Counted::default())));
        assert!(!driver.handle_outcome(action, 1, ActionOutcome::Written(vec![], Counted::default())));
        assert_eq!(driver.outcome(action), Some((1, &ActionOutcome::Rows(vec![], Counted::default()))));
    }
}
