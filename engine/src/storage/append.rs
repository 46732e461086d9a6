//! Putting records into a device's open blocks.
//!
//! Each stream has an open block of its own; all are under one lock, held for the copy of one record. Writers never wait for I/O here:
//! they are told to wait for room, or that there will be none. The flusher is told what changed.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use super::{
    Shared,
    bound::{Bound, is_in},
    filling::{Appending, Filling, Opening},
    image::Image,
    space::Claim,
    store::Store,
    streams::{STREAMS, StreamId},
};
use crate::{
    format::{
        FooterEntry, FooterSize, LINKS, Link, LinkState, MARK_BYTES, Ties, block_header_region,
    },
    model::{Location, Version},
};

/// Writers wait while so much is on its way to the device: a few milliseconds' worth of a fast one.
const CLOSING_BYTES: u64 = 16 << 20;
/// Blocks that may be on their way in any case.
const CLOSING_BLOCKS: u64 = 8;

/// The blocks being filled and flushed.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Where records are appended, by stream.
    pub(super) open: [Option<Filling>; STREAMS],
    /// Complete in RAM, on their way to the device; oldest first.
    pub(super) closing: VecDeque<Filling>,
    /// Blocks opened or sealed lately, the last one first, for the links in the next header.
    pub(super) recent: VecDeque<Link>,
}

impl Streams {
    /// All blocks that are not complete on the device.
    pub(super) fn fillings(&self) -> impl Iterator<Item = &Filling> {
        self.closing.iter().chain(self.open.iter().flatten())
    }

    /// The same, to be changed.
    pub(super) fn fillings_mut(&mut self) -> impl Iterator<Item = &mut Filling> {
        self.closing.iter_mut().chain(self.open.iter_mut().flatten())
    }

    /// The block with this sequence, which stays until it is sealed.
    pub(super) fn filling(&mut self, sequence: u64) -> &mut Filling {
        let mut fillings = self.fillings_mut();
        fillings.find(|filling| filling.sequence == sequence).expect("a block that is not sealed")
    }

    /// Remembers how far a block has come. One that is sealed comes to the front: however long it was open, the next headers tell of it.
    pub(super) fn note(&mut self, block: u32, sequence: u64, state: LinkState) {
        let at = self.recent.iter().position(|link| link.sequence == sequence);
        if state == LinkState::Partly {
            if let Some(link) = at.and_then(|at| self.recent.get_mut(at)) {
                link.state = link.state.max(state);
            }
            return;
        }
        if let Some(at) = at {
            self.recent.remove(at);
        }
        if self.recent.len() == LINKS {
            // What is still being written is told of as long as it can be.
            let sealed = self.recent.iter().rposition(|link| link.state == LinkState::Sealed);
            self.recent.remove(sealed.unwrap_or(LINKS - 1));
        }
        self.recent.push_front(Link { block, sequence, state });
    }
}

/// Where a record was put.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) location: Location,
    /// The block it is in, to wait for its durability, and where it ends there.
    pub(crate) image: Arc<Image>,
    pub(crate) end: u32,
    /// The version sequence at which it was put there.
    pub(crate) at: u64,
}

/// What came of an append.
#[derive(Debug)]
pub(crate) enum Append {
    Done(Appended),
    /// No room just now: wait until something changed since this turn of [`Store::room`].
    Wait(u64),
    /// No room, and waiting cannot help.
    Full,
    /// The device is fenced, for this reason.
    Failed(Box<str>),
    /// The namespace is being closed.
    Closed,
    /// A truncation has begun since the writer looked: what it saw may be gone.
    Cut,
}

/// What an append asks of a block.
struct Need {
    bytes: u64,
    records: usize,
    stream: StreamId,
    /// How many truncations had begun when the writer looked at what is there.
    cuts: u64,
}

