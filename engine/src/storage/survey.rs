//! What lies in a sealed block: its records by its footer, and their bytes, read in pieces.
//!
//! For those who go through a block as a whole: the defragmenter, truncations, what looks for expired records. Nothing is read that is not
//! asked for, and no more than a few pieces are in flight, so that reads of users are not held up.

use std::{collections::VecDeque, ops::Deref, ops::Range, sync::Arc};

use super::{Shared, image::Image, walk::Walk};
use crate::{
    device::{AlignedBuf, Completion, IoResult},
    format::{Footer, FooterEntry, PlaceSeed},
};

/// The most that is read at once, in bytes.
const PIECE: u32 = 128 << 10;
/// Bytes that nobody wants are read along if there are no more of them than this in a row.
const GAP: u32 = 8 << 10;

/// The records of a sealed block, as its footer says, or as a walk finds them when the footer is damaged; and whether they are surely all.
pub(crate) async fn entries(
    shared: impl Deref<Target = Shared>,
    block: u32,
) -> IoResult<(Vec<FooterEntry>, bool)> {
    let store = shared.store_of(block);
    let (device, number) = (store.superblock.device(), block - store.first_block);
    let sequence = shared.blocks.get(block).sequence();
    let end = store.offset(&shared, block) + shared.block_size;
    let read_tail =
        |len: u64| store.device.read(AlignedBuf::new(len as usize), len as usize, end - len);
    let guess = (shared.block_size / 32).max(u64::from(store.sector));
    let tail = read_tail(guess).await?;
    let footer = match Footer::measure(&tail[..guess as usize], &device, number) {
        // A length that a flipped bit has changed is none that can be read.
        Some((length, found))
            if found == sequence
                && length as u64 <= shared.block_size
                && (length as u64).is_multiple_of(u64::from(store.sector)) =>
        {
            let length = length as u64;
            let tail = if length > guess { read_tail(length).await? } else { tail };
            let end = length.max(guess) as usize;
            Footer::decode(&tail[end - length as usize..end], shared.block_size)
        }
        _ => None,
    };
    if let Some(footer) = footer {
        return Ok((footer.entries, true));
    }
    let whole = read_tail(shared.block_size).await?;
    let seed = PlaceSeed::new(store.seed, sequence);
    let walk = Walk::run(&whole, seed, store.sector, |set| store.set_hash(set));
    Ok((walk.entries_with_damaged(), walk.holes.is_empty()))
}

/// Bytes of some records of one block.
#[derive(Debug)]
pub(crate) enum Pieces {
    /// RAM has all of the block.
    Image(Arc<Image>),
    /// Pieces of the block and where they begin in it, in ascending order.
    Read(Vec<(u32, AlignedBuf)>),
}

impl Pieces {
    /// Bytes `range` of the block, if they were asked for.
    pub(crate) fn get(&self, range: Range<u32>) -> Option<&[u8]> {
        match self {
            Self::Image(image) => image.committed(range.start, range.end - range.start),
            Self::Read(pieces) => {
                let at = pieces.partition_point(|(start, _)| *start <= range.start);
                let (start, bytes) = &pieces[at.checked_sub(1)?];
                bytes.get((range.start - start) as usize..(range.end - start) as usize)
            }
        }
    }
}

/// Reads `wanted`, ranges of bytes in ascending order, of the life of `block` with this sequence; at most `in_flight` pieces at a time, at least one.
pub(crate) async fn pieces(
    shared: impl Deref<Target = Shared>,
    block: u32,
    sequence: u64,
    wanted: Vec<Range<u32>>,
    in_flight: usize,
) -> IoResult<Pieces> {
    let state = shared.blocks.get(block);
    if let Some(image) = state.image().filter(|_| state.sequence() == sequence) {
        return Ok(Pieces::Image(image));
    }
    let store = shared.store_of(block);
    let base = store.offset(&shared, block);
    let mut ranges = coalesced(wanted, store.device.geometry().read_sector).into_iter();
    let mut flying: VecDeque<(u32, usize, Completion<AlignedBuf>)> = VecDeque::new();
    let mut done = Vec::new();
    loop {
        while flying.len() < in_flight.max(1)
            && let Some(range) = ranges.next()
        {
            let len = (range.end - range.start) as usize;
            let offset = base + u64::from(range.start);
            let read = store.device.read(AlignedBuf::new(len), len, offset);
            flying.push_back((range.start, len, read));
        }
        let Some((start, _, read)) = flying.pop_front() else { return Ok(Pieces::Read(done)) };
        done.push((start, read.await?));
    }
}

/// Ranges of whole sectors that cover `wanted`; a range is never cut in two.
fn coalesced(wanted: Vec<Range<u32>>, sector: u32) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for range in wanted {
        let whole = range.start / sector * sector..range.end.next_multiple_of(sector);
        match ranges.last_mut() {
            Some(last) if whole.start <= last.end + GAP && whole.end - last.start <= PIECE => {
                last.end = last.end.max(whole.end);
            }
            _ => ranges.push(whole),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record that is cut in two could not be moved; bytes that nobody wants cost the readers of others.
    #[test]
    fn pieces_cover_what_is_wanted_and_little_else() {
        let ranges = coalesced(
            vec![1000..1100, 1100..2000, 20_000..20_100, 200_000..500_000, 500_000..500_016],
            512,
        );
        assert_eq!(
            ranges,
            [512..2048, 19_968..20_480, 199_680..500_224, 499_712..500_224].map(|r: Range<u32>| r)
        );
    }

    /// Pieces that overlap by a sector still give each record's own bytes.
    #[test]
    fn bytes_are_found_in_their_piece() {
        let piece = |start: u32, len: usize, fill: u8| {
            let mut bytes = AlignedBuf::new(len);
            bytes.fill(fill);
            (start, bytes)
        };
        let pieces = Pieces::Read(vec![piece(512, 1536, 1), piece(1536, 1024, 2)]);
        assert_eq!(pieces.get(600..700), Some(&[1; 100][..]));
        assert_eq!(pieces.get(1700..1702), Some(&[2; 2][..]));
        assert_eq!(pieces.get(100..200), None);
        assert_eq!(pieces.get(2500..2600), None);
    }
}
