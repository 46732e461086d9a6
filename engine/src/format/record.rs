//! A record on a device, and the mark that ends each flush.
//!
//! ```text
//! record := header (64 bytes) set key body padding          padded to its size class
//!
//! header  0  8  checksum of bytes 8.. of header, set and key, seeded with the place
//!         8  2  magic "rC"
//!        10  1  kind: 1 record, 2 tombstone; and ties: 128 with the next record, 64 with the one before, 32 behind all before
//!        11  1  kind of key: 1 text, 2 number, 3 bytes
//!        12  1  length of set
//!        13  1  size class
//!        14  2  length of key
//!        16 16  digest
//!        32  8  version: sequence
//!        40  4  version: epoch
//!        44  4  length of body
//!        48  6  void time, milliseconds since 1970, 0 for never
//!        54  2  generation
//!        56  8  checksum of the body, unseeded
//!
//! mark    0  8  checksum of bytes 8..16, seeded with the place
//!         8  2  magic "fC"
//!        10  3  bytes of this block that were durable before this flush, in 16-byte units
//!        13  3  from the mark's start to the next record, in 16-byte units
//! ```
//!
//! The place is part of the checksum (device, block sequence, offset), so a record that was left from an earlier use of the
//! block, or landed where it does not belong, is not taken for one.

use super::wire::{checksum, get_u16, get_u32, get_u64, get_uint, put, put_uint};
use crate::model::{Digest, Key, KeyRef, NEVER, SizeClass, UNIT, Version, VoidTime, limits};

/// Bytes of a record's fixed header.
pub const RECORD_HEADER_BYTES: usize = 64;
/// Bytes of a flush mark.
pub const MARK_BYTES: usize = 16;

const RECORD_MAGIC: u16 = u16::from_le_bytes(*b"rC");
const MARK_MAGIC: u16 = u16::from_le_bytes(*b"fC");
const KIND_RECORD: u8 = 1;
const KIND_TOMBSTONE: u8 = 2;
/// The bits of the kind's byte that tell the kind; the others are ties.
const KIND_MASK: u8 = 0x1f;

/// What ties bytes to their place: a device's secret seed and a block's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlaceSeed(u64);

