//! What operations answer: outcomes, metadata, statistics.

use crate::model::{Value, VoidTime};

/// The outcome of a write that the engine was able to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It was applied, and is as durable as asked for.
    Done(T),
    /// Not applied: there is no such record.
    NotFound,
    /// Not applied: the record exists.
    Exists,
    /// Not applied: the record's generation is this one.
    GenerationMismatch(u16),
}

/// What a record has besides its bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Write counter, 1 to 65535; after 65535 comes 1.
    pub generation: u16,
    /// When it expires.
    pub void_time: VoidTime,
}

/// One operation of `operate`, applied in order; a read sees the writes before it.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Reads a bin; answers nil when the record lacks it.
    Read(Box<str>),
    /// Reads all bins.
    ReadAll,
    /// Sets a bin; nil removes it.
    Write(Box<str>, Value),
    /// Adds an int or a double to a bin of the same kind; a missing bin counts as 0. Overflow of an int wraps.
    Add(Box<str>, Value),
    /// Appends to a string or bytes; a missing bin counts as empty.
    Append(Box<str>, Value),
    /// Prepends to a string or bytes; a missing bin counts as empty.
    Prepend(Box<str>, Value),
    /// Gives the record the policy's lifetime.
    Touch,
    /// Deletes the record; writes after it create it anew.
    Delete,
}

/// What `operate` answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Operated {
    /// The record afterwards; `None` when there is none.
    pub metadata: Option<Metadata>,
    /// What the reads asked for, in their order.
    pub bins: Vec<(Box<str>, Value)>,
}

/// Counters and sizes of a namespace at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records, without tombstones. Those that have expired leave within seconds mostly.
    pub records: u64,
    /// Durable deletes still kept.
    pub tombstones: u64,
    /// Records that have expired and left the index since the start.
    pub expired: u64,
    /// Records that were evicted before their time since the start.
    pub evicted: u64,
    /// Bytes the index holds in RAM.
    pub index_bytes: u64,
    /// Bytes of write buffers and the post-write cache.
    pub buffer_bytes: u64,
    /// Bytes that there is room for, records and their share of footers.
    pub capacity_bytes: u64,
    /// Bytes of live records with their share of footers.
    pub in_use_bytes: u64,
    /// Write blocks there are.
    pub total_blocks: u64,
    /// Write blocks free for writing.
    pub free_blocks: u64,
    /// Reads of records asked for.
    pub reads: u64,
    /// Writes applied.
    pub writes: u64,
    /// Deletes applied.
    pub deletes: u64,
    /// Reads that went to a device.
    pub device_reads: u64,
    /// Reads answered from a write buffer or the post-write cache.
    pub buffer_hits: u64,
    /// Reads that shared another's device read.
    pub shared_reads: u64,
    /// Flush writes completed.
    pub flushes: u64,
    /// Bytes flushed, all together: what users wrote, what the defragmenter moved, headers, footers and padding.
    pub bytes_flushed: u64,
    /// Bytes of the records that users wrote, as they lie on a device. What was flushed for each of them is the write amplification.
    pub bytes_written: u64,
    /// Blocks that the defragmenter went through.
    pub blocks_reclaimed: u64,
    /// Records that it moved.
    pub records_moved: u64,
    /// Bytes of the records that it moved.
    pub bytes_moved: u64,
    /// Freed blocks that the device was told of as not needed any more.
    pub blocks_discarded: u64,
    /// Damage met since the start: records, footers and headers that failed their checksum.
    pub damaged: u64,
    /// Index entries whose record turned out to be another one.
    pub digest_mismatches: u64,
    /// Writes refused since they would not fit.
    pub refused_full: u64,
}

/// One device at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceStats {
    /// Its path.
    pub path: String,
    /// Usable bytes.
    pub size: u64,
    /// Sector in bytes.
    pub sector: u32,
    /// Why it was fenced; `None` while it serves.
    pub failed: Option<String>,
    /// Write blocks there are.
    pub total_blocks: u64,
    /// Write blocks free for writing.
    pub free_blocks: u64,
    /// Live bytes in write blocks.
    pub in_use_bytes: u64,
}

/// One set at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetStats {
    /// Its name; empty for records without a set.
    pub name: String,
    /// Records in it, without tombstones.
    pub records: u64,
}

/// How a namespace came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartKind {
    /// Its devices were new.
    Fresh,
    /// The index was read back as the last clean stop left it.
    Warm,
    /// The index was rebuilt from the records.
    Cold,
}

/// What a start found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartReport {
    /// How the index was made.
    pub kind: StartKind,
    /// Records found, tombstones included.
    pub records: u64,
    /// Wall time it took.
    pub took: std::time::Duration,
    /// Bytes read from the devices.
    pub bytes_read: u64,
    /// Bytes of the write blocks that hold data.
    pub bytes_used: u64,
    /// Damage found, one sentence each with device, block and offset; at most 100 are kept.
    pub damage: Vec<String>,
    /// How many pieces of damage there were.
    pub damage_count: u64,
    /// Blocks that were being written when the node stopped, and were walked record by record.
    pub open_blocks: u64,
    /// Places in them where a write had not come to its end. After a loss of power that is what it leaves, and nothing acknowledged is
    /// missing; without one it is damage.
    pub torn: u64,
}
