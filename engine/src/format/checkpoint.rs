//! The blocks a clean stop leaves: the index, the state of every block and the names of the sets.
//!
//! ```text
//! index block := block-header-region payload
//! payload   0  8  checksum of bytes 8..32 + length, seeded with the checkpoint's identity
//!           8  8  magic "CAIRNIDX"
//!          16  8  identity of the checkpoint
//!          24  4  ordinal of this block in its device's part
//!          28  4  bytes of items behind these 32
//!          32     items
//! item    := kind 1, zero 3, argument 4, length 4, bytes
//!            kind 1: numbers of the part's blocks in order, 4 bytes each (first block only)
//!            kind 2: block states from block number `argument` on, 104 bytes each
//!            kind 3: sets: records 8, name length 1, name
//!            kind 4: packed index entries of partition `argument`, ascending
//! state   0  8  sequence    8  8  birth       16  4  birth epoch  20  4  in-use bytes
//!        24  4  records    28  4  live        32  8  floor        40  4  floor epoch
//!        44  4  max epoch  48  8  max         56  8  written      64  8  first kill
//!        72  8  guard      80  8  due         88  4  filled       92  1  state
//!        93  1  stream     94 10  zero
//! ```

use super::wire::{checksum, get_u32, get_u64, put, put_uint};
use crate::model::Version;

/// Bytes in front of a payload's items.
pub const PAYLOAD_HEADER_BYTES: usize = 32;
/// Bytes in front of an item.
pub const ITEM_HEADER_BYTES: usize = 12;
/// Bytes of one block state.
pub const BLOCK_STATE_BYTES: usize = 104;

const MAGIC: &[u8; 8] = b"CAIRNIDX";

/// What an item holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// The numbers of the part's blocks.
    Blocks,
    /// Block states.
    States,
    /// Sets with their record counts.
    Sets,
    /// Index entries of one partition.
    Entries,
}

impl ItemKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Blocks,
            2 => Self::States,
            3 => Self::Sets,
            4 => Self::Entries,
            _ => return None,
        })
    }

    fn byte(self) -> u8 {
        match self {
            Self::Blocks => 1,
            Self::States => 2,
            Self::Sets => 3,
            Self::Entries => 4,
        }
    }
}

/// Fills the payload of one index block.
#[derive(Debug)]
pub struct PayloadWriter {
    bytes: Vec<u8>,
    capacity: usize,
}

impl PayloadWriter {
    /// A payload of at most `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.resize(PAYLOAD_HEADER_BYTES, 0);
        Self { bytes, capacity }
    }

    /// How many bytes one more item may have.
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len() + ITEM_HEADER_BYTES)
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == PAYLOAD_HEADER_BYTES
    }

    /// Adds an item; `bytes` are at most [`Self::room`].
    pub fn item(&mut self, kind: ItemKind, argument: u32, bytes: &[u8]) {
        assert!(bytes.len() <= self.room());
        self.bytes.extend_from_slice(&[kind.byte(), 0, 0, 0]);
        self.bytes.extend_from_slice(&argument.to_le_bytes());
        self.bytes.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// The payload's bytes.
    pub fn finish(mut self, id: u64, ordinal: u32) -> Vec<u8> {
        let length = self.bytes.len() - PAYLOAD_HEADER_BYTES;
        let b = &mut self.bytes[..];
        put(b, 8, MAGIC);
        put_uint::<8>(b, 16, id);
        put_uint::<4>(b, 24, u64::from(ordinal));
        put_uint::<4>(b, 28, length as u64);
        let sum = checksum(&b[8..], id);
        put_uint::<8>(b, 0, sum);
        self.bytes
    }
}

