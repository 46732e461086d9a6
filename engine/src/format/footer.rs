//! The footer that seals a write block: what a start must know of each of its records, in a few bytes more than their digests.
//!
//! ```text
//! footer  := entry* zeros trailer          ends with the block; starts on a sector
//! entry    0   1  flags: 1 tombstone, 2 expires, 4 another epoch, 8 another set, 16 a gap in front; the rest zero
//!          1   1  size class
//!          2   2  generation
//!          4  16  digest
//!         20      zigzag varint: version: sequence, less the one before
//!                 flag  2: zigzag varint: void time, less that of the last entry that expires
//!                 flag  4: 4 bytes: version: epoch
//!                 flag  8: varint: number of the set, by first appearance; if it is new, its hash, 8 bytes
//!                 flag 16: varint: units between the end of the record before and this one (a flush mark and its padding)
//! trailer  0   8  checksum of the footer but for this field
//!          8   8  magic "CAIRNEND"
//!         16  16  device UUID
//!         32   4  block number
//!         36   4  number of entries
//!         40   8  block sequence
//!         48   4  end of the records, in bytes
//!         52   4  bytes of the footer
//!         56   8  zero
//! ```
//!
//! Before the first entry stand version (0, 0), void time 0, set hash 0 and a record that ends at byte 1024: none can begin earlier.
//!
//! The differences are small because records are put in in the order of their versions, and mostly with a common time to live. Where they are
//! not (a record that was moved keeps its old version) an entry takes a few bytes more: any sequence of entries can be told.
//!
//! A writer must know how many bytes its footer will take before it adds one more record: [`FooterSize`]. Refused are footers with a wrong
//! checksum, entries that overlap, or that lie outside the part of the block that holds records. Concurrency: none, values only.

mod entries;

use xxhash_rust::xxh3::Xxh3;

use self::entries::{Before, ENTRY_MAX, ENTRY_MIN, Encoder, take_entry};
use super::wire::{array, get_u32, get_u64, put, put_uint};
use crate::model::{Digest, SizeClass, Version, VoidTime};

/// Bytes of a footer's trailer.
pub const TRAILER_BYTES: usize = 64;
/// Bytes a record's entry in a footer takes as a rule, for accounts of space.
pub const FOOTER_SHARE: u64 = 24;

const MAGIC: &[u8; 8] = b"CAIRNEND";

/// What a footer says of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FooterEntry {
    /// The record's identity.
    pub digest: Digest,
    /// What orders it among the record's versions.
    pub version: Version,
    /// When it expires.
    pub void_time: VoidTime,
    /// Its write counter.
    pub generation: u16,
    /// Seeded hash of its set's name.
    pub set_hash: u64,
    /// Its place in the block, in bytes.
    pub offset: u32,
    /// Space taken.
    pub size: SizeClass,
    /// Whether it is a durable delete.
    pub tombstone: bool,
}

impl FooterEntry {
    /// Where the record ends, in bytes from the block's start.
    fn end(&self) -> u64 {
        u64::from(self.offset) + self.size.bytes()
    }
}

/// How many bytes a footer takes, while its entries are still being gathered.
#[derive(Clone, Debug)]
pub struct FooterSize {
    encoder: Encoder,
    /// The last entry's bytes: made and counted, so that the count cannot differ from what [`Footer::encode`] writes.
    last: Vec<u8>,
    bytes: usize,
}

impl FooterSize {
    /// The size of a footer without entries.
    pub fn new() -> Self {
        Self { encoder: Encoder::new(), last: Vec::with_capacity(ENTRY_MAX), bytes: 0 }
    }

    /// Adds an entry, the next by offset.
    pub fn push(&mut self, entry: &FooterEntry) {
        self.last.clear();
        self.encoder.put(entry, &mut self.last);
        self.bytes += self.last.len();
    }

    /// Bytes of the footer with the entries so far, in whole sectors.
    pub fn bytes(&self, sector: u32) -> u64 {
        Self::padded(self.bytes, sector)
    }

    /// Bytes of the footer with `more` entries more, whatever they may be, in whole sectors: at least as many as it will take.
    pub fn bytes_with(&self, more: usize, sector: u32) -> u64 {
        Self::padded(self.bytes + more * ENTRY_MAX, sector)
    }