impl PlaceSeed {
    /// The seed of the block with sequence `block_seq` on the device with `device_seed`.
    pub fn new(device_seed: u64, block_seq: u64) -> Self {
        Self(device_seed ^ block_seq.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The seed for something at byte `offset` of the block.
    fn at(self, offset: u64) -> u64 {
        self.0.wrapping_add(offset.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }
}

/// What a record depends on that lies in the same block. It matters only while the block may have been cut short: in one that was sealed, all that
/// was put in is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ties {
    /// It counts only together with the next record: both are of a group, and this is not its last.
    pub next: bool,
    /// It counts only together with the record before: both are of a group, and this is not its first.
    pub previous: bool,
    /// It took the place of a record of a group in this block that was not durable yet: it counts only if nothing before it was cut short.
    pub behind: bool,
}

impl Ties {
    fn to_bits(self) -> u8 {
        u8::from(self.next) << 7 | u8::from(self.previous) << 6 | u8::from(self.behind) << 5
    }

    fn from_bits(bits: u8) -> Self {
        Self { next: bits & 0x80 != 0, previous: bits & 0x40 != 0, behind: bits & 0x20 != 0 }
    }
}

/// A record being put together for the write buffer. The version, the generation and the place are filled in last.
#[derive(Debug, Default)]
pub struct RecordBuilder {
    bytes: Vec<u8>,
    head: usize,
}

impl RecordBuilder {
    /// Starts over with header, set and key of `key`; the body follows through [`Self::body`].
    pub fn start(&mut self, key: KeyRef<'_>, digest: Digest, tombstone: bool) {
        self.bytes.clear();
        self.bytes.resize(RECORD_HEADER_BYTES, 0);
        self.bytes.extend_from_slice(key.set().as_bytes());
        let key_len = key.with_user_bytes(|user| {
            self.bytes.extend_from_slice(user);
            user.len()
        });
        self.head = self.bytes.len();
        let b = &mut self.bytes[..];
        put_uint::<2>(b, 8, u64::from(RECORD_MAGIC));
        b[10] = if tombstone { KIND_TOMBSTONE } else { KIND_RECORD };
        b[11] = key.kind_byte();
        b[12] = key.set().len() as u8;
        put_uint::<2>(b, 14, key_len as u64);
        put(b, 16, &digest.0.to_le_bytes());
    }

    /// Starts over with a copy of `record`, body and all, complete but for its place: [`Self::finish`] follows. Returns the space it takes.
    pub fn restore(&mut self, record: &RecordView<'_>) -> SizeClass {
        self.head = record.head_end();
        self.bytes.clear();
        self.bytes.extend_from_slice(&record.bytes[..record.body_end()]);
        // Its group is whole and durable: what it was tied to stays behind.
        self.tie(Ties::default());
        // Not the padding: no checksum speaks for it.
        self.bytes.resize(record.size().bytes() as usize, 0);
        record.size()
    }

    /// Starts over with the tombstone that may take the place of `record`: same set, key and digest, no body, never expiring, complete but for
    /// its place: [`Self::finish`] follows, with the version and the generation of `record`. Returns the space it takes.
    pub fn tombstone_of(&mut self, record: &RecordView<'_>) -> SizeClass {
        self.head = record.head_end();
        self.bytes.clear();
        self.bytes.extend_from_slice(&record.bytes[..self.head]);
        self.bytes[10] = KIND_TOMBSTONE;
        self.seal_body(NEVER)
    }

    /// Ties the record to others of its block.
    pub fn tie(&mut self, ties: Ties) {
        self.bytes[10] = self.bytes[10] & KIND_MASK | ties.to_bits();
    }

    /// Where the body is appended. Nothing but the body may be added.
    pub fn body(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes so far: header, set, key and body.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was started.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of memory it holds.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Completes everything that does not depend on the place, pads to the size class and returns it. The body is complete.
    pub fn seal_body(&mut self, void_time: VoidTime) -> SizeClass {
        let body_len = self.bytes.len() - self.head;
        let size = SizeClass::for_bytes(self.bytes.len() as u64);
        let sum = checksum(&self.bytes[self.head..], 0);
        let b = &mut self.bytes[..];
        b[13] = size.0;
        put_uint::<4>(b, 44, body_len as u64);
        put_uint::<6>(b, 48, void_time.0);
        put_uint::<8>(b, 56, sum);
        self.bytes.resize(size.bytes() as usize, 0);
        size
    }

    /// Fills in version and generation, ties the record to its place and returns its bytes.
    pub fn finish(
        &mut self,
        version: Version,
        generation: u16,
        seed: PlaceSeed,
        offset: u64,
    ) -> &[u8] {
        let b = &mut self.bytes[..];
        put_uint::<8>(b, 32, version.sequence);
        put_uint::<4>(b, 40, u64::from(version.epoch));
        put_uint::<2>(b, 54, u64::from(generation));
        let sum = checksum(&b[8..self.head], seed.at(offset));
        put_uint::<8>(b, 0, sum);
        b
    }
}

/// What is wrong with the bytes where a record should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// No record header of this place.
    Header,
    /// The header is right, the body's checksum is not.
    Body,
}

impl RecordFault {
    /// In words.
    pub fn what(self) -> &'static str {
        match self {
            Self::Header => "its header does not fit its checksum or its place",
            Self::Body => "its body does not fit its checksum",
        }
    }
}

/// A record in memory whose header has been verified.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    bytes: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// The record at the front of `bytes`, which lie at `offset` of the block that `seed` stands for. The body is not verified.
    pub fn parse(bytes: &'a [u8], seed: PlaceSeed, offset: u64) -> Result<Self, RecordFault> {
        let fault = RecordFault::Header;
        if bytes.len() < RECORD_HEADER_BYTES || get_u16(bytes, 8) != RECORD_MAGIC {
            return Err(fault);
        }
        let view = Self { bytes };
        let total = view.body_end();
        let known_kinds = matches!(bytes[10] & KIND_MASK, KIND_RECORD | KIND_TOMBSTONE);
        let size = SizeClass(bytes[13]).bytes();
        if !known_kinds || total as u64 > size || size > bytes.len() as u64 {
            return Err(fault);
        }
        if checksum(&bytes[8..view.head_end()], seed.at(offset)) != get_u64(bytes, 0) {
            return Err(fault);
        }
        Ok(Self { bytes: &bytes[..size as usize] })
    }

