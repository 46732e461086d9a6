//! The future of one request, and its other end.
//!
//! Owns: the hand-over of one result from whoever finishes a request to whoever waits for it.
//!
//! Invariants: a completion always resolves: a [`Completer`] that is dropped without an answer answers
//! `BrokenPipe`. The result is handed over once. Dropping the completion does not stop the request; its result
//! is dropped when it comes.
//!
//! Concurrency: the ends may be on different threads. One small lock guards the slot and is never held while a
//! waker runs.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

/// Resolves when a request is done. One that was known at once carries its result and allocates nothing.
#[must_use = "a request that nobody waits for may have failed"]
pub struct Completion<T> {
    state: State<T>,
}

enum State<T> {
    Ready(io::Result<T>),
    Waiting(Arc<Shared<T>>),
    Taken,
}

struct Shared<T> {
    slot: Mutex<Slot<T>>,
}

enum Slot<T> {
    Empty(Option<Waker>),
    Full(io::Result<T>),
    Taken,
}

impl<T> Completion<T> {
    /// A completion and the end that resolves it.
    pub fn pair() -> (Completer<T>, Completion<T>) {
        let shared = Arc::new(Shared { slot: Mutex::new(Slot::Empty(None)) });
        let completion = Completion { state: State::Waiting(Arc::clone(&shared)) };
        (Completer { shared: Some(shared) }, completion)
    }

    /// A completion that is done already.
    pub fn ready(result: io::Result<T>) -> Self {
        Completion { state: State::Ready(result) }
    }

    /// The result if it is there, without waiting and without a waker. A thread that asks again and again must
    /// let its reactor turn in between, or the request makes no progress.
    ///
    /// # Panics
    ///
    /// If the result was taken before, here or by polling.
    pub fn try_take(&mut self) -> Option<io::Result<T>> {
        self.take_or(|_| ())
    }

    /// Takes the result, or calls `wait` with the place for the waker, under the lock.
    fn take_or(&mut self, wait: impl FnOnce(&mut Option<Waker>)) -> Option<io::Result<T>> {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready(result) => Some(result),
            State::Taken => panic!("the result of a request can be taken once"),
            State::Waiting(shared) => {
                let result = shared.take_or(wait);
                if result.is_none() {
                    self.state = State::Waiting(shared);
                }
                result
            }
        }
    }
}

impl<T> Shared<T> {
    fn take_or(&self, wait: impl FnOnce(&mut Option<Waker>)) -> Option<io::Result<T>> {
        let mut slot = self.slot.lock();
        if let Slot::Empty(waker) = &mut *slot {
            wait(waker);
            return None;
        }
        match std::mem::replace(&mut *slot, Slot::Taken) {
            Slot::Full(result) => Some(result),
            Slot::Empty(_) | Slot::Taken => {
                unreachable!("only one completion takes from a slot, once")
            }
        }
    }
}

impl<T> Future for Completion<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let result = self.take_or(|waker| match waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => *waker = Some(context.waker().clone()),
        });
        result.map_or(Poll::Pending, Poll::Ready)
    }
}

// No part of a completion is ever pinned: results move out.
impl<T> Unpin for Completion<T> {}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ready(_) => "ready",
            State::Waiting(_) => "waiting",
            State::Taken => "taken",
        };
        f.debug_tuple("Completion").field(&state).finish()
    }
}

/// The end of a completion that gives the answer. Dropped without one, it answers `BrokenPipe`.
pub struct Completer<T> {
    shared: Option<Arc<Shared<T>>>,
}

impl<T> Completer<T> {
    /// Hands the result over and wakes whoever waits.
    pub fn complete(mut self, result: io::Result<T>) {
        if let Some(shared) = self.shared.take() {
            shared.fill(result);
        }
    }
}

impl<T> Shared<T> {
    fn fill(&self, result: io::Result<T>) {
        let before = std::mem::replace(&mut *self.slot.lock(), Slot::Full(result));
        if let Slot::Empty(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T> Drop for Completer<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.fill(Err(io::Error::from(io::ErrorKind::BrokenPipe)));
        }
    }
}

impl<T> fmt::Debug for Completer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::device::reactor::block_on;

    /// Shows that a result crosses threads and wakes the waiter; otherwise a client would wait for ever.
    #[test]
    fn a_result_crosses_threads() {
        let (completer, completion) = Completion::pair();
        let other = thread::spawn(move || completer.complete(Ok(7)));
        assert_eq!(block_on(completion).expect("no error"), 7);
        other.join().expect("the thread ends");
    }

    /// Shows that a forgotten request resolves with an error instead of hanging its client.
    #[test]
    fn a_dropped_completer_answers_with_an_error() {
        let (completer, completion) = Completion::<()>::pair();
        drop(completer);
        let error = block_on(completion).expect_err("there was no answer");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    /// Shows that `try_take` tells "not yet" from the result, and that a ready completion needs no other end.
    #[test]
    fn try_take_polls_without_a_waker() {
        let (completer, mut completion) = Completion::pair();
        assert!(completion.try_take().is_none());
        completer.complete(Ok(1));
        assert!(matches!(completion.try_take(), Some(Ok(1))));
        assert!(matches!(Completion::ready(Ok(2)).try_take(), Some(Ok(2))));
    }

    /// Shows that giving up on a request is harmless: the late answer goes nowhere and is freed.
    #[test]
    fn a_dropped_completion_swallows_the_answer() {
        let (completer, completion) = Completion::pair();
        drop(completion);
        let answer = Arc::new(());
        completer.complete(Ok(Arc::clone(&answer)));
        assert_eq!(Arc::strong_count(&answer), 1);
    }
}
