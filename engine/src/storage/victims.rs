//! Which block to reclaim next.
//!
//! Benefit over cost, nearly as in the log-structured file system (Rosenblum and Ousterhout, 1991): what is dead in a block is won, what lives must be
//! written again, and what has been still for long will stay so. Unlike there, reading the block is not part of the cost: a block in which hardly
//! anything lives is always worth more than one that is only old. Blocks are looked at all together and the best few are taken, so that looking costs little
//! for each.

use super::{
    Shared,
    blocks::{Block, BlockState},
    store::Store,
};

/// Of so many blocks, the best one is taken at a time.
const BLOCKS_PER_VICTIM: usize = 256;
const VICTIMS_MIN: usize = 4;

/// The least that must be dead in a block for it to be worth reclaiming, as a fraction of the block.
const WORTHWHILE: u32 = 32;
/// The same while writers wait for room.
const WORTHWHILE_PRESSED: u32 = 256;

/// The best blocks of `store` to reclaim, the best one first; none if nothing is to be won.
pub(crate) fn choose(shared: &Shared, store: &Store) -> Vec<u32> {
    let fraction = if store.is_pressed() { WORTHWHILE_PRESSED } else { WORTHWHILE };
    let least = (shared.block_size as u32 / fraction).max(1);
    let now = shared.version_now().sequence;
    let candidate = |number: u32| {
        let block = shared.blocks.get(number);
        let fits = block.state() == BlockState::Sealed && !block.is_pinned();
        (fits && block.dead_bytes() >= least).then(|| (score(block, now), number))
    };
    let mut found: Vec<(f64, u32)> = store.blocks().filter_map(candidate).collect();
    let most = (store.block_count as usize / BLOCKS_PER_VICTIM).max(VICTIMS_MIN);
    let better = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0);
    if found.len() > most {
        found.select_nth_unstable_by(most, better);
        found.truncate(most);
    }
    found.sort_unstable_by(better);
    found.into_iter().map(|(_, number)| number).collect()
}

/// The block that holds the horizon back, if it is one of `store` that can be reclaimed.
pub(crate) fn oldest(shared: &Shared, store: &Store) -> Option<u32> {
    let all = shared.blocks.iter().enumerate();
    let (_, number) = all.filter_map(|(at, block)| Some((block.first_kill()?, at))).min()?;
    let (number, block) = (number as u32, shared.blocks.get(number as u32));
    let fits = block.state() == BlockState::Sealed && !block.is_pinned();
    (fits && store.blocks().contains(&number)).then_some(number)
}

fn score(block: &Block, now: u64) -> f64 {
    let (dead, live) = (f64::from(block.dead_bytes()), f64::from(block.in_use()));
    let age = now.saturating_sub(block.birth_sequence()).max(1) as f64;
    dead * age / live.max(1.0)
}