    /// The record at the front of `bytes`, which were parsed before and have not changed since.
    pub fn trusted(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether the body fits its checksum.
    pub fn verify_body(&self) -> Result<(), RecordFault> {
        match self.fits_body(self.body()) {
            true => Ok(()),
            false => Err(RecordFault::Body),
        }
    }

    /// Whether `body` fits the checksum of the record's body.
    pub(super) fn fits_body(&self, body: &[u8]) -> bool {
        checksum(body, 0) == get_u64(self.bytes, 56)
    }

    /// Whether `bytes` look like the front of a record, whatever their checksum says; one field may be wrong.
    pub(super) fn resembles(bytes: &[u8]) -> bool {
        let Some(b) = bytes.get(..RECORD_HEADER_BYTES) else { return false };
        let right = [
            get_u16(b, 8) == RECORD_MAGIC,
            matches!(b[10] & KIND_MASK, KIND_RECORD | KIND_TOMBSTONE),
            (1..=3).contains(&b[11]),
            usize::from(b[12]) <= limits::SET_NAME_MAX,
        ];
        right.into_iter().filter(|&right| right).count() >= 3
    }

    /// Bytes of header, set and key as the unverified header in `bytes` says, 64 at least.
    pub(super) fn head_len(bytes: &[u8]) -> usize {
        RecordView { bytes }.head_end()
    }

    fn head_end(&self) -> usize {
        RECORD_HEADER_BYTES + usize::from(self.bytes[12]) + usize::from(get_u16(self.bytes, 14))
    }

    fn body_end(&self) -> usize {
        self.head_end() + get_u32(self.bytes, 44) as usize
    }

    /// Space taken.
    pub fn size(&self) -> SizeClass {
        SizeClass(self.bytes[13])
    }

    /// Whether it is a durable delete.
    pub fn tombstone(&self) -> bool {
        self.bytes[10] & KIND_MASK == KIND_TOMBSTONE
    }

    /// What it depends on in its block.
    pub fn ties(&self) -> Ties {
        Ties::from_bits(self.bytes[10])
    }

    /// The record's identity.
    pub fn digest(&self) -> Digest {
        Digest(u128::from_le_bytes(super::wire::array(self.bytes, 16)))
    }

    /// What orders it among the versions of its record.
    pub fn version(&self) -> Version {
        Version { epoch: get_u32(self.bytes, 40), sequence: get_u64(self.bytes, 32) }
    }

    /// When it expires.
    pub fn void_time(&self) -> VoidTime {
        VoidTime(get_uint::<6>(self.bytes, 48))
    }

    /// Its write counter.
    pub fn generation(&self) -> u16 {
        get_u16(self.bytes, 54)
    }

    /// The set's name; `None` when it is not UTF-8.
    pub fn set(&self) -> Option<&'a str> {
        std::str::from_utf8(self.set_bytes()).ok()
    }

    fn set_bytes(&self) -> &'a [u8] {
        &self.bytes[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + usize::from(self.bytes[12])]
    }

    fn key_bytes(&self) -> &'a [u8] {
        &self.bytes[RECORD_HEADER_BYTES + usize::from(self.bytes[12])..self.head_end()]
    }

    /// The key; `None` when its bytes are not one.
    pub fn key(&self) -> Option<Key> {
        Key::from_parts(self.set()?, self.bytes[11], self.key_bytes())
    }

    /// Whether this is the record of `key`.
    pub fn is_key(&self, key: KeyRef<'_>) -> bool {
        self.bytes[11] == key.kind_byte()
            // Byte by byte: names are short, and as a call of `memcmp` this was the dearest line of a read after the index.
            && self.set_bytes().iter().eq(key.set().as_bytes())
            && key.with_user_bytes(|user| user == self.key_bytes())
    }

    /// The encoded bins.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[self.head_end()..self.body_end()]
    }
}

/// The mark that ends a flush and leads over the padding to the next record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushMark {
    /// How much of the block was durable before this flush, in bytes.
    pub durable: u64,
    /// Bytes from the mark's start to the next record.
    pub skip: u64,
}

impl FlushMark {
    /// The mark for byte `offset` of the block.
    pub fn encode(self, seed: PlaceSeed, offset: u64) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        put_uint::<2>(&mut bytes, 8, u64::from(MARK_MAGIC));
        put_uint::<3>(&mut bytes, 10, self.durable / UNIT);
        put_uint::<3>(&mut bytes, 13, self.skip / UNIT);
        let sum = checksum(&bytes[8..], seed.at(offset));
        put_uint::<8>(&mut bytes, 0, sum);
        bytes
    }

    pub(super) fn parse(bytes: &[u8], seed: PlaceSeed, offset: u64) -> Option<Self> {
        let bytes = bytes.get(..MARK_BYTES)?;
        let fits = get_u16(bytes, 8) == MARK_MAGIC
            && checksum(&bytes[8..], seed.at(offset)) == get_u64(bytes, 0);
        let skip = get_uint::<3>(bytes, 13) * UNIT;
        (fits && skip >= MARK_BYTES as u64)
            .then(|| Self { durable: get_uint::<3>(bytes, 10) * UNIT, skip })
    }
}

/// What a walk finds at one place of a block.
#[derive(Clone, Copy, Debug)]
pub enum Walked<'a> {
    /// A record with a sound header (its body is not verified).
    Record(RecordView<'a>),
    /// The end of a flush.
    Mark(FlushMark),
    /// Nothing that belongs here.
    Nothing,
}

/// What lies at byte `offset` of `block`, the bytes of a whole block.
pub fn walk_at(block: &[u8], seed: PlaceSeed, offset: u64) -> Walked<'_> {
    let Some(bytes) = block.get(offset as usize..) else { return Walked::Nothing };
    if let Ok(record) = RecordView::parse(bytes, seed, offset) {
        return Walked::Record(record);
    }
    FlushMark::parse(bytes, seed, offset).map_or(Walked::Nothing, Walked::Mark)
}
