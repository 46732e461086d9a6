//! When a thread without a runtime is to wake, whatever else happens: its loop asks, and waits no longer than that.

use std::{cell::Cell, future::poll_fn, task::Poll, time::Instant};

use super::drive::Timer;

/// The next instant that is waited for.
#[derive(Debug, Default)]
pub struct Alarm(Cell<Option<Instant>>);

impl Alarm {
    /// When the thread is to wake.
    pub fn at(&self) -> Option<Instant> {
        self.0.get()
    }

    /// The same, and it is over: who still waits for it is polled and says so again.
    pub fn take(&self) -> Option<Instant> {
        self.0.take()
    }
}

impl Timer for Alarm {
    async fn until(&self, at: Instant) {
        poll_fn(|_| {
            if Instant::now() >= at {
                self.0.set(None);
                return Poll::Ready(());
            }
            self.0.set(Some(at));
            Poll::Pending
        })
        .await;
    }
}
