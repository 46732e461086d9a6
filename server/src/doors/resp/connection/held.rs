//! What a connection holds of a request that is not complete, counted among all that its worker holds.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::super::counters::Counters;

/// A connection's share of [`Counters::receiving`], given back when it is dropped. Of the worker's thread alone.
pub(super) struct Held {
    counters: Arc<Counters>,
    bytes: usize,
}

impl Held {
    /// Nothing is held yet.
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        Self { counters: Arc::clone(counters), bytes: 0 }
    }

    /// Bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds so many bytes from now on; what the whole worker holds then.
    pub(super) fn change(&mut self, bytes: usize) -> u64 {
        let receiving = &self.counters.receiving;
        let all = receiving.load(Relaxed) + bytes as u64 - self.bytes as u64;
        receiving.store(all, Relaxed);
        self.bytes = bytes;
        all
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.change(0);
    }
}
