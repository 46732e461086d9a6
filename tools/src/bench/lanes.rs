//! The operations in flight of a closed loop, driven together.
//!
//! Owns: the futures, and which of them were woken. A general set of futures spends more on a wake-up than the engine does on a whole part of a read; here it is
//! one bit. Each lane that was woken is polled once, in the order of their numbers, beginning with another one each time: a lane goes on until it must wait, so
//! the first of several that wait for the same thing may use it up.
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
    /// The lane to begin with.
    first: usize,
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
        Self { lanes, left, first: 0, woken }
    }
}

impl<F: Future<Output = ()>> Future for Lanes<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { lanes, left, first, woken } = &mut *self;
        // Before the look at the bits: a lane woken after that look wakes this waker.
        woken.parent.register(context.waker());
        let words = woken.words.len();
        for turn in 0..words {
            let at = (*first / 64 + turn) % words;
            let mut bits = woken.words[at].swap(0, AcqRel);
            let mut shift = if turn == 0 { *first as u32 % 64 } else { 0 };
            while bits != 0 {
                // The next bit from `shift` on, or from the lowest.
                shift += bits.rotate_right(shift).trailing_zeros();
                let number = shift as usize % 64;
                bits &= !(1 << number);
                let lane = &mut lanes[at * 64 + number];
                // A lane that is ready may be woken late.
                let Some((future, waker)) = lane else { continue };
                if future.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
                    *lane = None;
                    *left -= 1;
                }
            }
        }
        *first = (*first + 1) % lanes.len().max(1);
        if *left == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        future::poll_fn,
    };

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

    /// A lane that always came last would wait for a second where the others wait for a millisecond, and be the p99.9 of a store that treats all alike.
    #[test]
    fn each_lane_is_the_first_in_its_turn() {
        for count in [3, 64, 70] {
            let firsts = RefCell::new(vec![0; count]);
            let (turn, taken) = (Cell::new(0), Cell::new(0));
            let lane = |number: usize| {
                let (firsts, turn, taken) = (&firsts, &turn, &taken);
                let mut polls = 0;
                poll_fn(move |context| {
                    // Nobody else was polled in this turn.
                    if turn.replace(polls + 1) == polls {
                        firsts.borrow_mut()[number] += 1;
                        taken.set(taken.get() + 1);
                    }
                    polls += 1;
                    if polls == 4 * count {
                        return Poll::Ready(());
                    }
                    context.waker().wake_by_ref();
                    Poll::Pending
                })
            };
            block_on(Lanes::new((0..count).map(lane)));
            assert_eq!(taken.get(), 4 * count);
            assert_eq!(firsts.into_inner(), vec![4; count]);
        }
    }
}