/// The items of a payload: kind, argument, bytes. `None` when it is not block `ordinal` of checkpoint `id`, or damaged.
pub fn decode_payload(bytes: &[u8], id: u64, ordinal: u32) -> Option<Vec<(ItemKind, u32, &[u8])>> {
    if bytes.len() < PAYLOAD_HEADER_BYTES || bytes[8..16] != *MAGIC {
        return None;
    }
    let end = PAYLOAD_HEADER_BYTES.checked_add(get_u32(bytes, 28) as usize)?;
    let bytes = bytes.get(..end)?;
    let fits = get_u64(bytes, 16) == id
        && get_u32(bytes, 24) == ordinal
        && get_u64(bytes, 0) == checksum(&bytes[8..], id);
    if !fits {
        return None;
    }
    let mut items = Vec::new();
    let mut rest = &bytes[PAYLOAD_HEADER_BYTES..];
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(ITEM_HEADER_BYTES)?;
        let (body, tail) = tail.split_at_checked(get_u32(head, 8) as usize)?;
        items.push((ItemKind::from_byte(head[0])?, get_u32(head, 4), body));
        rest = tail;
    }
    Some(items)
}

/// What RAM knows of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BlockStateImage {
    /// The block's sequence; 0 when it was never opened.
    pub sequence: u64,
    /// The version counter when it was opened.
    pub birth: Version,
    /// Bytes of all records in it, dead ones too, with their share of the footer.
    pub filled: u32,
    /// Bytes of the live ones among them.
    pub in_use: u32,
    /// Records in it that are live or that something guards against; tombstones left out.
    pub records: u32,
    /// How many of them are live.
    pub live: u32,
    /// No version in it is below this one.
    pub floor: Version,
    /// No version in it is above this one.
    pub max: Version,
    /// A version sequence in the middle of its records'.
    pub written: u64,
    /// The version sequence at which the first of its records was killed; `u64::MAX` for none.
    pub first_kill: u64,
    /// The lowest version sequence of its tombstones; `u64::MAX` for none.
    pub guard: u64,
    /// When it is worth looking through for expired records, in milliseconds since 1970; `u64::MAX` for never.
    pub due: u64,
    /// The state's byte, given by the block table.
    pub state: u8,
    /// The stream's byte, as in the block's header.
    pub stream: u8,
}

impl BlockStateImage {
    /// Appends the state's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let b = &mut [0; BLOCK_STATE_BYTES];
        put_uint::<8>(b, 0, self.sequence);
        put_uint::<8>(b, 8, self.birth.sequence);
        put_uint::<4>(b, 16, u64::from(self.birth.epoch));
        put_uint::<4>(b, 20, u64::from(self.in_use));
        put_uint::<4>(b, 24, u64::from(self.records));
        put_uint::<4>(b, 28, u64::from(self.live));
        put_uint::<8>(b, 32, self.floor.sequence);
        put_uint::<4>(b, 40, u64::from(self.floor.epoch));
        put_uint::<4>(b, 44, u64::from(self.max.epoch));
        put_uint::<8>(b, 48, self.max.sequence);
        put_uint::<8>(b, 56, self.written);
        put_uint::<8>(b, 64, self.first_kill);
        put_uint::<8>(b, 72, self.guard);
        put_uint::<8>(b, 80, self.due);
        put_uint::<4>(b, 88, u64::from(self.filled));
        (b[92], b[93]) = (self.state, self.stream);
        out.extend_from_slice(b);
    }

    /// The state in [`BLOCK_STATE_BYTES`] bytes.
    pub fn decode(b: &[u8; BLOCK_STATE_BYTES]) -> Self {
        Self {
            sequence: get_u64(b, 0),
            birth: Version { sequence: get_u64(b, 8), epoch: get_u32(b, 16) },
            in_use: get_u32(b, 20),
            records: get_u32(b, 24),
            live: get_u32(b, 28),
            floor: Version { sequence: get_u64(b, 32), epoch: get_u32(b, 40) },
            max: Version { sequence: get_u64(b, 48), epoch: get_u32(b, 44) },
            written: get_u64(b, 56),
            first_kill: get_u64(b, 64),
            guard: get_u64(b, 72),
            due: get_u64(b, 80),
            filled: get_u32(b, 88),
            state: b[92],
            stream: b[93],
        }
    }
}
