//! What many threads use at once without sharing a cache line: counters, and the numbers by which other things are sharded.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use crossbeam::utils::CachePadded;

/// Into how many parts things are split that threads would else fight for; more threads than that share some.
pub(crate) const SHARDS: usize = 16;

/// A sum that grows; adding touches a cache line of the calling thread's own, mostly.
#[derive(Debug, Default)]
pub(crate) struct Counter([CachePadded<AtomicU64>; SHARDS]);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0[shard()].fetch_add(n, Relaxed);
    }

    /// Takes away what was added, perhaps on another thread.
    pub(crate) fn sub(&self, n: u64) {
        self.0[shard()].fetch_sub(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, shard| sum.wrapping_add(shard.load(Relaxed)))
    }
}

/// The calling thread's number, below [`SHARDS`]. The first threads that ask have different ones.
pub(crate) fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Relaxed) % SHARDS));
    MINE.with(Cell::get)
}
