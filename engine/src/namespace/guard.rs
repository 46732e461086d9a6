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
        self.index.with_slot(footer.digest, |slot| {
            let Some(entry) = lying.entry(&self.shared, slot) else { return true };
            let goes = below || !(entry.tombstone || entry.older);
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
