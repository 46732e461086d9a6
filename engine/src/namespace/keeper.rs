//! What must be done from time to time: expired records and tombstones that guard nothing any more leave, and if space is short, records
//! near their end are evicted.
//!
//! One thread, which works for a small share of the time, so that its part of a core and of the device stays small; for longer while
//! writers wait for the space it gives back.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use super::Namespace;
use crate::device::{IoKind, reactor};

/// Pause between two rounds, at least.
const PAUSE: Duration = Duration::from_millis(100);
/// A round goes on for so long at most.
const ROUND: Duration = Duration::from_millis(100);
/// For each moment of work, so many of rest.
const REST: u32 = 3;

impl Namespace {
    /// One round without a bound: sweeps every block that is due, evicts if it must. Returns how many blocks were looked through.
    #[doc(hidden)]
    pub fn housekeep(&self) -> u64 {
        self.keep(&mut || false)
    }

    fn keep(&self, enough: &mut dyn FnMut() -> bool) -> u64 {
        self.shared.records_hint.store(self.index.len(), SeqCst);
        let looked = self.sweep_due(enough);
        self.evict();
        looked
    }

    /// Whether writes are refused, or about to be.
    fn is_pressed(&self) -> bool {
        let shared = &self.shared;
        shared
            .stores
            .iter()
            .any(|store| store.is_pressed() || store.in_use() >= store.limit(shared))
    }
}

/// Runs the keeper until `stop` is set or the namespace is gone.
pub(super) fn run(namespace: &Weak<Namespace>, kind: IoKind, stop: &Arc<AtomicBool>) {
    let _reactor = reactor::Reactor::install(kind);
    let mut rest = PAUSE;
    loop {
        std::thread::park_timeout(rest);
        let Some(namespace) = namespace.upgrade().filter(|_| !stop.load(SeqCst)) else { return };
        let clock = &namespace.shared.clock;
        let begun = clock.monotonic();
        let worked = || clock.monotonic().saturating_sub(begun);
        namespace.keep(&mut || stop.load(SeqCst) || worked() > ROUND);
        rest = if namespace.is_pressed() { PAUSE } else { PAUSE.max(worked() * REST) };
    }
}
