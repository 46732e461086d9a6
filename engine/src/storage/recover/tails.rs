//! The second pass of a recovery: the footers of the data blocks, many reads in flight, and their records.
//!
//! A block without a sound footer of its own goes to `unsealed`.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::{
    Recovery,
    heads::{Head, HeadStatus},
};
use crate::{
    device::{AlignedBuf, Completion, IoResult, reactor},
    format::{Footer, FooterEntry, checkpoint::BlockStateImage},
    model::Version,
    storage::{
        blocks::{BlockState, cost},
        filling::contents,
    },
};

/// Footer reads in flight, for each thread.
const TAILS_IN_FLIGHT: usize = 32;

impl Recovery<'_> {
    /// Reads the blocks in `data` from number `next` on, which all threads share, and hands over what is in them.
    pub(super) fn read_data_blocks(
        &self,
        heads: &[Head],
        data: &[u32],
        next: &AtomicUsize,
    ) -> IoResult<()> {
        let mut window: VecDeque<(u32, Completion<AlignedBuf>)> = VecDeque::new();
        let mut guess = (self.shared.block_size / 16).max(4096) as usize;
        // One read alone tells how long footers are here: many reads of a wrong guess would be a good part of what a start reads.
        let mut in_flight = 1;
        loop {
            if let Some(&block) = data.get(next.fetch_add(1, SeqCst)) {
                window.push_back((block, self.read_tail(block, guess)));
                if window.len() < in_flight {
                    continue;
                }
            }
            let Some((block, read)) = window.pop_front() else { break };
            let head = &heads[block as usize];
            let used = match reactor::block_on(read) {
                Ok(tail) => self.take_block(block, head, &tail),
                Err(_) => {
                    let (bytes, _) = self.salvage(block, self.shared.block_size as usize);
                    self.take_block(block, head, &bytes)
                }
            };
            // Footers of neighbours are alike: the next guess is a little more than the last need.
            guess = used.unwrap_or(guess).next_multiple_of(4096);
            in_flight = TAILS_IN_FLIGHT;
            self.step("reading records", data.len() as u64);
        }
        (self.finish)();
        Ok(())
    }

    fn read_tail(&self, block: u32, guess: usize) -> Completion<AlignedBuf> {
        let store = self.shared.store_of(block);
        let len =
            guess.next_multiple_of(store.sector as usize).min(self.shared.block_size as usize);
        self.tally.bytes_read.fetch_add(len as u64, SeqCst);
        let offset = self.offset(store, block) + self.shared.block_size - len as u64;
        store.device.read(AlignedBuf::new(len), len, offset)
    }

    /// Takes in one block of which `tail` was read. Returns the length of its footer.
    fn take_block(&self, block: u32, head: &Head, tail: &[u8]) -> Option<usize> {
        let store = self.shared.store_of(block);
        let (device, number) = (store.superblock.device(), block - store.first_block);
        let measured = Footer::measure(tail, &device, number);
        let footer = match measured {
            Some((length, _)) if length > self.shared.block_size as usize => None,
            Some((length, _)) if length <= tail.len() => {
                Footer::decode(&tail[tail.len() - length..], self.shared.block_size)
            }
            Some((length, _)) => reactor::block_on(self.read_tail(block, length))
                .ok()
                .and_then(|tail| Footer::decode(&tail, self.shared.block_size)),
            None => None,
        };
        match footer {
            Some(footer) if head.status == HeadStatus::Data && footer.sequence == head.sequence => {
                self.take_records(block, head, head.sequence, &footer.entries);
                measured.map(|(length, _)| length)
            }
            footer => {
                self.take_unsealed(block, head, footer, tail);
                None
            }
        }
    }

    /// Counts all of a block's records as live and hands them over: the sink counts out what is not.
    pub(super) fn take_records(
        &self,
        block: u32,
        head: &Head,
        sequence: u64,
        entries: &[FooterEntry],
    ) {
        let birth = head.birth;
        // Without a header nobody knows at what version the block was opened.
        let known = match (birth, entries.first()) {
            (Version::ZERO, Some(first)) => first.version,
            _ => birth,
        };
        let contents = contents(entries, known, self.shared.clock.now_ms());
        let max = contents.max.max(birth);
        let records = entries.iter().filter(|entry| !entry.tombstone).count() as u32;
        let in_use: u32 = entries.iter().map(|entry| cost(entry.size, entry.tombstone)).sum();
        let state = BlockStateImage {
            sequence,
            birth,
            floor: contents.floor,
            max,
            filled: in_use + contents.gaps,
            in_use,
            records,
            live: records,
            written: contents.written,
            first_kill: u64::MAX,
            guard: contents.guard,
            due: contents.due,
            stream: head.stream,
            ..BlockStateImage::default()
        };
        // Open for now: a block must not be freed while records may still turn out to be live in it.
        self.shared.blocks.get(block).restore(&state, BlockState::Open);
        self.shared.go_on_behind(max);
        self.shared.go_on_behind(birth);
        (self.sink)(block, entries);
        self.tally.records.fetch_add(entries.len() as u64, SeqCst);
    }
}
