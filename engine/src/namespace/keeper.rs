//! What must be done from time to time: tombstones that guard nothing any more go, expired records are counted.
//!
//! A thread walks the index round and round, a slice of partitions at a time, so that its share of a core stays small.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use super::Namespace;
use crate::{
    index::{Life, Verdict},
    model::{PARTITIONS, Version},
    storage::blocks::BlockState,
};

/// Pause between two slices.
const PAUSE: Duration = Duration::from_millis(100);
/// Slices of a round.
const SLICES: usize = 64;

impl Namespace {
    /// One slice of a round over the index: drops tombstones below the horizon and counts expired records. Returns how many of these it met.
    #[doc(hidden)]
    pub fn housekeep(&self, partitions: std::ops::Range<u16>) -> u64 {
        self.shared.records_hint.store(self.index.len(), SeqCst);
        // Without tombstones there is nothing that the horizon could let go.
        let horizon = match self.counters.tombstones.get() {
            0 => Version::ZERO,
            _ => self.horizon(partitions.clone()),
        };
        let now = self.shared.clock.now_ms();
        let mut expired = 0;
        for partition in partitions {
            self.index.sweep(partition, |_, entry| {
                if !entry.tombstone {
                    expired += u64::from(entry.expiry.life(now) == Life::Expired);
                    return Verdict::Keep;
                }
                let Some((block, _)) = self.shared.blocks.locate(entry.location) else {
                    return Verdict::Keep;
                };
                let block = self.shared.blocks.get(block);
                // Every version of the record is below the tombstone's, which is at most the block's highest.
                let guards =
                    block.state() != BlockState::Sealed || block.version_range().1 >= horizon;
                if guards {
                    return Verdict::Keep;
                }
                self.counters.tombstones.sub(1);
                self.shared.kill(entry.location, entry.size, true, None);
                Verdict::Remove
            });
        }
        expired
    }
}

impl Namespace {
    /// The version below which no dead version of a record of these partitions is left on any device.
    fn horizon(&self, partitions: std::ops::Range<u16>) -> Version {
        let now = self.shared.version_now();
        for partition in partitions {
            // Who was given a version up to `now` here holds the partition until what it superseded is counted as dead.
            self.index.page(partition, None, 1, &mut Vec::new());
        }
        self.shared.blocks.horizon().min(now)
    }
}

/// Runs the keeper until `stop` is set or the namespace is gone.
pub(super) fn run(namespace: &Weak<Namespace>, stop: &Arc<AtomicBool>) {
    let step = PARTITIONS / SLICES;
    let mut expired = 0;
    let mut worked = Duration::ZERO;
    for slice in (0..SLICES).cycle() {
        // Large indexes and devices take longer: the keeper's share of a core stays below a tenth.
        std::thread::park_timeout(PAUSE.max(worked * 9));
        let Some(namespace) = namespace.upgrade().filter(|_| !stop.load(SeqCst)) else { return };
        let first = (slice * step) as u16;
        let begun = namespace.shared.clock.monotonic();
        expired += namespace.housekeep(first..first + step as u16);
        worked = namespace.shared.clock.monotonic().saturating_sub(begun);
        if slice == SLICES - 1 {
            namespace.counters.expired.store(expired, SeqCst);
            expired = 0;
        }
    }
}
