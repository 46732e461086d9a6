//! Versions order the writes of a record; void times end its life. Time never orders data.

/// What orders two writes of the same record: first the epoch of the partition's arrangement, then the sequence number its master gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version {
    /// The epoch of the partition's master; 0 on a node that was never part of a cluster.
    pub epoch: u32,
    /// The namespace's write counter; 0 is never given to a record.
    pub sequence: u64,
}

impl Version {
    /// Below every version of a record.
    pub const ZERO: Self = Self { epoch: 0, sequence: 0 };
    /// Above every version of a record.
    pub const MAX: Self = Self { epoch: u32::MAX, sequence: u64::MAX };
}

/// The void time of a record that never expires.
pub const NEVER: VoidTime = VoidTime(0);

/// The instant a record expires: milliseconds since 1970 (below 2^48), or 0 for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct VoidTime(pub u64);

impl VoidTime {
    /// The latest instant that can be stored, in milliseconds since 1970.
    pub const MAX_MS: u64 = (1 << 48) - 1;

    /// Whether a record with this void time is gone at `now_ms`.
    pub fn expired(self, now_ms: u64) -> bool {
        self.0 != 0 && self.0 <= now_ms
    }
}
