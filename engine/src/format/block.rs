//! The header of a write block, and the footer that seals it.
//!
//! ```text
//! block  := header-region records-and-marks gap footer
//!
//! header-region: max(1024, sector) bytes; the header stands at its start and again at its middle
//! header  0   8  checksum of bytes 8..512
//!         8   8  magic "CAIRNBLK"
//!        16  16  device UUID
//!        32   4  block number
//!        36   1  kind: 1 data, 2 index, 3 freed
//!        37   1  number of links
//!        38   1  stream
//!        40   8  block sequence
//!        48   8  birth: the namespace's write sequence when the block was opened
//!        56   4  birth: epoch
//!        64  16 x links: block 4, state 4 (0 opened, 1 partly durable, 2 sealed), block sequence 8
//!       320   8  records of the namespace when the header was written, about
//!
//! footer := entry* zeros trailer          ends with the block; starts on a sector
//! entry   0  16  digest
//!        16   8  version: sequence
//!        24   4  version: epoch
//!        28   6  void time
//!        34   2  generation
//!        36   8  hash of the set's name
//!        44   4  offset in units (bits 0..20), tombstone (bit 20), size class (bits 24..32)
//! trailer 0   8  checksum of the footer but for this field
//!         8   8  magic "CAIRNEND"
//!        16  16  device UUID
//!        32   4  block number
//!        36   4  number of entries
//!        40   8  block sequence
//!        48   4  end of the records, in bytes
//!        52   4  bytes of the footer
//!        56   8  zero
//! ```
//!
//! The links name the blocks that the device opened before this one and how far each had come. They let a start tell a
//! block that was still being written (its end may be torn) from a sealed block that now reads older (damage).

use xxhash_rust::xxh3::Xxh3;

use super::wire::{array, checksum, get_u16, get_u32, get_u64, get_uint, put, put_uint};
use crate::model::{Digest, SizeClass, UNIT, Version, VoidTime};

/// Bytes of a block header.
pub const BLOCK_HEADER_BYTES: usize = 512;
/// Most links in a block header.
pub const LINKS: usize = 16;
/// Most streams of a device, each of which has one block open at a time.
pub const STREAMS: usize = 8;
/// Bytes of a footer's entry.
pub const FOOTER_ENTRY_BYTES: usize = 48;
/// Bytes of a footer's trailer.
pub const TRAILER_BYTES: usize = 64;

const HINT_AT: usize = 64 + 16 * LINKS;
const HEADER_MAGIC: &[u8; 8] = b"CAIRNBLK";
const TRAILER_MAGIC: &[u8; 8] = b"CAIRNEND";

/// Bytes at the front of a block that its header and the header's copy take.
pub fn block_header_region(sector: u32) -> u64 {
    u64::from(sector).max(2 * BLOCK_HEADER_BYTES as u64)
}

/// Bytes a footer of `records` entries takes.
pub fn footer_bytes(records: usize, sector: u32) -> u64 {
    let sector = u64::from(sector);
    ((records * FOOTER_ENTRY_BYTES + TRAILER_BYTES) as u64).next_multiple_of(sector)
}

/// What a block is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// Records.
    Data,
    /// A part of a checkpoint of the index.
    Index,
    /// Nothing: what it held before is void.
    Freed,
}

/// How far an earlier block had come when a header was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkState {
    /// It may or may not have reached the device.
    Opened,
    /// A part of it was durable.
    Partly,
    /// It was sealed: all of it, footer included, was durable.
    Sealed,
}

/// A block that was opened before the one that holds the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number on the same device.
    pub block: u32,
    /// Its sequence.
    pub sequence: u64,
    /// How far it had come.
    pub state: LinkState,
}

/// The header of a write block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The device it belongs to.
    pub device: [u8; 16],
    /// Its number on the device; block 0 holds the device header.
    pub block: u32,
    /// What it is used for.
    pub kind: BlockKind,
    /// Which of the device's streams fills it, below [`STREAMS`]; each fills one block after the other.
    pub stream: u8,
    /// Grows with every block opened on the device, without end.
    pub sequence: u64,
    /// The namespace's version counter when the block was opened.
    pub birth: Version,
    /// Blocks opened before, newest first; at most [`LINKS`].
    pub links: Vec<Link>,
    /// About how many records the namespace had when the header was written: lets a start make room at once.
    pub records_hint: u64,
}

impl BlockHeader {
    /// Fills `region`, the header region of the block, with header and copy.
    pub fn encode(&self, region: &mut [u8]) {
        region.fill(0);
        let b = &mut [0u8; BLOCK_HEADER_BYTES];
        put(b, 8, HEADER_MAGIC);
        put(b, 16, &self.device);
        put_uint::<4>(b, 32, u64::from(self.block));
        b[36] = match self.kind {
            BlockKind::Data => 1,
            BlockKind::Index => 2,
            BlockKind::Freed => 3,
        };
        b[37] = self.links.len() as u8;
        b[38] = self.stream;
        put_uint::<8>(b, 40, self.sequence);
        put_uint::<8>(b, 48, self.birth.sequence);
        put_uint::<4>(b, 56, u64::from(self.birth.epoch));
        for (link, at) in self.links.iter().zip((64..).step_by(16)) {
            put_uint::<4>(b, at, u64::from(link.block));
            put_uint::<4>(b, at + 4, link.state as u64);
            put_uint::<8>(b, at + 8, link.sequence);
        }
        put_uint::<8>(b, HINT_AT, self.records_hint);
        let sum = checksum(&b[8..], 0);
        put_uint::<8>(b, 0, sum);
        put(region, 0, b);
        put(region, region.len() / 2, b);
    }