    fn padded(entries: usize, sector: u32) -> u64 {
        ((entries + TRAILER_BYTES) as u64).next_multiple_of(u64::from(sector))
    }
}

impl Default for FooterSize {
    fn default() -> Self {
        Self::new()
    }
}

/// The table of a sealed block's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The device the block belongs to.
    pub device: [u8; 16],
    /// The block's number.
    pub block: u32,
    /// The block's sequence.
    pub sequence: u64,
    /// Where the records end, in bytes from the block's start.
    pub data_end: u32,
    /// One for each record, by ascending offset.
    pub entries: Vec<FooterEntry>,
}

impl Footer {
    /// The footer's bytes in whole sectors: the last ones of the block. The entries are in order and do not overlap; otherwise
    /// [`Self::decode`] will refuse it.
    pub fn encode(&self, sector: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * FOOTER_SHARE as usize);
        let mut encoder = Encoder::new();
        self.entries.iter().for_each(|entry| encoder.put(entry, &mut bytes));
        let len = FooterSize::padded(bytes.len(), sector) as usize;
        bytes.resize(len, 0);
        let t = &mut bytes[len - TRAILER_BYTES..];
        put(t, 8, MAGIC);
        put(t, 16, &self.device);
        put_uint::<4>(t, 32, u64::from(self.block));
        put_uint::<4>(t, 36, self.entries.len() as u64);
        put_uint::<8>(t, 40, self.sequence);
        put_uint::<4>(t, 48, u64::from(self.data_end));
        put_uint::<4>(t, 52, len as u64);
        let sum = Self::sum(&bytes);
        put_uint::<8>(&mut bytes, len - TRAILER_BYTES, sum);
        bytes
    }

    fn sum(bytes: &[u8]) -> u64 {
        let (entries, trailer) = bytes.split_at(bytes.len() - TRAILER_BYTES);
        let mut hasher = Xxh3::new();
        hasher.update(entries);
        hasher.update(&trailer[8..]);
        hasher.digest()
    }

    /// Length and block sequence of the footer that ends with `tail` (the last bytes of the block, 64 at least); `None` when there is no
    /// trailer of this block, or its numbers do not fit each other.
    pub fn measure(tail: &[u8], device: &[u8; 16], block: u32) -> Option<(usize, u64)> {
        let t = &tail[tail.len().checked_sub(TRAILER_BYTES)?..];
        let len = get_u32(t, 52) as usize;
        let fits = t[8..16] == *MAGIC
            && t[16..32] == *device
            && get_u32(t, 32) == block
            && (get_u32(t, 36) as usize).checked_mul(ENTRY_MIN)?.checked_add(TRAILER_BYTES)? <= len;
        fits.then(|| (len, get_u64(t, 40)))
    }

    /// The footer in `bytes`, which are exactly as many as [`Self::measure`] said and end a block of `block_bytes`. `None` when it is damaged.
    pub fn decode(bytes: &[u8], block_bytes: u64) -> Option<Self> {
        let (entries, t) = bytes.split_last_chunk::<TRAILER_BYTES>()?;
        let (count, data_end) = (get_u32(t, 36) as usize, get_u32(t, 48));
        let sound = get_u64(t, 0) == Self::sum(bytes)
            && get_u32(t, 52) as usize == bytes.len()
            && u64::from(data_end) + bytes.len() as u64 <= block_bytes
            && count <= entries.len() / ENTRY_MIN;
        if !sound {
            return None;
        }
        Some(Self {
            device: array(t, 16),
            block: get_u32(t, 32),
            sequence: get_u64(t, 40),
            data_end,
            entries: Self::decode_entries(entries, count, u64::from(data_end))?,
        })
    }

    /// The first `count` entries in `bytes`, which surely have as many as that times [`ENTRY_MIN`].
    fn decode_entries(mut bytes: &[u8], count: usize, data_end: u64) -> Option<Vec<FooterEntry>> {
        let mut entries = Vec::with_capacity(count);
        let (mut before, mut sets) = (Before::FIRST, Vec::new());
        for _ in 0..count {
            let entry = take_entry(&mut bytes, &before, &mut sets)?;
            before.step(&entry);
            if before.end > data_end {
                return None;
            }
            entries.push(entry);
        }
        Some(entries)
    }
}

#[cfg(test)]
mod tests;