impl Store {
    /// Puts a record into its stream's open block, or into that of what it comes `after`. Versions are given here, under the lock, so that they
    /// grow along the stream.
    pub(crate) fn append(
        &self,
        shared: &Shared,
        claim: Claim,
        durable: bool,
        record: Appending<'_>,
        after: &[Bound],
    ) -> Append {
        let turn = self.room.turn();
        let mut streams = self.streams.lock();
        let need = Need {
            bytes: record.size.bytes(),
            records: 1,
            stream: self.stream_of(record.stream, durable, after),
            cuts: record.cuts,
        };
        let stream = match self.make_room(shared, &mut streams, claim, &need, turn) {
            Ok(stream) => stream,
            Err(append) => return append,
        };
        let open = streams.open[stream.index()].as_mut().expect("a block is open");
        let begins_to_wait = open.waiting_since().is_none();
        let ticket = shared.next_version();
        let (size, tombstone) = (record.size, record.tombstone);
        if !after.is_empty() {
            record.builder.tie(Ties { behind: is_in(after, open.block), ..Ties::default() });
        }
        let offset = open.append(record, ticket, || shared.clock.monotonic());
        shared.count_in(self, open.block, size, tombstone);
        let end = offset + size.bytes() as u32;
        if !after.is_empty() {
            self.bind_in(open, offset..end);
        }
        let (appended, kick) =
            self.appended(shared, open, ticket, offset..end, durable, begins_to_wait);
        drop(streams);
        if kick {
            self.flusher.kick();
        }
        Append::Done(appended)
    }

    /// Puts several records into one open block, one behind the other, with nothing between them. What is returned is the first one's place and
    /// ticket; the others' follow from it, the end is that of all.
    pub(crate) fn append_group(
        &self,
        shared: &Shared,
        claim: Claim,
        durable: bool,
        stream: StreamId,
        records: Vec<Appending<'_>>,
        after: &[Bound],
    ) -> Append {
        let turn = self.room.turn();
        let mut streams = self.streams.lock();
        let need = Need {
            bytes: records.iter().map(|record| record.size.bytes()).sum(),
            records: records.len(),
            stream: self.stream_of(stream, durable, after),
            cuts: records[0].cuts,
        };
        let stream = match self.make_room(shared, &mut streams, claim, &need, turn) {
            Ok(stream) => stream,
            Err(append) => return append,
        };
        let open = streams.open[stream.index()].as_mut().expect("a block is open");
        let begins_to_wait = open.waiting_since().is_none();
        let first = shared.next_versions(records.len() as u64);
        let start = open.end();
        let (last, behind) = (records.len() - 1, is_in(after, open.block));
        for (at, record) in records.into_iter().enumerate() {
            let (size, tombstone) = (record.size, record.tombstone);
            let sequence = first.sequence + at as u64;
            record.builder.tie(Ties {
                next: at < last,
                previous: at > 0,
                behind: behind && at == 0,
            });
            open.append(record, Version { sequence, ..first }, || shared.clock.monotonic());
            shared.count_in(self, open.block, size, tombstone);
        }
        let place = start..open.end();
        if last > 0 || !after.is_empty() {
            self.bind_in(open, place.clone());
        }
        let (appended, kick) = self.appended(shared, open, first, place, durable, begins_to_wait);
        drop(streams);
        if kick {
            self.flusher.kick();
        }
        Append::Done(appended)
    }

    fn bind_in(&self, open: &mut Filling, place: Range<u32>) {
        open.bind(place);
        self.bind();
    }

    /// What was just put in counts as not durable, from its first ticket on. Returns where it is and whether the flusher must be told.
    fn appended(
        &self,
        shared: &Shared,
        open: &mut Filling,
        ticket: Version,
        place: Range<u32>,
        durable: bool,
        begins_to_wait: bool,
    ) -> (Appended, bool) {
        self.low.fetch_min(ticket.sequence, SeqCst);
        let kick = if durable {
            open.image.want(place.end);
            open.want_all();
            // Otherwise a write in flight is waited for, and the flusher looks again when it is done.
            open.is_ready()
        } else {
            begins_to_wait || open.has_full_unit(shared.flush_size)
        };
        let appended = Appended {
            location: shared.blocks.location(open.block, place.start),
            image: Arc::clone(&open.image),
            end: place.end,
            at: ticket.sequence,
        };
        (appended, kick)
    }

