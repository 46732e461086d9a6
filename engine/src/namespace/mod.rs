//! A namespace: the operations on its records, and what joins the index to the storage.
//!
//! ```text
//! write: key -> digest -> index entry seen -> (old record) -> new record -> under the index slot: append, set -> wait for the flush
//! read:  key -> digest -> index entry -> bytes from RAM or the device -> verify digest and key -> record
//! ```
//!
//! * `read`, `write`, `operate`, `transact`, `scan`, `truncate`: the operations.
//! * `sets`: names and counts of sets, truncations under way.
//! * `start`, `rebuild`, `checkpoint`: how a namespace comes up and goes down.
//! * `defragment`: moves live records out of sparse blocks.
//! * `keeper`: what must be done from time to time: `sweep` lets expired records and tombstones go, as far as `guard` allows; `evict`.
//!
//! Writers of one record do not lock it across I/O: they look, compute, and apply only if the entry is still the one they saw; if not,
//! somebody else made progress, and they look again.

mod audit;
mod checkpoint;
mod config;
mod defragment;
mod evict;
mod glimpse;
mod guard;
mod keeper;
mod lying;
mod operate;
mod outcome;
mod read;
mod rebuild;
mod record;
mod reload;
mod sample;
mod scan;
mod sets;
mod start;
mod sweep;
mod transact;
mod truncate;
mod write;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;

pub(crate) use self::start::open_device;
pub use self::{
    config::{DeviceConfig, NamespaceConfig},
    glimpse::{Found, Glimpse},
    outcome::{
        DeviceStats, Metadata, Operated, Operation, Outcome, SetStats, StartKind, StartReport,
        Stats,
    },
    read::Expected,
    record::{Record, ScanPage, ScanStep},
    start::OpenOptions,
    transact::{Change, Receipt, Sight, Step, Transacted},
};
use self::{
    defragment::{Defragmenter, Turn},
    sets::Sets,
};
pub use crate::storage::recover::Progress;
use crate::{
    counter::Counter,
    error::Error,
    index::Index,
    model::{Digest, HashSecret, KeyRef, PartitionKind},
    storage::{Shared, blocks::BlockState, flusher::Flusher},
};

/// A namespace that is open. Shared by all threads through an `Arc`.
pub struct Namespace {
    config: NamespaceConfig,
    shared: Arc<Shared>,
    index: Index,
    sets: Sets,
    secret: HashSecret,
    partition_kind: PartitionKind,
    /// The largest record, in bytes on the device.
    record_max: u64,
    default_ttl_ms: AtomicU64,
    evict_used_pct: AtomicU8,
    /// When to look again for something to evict, in milliseconds of the monotonic clock.
    evict_again_ms: AtomicU64,
    /// The block at which the next look for expired records begins.
    sweep_from: AtomicU32,
    counters: Counters,
    report: StartReport,
    stopping: AtomicBool,
    /// Tells the flushers and the keeper to end.
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Without threads of their own, in a simulator: [`Namespace::drive`] turns them.
    driven: Option<Mutex<Driven>>,
}

/// What the threads of a namespace do, for one that has none.
struct Driven {
    flushers: Vec<Flusher>,
    defragmenters: Vec<Defragmenter>,
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespace").field("name", &self.config.name).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Counters {
    reads: Counter,
    writes: Counter,
    deletes: Counter,
    tombstones: Counter,
    expired: Counter,
    evicted: Counter,
    digest_mismatches: Counter,
    refused_full: Counter,
}

impl Namespace {
    /// The settings it was opened with.
    pub fn config(&self) -> &NamespaceConfig {
        &self.config
    }

    /// What the start found and did.
    pub fn report(&self) -> &StartReport {
        &self.report
    }

    /// The largest record that can be written, in bytes on the device, header and key included.
    pub fn record_max(&self) -> u64 {
        self.record_max
    }

    /// Which public function gives a key its partition here.
    pub fn partition_kind(&self) -> PartitionKind {
        self.partition_kind
    }

    /// Changes the lifetime of records written with the default one, in milliseconds; 0 for ever.
    pub fn set_default_ttl_ms(&self, ms: u64) {
        self.default_ttl_ms.store(ms, SeqCst);
    }

    /// The lifetime of records written with the default one, in milliseconds; 0 for ever.
    pub fn default_ttl_ms(&self) -> u64 {
        self.default_ttl_ms.load(SeqCst)
    }

    /// Changes the share of the space above which writes are refused, 1 to 100 per cent.
    pub fn set_max_used_pct(&self, percent: u8) {
        self.shared.set_max_used_pct(percent);
    }

    /// The share of the space above which writes are refused, in per cent.
    pub fn max_used_pct(&self) -> u8 {
        self.shared.max_used_pct()
    }

