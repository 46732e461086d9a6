//! The device header: who the device is, and what is true of all of it.
//!
//! Block 0 holds two slots, each with its own checksum and a counter; the sound one with the higher counter counts. Every change is
//! written to one and then to the other, so that they say the same while a node serves. A slot is 64 KiB, or half a write block where that is less.
//!
//! ```text
//!   0   8  checksum of bytes 8..length
//!   8   8  magic "CAIRNDEV"
//!  16   4  format version (1)
//!  20   4  length in bytes
//!  24   8  slot counter
//!  32  16  device UUID
//!  48  16  device set UUID
//!  64   2  index of the device in its set      66  2  devices in the set
//!  68   1  kind of partition function          69  1  kind of digest (1: xxh3-128 with secret)
//!  70   1  cleanly stopped
//!  72   8  usable bytes                        80  4  write block in bytes
//!  84   4  sector in bytes                     88  4  blocks, block 0 included
//!  92   4  number of truncations
//!  96   8  incarnation
//! 104   8  checkpoint: identity (0: none)     112  4  first block   116  4  blocks
//! 120   8  version counter: sequence          128  4  epoch
//! 144  32  cluster name (length byte, text)
//! 176  32  namespace name
//! 208 192  hash secret
//! 512  16 x devices of the set: their UUIDs in order
//!      24 x truncations: set hash 8 (0: the namespace), sequence 8, epoch 4, until 4
//! ```

use super::wire::{array, checksum, get_text, get_u16, get_u32, get_u64, put, put_text, put_uint};
use crate::model::{
    HashSecret, PartitionKind, Version,
    limits::{DEVICES_MAX, TRUNCATIONS_MAX},
};

/// The format this code writes.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"CAIRNDEV";
const FIXED: usize = 512;
const TRUNCATION_BYTES: usize = 24;
const SLOT_MAX: u64 = 64 * 1024;

const _: () =
    assert!(FIXED + DEVICES_MAX * 16 + TRUNCATIONS_MAX * TRUNCATION_BYTES <= SLOT_MAX as usize);

/// Bytes of one header slot; slot `i` starts at `i` times this.
pub fn header_slot_bytes(write_block: u64) -> u64 {
    SLOT_MAX.min(write_block / 2)
}

/// How many truncations a header can hold beside its devices.
pub fn truncations_max(write_block: u64, devices: usize) -> usize {
    let room = header_slot_bytes(write_block) as usize - FIXED - devices * 16;
    TRUNCATIONS_MAX.min(room / TRUNCATION_BYTES)
}

/// A truncation, or an eviction of what would expire soon, that old records still depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// Seeded hash of the set's name; 0 for the whole namespace.
    pub set_hash: u64,
    /// Records with a version below this one are gone.
    pub cut: Version,
    /// 0 for all of them. Otherwise only those that expire, and not later than this: seconds since 2024-01-01, rounded up.
    pub until: u32,
}

/// Where a clean stop left the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointRef {
    /// Chosen at random for each checkpoint; the same on all devices of the set.
    pub id: u64,
    /// The first block of this device's part; 0 when it has none.
    pub first: u32,
    /// How many blocks this device's part has.
    pub blocks: u32,
}

/// A device header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceHeader {
    /// This device.
    pub device: [u8; 16],
    /// The devices that belong together: one namespace on one node.
    pub device_set: [u8; 16],
    /// This device's place among them.
    pub index: u16,
    /// All devices of the set, in order.
    pub members: Vec<[u8; 16]>,
    /// Which public function gives a key its partition.
    pub partition_kind: PartitionKind,
    /// Whether the node stopped cleanly.
    pub clean: bool,
    /// Usable bytes.
    pub size: u64,
    /// Bytes of a write block.
    pub write_block: u32,
    /// Bytes of a sector.
    pub sector: u32,
    /// Blocks, block 0 included.
    pub blocks: u32,
    /// Bumped at every start, durably, before anything else is written.
    pub incarnation: u64,
    /// The index of the last clean stop.
    pub checkpoint: Option<CheckpointRef>,
    /// The version counter was at least here when the header was written.
    pub version: Version,
    /// The cluster's name.
    pub cluster: String,
    /// The namespace's name.
    pub namespace: String,
    /// Seeds every digest.
    pub secret: HashSecret,
    /// Truncations that old records depend on.
    pub truncations: Vec<Truncation>,
}

/// What one slot holds.
#[derive(Debug)]
pub enum HeaderSlot {
    /// A sound header with its slot counter.
    Sound(u64, Box<DeviceHeader>),
    /// A sound header of a format this code does not know.
    UnknownVersion(u32),
    /// The magic is there, the rest does not fit.
    Damaged,
    /// Not a header of Cairn's.
    Foreign,
}

