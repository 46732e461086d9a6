//! Why an operation of the engine failed.
//!
//! Outcomes that a correct program meets every day (no such record, another generation) are not here: see
//! [`Outcome`](crate::Outcome).

use std::{io, path::PathBuf};

use crate::model::{InvalidKey, InvalidValue};

/// A failed operation on records.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The key breaks a rule.
    #[error(transparent)]
    InvalidKey(#[from] InvalidKey),
    /// A value or a bin's name breaks a rule.
    #[error(transparent)]
    InvalidValue(#[from] InvalidValue),
    /// The request makes no sense: an empty record, a TTL of nothing.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// The record would be larger than the namespace allows.
    #[error("the record would take {size} bytes; the namespace allows {limit}")]
    RecordTooBig {
        /// Bytes the record would take on its device.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The records of a transaction would not fit into one write block together.
    #[error(
        "the transaction's records would take {size} bytes together; one write block takes {limit}"
    )]
    TransactionTooBig {
        /// Bytes that the records would take on their device.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// An operation does not fit the kind of value its bin has.
    #[error("bin {bin:?} holds a value of type {found}; {operation} needs {wanted}")]
    BinType {
        /// The bin's name.
        bin: Box<str>,
        /// The operation's name.
        operation: &'static str,
        /// The kind of value found.
        found: &'static str,
        /// The kinds of value it works on.
        wanted: &'static str,
    },
    /// There is no room for the record; deletes still work. Retryable.
    #[error(
        "no room: live records take {used_pct} per cent of the device, max-used-pct is {max_used_pct} and some space is always kept for the defragmenter; \
         delete records, wait until some expire or the defragmenter wins room, raise max-used-pct or add a device"
    )]
    NoSpace {
        /// Share of the device's space that live records take, in per cent.
        used_pct: u8,
        /// Share above which writes are refused, in per cent.
        max_used_pct: u8,
    },
    /// The stored record is damaged: it is neither returned nor taken for absent.
    #[error("the record at {device} offset {offset} is damaged: {what}")]
    Corruption {
        /// The device's path.
        device: Box<str>,
        /// Byte offset on the device.
        offset: u64,
        /// What did not fit.
        what: &'static str,
    },
    /// A read from the device failed.
    #[error("reading {device} at offset {offset} failed: {cause}")]
    ReadFailed {
        /// The device's path.
        device: Box<str>,
        /// Byte offset on the device.
        offset: u64,
        /// What the operating system said.
        cause: Box<str>,
    },
    /// The device failed a write and is fenced: it takes no more writes. `in_doubt` when this write may have been applied.
    #[error("device {device} failed a write and takes no more: {cause}")]
    DeviceFailed {
        /// The device's path.
        device: Box<str>,
        /// What the operating system said.
        cause: Box<str>,
        /// Whether the write may nevertheless be found later.
        in_doubt: bool,
    },
    /// The namespace is being closed. `in_doubt` when this write may have been applied.
    #[error("the namespace is stopping")]
    Stopping {
        /// Whether the write may nevertheless be found later.
        in_doubt: bool,
    },
    /// Too many sets have a truncation that old records still depend on.
    #[error(
        "too many truncations are pending ({0}); wait until the space of older ones is reclaimed"
    )]
    TooManyTruncations(usize),
}

impl Error {
    /// Whether a write that failed so may nevertheless have been applied.
    pub fn in_doubt(&self) -> bool {
        matches!(
            self,
            Self::DeviceFailed { in_doubt: true, .. } | Self::Stopping { in_doubt: true }
        )
    }
}

/// Why a namespace could not be opened, or a device not formatted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("{path}: {doing}: {source}", path = path.display())]
    Io {
        /// The device's path.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The device holds something that is not Cairn's.
    #[error("{path}: holds {found}; nothing was changed. `cairn format --force {path}` would overwrite it", path = path.display())]
    Foreign {
        /// The device's path.
        path: PathBuf,
        /// What was recognised.
        found: String,
    },
    /// The device belongs to another cluster, namespace or device set.
    #[error("{path}: {why}", path = path.display())]
    WrongDevice {
        /// The device's path.
        path: PathBuf,
        /// Which identity does not fit.
        why: String,
    },
    /// The device's header is damaged in both slots.
    #[error("{path}: both copies of the device header are damaged; restore the device from a replica or a backup, or `cairn format --force` it", path = path.display())]
    HeaderDamaged {
        /// The device's path.
        path: PathBuf,
    },
    /// A setting cannot work.
    #[error("{0}")]
    Config(String),
}
