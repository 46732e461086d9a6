//! The operations in flight of a closed loop, driven together.
//!
//! Owns: the futures, and which of them were woken. A general set of futures spends more on a wake-up than the engine does on a whole part of a read; here it is
//! one bit. Each lane that was woken is polled once, in the order of their numbers.
//!
//! Concurrency: one thread polls; wake-ups come from any.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::AcqRel},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// Ready when all its lanes are.
pub struct Lanes<F> {
    /// Those that are not ready, each with its waker.
    lanes: Vec<Option<(Pin<Box<F>>, Waker)>>,
    left: usize,
    woken: Arc<Woken>,
}

/// Which lanes were woken: a bit for each.
struct Woken {
    words: Box<[AtomicU64]>,
    parent: AtomicWaker,
}

struct LaneWaker {
    number: usize,
    woken: Arc<Woken>,
}

impl Wake for LaneWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let word = &self.woken.words[self.number / 64];
        // Who finds other bits there need not wake the parent: whoever set the first one has, and it has not looked since.
        if word.fetch_or(1 << (self.number % 64), AcqRel) == 0 {
            self.woken.parent.wake();
        }
    }
}

impl<F: Future<Output = ()>> Lanes<F> {
    /// Lanes that begin when this is polled first.
    pub fn new(futures: impl Iterator<Item = F>) -> Self {
        let futures: Vec<F> = futures.collect();
        let left = futures.len();
        let words = (0..left.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let woken = Arc::new(Woken { words, parent: AtomicWaker::new() });
        let lane = |(number, future): (usize, F)| {
            let waker = Arc::new(LaneWaker { number, woken: Arc::clone(&woken) });
            waker.wake_by_ref();
            Some((Box::pin(future), Waker::from(waker)))
        };
        let lanes = futures.into_iter().enumerate().map(lane).collect();
        Self { lanes, left, woken }
    }
}

impl<F: Future<Output = ()>> Future for Lanes<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { lanes, left, woken } = &mut *self;
        // Before the look at the bits: a lane woken after that look wakes this waker.
        woken.parent.register(context.waker());
        for (word, lanes) in woken.words.iter().zip(lanes.chunks_mut(64)) {
            let mut bits = word.swap(0, AcqRel);
            while bits != 0 {
                let lane = &mut lanes[bits.trailing_zeros() as usize];
                bits &= bits - 1;
                // A lane that is ready may be woken late.
                let Some((future, waker)) = lane else { continue };
                if future.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
                    *lane = None;
                    *left -= 1;
                }
            }
        }
        if *left == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn};

    use cairn_engine::device::reactor::block_on;

    use super::*;

    /// Every lane runs to its end, those that wake themselves and those that another thread wakes too: a lost wake-up would hang here.
    #[test]
    fn all_lanes_come_to_their_end() {
        for count in [0, 1, 64, 65, 200] {
            let done = Cell::new(0);
            let lane = |number: usize| {
                let done = &done;
                let mut polls = 0;
                poll_fn(move |context| {
                    polls += 1;
                    if polls > 10 {
                        done.set(done.get() + 1);
                        return Poll::Ready(());
                    }
                    let waker = context.waker().clone();
                    match number % 2 {
                        0 => waker.wake(),
                        _ => drop(std::thread::spawn(move || waker.wake())),
                    }
                    Poll::Pending
                })
            };
            block_on(Lanes::new((0..count).map(lane)));
            assert_eq!(done.get(), count);
        }
    }
}