impl DeviceHeader {
    /// The header's bytes with its slot counter, to be written to one slot.
    pub fn encode(&self, counter: u64) -> Vec<u8> {
        let length = FIXED + self.members.len() * 16 + self.truncations.len() * TRUNCATION_BYTES;
        let mut bytes = vec![0; length];
        let b = &mut bytes[..];
        put(b, 8, MAGIC);
        put_uint::<4>(b, 16, u64::from(FORMAT_VERSION));
        put_uint::<4>(b, 20, length as u64);
        put_uint::<8>(b, 24, counter);
        put(b, 32, &self.device);
        put(b, 48, &self.device_set);
        put_uint::<2>(b, 64, u64::from(self.index));
        put_uint::<2>(b, 66, self.members.len() as u64);
        b[68] = self.partition_kind as u8;
        b[69] = 1;
        b[70] = u8::from(self.clean);
        put_uint::<8>(b, 72, self.size);
        put_uint::<4>(b, 80, u64::from(self.write_block));
        put_uint::<4>(b, 84, u64::from(self.sector));
        put_uint::<4>(b, 88, u64::from(self.blocks));
        put_uint::<4>(b, 92, self.truncations.len() as u64);
        put_uint::<8>(b, 96, self.incarnation);
        if let Some(checkpoint) = self.checkpoint {
            put_uint::<8>(b, 104, checkpoint.id);
            put_uint::<4>(b, 112, u64::from(checkpoint.first));
            put_uint::<4>(b, 116, u64::from(checkpoint.blocks));
        }
        put_uint::<8>(b, 120, self.version.sequence);
        put_uint::<4>(b, 128, u64::from(self.version.epoch));
        put_text(b, 144, 32, &self.cluster);
        put_text(b, 176, 32, &self.namespace);
        put(b, 208, &self.secret.0);
        for (member, at) in self.members.iter().zip((FIXED..).step_by(16)) {
            put(b, at, member);
        }
        let start = FIXED + self.members.len() * 16;
        for (cut, at) in self.truncations.iter().zip((start..).step_by(TRUNCATION_BYTES)) {
            put_uint::<8>(b, at, cut.set_hash);
            put_uint::<8>(b, at + 8, cut.cut.sequence);
            put_uint::<4>(b, at + 16, u64::from(cut.cut.epoch));
            put_uint::<4>(b, at + 20, u64::from(cut.until));
        }
        let sum = checksum(&b[8..], 0);
        put_uint::<8>(b, 0, sum);
        bytes
    }

    /// What the bytes of one slot hold.
    pub fn decode(slot: &[u8]) -> HeaderSlot {
        if slot.len() < FIXED || slot[8..16] != *MAGIC {
            return HeaderSlot::Foreign;
        }
        let length = get_u32(slot, 20) as usize;
        if !(FIXED..=slot.len()).contains(&length)
            || get_u64(slot, 0) != checksum(&slot[8..length], 0)
        {
            return HeaderSlot::Damaged;
        }
        let version = get_u32(slot, 16);
        if version != FORMAT_VERSION {
            return HeaderSlot::UnknownVersion(version);
        }
        match Self::decode_sound(&slot[..length]) {
            Some(header) => HeaderSlot::Sound(get_u64(slot, 24), Box::new(header)),
            None => HeaderSlot::Damaged,
        }
    }

    fn decode_sound(b: &[u8]) -> Option<Self> {
        let devices = usize::from(get_u16(b, 66));
        let truncations = get_u32(b, 92) as usize;
        let start = FIXED + devices * 16;
        if b.len() != start + truncations.checked_mul(TRUNCATION_BYTES)? || b[69] != 1 {
            return None;
        }
        let id = get_u64(b, 104);
        Some(Self {
            device: array(b, 32),
            device_set: array(b, 48),
            index: get_u16(b, 64),
            members: (FIXED..start).step_by(16).map(|at| array(b, at)).collect(),
            partition_kind: PartitionKind::from_byte(b[68])?,
            clean: b[70] == 1,
            size: get_u64(b, 72),
            write_block: get_u32(b, 80),
            sector: get_u32(b, 84),
            blocks: get_u32(b, 88),
            incarnation: get_u64(b, 96),
            checkpoint: (id != 0).then(|| CheckpointRef {
                id,
                first: get_u32(b, 112),
                blocks: get_u32(b, 116),
            }),
            version: Version { sequence: get_u64(b, 120), epoch: get_u32(b, 128) },
            cluster: get_text(b, 144, 32)?,
            namespace: get_text(b, 176, 32)?,
            secret: HashSecret(array(b, 208)),
            truncations: (start..b.len())
                .step_by(TRUNCATION_BYTES)
                .map(|at| Truncation {
                    set_hash: get_u64(b, at),
                    cut: Version { sequence: get_u64(b, at + 8), epoch: get_u32(b, at + 16) },
                    until: get_u32(b, at + 20),
                })
                .collect(),
        })
    }
}
