//! The records of one sealed block, read back from its device: for whoever needs them after the start, or a second time during it.

use super::{Shared, walk::Walk};
use crate::{
    device::{AlignedBuf, IoResult, reactor},
    format::{Footer, FooterEntry, PlaceSeed},
};

/// The records of a sealed block, as its footer says, or as a walk finds them when the footer is damaged; and whether they are surely all.
pub(crate) fn read_entries(shared: &Shared, block: u32) -> IoResult<(Vec<FooterEntry>, bool)> {
    let store = shared.store_of(block);
    let (device, number) = (store.superblock.device(), block - store.first_block);
    let sequence = shared.blocks.get(block).sequence();
    let read_tail = |len: u64| -> IoResult<AlignedBuf> {
        let offset = u64::from(number + 1) * shared.block_size - len;
        reactor::block_on(store.device.read(AlignedBuf::new(len as usize), len as usize, offset))
    };
    let guess = (shared.block_size / 16).max(u64::from(store.sector));
    let tail = read_tail(guess)?;
    let footer = match Footer::measure(&tail[..guess as usize], &device, number) {
        Some((length, found)) if found == sequence && length as u64 <= shared.block_size => {
            let length = length as u64;
            let tail = if length > guess { read_tail(length)? } else { tail };
            let end = length.max(guess) as usize;
            Footer::decode(&tail[end - length as usize..end])
        }
        _ => None,
    };
    if let Some(footer) = footer {
        return Ok((footer.entries, true));
    }
    let block = read_tail(shared.block_size)?;
    let seed = PlaceSeed::new(store.seed, sequence);
    let walk = Walk::run(&block, seed, store.sector, |set| store.set_hash(set));
    Ok((walk.entries_with_damaged(), walk.holes.is_empty()))
}
