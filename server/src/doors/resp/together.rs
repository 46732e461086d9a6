//! Those of one worker's connections that wait for a device: one task is woken for all of them.
//!
//! A flush makes the writes of many connections durable at once. Were each of them woken by the flusher's thread, each would cost a system
//! call there. To wake a task again that is about to run costs nothing; so all wait with the waker of one task, and that one wakes
//! them on their own thread. Who is woken too early looks, and waits again.
//!
//! Of one worker: [`Together::run`] and the connections are polled by the same thread. That is why nobody is missed who joins
//! only after it began to wait.

use std::{
    future::poll_fn,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

/// So many wait at most. Connections that came and went while a device did not answer stay in the list: then all are woken, and those that are there join again.
const WAITING_MOST: usize = 16_384;

/// Connections that wait, each once.
#[derive(Debug, Default)]
pub struct Together {
    task: OnceLock<Waker>,
    waiting: Mutex<Vec<Waker>>,
    /// How often all were woken; who joined since need not join again.
    round: AtomicU64,
}

/// When somebody joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joined(Option<u64>);

impl Together {
    /// The task that wakes the others. Never ends.
    pub async fn run(&self) {
        poll_fn(|cx| {
            self.task.get_or_init(|| cx.waker().clone());
            self.wake_all();
            Poll::Pending
        })
        .await
    }

    fn wake_all(&self) {
        self.round.store(self.round.load(Relaxed) + 1, Relaxed);
        let mut waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.drain(..).for_each(Waker::wake);
        // Kept for its memory; nobody has joined meanwhile.
        *self.waiting.lock() = waiting;
    }

    /// Polls what waits for a device; whoever `cx` is of is woken when it may be time to poll again.
    pub fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        joined: &mut Joined,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Some(task) = self.task.get() else { return poll(cx) };
        let polled = poll(&mut Context::from_waker(task));
        if polled.is_pending() && *joined != self.round() {
            if self.waiting.lock().len() >= WAITING_MOST {
                self.wake_all();
            }
            *joined = self.round();
            self.waiting.lock().push(cx.waker().clone());
        }
        polled
    }

    fn round(&self) -> Joined {
        Joined(Some(self.round.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{Arc, atomic::AtomicUsize},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// A connection that is not woken never answers its client; one that is noted again at each look takes memory without end.
    #[test]
    fn each_is_woken_once_in_each_round() {
        let together = Together::default();
        let (task, one, other) =
            (Arc::<Count>::default(), Arc::<Count>::default(), Arc::<Count>::default());
        let [task_waker, one_waker, other_waker] =
            [&task, &one, &other].map(|count| Waker::from(Arc::clone(count)));
        let mut run = pin!(together.run());
        assert!(run.as_mut().poll(&mut Context::from_waker(&task_waker)).is_pending());
        let (mut joined, mut device) = ([Joined::default(); 2], Vec::new());
        for round in 1..=3 {
            for _ in 0..100 {
                for (waker, joined) in [&one_waker, &other_waker].into_iter().zip(&mut joined) {
                    let polled = together.poll(&mut Context::from_waker(waker), joined, |cx| {
                        device.push(cx.waker().clone());
                        Poll::<()>::Pending
                    });
                    assert!(polled.is_pending());
                }
            }
            device.drain(..).for_each(Waker::wake);
            assert!(run.as_mut().poll(&mut Context::from_waker(&task_waker)).is_pending());
            assert_eq!(one.0.load(Relaxed), round);
            assert_eq!(other.0.load(Relaxed), round);
        }
        // The device woke the task, and nobody else.
        assert_eq!(task.0.load(Relaxed), 600);
    }

    /// Clients that come, wait for a device that does not answer, and go: what is kept of each would grow for as long as it hangs.
    #[test]
    fn those_that_went_are_not_kept_for_ever() {
        let together = Together::default();
        let (task, stays) = (Arc::<Count>::default(), Arc::<Count>::default());
        let task_waker = Waker::from(Arc::clone(&task));
        let mut run = pin!(together.run());
        assert!(run.as_mut().poll(&mut Context::from_waker(&task_waker)).is_pending());
        let waker = Waker::from(Arc::clone(&stays));
        let mut joined = Joined::default();
        let wait = |waker: &Waker, joined: &mut Joined| {
            let cx = &mut Context::from_waker(waker);
            assert!(together.poll(cx, joined, |_| Poll::<()>::Pending).is_pending());
        };
        for _ in 0..3 * WAITING_MOST {
            wait(&waker, &mut joined);
            wait(Waker::noop(), &mut Joined::default());
        }
        assert!(together.waiting.lock().len() <= WAITING_MOST);
        // Who stays is still woken when the device answers.
        let before = stays.0.load(Relaxed);
        assert!(run.as_mut().poll(&mut Context::from_waker(&task_waker)).is_pending());
        assert_eq!(stays.0.load(Relaxed), before + 1);
    }
}
