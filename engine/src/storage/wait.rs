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
        let wakers = {
            let mut wakers = self.wakers.lock();
            // Under the lock: who comes with the new turn must not be taken along, for he would be woken for nothing and never again.
            self.turn.fetch_add(1, SeqCst);
            std::mem::take(&mut *wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether anybody has waited since the last change.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.wakers.lock().is_empty()
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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    /// Threads that wait for each other's changes, again and again: whoever misses one waits for ever, as a writer would for room.
    #[test]
    fn nobody_is_forgotten() {
        const ROUNDS: u64 = 20_000;
        let list = Arc::new(WaitList::default());
        let (done, finished) = std::sync::mpsc::channel();
        for _ in 0..3 {
            let (list, done) = (Arc::clone(&list), done.clone());
            std::thread::spawn(move || {
                let mut turn = list.turn();
                while turn < ROUNDS {
                    crate::device::reactor::block_on(list.changed_since(turn));
                    turn = list.turn();
                }
                done.send(()).expect("the test waits");
            });
        }
        (0..ROUNDS).for_each(|_| list.wake_all());
        for _ in 0..3 {
            finished.recv_timeout(Duration::from_secs(60)).expect("somebody was forgotten");
        }
    }
}
