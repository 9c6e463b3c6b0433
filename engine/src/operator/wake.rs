//! What a blocked role waits for: fires once, whether or not somebody waits yet.
//!
//! In: [`Wake::fire`] from an I/O thread or another pipeline. Out: the action given to [`Wake::then`] runs, once, on the thread
//! that came second. Never: lost; firing before `then` runs the action at once.

use std::sync::{Arc, Mutex, PoisonError};

/// A one-time event. Cheap to clone; all clones are the same event.
#[derive(Clone, Default)]
pub struct Wake(Arc<Mutex<State>>);

type Action = Box<dyn FnOnce() + Send>;

/// waiting → fired; actions run on the transition, and later ones at once.
enum State {
    Waiting(Vec<Action>),
    Fired,
}

impl Default for State {
    fn default() -> State {
        State::Waiting(Vec::new())
    }
}

impl Wake {
    /// The event has happened.
    pub fn fire(&self) {
        let before = std::mem::replace(&mut *self.lock(), State::Fired);
        if let State::Waiting(actions) = before {
            for action in actions {
                action();
            }
        }
    }

    /// Runs `action` when the event happens, or now if it has.
    pub fn then(&self, action: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        match &mut *state {
            State::Waiting(actions) => actions.push(Box::new(action)),
            State::Fired => {
                drop(state);
                action();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