    /// Opens a block if none has room, and returns the stream that has it.
    fn make_room(
        &self,
        shared: &Shared,
        streams: &mut Streams,
        claim: Claim,
        need: &Need,
        turn: u64,
    ) -> Result<StreamId, Append> {
        if let Some(cause) = self.failure() {
            return Err(Append::Failed(cause.into()));
        }
        if self.is_closed() {
            return Err(Append::Closed);
        }
        if need.cuts != shared.cuts() {
            return Err(Append::Cut);
        }
        if claim == Claim::Ordinary && self.space.in_use() >= self.limit(shared) {
            return Err(Append::Full);
        }
        let mut stream = need.stream;
        let may_open = self.space.may_open(claim);
        // What was opened with a free block that a writer may not take is not his to fill either: he would use up the defragmenter's last
        // blocks one by one.
        let at_work = !self.is_exhausted();
        let fits = |open: &Filling| {
            open.fits(need.bytes, need.records)
                && (may_open || !(at_work && open.withheld_from(claim)))
        };
        if !streams.open[stream.index()].as_ref().is_some_and(fits) {
            let at_last = claim == Claim::Reclaim && self.space.is_at_last_block();
            if at_last && self.hurry_what_comes_free(shared, streams) {
                // Old records among young ones would be moved again and again: rather wait a little.
                return Err(Append::Wait(turn));
            }
            // Those of the longest-lived records come last.
            let any = streams.open.iter().rposition(|open| open.as_ref().is_some_and(fits));
            match any.filter(|_| at_last) {
                // The last block is for what fits nowhere else: then it holds nothing but what still lies in its old place too, and a
                // crash leaves it empty.
                Some(other) => stream = StreamId(other as u8),
                None if !may_open => return Err(self.no_room(shared, streams, claim, turn)),
                None if !self.open_next(shared, streams, stream, claim) => {
                    return Err(Append::Wait(turn));
                }
                None => self.space.opened(claim),
            }
        }
        Ok(stream)
    }

    /// The most bytes that `records` records may take together: those of an empty block.
    pub(crate) fn largest_group(&self, shared: &Shared, records: usize) -> u64 {
        let footer = FooterSize::new().bytes_with(records, self.sector);
        let room = shared.block_size - block_header_region(self.sector) - MARK_BYTES as u64;
        room.saturating_sub(footer)
    }

    /// Asks that all that was put in so far becomes durable. Returns up to where, for each block that is not.
    pub(crate) fn want_all(&self) -> Vec<(Arc<Image>, u32)> {
        let mut streams = self.streams.lock();
        let behind = streams.fillings_mut().filter(|filling| filling.low().is_some());
        let wanted = behind.map(|filling| {
            filling.want_all();
            (Arc::clone(&filling.image), filling.end())
        });
        let wanted = wanted.collect();
        drop(streams);
        self.flusher.kick();
        wanted
    }

    /// Asks that what lies in `image` becomes durable, if it is still being filled.
    pub(crate) fn want(&self, image: &Arc<Image>) {
        let mut streams = self.streams.lock();
        let mut open = streams.open.iter_mut().flatten();
        if let Some(open) = open.find(|open| Arc::ptr_eq(&open.image, image)) {
            open.want_all();
            drop(streams);
            self.flusher.kick();
        }
    }

    /// The stream that a record goes to. Writers that wait for durability share a flush only if they share a block: as long as there is more
    /// free space than the defragmenter asks for, that is worth more than to keep apart what dies soon. What comes `after` something follows it.
    fn stream_of(&self, stream: StreamId, durable: bool, after: &[Bound]) -> StreamId {
        if let Some(after) = after.first() {
            return after.stream;
        }
        let apart = !stream.expires() && self.sorting.streams() > 3;
        if durable && apart && self.space.is_ample() {
            return StreamId::NEW;
        }
        stream
    }