    /// Changes the share of the space above which records that expire are evicted, nearest to their end first: 1 to 100 per cent, or 0 for
    /// never.
    pub fn set_evict_used_pct(&self, percent: u8) {
        self.evict_used_pct.store(percent.min(100), SeqCst);
    }

    /// The share of the space above which records that expire are evicted, in per cent; 0 for never.
    pub fn evict_used_pct(&self) -> u8 {
        self.evict_used_pct.load(SeqCst)
    }

    /// Counters and sizes at this moment.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let tombstones = self.counters.tombstones.get();
        let devices = shared.stores.iter();
        let total: u64 = devices.clone().map(|store| u64::from(store.block_count - 1)).sum();
        Stats {
            records: self.index.len().saturating_sub(tombstones),
            tombstones,
            expired: self.counters.expired.get(),
            evicted: self.counters.evicted.get(),
            index_bytes: self.index.memory_bytes(),
            buffer_bytes: shared.image_bytes(),
            capacity_bytes: shared.capacity(),
            in_use_bytes: shared.in_use(),
            total_blocks: total,
            free_blocks: devices.map(|store| u64::from(store.free_blocks())).sum(),
            reads: self.counters.reads.get(),
            writes: self.counters.writes.get(),
            deletes: self.counters.deletes.get(),
            device_reads: shared.counters.device_reads.get(),
            buffer_hits: shared.counters.buffer_hits.get(),
            shared_reads: shared.counters.shared_reads.get(),
            flushes: shared.counters.flushes.get(),
            bytes_flushed: shared.counters.bytes_flushed.get(),
            bytes_written: shared.counters.bytes_written.get(),
            blocks_reclaimed: shared.counters.reclaimed.get(),
            records_moved: shared.counters.records_moved.get(),
            bytes_moved: shared.counters.bytes_moved.get(),
            blocks_discarded: shared.counters.discards.get(),
            damaged: shared.counters.damaged.get(),
            digest_mismatches: self.counters.digest_mismatches.get(),
            refused_full: self.counters.refused_full.get(),
        }
    }

    /// The devices at this moment.
    pub fn devices(&self) -> Vec<DeviceStats> {
        let shared = &self.shared;
        let stats = |store: &crate::storage::store::Store| DeviceStats {
            path: store.device.name().to_owned(),
            size: store.device.geometry().size,
            sector: store.sector,
            failed: store.failure().map(str::to_owned),
            total_blocks: u64::from(store.block_count - 1),
            free_blocks: u64::from(store.free_blocks()),
            in_use_bytes: store.in_use(),
        };
        shared.stores.iter().map(stats).collect()
    }

    /// How many sealed write blocks are full of live records to less than a tenth, two tenths and so on.
    pub fn fill_histogram(&self) -> [u64; 10] {
        let room = self.shared.block_size;
        let mut tenths = [0; 10];
        for block in self.shared.blocks.iter().filter(|b| b.state() == BlockState::Sealed) {
            let tenth = u64::from(block.in_use()) * 10 / room;
            tenths[tenth.min(9) as usize] += 1;
        }
        tenths
    }

    /// The sets that have records, by name.
    pub fn sets(&self) -> Vec<SetStats> {
        self.sets.stats()
    }

    /// How many records `set` has, without tombstones; those that have expired count until they leave, within seconds mostly. Costs one look.
    pub fn set_len(&self, set: &str) -> u64 {
        let set = self.sets.find(self.secret.set_hash(set));
        set.map_or(0, |set| set.records.load(SeqCst).max(0) as u64)
    }

    fn digest(&self, key: KeyRef<'_>) -> Digest {
        // The partition's memory comes while the rest is computed.
        self.secret
            .digest_telling(self.partition_kind, key, |partition| self.index.expect(partition))
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.stopping.load(SeqCst) {
            return Err(Error::Stopping { in_doubt: false });
        }
        Ok(())
    }

    /// Turns the flushers and defragmenters of a namespace that has no threads of its own. Returns whether anything may still be on its way.
    #[doc(hidden)]
    pub fn drive(&self) -> bool {
        let Some(driven) = &self.driven else { return false };
        let waker = std::task::Waker::noop();
        let Driven { flushers, defragmenters } = &mut *driven.lock();
        let mut busy = false;
        for (flusher, store) in flushers.iter_mut().zip(&self.shared.stores) {
            store.flusher.take();
            flusher.turn(&self.shared, waker);
            busy |= !flusher.is_idle() || !(store.is_clean() || store.failure().is_some());
        }
        // Last, so that what was moved is seen before it is flushed, too.
        for (defragmenter, store) in defragmenters.iter_mut().zip(&self.shared.stores) {
            store.defragmenter.take();
            busy |= defragmenter.turn(self, waker) != Turn::Idle;
        }
        busy
    }
}