    /// The header in `region`, or its copy: the newer one if both are sound. `None` when neither is a header of this device's block.
    pub fn decode(region: &[u8], device: &[u8; 16], block: u32) -> Option<Self> {
        let copies =
            [0, region.len() / 2].map(|at| Self::decode_copy(&region[at..], device, block));
        copies.into_iter().flatten().max_by_key(|header| header.sequence)
    }

    fn decode_copy(bytes: &[u8], device: &[u8; 16], block: u32) -> Option<Self> {
        let b = bytes.get(..BLOCK_HEADER_BYTES)?;
        let sound = get_u64(b, 0) == checksum(&b[8..], 0)
            && b[8..16] == *HEADER_MAGIC
            && b[16..32] == *device
            && get_u32(b, 32) == block
            && usize::from(b[37]) <= LINKS
            && usize::from(b[38]) < STREAMS;
        if !sound {
            return None;
        }
        let kind = match b[36] {
            1 => BlockKind::Data,
            2 => BlockKind::Index,
            3 => BlockKind::Freed,
            _ => return None,
        };
        let link = |at: usize| Link {
            block: get_u32(b, at),
            state: match get_u32(b, at + 4) {
                0 => LinkState::Opened,
                1 => LinkState::Partly,
                _ => LinkState::Sealed,
            },
            sequence: get_u64(b, at + 8),
        };
        Some(Self {
            device: array(b, 16),
            block,
            kind,
            stream: b[38],
            sequence: get_u64(b, 40),
            birth: Version { epoch: get_u32(b, 56), sequence: get_u64(b, 48) },
            links: (64..).step_by(16).take(usize::from(b[37])).map(link).collect(),
            records_hint: get_u64(b, HINT_AT),
        })
    }
}

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
    fn encode(&self, b: &mut [u8]) {
        put(b, 0, &self.digest.0.to_le_bytes());
        put_uint::<8>(b, 16, self.version.sequence);
        put_uint::<4>(b, 24, u64::from(self.version.epoch));
        put_uint::<6>(b, 28, self.void_time.0);
        put_uint::<2>(b, 34, u64::from(self.generation));
        put_uint::<8>(b, 36, self.set_hash);
        let place = (self.offset / UNIT as u32)
            | (u32::from(self.tombstone) << 20)
            | (u32::from(self.size.0) << 24);
        put_uint::<4>(b, 44, u64::from(place));
    }

    #[inline]
    fn decode(b: &[u8; FOOTER_ENTRY_BYTES]) -> Self {
        let place = get_u32(b, 44);
        Self {
            digest: Digest(u128::from_le_bytes(array(b, 0))),
            version: Version { sequence: get_u64(b, 16), epoch: get_u32(b, 24) },
            void_time: VoidTime(get_uint::<6>(b, 28)),
            generation: get_u16(b, 34),
            set_hash: get_u64(b, 36),
            offset: (place & 0xf_ffff) * UNIT as u32,
            size: SizeClass((place >> 24) as u8),
            tombstone: place >> 20 & 1 == 1,
        }
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
    /// Fills `bytes`, the last [`footer_bytes`] of the block.
    pub fn encode(&self, bytes: &mut [u8]) {
        bytes.fill(0);
        for (entry, slot) in self.entries.iter().zip(bytes.chunks_exact_mut(FOOTER_ENTRY_BYTES)) {
            entry.encode(slot);
        }
        let len = bytes.len();
        let t = len - TRAILER_BYTES;
        put(bytes, t + 8, TRAILER_MAGIC);
        put(bytes, t + 16, &self.device);
        put_uint::<4>(bytes, t + 32, u64::from(self.block));
        put_uint::<4>(bytes, t + 36, self.entries.len() as u64);
        put_uint::<8>(bytes, t + 40, self.sequence);
        put_uint::<4>(bytes, t + 48, u64::from(self.data_end));
        put_uint::<4>(bytes, t + 52, len as u64);
        let sum = Self::sum(bytes);
        put_uint::<8>(bytes, t, sum);
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
        let fits = t[8..16] == *TRAILER_MAGIC
            && t[16..32] == *device
            && get_u32(t, 32) == block
            && (get_u32(t, 36) as usize).checked_mul(FOOTER_ENTRY_BYTES)? + TRAILER_BYTES <= len;
        fits.then(|| (len, get_u64(t, 40)))
    }

    /// The footer in `bytes`, which are exactly as many as [`Self::measure`] said. `None` when it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let t = &bytes[bytes.len().checked_sub(TRAILER_BYTES)?..];
        if get_u64(t, 0) != Self::sum(bytes) {
            return None;
        }
        let count = get_u32(t, 36) as usize;
        let (entries, _) = bytes[..bytes.len() - TRAILER_BYTES].as_chunks();
        let entries = entries.get(..count)?;
        Some(Self {
            device: array(t, 16),
            block: get_u32(t, 32),
            sequence: get_u64(t, 40),
            data_end: get_u32(t, 48),
            entries: entries.iter().map(FooterEntry::decode).collect(),
        })
    }
}
