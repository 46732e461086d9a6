//! The bytes of a footer's entries, each told by its difference from the one before; the layout stands in the parent module.
//!
//! The encoder takes any entries; the decoder takes any bytes, and answers with nothing where they are no entry. Concurrency: none.

use std::collections::HashMap;

use super::FooterEntry;
use crate::{
    format::{
        block::BLOCK_HEADER_BYTES,
        wire::{array, get_u16, put_varint, take_varint, unzigzag, zigzag},
    },
    model::{Digest, NEVER, SizeClass, UNIT, Version, VoidTime},
};

/// Bytes of the part that every entry has.
const FIXED_BYTES: usize = 20;
/// Fewest bytes of an entry.
pub(super) const ENTRY_MIN: usize = FIXED_BYTES + 1;
/// Most bytes of an entry: sequence 10, void time 7, epoch 4, set 5 + 8, gap 4.
pub(super) const ENTRY_MAX: usize = FIXED_BYTES + 10 + 7 + 4 + 5 + 8 + 4;

const TOMBSTONE: u8 = 1;
const EXPIRES: u8 = 2;
const EPOCH: u8 = 4;
const SET: u8 = 8;
const GAP: u8 = 16;

/// What an entry is told by its difference from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    version: Version,
    void_time: VoidTime,
    set_hash: u64,
    /// Where the record before ends.
    pub(super) end: u64,
}

impl Before {
    pub(super) const FIRST: Self = Self {
        version: Version::ZERO,
        void_time: NEVER,
        set_hash: 0,
        end: 2 * BLOCK_HEADER_BYTES as u64,
    };

    pub(super) fn step(&mut self, entry: &FooterEntry) {
        self.version = entry.version;
        self.set_hash = entry.set_hash;
        self.end = entry.end();
        if entry.void_time != NEVER {
            self.void_time = entry.void_time;
        }
    }
}

/// Turns entries into bytes, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    before: Before,
    /// The sets that appeared, with their numbers.
    pub(super) sets: HashMap<u64, u64>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { before: Before::FIRST, sets: HashMap::new() }
    }

    /// Appends the bytes of `entry`, the next by offset: at most [`ENTRY_MAX`].
    pub(super) fn put(&mut self, entry: &FooterEntry, out: &mut Vec<u8>) {
        let (before, start) = (self.before, out.len());
        let mut flags = if entry.tombstone { TOMBSTONE } else { 0 };
        out.extend_from_slice(&[0, entry.size.0]);
        out.extend_from_slice(&entry.generation.to_le_bytes());
        out.extend_from_slice(&entry.digest.0.to_le_bytes());
        put_varint(out, difference(entry.version.sequence, before.version.sequence));
        if entry.void_time != NEVER {
            flags |= EXPIRES;
            put_varint(out, difference(entry.void_time.0, before.void_time.0));
        }
        if entry.version.epoch != before.version.epoch {
            flags |= EPOCH;
            out.extend_from_slice(&entry.version.epoch.to_le_bytes());
        }
        if entry.set_hash != before.set_hash {
            flags |= SET;
            self.put_set(entry.set_hash, out);
        }
        if u64::from(entry.offset) != before.end {
            flags |= GAP;
            // Where records overlap, this becomes a distance that `decode` refuses.
            put_varint(out, u64::from(entry.offset).wrapping_sub(before.end) / UNIT);
        }
        out[start] = flags;
        self.before.step(entry);
    }

    fn put_set(&mut self, hash: u64, out: &mut Vec<u8>) {
        let next = self.sets.len() as u64;
        let number = *self.sets.entry(hash).or_insert(next);
        put_varint(out, number);
        if number == next {
            out.extend_from_slice(&hash.to_le_bytes());
        }
    }
}

/// How far `value` is from `before`, small for neighbours on either side.
fn difference(value: u64, before: u64) -> u64 {
    zigzag(value.wrapping_sub(before) as i64)
}

/// The value that is [`difference`] away from `before`.
fn differing(before: u64, difference: u64) -> u64 {
    before.wrapping_add(unzigzag(difference) as u64)
}

/// Takes the next entry off the front of `bytes`.
#[inline]
pub(super) fn take_entry(
    bytes: &mut &[u8],
    before: &Before,
    sets: &mut Vec<u64>,
) -> Option<FooterEntry> {
    let (fixed, rest) = bytes.split_first_chunk::<FIXED_BYTES>()?;
    *bytes = rest;
    let flags = fixed[0];
    if flags & !(TOMBSTONE | EXPIRES | EPOCH | SET | GAP) != 0 {
        return None;
    }
    let mut version = before.version;
    version.sequence = differing(version.sequence, take_varint(bytes)?);
    let mut void_time = NEVER;
    if flags & EXPIRES != 0 {
        void_time = VoidTime(differing(before.void_time.0, take_varint(bytes)?));
        if void_time.0 > VoidTime::MAX_MS {
            return None;
        }
    }
    if flags & EPOCH != 0 {
        let (epoch, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        version.epoch = u32::from_le_bytes(*epoch);
    }
    let set_hash = if flags & SET != 0 { take_set(bytes, sets)? } else { before.set_hash };
    let gap = if flags & GAP != 0 { take_varint(bytes)? } else { 0 };
    Some(FooterEntry {
        digest: Digest(u128::from_le_bytes(array(fixed, 4))),
        version,
        void_time,
        generation: get_u16(fixed, 2),
        set_hash,
        offset: u32::try_from(before.end.checked_add(gap.checked_mul(UNIT)?)?).ok()?,
        size: SizeClass(fixed[1]),
        tombstone: flags & TOMBSTONE != 0,
    })
}

fn take_set(bytes: &mut &[u8], sets: &mut Vec<u64>) -> Option<u64> {
    let number = usize::try_from(take_varint(bytes)?).ok()?;
    if number == sets.len() {
        let (hash, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        sets.push(u64::from_le_bytes(*hash));
    }
    sets.get(number).copied()
}
