//! What a recovery has found so far: counts, damage, and how far it has come.
//!
//! Counted from all threads of the recovery at once; sentences of damage are bounded, their number is not.

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use parking_lot::Mutex;

use super::Recovery;

/// Most sentences of damage that are kept.
const DAMAGE_KEPT: usize = 100;
/// How often progress is told: once for each of so many parts of a phase.
const PROGRESS_PARTS: u64 = 200;

/// How far a start has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is being done.
    pub phase: &'static str,
    /// Write blocks done.
    pub done: u64,
    /// Write blocks there are to do.
    pub total: u64,
    /// Records found so far.
    pub records: u64,
    /// Time since the start began.
    pub elapsed: Duration,
}

/// What a recovery found.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) bytes_read: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) data_blocks: AtomicU64,
    pub(crate) open_blocks: AtomicU64,
    pub(crate) torn: AtomicU64,
    /// Blocks done in the present phase.
    pub(super) done: AtomicU64,
    damage: Mutex<Damage>,
}

#[derive(Debug, Default)]
struct Damage {
    count: u64,
    sentences: Vec<String>,
}

impl Tally {
    /// Counts a piece of damage and keeps what it is.
    pub(crate) fn damage(&self, sentence: String) {
        tracing::warn!("{sentence}");
        let mut damage = self.damage.lock();
        damage.count += 1;
        if damage.sentences.len() < DAMAGE_KEPT {
            damage.sentences.push(sentence);
        }
    }

    /// How many pieces of damage there were, and what the first ones are.
    pub(crate) fn take_damage(&self) -> (u64, Vec<String>) {
        let mut damage = self.damage.lock();
        (damage.count, std::mem::take(&mut damage.sentences))
    }
}

impl Recovery<'_> {
    /// Counts damage of `block`, with the place in its sentence.
    pub(super) fn damage(&self, block: u32, what: &str) {
        let store = self.shared.store_of(block);
        let (number, offset) = (block - store.first_block, self.offset(store, block));
        self.tally
            .damage(format!("{}: block {number} at offset {offset}: {what}", store.device.name()));
        self.shared.counters.damaged.add(1);
    }

    /// One of `total` blocks of this phase is done.
    pub(super) fn step(&self, phase: &'static str, total: u64) {
        let done = self.tally.done.fetch_add(1, SeqCst) + 1;
        if done.is_multiple_of((total / PROGRESS_PARTS).max(1)) || done == total {
            let elapsed = self.shared.clock.monotonic().saturating_sub(self.started);
            let records = self.tally.records.load(SeqCst);
            (self.progress)(&Progress { phase, done, total, records, elapsed });
        }
    }
}
