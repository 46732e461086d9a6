//! What is left of un-flushed writes after a loss of power.
//!
//! A write that is not durable may be on the medium in any part, in units of 512 bytes, whatever became of the
//! writes before and after it. The policies pick parts that catch different mistakes. All are decided by their
//! seed.

use super::rng::Rng;

/// The unit that a medium writes whole or not at all.
pub(super) const UNIT: usize = 512;

/// Which un-durable writes survive, those in flight at the cut included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPolicy {
    /// None: the cache is lost.
    LoseAll,
    /// All: the cache made it, and so did what was in flight.
    KeepAll,
    /// Some writes, each whole.
    Writes {
        /// Decides which.
        seed: u64,
    },
    /// Some units of 512 bytes: torn writes.
    Sectors {
        /// Decides which.
        seed: u64,
    },
    /// The front of each write, of a length of its own.
    Prefixes {
        /// Decides the lengths.
        seed: u64,
    },
    /// The end of each write, of a length of its own.
    Suffixes {
        /// Decides the lengths.
        seed: u64,
    },
    /// The later writes, whole, and not the earlier ones.
    Reordered {
        /// Decides where later begins.
        seed: u64,
    },
}

impl CrashPolicy {
    /// One of every kind, all with this seed.
    #[must_use]
    pub fn all(seed: u64) -> [CrashPolicy; 7] {
        [
            CrashPolicy::LoseAll,
            CrashPolicy::KeepAll,
            CrashPolicy::Writes { seed },
            CrashPolicy::Sectors { seed },
            CrashPolicy::Prefixes { seed },
            CrashPolicy::Suffixes { seed },
            CrashPolicy::Reordered { seed },
        ]
    }

    /// The one that a seed picks.
    #[must_use]
    pub fn from_seed(seed: u64) -> CrashPolicy {
        let mut rng = Rng::new(seed);
        let kinds = Self::all(rng.next_u64());
        kinds[rng.below(kinds.len())]
    }

    /// A chooser for one crash with `writes` un-durable writes.
    pub(super) fn chooser(self, writes: usize) -> Chooser {
        let seed = match self {
            CrashPolicy::LoseAll | CrashPolicy::KeepAll => 0,
            CrashPolicy::Writes { seed }
            | CrashPolicy::Sectors { seed }
            | CrashPolicy::Prefixes { seed }
            | CrashPolicy::Suffixes { seed }
            | CrashPolicy::Reordered { seed } => seed,
        };
        let mut rng = Rng::new(seed);
        // At least the first write is lost, at least the last one kept.
        let first_kept = if writes < 2 { 0 } else { 1 + rng.below(writes - 1) };
        Chooser { policy: self, rng, first_kept, next: 0 }
    }
}

/// Goes through the un-durable writes, the oldest first.
pub(super) struct Chooser {
    policy: CrashPolicy,
    rng: Rng,
    first_kept: usize,
    next: usize,
}

impl Chooser {
    /// Calls `keep` with each range of units of the next write, of `units` units, that survives.
    pub(super) fn choose(&mut self, units: usize, mut keep: impl FnMut(usize, usize)) {
        let number = self.next;
        self.next += 1;
        match self.policy {
            CrashPolicy::LoseAll => {}
            CrashPolicy::KeepAll => keep(0, units),
            CrashPolicy::Writes { .. } => {
                if self.rng.coin() {
                    keep(0, units);
                }
            }
            CrashPolicy::Sectors { .. } => {
                for unit in 0..units {
                    if self.rng.coin() {
                        keep(unit, unit + 1);
                    }
                }
            }
            CrashPolicy::Prefixes { .. } => keep(0, self.rng.below(units + 1)),
            CrashPolicy::Suffixes { .. } => keep(self.rng.below(units + 1), units),
            CrashPolicy::Reordered { .. } => {
                if number >= self.first_kept {
                    keep(0, units);
                }
            }
        }
    }
}
