//! What RAM holds for one record: 20 bytes.
//!
//! ```text
//! bytes  0..8   tag: the 64 digest bits behind the partition's 12 (little-endian)
//! bytes  8..13  location in 16-byte units (40 bits; 0 marks an empty slot)
//! byte   13     size class
//! bytes 14..16  generation
//! bytes 16..20  bits 0..30 expiry in seconds, bit 30 older version may exist, bit 31 tombstone
//! ```

use crate::model::{Location, NEVER, SizeClass, VoidTime};

/// Bytes of one packed entry.
pub const ENTRY_BYTES: usize = 20;

/// 2024-01-01T00:00:00Z in seconds since 1970: where the index's coarse expiry starts to count.
const EXPIRY_EPOCH: u64 = 1_704_067_200;
const EXPIRY_MASK: u32 = (1 << 30) - 1;
/// Later than coarse expiry can tell (2058): only the record itself knows.
const EXPIRY_FAR: u32 = EXPIRY_MASK;

/// A record's void time as the index keeps it: the second after which the record is surely gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoarseExpiry(u32);

/// What the index alone can say about a record's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Not expired.
    Alive,
    /// Expired.
    Expired,
    /// It expires within this second, or after 2058: the record's own void time decides.
    AskRecord,
}

impl CoarseExpiry {
    /// Never expires.
    pub const NEVER: Self = Self(0);
    /// From this many seconds since 2024-01-01 on, the index cannot tell.
    pub const FAR: u32 = EXPIRY_FAR;

    /// The second of an instant in milliseconds since 1970.
    pub fn at(ms: u64) -> Self {
        Self::new(VoidTime(ms.max(1)))
    }

    /// The coarse form of `void`: its second, rounded up.
    pub fn new(void: VoidTime) -> Self {
        if void == NEVER {
            return Self::NEVER;
        }
        let seconds = void.0.div_ceil(1000).saturating_sub(EXPIRY_EPOCH).max(1);
        Self(seconds.min(u64::from(EXPIRY_FAR)) as u32)
    }

    /// Seconds since 2024-01-01, rounded up; 0 for never.
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// Whether the record is alive at `now_ms` (milliseconds since 1970), as far as the index can tell.
    pub fn life(self, now_ms: u64) -> Life {
        if self.0 == 0 {
            return Life::Alive;
        }
        let gone_ms = (EXPIRY_EPOCH + u64::from(self.0)) * 1000;
        if now_ms + 1000 <= gone_ms {
            Life::Alive
        } else if self.0 == EXPIRY_FAR || now_ms < gone_ms {
            Life::AskRecord
        } else {
            Life::Expired
        }
    }
}

/// One record in the index, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the newest version lies.
    pub location: Location,
    /// How much space it takes there.
    pub size: SizeClass,
    /// Its write counter, 1 or more.
    pub generation: u16,
    /// When it expires.
    pub expiry: CoarseExpiry,
    /// The newest version is a delete.
    pub tombstone: bool,
    /// An older version of this record may still lie on a device.
    pub older: bool,
}

impl Entry {
    /// Packs the entry under its record's tag.
    pub fn pack(&self, tag: u64) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&tag.to_le_bytes());
        for (to, word) in bytes[8..].as_chunks_mut::<4>().0.iter_mut().zip(self.to_words()) {
            *to = word.to_le_bytes();
        }
        bytes
    }

    /// The tag and the entry in packed bytes; `None` for an empty slot.
    pub fn unpack(bytes: &[u8; ENTRY_BYTES]) -> Option<(u64, Self)> {
        let (tag, words) = split(bytes);
        Self::from_words(words).map(|entry| (tag, entry))
    }

    /// Bytes 8 to 20 of the packed entry, as three little-endian words.
    #[inline]
    pub(super) fn to_words(self) -> [u32; 3] {
        let units = self.location.units();
        [
            units as u32,
            (units >> 32) as u32 & 0xff
                | u32::from(self.size.0) << 8
                | u32::from(self.generation) << 16,
            self.expiry.0 | u32::from(self.older) << 30 | u32::from(self.tombstone) << 31,
        ]
    }

    /// What [`Self::to_words`] gave; `None` for an empty slot.
    #[inline]
    pub(super) fn from_words([low, middle, high]: [u32; 3]) -> Option<Self> {
        let units = u64::from(low) | u64::from(middle & 0xff) << 32;
        (units != 0).then(|| Self {
            location: Location::from_units(units),
            size: SizeClass((middle >> 8) as u8),
            generation: (middle >> 16) as u16,
            expiry: CoarseExpiry(high & EXPIRY_MASK),
            tombstone: high >> 31 == 1,
            older: high >> 30 & 1 == 1,
        })
    }
}

/// The tag and the other words of a packed entry.
#[inline]
pub(super) fn split(bytes: &[u8; ENTRY_BYTES]) -> (u64, [u32; 3]) {
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    (u64::from(word(0)) | u64::from(word(4)) << 32, [word(8), word(12), word(16)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry that does not come back as it was stored would send a read to another record's place.
    #[test]
    fn packing_keeps_every_field() {
        let mut seed = 1u64;
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let entry = Entry {
                location: Location::from_units(((seed >> 20) % (1 << 40)) | 1),
                size: SizeClass(seed as u8),
                generation: (seed >> 8) as u16,
                expiry: CoarseExpiry((seed >> 30) as u32 & EXPIRY_MASK),
                tombstone: seed >> 63 == 1,
                older: seed >> 62 & 1 == 1,
            };
            assert_eq!(Entry::unpack(&entry.pack(seed)), Some((seed, entry)));
        }
        assert_eq!(Entry::unpack(&[0; ENTRY_BYTES]), None);
    }

    /// The index may say "ask the record", but never call a live record expired or an expired one alive.
    #[test]
    fn coarse_expiry_never_contradicts_the_exact_one() {
        let base = EXPIRY_EPOCH * 1000 + 5_000_000;
        for void_ms in (base..base + 3000).step_by(37) {
            let (void, coarse) = (VoidTime(void_ms), CoarseExpiry::new(VoidTime(void_ms)));
            for now in (base - 2000..base + 6000).step_by(41) {
                match coarse.life(now) {
                    Life::Alive => assert!(!void.expired(now), "{void_ms} {now}"),
                    Life::Expired => assert!(void.expired(now), "{void_ms} {now}"),
                    Life::AskRecord => {}
                }
            }
        }
        assert_eq!(CoarseExpiry::new(NEVER).life(u64::MAX / 2), Life::Alive);
        assert_eq!(CoarseExpiry::new(VoidTime(VoidTime::MAX_MS)).life(base), Life::Alive);
    }
}
