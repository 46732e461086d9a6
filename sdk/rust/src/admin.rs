//! Looking at a node and steering it.

use std::{collections::HashMap, future::Future, time::Duration};

use cairn_proto::v1::{self as proto, admin_client::AdminClient};
use tokio::time::timeout_at;
use tonic::{Response, Status, transport::Channel};

use crate::{Client, Error};

/// The administrative calls; made by [`Client::admin`].
///
/// ```no_run
/// # async fn example(client: cairn_sdk::Client) -> Result<(), cairn_sdk::Error> {
/// let node = client.admin().node().await?;
/// println!("{} {} up {:?}", node.name, node.version, node.uptime);
/// for namespace in client.admin().namespaces().await? {
///     println!("{}: {} records", namespace.name, namespace.stats.records);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Admin<'a> {
    client: &'a Client,
}

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

impl<'a> Admin<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// The node.
    pub async fn node(&self) -> Result<Node, Error> {
        let ask = |mut admin: AdminClient<Channel>| async move {
            admin.get_node(proto::GetNodeRequest {}).await
        };
        let node = self.call(false, ask).await?;
        Ok(Node {
            name: node.name,
            version: node.version,
            uptime: Duration::from_millis(node.uptime_ms),
            io_engine: node.io_engine,
            io_reason: node.io_reason,
            workers: node.workers,
            resident_bytes: node.resident_bytes,
            cpu_us: node.cpu_us,
            connections: node.connections,
        })
    }

    /// The namespaces.
    pub async fn namespaces(&self) -> Result<Vec<Namespace>, Error> {
        let ask = |mut admin: AdminClient<Channel>| async move {
            admin.list_namespaces(proto::ListNamespacesRequest {}).await
        };
        let answer = self.call(false, ask).await?;
        Ok(answer.namespaces.into_iter().map(Namespace::from).collect())
    }

    /// The sets of a namespace.
    pub async fn sets(&self, namespace: &str) -> Result<Vec<Set>, Error> {
        let request = proto::ListSetsRequest { namespace: namespace.into() };
        let ask = |mut admin: AdminClient<Channel>| async move { admin.list_sets(request).await };
        Ok(self.call(false, ask).await?.sets.into_iter().map(Set::from).collect())
    }

    /// Removes all records of a set, or with `None` of the whole namespace, that were written before the call, durably.
    /// Answers how many.
    pub async fn truncate(&self, namespace: &str, set: Option<&str>) -> Result<u64, Error> {
        let request =
            proto::TruncateRequest { namespace: namespace.into(), set: set.map(Into::into) };
        let ask = |mut admin: AdminClient<Channel>| async move { admin.truncate(request).await };
        Ok(self.call(true, ask).await?.records)
    }

    /// The settings in force, as TOML.
    pub async fn config(&self) -> Result<String, Error> {
        let ask = |mut admin: AdminClient<Channel>| async move {
            admin.get_config(proto::GetConfigRequest {}).await
        };
        Ok(self.call(false, ask).await?.toml)
    }

    /// Changes settings of a namespace that may change at run time, until the next start: `default-ttl` (such as `1d`),
    /// `max-used-pct` and `evict-used-pct` (such as `85`). All are applied or none.
    pub async fn set_config(
        &self,
        namespace: &str,
        settings: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Result<(), Error> {
        let settings: HashMap<String, String> =
            settings.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let request = proto::SetConfigRequest { namespace: namespace.into(), settings };
        let ask = |mut admin: AdminClient<Channel>| async move { admin.set_config(request).await };
        self.call(true, ask).await.map(drop)
    }

    async fn call<T, F>(
        &self,
        write: bool,
        ask: impl FnOnce(AdminClient<Channel>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let pool = self.client.pool();
        let deadline = pool.deadline(None);
        let client = AdminClient::new(pool.message_channel(deadline).await?);
        match timeout_at(deadline, ask(client)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Error::from_status(&status, write)),
            Err(_) => Err(Error::deadline(write, "before the answer came")),
        }
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