    /// What a write without room is told.
    fn no_room(&self, shared: &Shared, streams: &Streams, claim: Claim, turn: u64) -> Append {
        if self.space.may_open(claim) {
            // A block has become free meanwhile.
            return Append::Wait(turn);
        }
        if !self.hurry_what_comes_free(shared, streams)
            && (self.is_fruitless()
                || (streams.closing.is_empty() && (self.is_exhausted() || claim == Claim::Reclaim)))
        {
            return Append::Full;
        }
        if claim != Claim::Reclaim {
            self.defragmenter.kick();
        }
        Append::Wait(turn)
    }

    /// Whether a block becomes free without anybody's doing, which is made to happen soon.
    fn hurry_what_comes_free(&self, shared: &Shared, streams: &Streams) -> bool {
        // Blocks that are empty already become free once what emptied them is durable: worth waiting for, and worth a hurry. What a failed
        // device has not made durable, it never will.
        let any_failed = shared.stores.iter().any(|store| store.failure().is_some());
        let comes_free = |block: u32| !(any_failed && shared.blocks.get(block).is_crossed());
        // So does a block on its way to the device in which nothing is live.
        let dies_closing = streams.closing.iter().any(|f| shared.blocks.get(f.block).in_use() == 0);
        let comes = dies_closing || self.space.will_grow(comes_free);
        if comes {
            shared.stores.iter().for_each(Store::hurry);
        }
        comes
    }

    /// Closes the stream's open block and opens a free one; false when no image is free.
    fn open_next(
        &self,
        shared: &Shared,
        streams: &mut Streams,
        stream: StreamId,
        claim: Claim,
    ) -> bool {
        // What waits too long for the device is cold when its turn comes, and pushes out of the post-write cache what is read.
        if streams.closing.len() as u64 >= (CLOSING_BYTES / shared.block_size).max(CLOSING_BLOCKS) {
            return false;
        }
        // Images come back when a closing block is sealed. With none on its way, only readers hold them, and waiting for those could
        // last: then one more is made.
        let nothing_comes_back = streams.closing.is_empty();
        let Some(image) = shared.take_image(nothing_comes_back) else { return false };
        // Blocks are taken under the streams' lock only, so the one that the caller saw is still there.
        let block = self.take_free_block().expect("the caller saw a free block");
        if let Some(mut full) = streams.open[stream.index()].take() {
            full.close(false);
            streams.closing.push_back(full);
        }
        let sequence = self.take_sequence();
        let birth = shared.version_now();
        shared.blocks.get(block).open(sequence, birth, stream, &image);
        let opening = Opening {
            block,
            number: block - self.first_block,
            sequence,
            birth,
            stream,
            claim,
            device: self.superblock.device(),
            device_seed: self.seed,
            sector: self.sector,
            size: shared.block_size as u32,
        };
        let mut filling = Filling::new(opening, image);
        let mut before = streams.closing.iter().rev().filter(|closing| closing.stream() == stream);
        filling.hold(before.next().and_then(Filling::holds_next));
        streams.open[stream.index()] = Some(filling);
        if self.is_short() {
            self.defragmenter.kick();
        }
        true
    }

    /// The open blocks in which records expired before `limit_ms`, with their sequence and their records; each record once.
    pub(crate) fn open_due(&self, limit_ms: u64) -> Vec<(u32, u64, Vec<FooterEntry>)> {
        let mut streams = self.streams.lock();
        let open = streams.open.iter_mut().flatten();
        open.filter_map(|open| Some((open.block, open.sequence, open.take_due(limit_ms)?)))
            .collect()
    }

    /// Closes all open blocks: later records go to others, born later.
    pub(super) fn close_open(&self, streams: &mut Streams) {
        for open in &mut streams.open {
            if let Some(mut full) = open.take_if(|open| open.has_records()) {
                full.close(true);
                streams.closing.push_back(full);
            }
        }
        self.flusher.kick();
    }
}
