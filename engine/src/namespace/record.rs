//! A record as it is read, and a page of a scan.

use crate::{
    format::{Bins, Malformed, ValueRef},
    model::{Key, Version},
    namespace::Metadata,
    storage::read::RecordBytes,
};

/// A record that was read. It holds on to the memory it was read into; bins are decoded as they are asked for.
#[derive(Debug, Clone)]
pub struct Record {
    pub(super) bytes: RecordBytes,
}

impl Record {
    /// Generation and void time.
    pub fn metadata(&self) -> Metadata {
        let view = self.bytes.verified();
        Metadata { generation: view.generation(), void_time: view.void_time() }
    }

    /// What orders this version of the record among others.
    pub fn version(&self) -> Version {
        self.bytes.verified().version()
    }

    /// Bytes it takes on the device.
    pub fn stored_bytes(&self) -> u64 {
        self.bytes.verified().size().bytes()
    }

    /// The record's set and key, as they are stored with it.
    pub fn key(&self) -> Result<Key, Malformed> {
        self.bytes.verified().key().ok_or(Malformed)
    }

    /// The record's bins, in the order they were written.
    pub fn bins(&self) -> Result<Bins<'_>, Malformed> {
        Bins::new(self.bytes.verified().body())
    }

    /// The value of the bin with this name, as it lies in the record; `None` when the record lacks it.
    pub fn bin(&self, name: &str) -> Result<Option<ValueRef<'_>>, Malformed> {
        for bin in self.bins()? {
            let (found, value) = bin?;
            if found == name {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// Some records, wherever in the namespace they are, in digest order.
#[derive(Debug)]
pub struct ScanStep {
    /// The records.
    pub records: Vec<Record>,
    /// The cursor of the next step; `None` when all partitions are done.
    pub next: Option<u64>,
    /// Records met that are damaged or cannot be read: counted, never returned.
    pub damaged: u32,
}

/// Some records of a partition, in digest order.
#[derive(Debug)]
pub struct ScanPage {
    /// The records.
    pub records: Vec<Record>,
    /// Where the next page begins; `None` when the partition is done.
    pub next: Option<u64>,
    /// Records met that are damaged or cannot be read: counted, never returned.
    pub damaged: u32,
}
