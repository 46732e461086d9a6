//! The operations of [`Client::operate`](crate::Client::operate), and their answer.

use cairn_proto::v1::{self as proto, operation::Operation as Kind};

use crate::{Metadata, Value, record::bins_from_proto};

/// One operation on a record. Operations are applied in order, all or none; a read sees the writes before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    inner: proto::Operation,
}

impl Op {
    fn new(kind: Kind) -> Self {
        Self { inner: proto::Operation { operation: Some(kind) } }
    }

    /// Reads a bin; nil when the record lacks it.
    pub fn read(bin: impl Into<String>) -> Self {
        Self::new(Kind::Read(proto::ReadBin { name: bin.into() }))
    }

    /// Reads all bins.
    pub fn read_all() -> Self {
        Self::new(Kind::ReadAll(proto::ReadAll {}))
    }

    /// Sets a bin; nil removes it.
    pub fn write(bin: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(Kind::Write(named(bin, value)))
    }

    /// Adds to an int or a double; a bin that does not exist counts as 0. Overflow of an int wraps.
    pub fn add(bin: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(Kind::Add(named(bin, value)))
    }

    /// Appends to a string or to bytes; a bin that does not exist counts as empty.
    pub fn append(bin: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(Kind::Append(named(bin, value)))
    }

    /// Prepends to a string or to bytes.
    pub fn prepend(bin: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(Kind::Prepend(named(bin, value)))
    }

    /// Gives the record the lifetime of the call's TTL; changes no bin.
    pub fn touch() -> Self {
        Self::new(Kind::Touch(proto::TouchRecord {}))
    }

    /// Deletes the record. Writes after it create the record anew.
    pub fn delete() -> Self {
        Self::new(Kind::Delete(proto::DeleteRecord {}))
    }

    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.inner.operation, Some(Kind::Read(_) | Kind::ReadAll(_)))
    }

    pub(crate) fn proto(&self) -> &proto::Operation {
        &self.inner
    }
}

fn named(bin: impl Into<String>, value: impl Into<Value>) -> proto::Bin {
    proto::Bin { name: bin.into(), value: Some(value.into().into_proto()) }
}

/// What [`Client::operate`](crate::Client::operate) answers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Operated {
    /// The record afterwards; `None` when there is none.
    pub metadata: Option<Metadata>,
    /// What the reads asked for, in their order.
    pub bins: Vec<(String, Value)>,
}

impl Operated {
    /// The value that the last read of this bin saw; `None` when no operation read it.
    pub fn get(&self, bin: &str) -> Option<&Value> {
        self.bins.iter().rev().find(|(name, _)| name == bin).map(|(_, value)| value)
    }

    pub(crate) fn from_proto(response: proto::OperateResponse) -> Self {
        Self {
            metadata: response.metadata.map(|metadata| Metadata::from_proto(Some(metadata))),
            bins: bins_from_proto(response.bins),
        }
    }
}
