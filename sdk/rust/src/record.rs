//! A record as a call returns it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_proto::v1 as proto;

use crate::{Key, Value};

/// What a record has besides its bins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Write counter, 1 to 65535; after 65535 comes 1.
    pub generation: u32,
    /// When the record expires, in milliseconds since 1970; 0 for never.
    pub void_time_ms: u64,
}

impl Metadata {
    /// When the record expires; `None` for never.
    pub fn expires(&self) -> Option<SystemTime> {
        (self.void_time_ms != 0).then(|| UNIX_EPOCH + Duration::from_millis(self.void_time_ms))
    }

    pub(crate) fn from_proto(metadata: Option<proto::Metadata>) -> Self {
        let proto::Metadata { generation, void_time_ms } = metadata.unwrap_or_default();
        Self { generation, void_time_ms }
    }
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Its key; only records of a scan bring it along.
    pub key: Option<Key>,
    /// Generation and void time.
    pub metadata: Metadata,
    /// The bins that were asked for, in the record's order.
    pub bins: Vec<(String, Value)>,
}

impl Record {
    /// The value of a bin; `None` when the record lacks it or it was not asked for.
    pub fn get(&self, bin: &str) -> Option<&Value> {
        self.bins.iter().find(|(name, _)| name == bin).map(|(_, value)| value)
    }

    /// The record's write counter.
    pub fn generation(&self) -> u32 {
        self.metadata.generation
    }

    pub(crate) fn from_proto(record: proto::Record) -> Self {
        Self {
            key: record.key.map(Key::from_proto),
            metadata: Metadata::from_proto(record.metadata),
            bins: bins_from_proto(record.bins),
        }
    }
}

pub(crate) fn bins_from_proto(bins: Vec<proto::Bin>) -> Vec<(String, Value)> {
    bins.into_iter().map(|bin| (bin.name, Value::from_proto(bin.value))).collect()
}
