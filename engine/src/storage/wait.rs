//! Waiting for room: those who could not write, until something changed.

use std::{
    collections::BTreeMap,
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
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Waiting {
    /// Adds a waker, in the place that it has already or a new one. Returns the place.
    fn add(&mut self, place: Option<u64>, waker: Waker) -> u64 {
        let place = place.unwrap_or(self.next);
        self.next = self.next.max(place + 1);
        self.wakers.insert(place, waker);
        place
    }
}

impl WaitList {
    /// What to pass to [`Self::changed_since`]: taken before looking whether there is room.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(SeqCst)
    }

    /// Says that something changed.
    pub(crate) fn wake_all(&self) {
        let wakers = {
            let mut waiting = self.waiting.lock();
            // Under the lock: who comes with the new turn must not be taken along, for he would be woken for nothing and never again.
            self.turn.fetch_add(1, SeqCst);
            std::mem::take(&mut waiting.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// Calls `waker` when something changes after `turn` was taken; false if that has been. For one who keeps no future.
    pub(crate) fn tell(&self, turn: u64, waker: &Waker) -> bool {
        let mut waiting = self.waiting.lock();
        if !waiting.wakers.values().any(|known| known.will_wake(waker)) {
            waiting.add(None, waker.clone());
        }
        self.turn() == turn
    }

    /// How many wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.waiting.lock().wakers.len()
    }

    /// Whether anybody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.waiting.lock().wakers.is_empty()
    }

    /// Completes when something changed after `turn` was taken.
    pub(crate) fn changed_since(&self, turn: u64) -> Changed<'_> {
        Changed { list: self, turn, registered: None }
    }
}

/// The future of [`WaitList::changed_since`]. Who drops it does not wait any more.
#[derive(Debug)]
pub(crate) struct Changed<'a> {
    list: &'a WaitList,
    turn: u64,
    /// The place and the waker that stand in the list.
    registered: Option<(u64, Waker)>,
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        if let Some((place, _)) = &self.registered {
            self.list.waiting.lock().wakers.remove(place);
        }
    }
}

impl Future for Changed<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.list.turn() != self.turn {
            return Poll::Ready(());
        }
        if !self.registered.as_ref().is_some_and(|(_, waker)| waker.will_wake(cx.waker())) {
            let place = self.registered.as_ref().map(|(place, _)| *place);
            let place = self.list.waiting.lock().add(place, cx.waker().clone());
            self.registered = Some((place, cx.waker().clone()));
        }
        if self.list.turn() == self.turn { Poll::Pending } else { Poll::Ready(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    /// Writers that give up at their deadlines, one after the other, while nothing changes: each would leave something behind.
    #[test]
    fn who_gives_up_leaves_nothing() {
        let list = WaitList::default();
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            let mut waits = list.changed_since(list.turn());
            assert!(Pin::new(&mut waits).poll(&mut context).is_pending());
        }
        assert_eq!(list.waiting(), 0);
    }

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
