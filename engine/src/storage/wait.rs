//! Waiting for room: those who could not write, until something changed.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

/// Wakes everybody who waits whenever something changed.
#[derive(Debug, Default)]
pub(crate) struct WaitList {
    turn: AtomicU64,
    wakers: Mutex<Vec<Waker>>,
}

impl WaitList {
    /// What to pass to [`Self::changed_since`]: taken before looking whether there is room.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(SeqCst)
    }

    /// Says that something changed.
    pub(crate) fn wake_all(&self) {
        self.turn.fetch_add(1, SeqCst);
        let wakers = std::mem::take(&mut *self.wakers.lock());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Completes when something changed after `turn` was taken.
    pub(crate) fn changed_since(&self, turn: u64) -> Changed<'_> {
        Changed { list: self, turn, registered: None }
    }
}

/// The future of [`WaitList::changed_since`].
#[derive(Debug)]
pub(crate) struct Changed<'a> {
    list: &'a WaitList,
    turn: u64,
    registered: Option<Waker>,
}

impl Future for Changed<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.list.turn() != self.turn {
            return Poll::Ready(());
        }
        if !self.registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.list.wakers.lock().push(cx.waker().clone());
            self.registered = Some(cx.waker().clone());
        }
        if self.list.turn() == self.turn { Poll::Pending } else { Poll::Ready(()) }
    }
}
