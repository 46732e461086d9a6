//! Blocks without a sound footer of their own: open when the node stopped, or damaged.
//!
//! They are read as a whole and walked record by record. One that was open gets its footer, so that the next start finds it sealed.

use std::sync::atomic::Ordering::SeqCst;

use super::{
    Recovery,
    heads::{Head, HeadStatus},
};
use crate::{
    device::{AlignedBuf, Region, reactor},
    format::{Footer, FooterEntry, LinkState, PlaceSeed, Walked, walk_at},
    storage::{blocks::BlockState, store::Store, walk::Walk},
};

impl Recovery<'_> {
    /// Takes in a block of which `tail` was read and whose own footer is not there; `footer` is a sound one of another life, if any.
    pub(super) fn take_unsealed(
        &self,
        block: u32,
        head: &Head,
        footer: Option<Footer>,
        tail: &[u8],
    ) {
        let store = self.shared.store_of(block);
        let len = self.shared.block_size as usize;
        let read;
        let bytes = if tail.len() == len {
            tail
        } else {
            self.tally.bytes_read.fetch_add(len as u64, SeqCst);
            let whole = store.device.read(AlignedBuf::new(len), len, self.offset(store, block));
            read = reactor::block_on(whole).unwrap_or_else(|_| self.salvage(block, len).0);
            &read[..]
        };
        if head.status == HeadStatus::Damaged {
            return self.save_headless(block, head, footer, bytes);
        }
        let seed = PlaceSeed::new(store.seed, head.sequence);
        let walk = Walk::run(bytes, seed, store.sector, |set| store.set_hash(set));
        if head.is_linked_sealed() {
            self.damage(block, "the footer is damaged; its records were found one by one");
            walk.holes.iter().for_each(|place| self.damage(block, &hole(place)));
            self.take_walked(block, head, head.sequence, &walk.entries_with_damaged());
            return;
        }
        self.tally.open_blocks.fetch_add(1, SeqCst);
        let verdict = walk.judge(bytes, seed);
        self.tally.torn.fetch_add(verdict.torn, SeqCst);
        verdict.damaged.iter().for_each(|place| self.damage(block, &hole(place)));
        self.shared.go_on_behind(verdict.dropped);
        if self.take_walked(block, head, head.sequence, &verdict.entries) {
            self.seal(store, block, head.sequence, verdict.entries);
        }
    }

    /// Takes in what a walk found. Whether that is all there is: where a piece could not be read there may be more, which a later start finds if
    /// the block is left as it is.
    fn take_walked(&self, block: u32, head: &Head, sequence: u64, found: &[FooterEntry]) -> bool {
        self.take_records(block, head, sequence, found);
        let state = self.shared.blocks.get(block);
        let all = !state.is_unsure();
        if !all {
            state.set_state(BlockState::Damaged);
        }
        all
    }

    /// A block whose header is damaged: its footer, or the links of other blocks, may tell what it was.
    fn save_headless(&self, block: u32, head: &Head, footer: Option<Footer>, bytes: &[u8]) {
        let store = self.shared.store_of(block);
        let linked = head.link.map(|(sequence, _)| sequence);
        if let Some(footer) = footer
            && linked.is_none_or(|sequence| sequence <= footer.sequence)
            && self.footer_fits(store, &footer, bytes)
        {
            self.damage(block, "the header is damaged; the footer took its place");
            self.take_records(block, &Head::default(), footer.sequence, &footer.entries);
            return;
        }
        if let Some(sequence) = linked {
            let seed = PlaceSeed::new(store.seed, sequence);
            let walk = Walk::run(bytes, seed, store.sector, |set| store.set_hash(set));
            if walk.records > 0 {
                self.damage(block, "the header is damaged; its records were found one by one");
                walk.holes.iter().for_each(|place| self.damage(block, &hole(place)));
                // If it was open its end may be torn, and half of a group must not count.
                let entries = match head.link {
                    Some((_, LinkState::Sealed)) => walk.entries_with_damaged(),
                    _ => {
                        let verdict = walk.judge(bytes, seed);
                        self.shared.go_on_behind(verdict.dropped);
                        verdict.entries
                    }
                };
                self.take_walked(block, &Head::default(), sequence, &entries);
                return;
            }
        }
        self.damage(block, "the header is damaged and nothing tells what the block held");
        self.shared.blocks.get(block).set_state(BlockState::Damaged);
    }

    /// Whether the footer is of the block's present life: its first record is there.
    fn footer_fits(&self, store: &Store, footer: &Footer, bytes: &[u8]) -> bool {
        let seed = PlaceSeed::new(store.seed, footer.sequence);
        footer.entries.first().is_some_and(|entry| {
            matches!(walk_at(bytes, seed, u64::from(entry.offset)), Walked::Record(_))
        })
    }

    /// Gives a block that was open its footer, so that the next start finds it sealed.
    fn seal(&self, store: &Store, block: u32, sequence: u64, entries: Vec<FooterEntry>) {
        if entries.is_empty() {
            return;
        }
        let data_end = entries.last().map_or(0, |e| e.offset + e.size.bytes() as u32);
        let footer = Footer {
            device: store.superblock.device(),
            block: block - store.first_block,
            sequence,
            data_end,
            entries,
        };
        let bytes = footer.encode(store.sector);
        let length = bytes.len();
        let offset = self.offset(store, block) + self.shared.block_size - length as u64;
        let write = store.device.write(&Region::from_bytes(&bytes), 0, length, offset, true);
        if let Err(error) = reactor::block_on(write) {
            // What was found can be served; the next start finds it the same way.
            self.shared.fence(store, &error.to_string());
        }
    }
}

fn hole((start, end): &(u32, u32)) -> String {
    format!("bytes {start} to {end} hold no sound record, and should")
}
