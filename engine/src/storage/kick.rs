//! Telling a thread of a device's that there is something to look at.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    task::Waker,
};

use parking_lot::Mutex;

/// A kick that is not lost: whoever is kicked looks at least once after it.
#[derive(Debug)]
pub(crate) struct Kick {
    kicked: AtomicBool,
    thread: Mutex<Option<Waker>>,
}

impl Default for Kick {
    fn default() -> Self {
        Self { kicked: AtomicBool::new(true), thread: Mutex::new(None) }
    }
}

impl Kick {
    /// Tells the thread to look.
    pub(crate) fn kick(&self) {
        // Mostly it has been told already; then nobody writes to the cache line.
        if self.kicked.load(SeqCst) || self.kicked.swap(true, SeqCst) {
            return;
        }
        if let Some(waker) = &*self.thread.lock() {
            waker.wake_by_ref();
        }
    }

    /// Who is to be told.
    pub(crate) fn listen(&self, waker: Waker) {
        *self.thread.lock() = Some(waker);
    }

    /// Whether there was a kick since the last call.
    pub(crate) fn take(&self) -> bool {
        self.kicked.swap(false, SeqCst)
    }
}
