//! Where the threads of a group wait for each other, so that none measures while another still connects or allocates.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Opens once, for all threads at the same instant.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: u32,
    failed: bool,
    start: Option<Instant>,
}

impl Gate {
    /// A thread is ready: waits for the start. `None` when there is none, since another thread has failed.
    pub fn wait(&self) -> Option<Instant> {
        let mut state = self.lock();
        state.waiting += 1;
        self.changed.notify_all();
        while state.start.is_none() && !state.failed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.start
    }

    /// A thread has failed: if that was before the start, there will be none.
    pub fn fail(&self) {
        self.lock().failed = true;
        self.changed.notify_all();
    }

    /// Waits until so many threads are ready, and lets them go. `None` when one has failed.
    pub fn open(&self, threads: u32) -> Option<Instant> {
        let mut state = self.lock();
        while state.waiting < threads && !state.failed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.failed {
            return None;
        }
        state.start = Some(Instant::now());
        self.changed.notify_all();
        state.start
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
