//! The header of a write block: who it is, and what its device opened before it.
//!
//! ```text
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
//! ```
//!
//! The links name the blocks that the device opened before this one and how far each had come. They let a start tell a
//! block that was still being written (its end may be torn) from a sealed block that now reads older (damage).

use super::wire::{array, checksum, get_u32, get_u64, put, put_uint};
use crate::model::Version;

/// Bytes of a block header.
pub const BLOCK_HEADER_BYTES: usize = 512;
/// Most links in a block header.
pub const LINKS: usize = 16;
/// Streams of records that a device may have, each with blocks of its own.
pub const STREAMS: usize = 16;

const HINT_AT: usize = 64 + 16 * LINKS;
const MAGIC: &[u8; 8] = b"CAIRNBLK";

/// Bytes at the front of a block that its header and the header's copy take.
pub fn block_header_region(sector: u32) -> u64 {
    u64::from(sector).max(2 * BLOCK_HEADER_BYTES as u64)
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
    /// Which of its device's streams of records it belongs to, below [`STREAMS`]; 0 for other kinds of blocks.
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
        put(b, 8, MAGIC);
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
            && b[8..16] == *MAGIC
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
