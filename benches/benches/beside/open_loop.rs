//! Operations at a fixed rate, and how long they took.
//!
//! Owns the plan (when each operation is due) and the operations in flight. One thread with a ring, which parks in between.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use cairn_engine::device::reactor;
use futures_util::stream::{FuturesUnordered, Stream};

/// Operations in flight at most: those that are due meanwhile begin late, which counts.
const IN_FLIGHT_MOST: usize = 256;

/// Begins so many operations a second until `end`, at even distances, however those before fare.
pub fn open_loop<F: Future<Output = ()>>(
    rate: u64,
    end: Instant,
    mut operation: impl FnMut() -> F,
) -> Latencies {
    let (interval, mut due) = (Duration::from_secs(1).div_f64(rate as f64), Instant::now());
    let (mut flying, mut latencies) = (FuturesUnordered::new(), Vec::new());
    let waker = reactor::waker();
    let mut context = Context::from_waker(&waker);
    while due < end || !flying.is_empty() {
        let now = Instant::now();
        while due <= now && due < end && flying.len() < IN_FLIGHT_MOST {
            let (begin, work) = (due, operation());
            flying.push(async move {
                work.await;
                begin.elapsed().as_nanos() as u64
            });
            due += interval;
        }
        while let Poll::Ready(Some(latency)) = Pin::new(&mut flying).poll_next(&mut context) {
            latencies.push(latency);
        }
        // Completions end a park, and so does the next start that is due.
        if flying.len() >= IN_FLIGHT_MOST || (due >= end && !flying.is_empty()) {
            reactor::park(None);
        } else if due > Instant::now() {
            reactor::park(Some(due));
        } else {
            reactor::turn();
        }
    }
    latencies.sort_unstable();
    Latencies(latencies)
}

/// Latencies in nanoseconds, the shortest first.
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// How many operations there were.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The latency, in microseconds, that this part of all do not exceed.
    pub fn at(&self, part: f64) -> f64 {
        let rank = (self.0.len() as f64 * part).ceil() as usize;
        self.0.get(rank.max(1) - 1).map_or(0.0, |&nanos| nanos as f64 / 1e3)
    }
}
