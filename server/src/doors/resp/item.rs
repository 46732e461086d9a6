//! How a value of Redis lies in a record: what the decision page `0050-redis-types` says, in code.

use bytes::Bytes;
use cairn_engine::{
    Record,
    format::{Bins, Malformed, RECORD_HEADER_BYTES, ValueRef},
    model::{NEVER, SizeClass, VoidTime},
};
use smallvec::SmallVec;

use super::fail::{Fail, WRONG_TYPE};

/// The bin of a string.
pub const STRING: &str = "s";

/// Bytes that a record of a string takes besides header, key and value: at most those of its set's name, and those of its bin.
const SET: usize = 4;
const BIN: usize = 8;

const MALFORMED: Fail = Fail::text("IOERR a record with a valid checksum does not parse");

/// What kind of value a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    String,
    /// A record that another door wrote: it can be deleted, moved and given an end, but not read as a Redis type.
    Foreign,
}

impl Kind {
    /// The name that `TYPE` answers with.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Foreign => "record",
        }
    }
}

/// A value, whatever its kind, to be put somewhere.
#[derive(Clone, Debug)]
pub enum Content {
    /// A string.
    String(Bytes),
    /// What this record holds.
    Of(Record),
}

impl Content {
    /// The bins it is written as.
    pub fn bins(&self) -> Result<SmallVec<[(&str, ValueRef<'_>); 1]>, Fail> {
        match self {
            Self::String(value) => Ok(SmallVec::from_iter([(STRING, ValueRef::Bytes(value))])),
            Self::Of(record) => record.bins().and_then(Iterator::collect).map_err(|_| MALFORMED),
        }
    }
}

/// The string that a record of these bins is.
pub fn string_of(bins: Result<Bins<'_>, Malformed>) -> Result<&[u8], Fail> {
    match bins.map_err(|_| MALFORMED)?.next() {
        Some(Ok((STRING, ValueRef::Bytes(value)))) => Ok(value),
        Some(Err(_)) => Err(MALFORMED),
        _ => Err(WRONG_TYPE),
    }
}

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub struct Item<'v> {
    holds: Holds<'v>,
    void_time: VoidTime,
}

#[derive(Clone, Copy, Debug)]
enum Holds<'v> {
    String(&'v Bytes),
    Record(&'v Record),
}

impl<'v> Item<'v> {
    /// What is staged.
    pub fn new(content: &'v Content, void_time: VoidTime) -> Self {
        let holds = match content {
            Content::String(value) => Holds::String(value),
            Content::Of(record) => Holds::Record(record),
        };
        Self { holds, void_time }
    }

    /// What is stored.
    pub fn of(record: &'v Record) -> Self {
        Self { holds: Holds::Record(record), void_time: record.metadata().void_time }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self.string() {
            Ok(_) => Kind::String,
            Err(_) => Kind::Foreign,
        }
    }

    /// The string it is.
    pub fn string(&self) -> Result<&'v [u8], Fail> {
        match self.holds {
            Holds::String(value) => Ok(value),
            Holds::Record(record) => string_of(record.bins()),
        }
    }

    /// Bytes of the value, roughly if it is not a string.
    pub fn size(&self) -> usize {
        self.string().map_or(1024, <[u8]>::len)
    }

    /// Bytes that it takes on the device under a key of so many bytes.
    pub fn stored_bytes(&self, key_len: usize) -> u64 {
        match self.holds {
            Holds::Record(record) => record.stored_bytes(),
            Holds::String(value) => {
                let bytes = RECORD_HEADER_BYTES + SET + key_len + BIN + value.len();
                SizeClass::for_bytes((bytes as u64).min(SizeClass::MAX_BYTES)).bytes()
            }
        }
    }

    /// When it ends.
    pub fn void_time(&self) -> VoidTime {
        self.void_time
    }

    /// When it ends, in milliseconds since 1970; `None` for never.
    pub fn expires_ms(&self) -> Option<u64> {
        (self.void_time != NEVER).then_some(self.void_time.0)
    }

    /// The value, to be put somewhere else.
    pub fn content(&self) -> Content {
        match self.holds {
            Holds::String(value) => Content::String(value.clone()),
            Holds::Record(record) => Content::Of(record.clone()),
        }
    }
}
