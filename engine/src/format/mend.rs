//! Telling a wrong bit from a write that was cut short: bytes that fit their checksum once one bit is set right were whole.
//!
//! Nothing is repaired here. What is found so is damage with a name: it must read as damaged, not as absent.

use super::record::{FlushMark, MARK_BYTES, PlaceSeed, RECORD_HEADER_BYTES, RecordView, Walked};
use crate::model::limits::{KEY_MAX, SET_NAME_MAX};

/// The largest body that is looked at bit by bit, in bytes: the work grows with the square of it.
const BODY_MAX: usize = 4096;

/// Calls `take` with the record or mark at byte `offset` of `block`, the bytes of a whole block, if there is one but for a single bit.
pub fn mended_at<T>(
    block: &[u8],
    seed: PlaceSeed,
    offset: u64,
    take: impl FnOnce(Walked<'_>) -> T,
) -> Option<T> {
    let bytes = block.get(offset as usize..)?;
    if let Some(mark) = mended_mark(bytes, seed, offset) {
        return Some(take(Walked::Mark(mark)));
    }
    if !RecordView::resembles(bytes) {
        return None;
    }
    let bytes = &mut bytes.to_vec()[..];
    let head = RecordView::head_len(bytes).min(RECORD_HEADER_BYTES + SET_NAME_MAX + KEY_MAX);
    for bit in 0..head.min(bytes.len()) * 8 {
        flip(bytes, bit);
        if let Ok(record) = RecordView::parse(bytes, seed, offset) {
            return Some(take(Walked::Record(record)));
        }
        flip(bytes, bit);
    }
    None
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

/// Whether the record at byte `offset` of `block`, which has a sound header, has a sound body but for a single bit. False for bodies
/// too large to try.
pub fn mends_body(block: &[u8], seed: PlaceSeed, offset: u64) -> bool {
    let Some(bytes) = block.get(offset as usize..) else { return false };
    let Ok(record) = RecordView::parse(bytes, seed, offset) else { return false };
    let body = &mut record.body().to_vec()[..];
    body.len() <= BODY_MAX
        && (0..body.len() * 8).any(|bit| {
            flip(body, bit);
            let fits = record.fits_body(body);
            flip(body, bit);
            fits
        })
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}
