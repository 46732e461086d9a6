//! What a node tells of itself: settings, sizes and counters.

use std::time::Duration;

use cairn_proto::v1 as proto;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The version of Cairn it runs.
    pub version: String,
    /// How long it has been up.
    pub uptime: Duration,
    /// `io_uring` or `thread pool`.
    pub io_engine: String,
    /// Why this I/O engine was chosen.
    pub io_reason: String,
    /// Worker threads.
    pub workers: u32,
    /// Resident memory of the process, in bytes.
    pub resident_bytes: u64,
    /// CPU time the process has used, in microseconds.
    pub cpu_us: u64,
    /// Open client connections.
    pub connections: u64,
}

/// A namespace: its settings, statistics and devices.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Copies of each record.
    pub replication_factor: u32,
    /// `all` or `master`.
    pub commit_level: String,
    /// `device` or `buffer`.
    pub durability: String,
    /// Counters and sizes.
    pub stats: Stats,
    /// Where the records lie.
    pub devices: Vec<Device>,
    /// How the index was made at the last start: `fresh`, `warm` or `cold`.
    pub start_kind: String,
    /// How long that took.
    pub start: Duration,
    /// Per cent of the capacity above which writes are refused.
    pub max_used_pct: u32,
    /// Per cent of the capacity above which records that expire are evicted, nearest to their end first; 0 for never.
    pub evict_used_pct: u32,
}

macro_rules! mirrored {
    ($(#[$doc:meta])* $name:ident = $from:ty { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl From<$from> for $name {
            fn from(from: $from) -> Self {
                Self { $($field: from.$field,)* }
            }
        }
    };
}

mirrored! {
    /// Counters and sizes of a namespace.
    Stats = proto::NamespaceStats {
        /// Records, without tombstones. Those that have expired leave within seconds mostly.
        records: u64,
        /// Durable deletes still kept.
        tombstones: u64,
        /// Records that have expired and left since the start.
        expired: u64,
        /// Bytes the index holds in RAM.
        index_bytes: u64,
        /// Bytes of write buffers and the post-write cache.
        buffer_bytes: u64,
        /// Bytes that there is room for: records and their share of footers.
        capacity_bytes: u64,
        /// Bytes of live records with their share of footers.
        in_use_bytes: u64,
        /// Write blocks there are.
        total_blocks: u64,
        /// Write blocks free for writing.
        free_blocks: u64,
        /// Reads of records asked for.
        reads: u64,
        /// Writes applied.
        writes: u64,
        /// Deletes applied.
        deletes: u64,
        /// Reads that went to a device.
        device_reads: u64,
        /// Reads answered from a write buffer or the post-write cache.
        buffer_hits: u64,
        /// Reads that shared another's device read.
        shared_reads: u64,
        /// Flush writes completed.
        flushes: u64,
        /// Bytes flushed, all together: what users wrote, what the defragmenter moved, headers, footers and padding.
        bytes_flushed: u64,
        /// Damage met: records, footers or headers that failed their checksum.
        damaged: u64,
        /// Index entries whose record turned out to be another one.
        digest_mismatches: u64,
        /// Writes refused since they would not fit.
        refused_full: u64,
        /// Records evicted before their time since the start.
        evicted: u64,
        /// Bytes of the records that users wrote, as they lie on a device.
        bytes_written: u64,
        /// Write blocks that the defragmenter went through.
        blocks_reclaimed: u64,
        /// Records that it moved.
        records_moved: u64,
        /// Bytes of the records that it moved.
        bytes_moved: u64,
        /// Freed write blocks that a device was told of as not needed any more.
        blocks_discarded: u64,
        /// How many sealed write blocks are full of live records to less than a tenth, to less than two tenths, and so on: ten counts.
        blocks_by_fill: Vec<u64>,
    }
}

impl Stats {
    /// The share of the capacity in use, in per cent: what `max-used-pct` and `evict-used-pct` are about. 0 without capacity.
    pub fn used_pct(&self) -> f64 {
        match self.capacity_bytes {
            0 => 0.0,
            capacity => self.in_use_bytes as f64 * 100.0 / capacity as f64,
        }
    }

    /// Bytes flushed for each byte of the records that users wrote, since the start; `None` before the first write.
    pub fn write_amplification(&self) -> Option<f64> {
        (self.bytes_written > 0).then(|| self.bytes_flushed as f64 / self.bytes_written as f64)
    }
}

mirrored! {
    /// One device of a namespace.
    Device = proto::DeviceInfo {
        /// Its path.
        path: String,
        /// Usable bytes.
        size_bytes: u64,
        /// Sector in bytes.
        sector_bytes: u32,
        /// `serving`, or `failed: ...`; a failed device takes no more writes.
        state: String,
        /// Write blocks there are.
        total_blocks: u64,
        /// Write blocks free for writing.
        free_blocks: u64,
        /// Bytes of live records with their share of footers.
        in_use_bytes: u64,
    }
}

mirrored! {
    /// One set of a namespace.
    Set = proto::SetInfo {
        /// Its name; empty for records without a set.
        name: String,
        /// Records in it.
        records: u64,
    }
}

impl From<proto::NamespaceInfo> for Namespace {
    fn from(info: proto::NamespaceInfo) -> Self {
        Self {
            name: info.name,
            replication_factor: info.replication_factor,
            commit_level: info.commit_level,
            durability: info.durability,
            stats: info.stats.unwrap_or_default().into(),
            devices: info.devices.into_iter().map(Device::from).collect(),
            start_kind: info.start_kind,
            start: Duration::from_millis(info.start_ms),
            max_used_pct: info.max_used_pct,
            evict_used_pct: info.evict_used_pct,
        }
    }
}
