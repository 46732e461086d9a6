//! Fetching what several calls need into the CPU's caches, before the first of them is executed.
//!
//! What an operation on a small record in RAM costs is mostly waiting for memory, and many such waits at once take no longer than
//! one. Items of a pipeline come together; unary calls gather here, those that came in one turn of their worker.

use std::{future::poll_fn, task::Poll};

use cairn_engine::Expected;
use parking_lot::Mutex;

use super::call::{Action, Call};
use crate::{limits::OPENED_AHEAD, state::State};

/// What a call will need.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    namespace: usize,
    expected: Expected,
    /// Whether it needs the record itself, not only where it lies.
    record: bool,
}

impl Need {
    /// What this call will need.
    pub fn of(call: &Call, state: &State) -> Self {
        let expected = state.namespaces[call.namespace].engine.expect(call.key.borrowed());
        let record = matches!(call.action, Action::Get(..) | Action::Operate(..));
        Self { namespace: call.namespace, expected, record }
    }
}

/// Fetches all that is needed: each step for all before the next one, which needs its outcome.
pub fn fetch(needs: impl Iterator<Item = Need> + Clone, state: &State) {
    for need in needs.clone() {
        state.namespaces[need.namespace].engine.fetch_entry(need.expected);
    }
    for need in needs.filter(|need| need.record) {
        state.namespaces[need.namespace].engine.fetch_record(need.expected);
    }
}

/// The unary calls of one worker that are read and not executed.
#[derive(Debug, Default)]
pub struct Gathered(Mutex<Vec<Need>>);

impl Gathered {
    /// Returns when all that `call` needs is on its way. Other calls have their turn first, so that they add what they need.
    pub async fn fetch(&self, call: &Call, state: &State) {
        if self.add(Need::of(call, state)) >= OPENED_AHEAD {
            self.fetch_all(state);
        }
        let mut waited = false;
        poll_fn(|context| {
            if waited {
                return Poll::Ready(());
            }
            waited = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.fetch_all(state);
    }

    /// Returns how many there are now.
    fn add(&self, need: Need) -> usize {
        let mut needs = self.0.lock();
        needs.push(need);
        needs.len()
    }

    fn fetch_all(&self, state: &State) {
        let mut needs = self.0.lock();
        fetch(needs.iter().copied(), state);
        needs.clear();
    }
}
