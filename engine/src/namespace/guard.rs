//! What guards against older versions, and when it may go: tombstones, and expired records of which an older version may be left.
//!
//! The horizon says what is left on the devices (`storage::blocks`). Whatever guards and has a version below it has nothing to guard. A record
//! that was written once and has expired guards nothing and goes at once.

use super::{Namespace, lying::Lying};
use crate::{index::Entry, model::PARTITIONS};

/// The horizon as it was last looked for. It only rises, so an old one is safe.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Guarding {
    horizon: u64,
    /// How often it was asked for since.
    asked: u32,
}

/// The horizon is looked for anew when an old one has been asked for so often: looking means going over all blocks.
const ASKED_MOST: u32 = 4096;

impl Guarding {
    /// As it is now.
    pub(super) fn now(namespace: &Namespace) -> Self {
        Self { horizon: namespace.horizon(), asked: 1 }
    }

    /// The horizon as far as it is known.
    pub(super) fn known(&self) -> u64 {
        self.horizon
    }

    fn horizon(&mut self, namespace: &Namespace) -> u64 {
        if self.asked == 0 || self.asked >= ASKED_MOST {
            *self = Self::now(namespace);
        }
        self.asked += 1;
        self.horizon
    }
}

impl Namespace {
    /// The version sequence below which nothing that was killed is left on any device.
    pub(super) fn horizon(&self) -> u64 {
        let now = self.shared.version_now().sequence;
        for partition in 0..PARTITIONS as u16 {
            // Who was given a version up to `now` here holds the partition until what it superseded is counted as dead.
            self.index.barrier(partition);
        }
        self.shared.blocks.horizon().min(now)
    }

    /// Lets a tombstone or an expired record go, if it guards nothing any more. Whether it has left the index, or was not there.
    pub(super) fn let_go(&self, lying: Lying<'_>, guarding: &mut Guarding) -> bool {
        let footer = lying.footer;
        // Not under the slot, which the barrier of a look for the horizon would wait for.
        let below = footer.version.sequence < guarding.horizon(self);
        let hidden = self.shared.hides_versions;
        self.index.with_slot(footer.digest, |slot| {
            let Some(entry) = lying.entry(&self.shared, slot) else { return true };
            // Of what others may depend on the index tells until it is durable.
            let goes = (below || !(entry.tombstone || entry.older || hidden))
                && self.shared.bound_at(entry.location).is_none();
            if goes {
                slot.remove();
                self.count_gone(&entry, footer.set_hash);
            }
            goes
        })
    }

    /// An expired record that still guards is a tombstone from now on, in the index and in what it costs.
    pub(super) fn demote(&self, lying: Lying<'_>) {
        let footer = lying.footer;
        self.index.with_slot(footer.digest, |slot| {
            let found = lying.entry(&self.shared, slot).filter(|entry| !entry.tombstone);
            let Some(entry) = found else { return };
            slot.set(Entry { tombstone: true, ..entry });
            self.counters.tombstones.add(1);
            self.counters.expired.add(1);
            self.sets.count_out(footer.set_hash);
            self.shared.demote(entry.location, entry.size, footer.version);
        });
    }

    fn count_gone(&self, entry: &Entry, set_hash: u64) {
        if entry.tombstone {
            self.counters.tombstones.sub(1);
            let at = self.shared.version_now().sequence;
            self.shared.kill(entry.location, entry.size, true, at, None);
        } else {
            self.counters.expired.add(1);
            self.sets.count_out(set_hash);
            self.shared.expire(entry.location, entry.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    };

    use super::*;
    use crate::{
        device::{IoChoice, IoEngine, sim::SimDevice},
        model::{Digest, Location, SizeClass},
        namespace::{DeviceConfig, NamespaceConfig, OpenOptions},
    };

    /// A writer has its version and is about to count what it superseded as dead. A horizon above that would let the writer's tombstone go
    /// at once, and the deleted record return.
    #[test]
    fn the_horizon_waits_for_kills_in_flight() {
        let config = NamespaceConfig::new("test", vec![DeviceConfig::Raw("sim0".into())]);
        let options = OpenOptions::new(IoEngine::choose(IoChoice::Pool).expect("a pool"));
        let device = Arc::new(SimDevice::new("sim0", 8 << 20, 512, 1));
        let namespace = Namespace::open_driven(&config, &options, vec![device]).expect("it opens");
        let block = namespace.shared.blocks.get(1);
        let size = SizeClass::for_bytes(100);
        block.add(size, false);
        namespace.shared.stores[0].count_in_use(&namespace.shared);
        let (holds, looks) = (AtomicBool::new(false), AtomicBool::new(false));
        let digest = Digest(7);
        std::thread::scope(|scope| {
            let (namespace, holds, looks) = (&namespace, &holds, &looks);
            let writer = scope.spawn(move || {
                namespace.index.with_slot(digest, |_| {
                    let version = namespace.shared.take_version();
                    // Others go on.
                    for _ in 0..5 {
                        namespace.shared.take_version();
                    }
                    holds.store(true, SeqCst);
                    while !looks.load(SeqCst) {
                        std::thread::yield_now();
                    }
                    // The one who looks has long enough to come to a wrong answer; a right one waits anyway.
                    (0..10_000).for_each(|_| std::thread::yield_now());
                    let place: Location = namespace.shared.blocks.location(1, 1024);
                    namespace.shared.kill(place, size, false, version.sequence, None);
                    version
                })
            });
            while !holds.load(SeqCst) {
                std::thread::yield_now();
            }
            looks.store(true, SeqCst);
            let horizon = namespace.horizon();
            let version = writer.join().expect("the writer ends");
            assert!(horizon <= version.sequence, "{horizon} is above {version:?}");
        });
    }
}
