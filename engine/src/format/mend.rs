//! Telling a wrong bit from a write that was cut short.
//!
//! A medium writes units of 512 bytes whole or not at all. Bytes that fit their checksum once one bit is set right, in a unit that is surely of
//! the write in question, were written whole: that is damage. In another unit the bit may be what stood there before, and only looks wrong.
//!
//! Nothing is repaired here. What is found so is damage with a name: it must read as damaged, not as absent.

use super::record::{FlushMark, MARK_BYTES, PlaceSeed, RECORD_HEADER_BYTES, RecordView, Walked};
use crate::model::limits::{KEY_MAX, SET_NAME_MAX};

/// What a device writes whole or not at all, in bytes.
pub const TEAR_BYTES: usize = 512;

/// The largest body that is looked at bit by bit, in bytes: each bit costs a checksum of all of it.
const BODY_MAX: usize = 16 * 1024;

/// Calls `take` with the record or mark at byte `offset` of `block`, the bytes of a whole block, if there is one but for a single bit.
/// `written` says which units of the block are surely written.
pub fn mended_at<T>(
    block: &[u8],
    seed: PlaceSeed,
    offset: u64,
    written: impl Fn(usize) -> bool,
    take: impl FnOnce(Walked<'_>) -> T,
) -> Option<T> {
    let start = offset as usize;
    let bytes = block.get(start..)?;
    if let Some(mark) = mended_mark(bytes, seed, offset) {
        return Some(take(Walked::Mark(mark)));
    }
    if !RecordView::resembles(bytes) {
        return None;
    }
    let bytes = &mut bytes.to_vec()[..];
    let head = RecordView::head_len(bytes).min(RECORD_HEADER_BYTES + SET_NAME_MAX + KEY_MAX);
    for bit in 0..head.min(bytes.len()) * 8 {
        let unit = (start + bit / 8) / TEAR_BYTES;
        // The checksum stands at the start: if it fits all the rest, its unit was written.
        if unit != start / TEAR_BYTES && !written(unit) {
            continue;
        }
        flip(bytes, bit);
        if let Ok(record) = RecordView::parse(bytes, seed, offset) {
            return Some(take(Walked::Record(record)));
        }
        flip(bytes, bit);
    }
    None
}

/// Bytes of header, set and key that a record at byte `offset` of `block` claims to have, whether it is one or not.
pub fn claimed_head(block: &[u8], offset: u64) -> Option<u64> {
    let bytes = block.get(offset as usize..)?;
    (bytes.len() >= RECORD_HEADER_BYTES).then(|| RecordView::head_len(bytes) as u64)
}

fn mended_mark(bytes: &[u8], seed: PlaceSeed, offset: u64) -> Option<FlushMark> {
    let mut mark = *bytes.first_chunk::<MARK_BYTES>()?;
    (0..MARK_BYTES * 8).find_map(|bit| {
        flip(&mut mark, bit);
        let found = FlushMark::parse(&mark, seed, offset);
        flip(&mut mark, bit);
        found
    })
}

/// Whether the record at byte `offset` of `block`, which has a sound header, has a sound body but for a single bit in a unit that is
/// surely written. False for bodies too large to try.
pub fn mends_body(
    block: &[u8],
    seed: PlaceSeed,
    offset: u64,
    written: impl Fn(usize) -> bool,
) -> bool {
    let Some(bytes) = block.get(offset as usize..) else { return false };
    let Ok(record) = RecordView::parse(bytes, seed, offset) else { return false };
    let start = offset as usize + RecordView::head_len(bytes);
    let body = &mut record.body().to_vec()[..];
    body.len() <= BODY_MAX
        && (0..body.len()).filter(|byte| written((start + byte) / TEAR_BYTES)).any(|byte| {
            (byte * 8..byte * 8 + 8).any(|bit| {
                flip(body, bit);
                let fits = record.fits_body(body);
                flip(body, bit);
                fits
            })
        })
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}
