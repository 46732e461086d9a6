//! One write block while it is filled and flushed: where the next record goes, and how far the device has come.
//!
//! ```text
//! 0        synced       written      issued        cursor            footer
//! |-- durable --|- on its way -|- in flight -|-- only in RAM --|--- free ---|
//! ```
//!
//! All positions are bytes in the block. `issued` moves only to sector boundaries, and what lies below it is never changed
//! again, so no sector that holds an acknowledged record is written twice. A flush that cannot wait for a full
//! sector ends with a mark and padding; the next record starts behind.

use std::{collections::VecDeque, ops::Range, sync::Arc, time::Duration};

use super::{blocks::Contents, due, image::Image, space::Claim, streams::StreamId};
use crate::{
    format::{
        BlockHeader, BlockKind, FOOTER_SHARE, FlushMark, Footer, FooterEntry, FooterSize, Link,
        MARK_BYTES, PlaceSeed, RecordBuilder, block_header_region,
    },
    model::{Digest, NEVER, SizeClass, Version, VoidTime},
};

/// A record ready to be put into a block: everything but its place and, if it is a new one, its version.
#[derive(Debug)]
pub(crate) struct Appending<'a> {
    pub(crate) builder: &'a mut RecordBuilder,
    pub(crate) size: SizeClass,
    pub(crate) digest: Digest,
    pub(crate) set_hash: u64,
    /// How many truncations had begun when the writer looked at what is there.
    pub(crate) cuts: u64,
    /// Where it belongs.
    pub(crate) stream: StreamId,
    /// The version it has already, if it is moved from another block.
    pub(crate) version: Option<Version>,
    pub(crate) void_time: VoidTime,
    pub(crate) generation: u16,
    pub(crate) tombstone: bool,
}

/// What a device's flusher does next for a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Write these bytes; `durable` when they must survive power loss by themselves.
    Write { start: u32, end: u32, durable: bool },
    /// Write the footer, which a sync makes durable.
    Footer { start: u32 },
}

/// What a flusher lets a block do now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of a flush unit.
    pub(super) unit: u32,
    /// Writes of one block that may be on their way at once.
    pub(super) writes: usize,
    /// Whether the device has room for one more write that nobody waits for.
    pub(super) room: bool,
}

/// How far a block's footer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FooterState {
    None,
    Writing,
    /// On the device, perhaps only in its cache.
    Written,
    /// The sync in flight makes it durable.
    Syncing,
}

/// What a sync has made durable of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Synced {
    /// Everything below this.
    To(u32),
    /// All of it and the footer.
    Whole,
}

/// A flush write on its way.
#[derive(Debug)]
struct InFlight {
    end: u32,
    durable: bool,
    done: bool,
}

/// While a durable write is in flight, another one is issued beside it only with so many bytes: fewer gather, for a sector is written once.
const GATHERED: u32 = 32 << 10;

/// Flush units that one write takes along at most.
const UNITS_AT_ONCE: u32 = 2;

/// A block that is being filled or flushed.
#[derive(Debug)]
pub(super) struct Filling {
    /// The block in the table.
    pub(super) block: u32,
    /// The block on its device.
    pub(super) number: u32,
    pub(super) sequence: u64,
    pub(super) birth: Version,
    stream: StreamId,
    /// For whom it was opened.
    claim: Claim,
    pub(super) image: Arc<Image>,
    device: [u8; 16],
    seed: PlaceSeed,
    sector: u32,
    size: u32,
    cursor: u32,
    issued: u32,
    /// Everything below is on the device, though perhaps only in its cache.
    written: u32,
    /// Flush writes on their way, in the order of their places.
    in_flight: VecDeque<InFlight>,
    /// Everything below survives power loss, or does when the durable writes in flight are done.
    covered: u32,
    sync_in_flight: Option<u32>,
    footer: FooterState,
    /// Everything below must become durable now.
    target: u32,
    /// Since when there are bytes above `target`.
    waiting_since: Option<Duration>,
    entries: Vec<FooterEntry>,
    footer_size: FooterSize,
    /// When each entry was put in, as the version sequence of that moment: what is moved here keeps an older version.
    tickets: Vec<u64>,
    /// The earliest void time of its records that nobody was told of, in milliseconds since 1970; `u64::MAX` for none.
    first_void: u64,
    closed: bool,
    /// It was closed before it was full.
    early: bool,
    /// How many entries at the front are durable.
    durable_entries: usize,
    /// Where the records lie that others may depend on, as long as they are not durable: groups, and what depends on one. In the order of their
    /// places.
    bound: VecDeque<Range<u32>>,
    /// What must be durable before anything of this block is written: a group in the block before it, which records here may depend on.
    held: Option<Held>,
}

/// A place in another block that must be durable first.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) image: Arc<Image>,
    pub(super) end: u32,
}

impl Held {
    fn is_over(&self) -> bool {
        self.image.synced() >= self.end
    }
}

/// Who a new block is.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) block: u32,
    pub(super) number: u32,
    pub(super) sequence: u64,
    pub(super) birth: Version,
    pub(super) stream: StreamId,
    pub(super) claim: Claim,
    pub(super) device: [u8; 16],
    pub(super) device_seed: u64,
    pub(super) sector: u32,
    pub(super) size: u32,
}

impl Filling {
    pub(super) fn new(opening: Opening, image: Arc<Image>) -> Self {
        let start = block_header_region(opening.sector) as u32;
        Self {
            block: opening.block,
            number: opening.number,
            sequence: opening.sequence,
            birth: opening.birth,
            stream: opening.stream,
            claim: opening.claim,
            image,
            device: opening.device,
            seed: PlaceSeed::new(opening.device_seed, opening.sequence),
            sector: opening.sector,
            size: opening.size,
            cursor: start,
            issued: 0,
            written: 0,
            in_flight: VecDeque::new(),
            covered: 0,
            sync_in_flight: None,
            footer: FooterState::None,
            target: 0,
            waiting_since: None,
            entries: Vec::new(),
            footer_size: FooterSize::new(),
            tickets: Vec::new(),
            first_void: u64::MAX,
            closed: false,
            early: false,
            durable_entries: 0,
            bound: VecDeque::new(),
            held: None,
        }
    }

    /// Whether it was opened for who has a stronger claim.
    pub(super) fn withheld_from(&self, claim: Claim) -> bool {
        self.claim > claim
    }

    /// Whether `records` records of `bytes` bytes together still fit, with their footer entries and the mark of the last flush.
    pub(super) fn fits(&self, bytes: u64, records: usize) -> bool {
        let footer = self.footer_size.bytes_with(records, self.sector);
        let end = u64::from(self.cursor) + bytes + MARK_BYTES as u64;
        end.next_multiple_of(u64::from(self.sector)) + footer <= u64::from(self.size)
    }

    /// Puts the record in and returns where. It must fit. `ticket` is its version, unless it has one.
    pub(super) fn append(
        &mut self,
        record: Appending<'_>,
        ticket: Version,
        now: impl FnOnce() -> Duration,
    ) -> u32 {
        let offset = self.cursor;
        let version = record.version.unwrap_or(ticket);
        let bytes = record.builder.finish(version, record.generation, self.seed, u64::from(offset));
        debug_assert_eq!(bytes.len() as u64, record.size.bytes());
        // SAFETY: bytes from the cursor on are not committed, so nobody reads them, and not issued, so no write is using them; only
        // the stream that owns this block appends, under its lock.
        unsafe { self.image.region().write(offset as usize, bytes) };
        self.cursor += bytes.len() as u32;
        self.image.commit(self.cursor);
        let entry = FooterEntry {
            digest: record.digest,
            version,
            void_time: record.void_time,
            generation: record.generation,
            set_hash: record.set_hash,
            offset,
            size: record.size,
            tombstone: record.tombstone,
        };
        self.footer_size.push(&entry);
        self.entries.push(entry);
        self.tickets.push(ticket.sequence);
        if record.void_time != NEVER {
            self.first_void = self.first_void.min(record.void_time.0);
        }
        self.waiting_since.get_or_insert_with(now);
        offset
    }

    /// Records lie in `place` that others may depend on until they are durable: they count as durable only as a whole.
    pub(super) fn bind(&mut self, place: Range<u32>) {
        self.bound.push_back(place);
    }

    /// How many such places there are.
    pub(super) fn bound(&self) -> usize {
        self.bound.len()
    }

    /// The end of the place that `offset` lies in, if what lies there is bound.
    pub(super) fn bound_at(&self, offset: u32) -> Option<u32> {
        let at = self.bound.partition_point(|place| place.end <= offset);
        self.bound.get(at).filter(|place| place.start <= offset).map(|place| place.end)
    }

    /// What the next block of the same stream must wait for.
    pub(super) fn holds_next(&self) -> Option<Held> {
        match self.bound.back() {
            Some(last) => Some(Held { image: Arc::clone(&self.image), end: last.end }),
            None => self.held.clone().filter(|held| !held.is_over()),
        }
    }

    /// Nothing of this block is written before this is durable.
    pub(super) fn hold(&mut self, held: Option<Held>) {
        self.held = held;
    }

    pub(super) fn stream(&self) -> StreamId {
        self.stream
    }

    /// Where its records end.
    pub(super) fn end(&self) -> u32 {
        self.cursor
    }

    /// Whether a whole flush unit waits to be written.
    pub(super) fn has_full_unit(&self, unit: u32) -> bool {
        self.cursor / unit > self.issued / unit
    }

    /// Asks that everything so far becomes durable.
    pub(super) fn want_all(&mut self) {
        if self.has_records() {
            self.target = self.cursor;
        }
        self.waiting_since = None;
    }

    /// Adds no more records, though perhaps it is not full; everything so far becomes durable, then the footer.
    pub(super) fn close(&mut self, early: bool) {
        (self.closed, self.early) = (true, early);
        self.want_all();
    }

    pub(super) fn has_records(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Since when records wait for a flush that nobody asked for.
    pub(super) fn waiting_since(&self) -> Option<Duration> {
        self.waiting_since
    }

    /// The lowest ticket in this block that may be lost with power.
    pub(super) fn low(&self) -> Option<u64> {
        self.tickets.get(self.durable_entries).copied()
    }

    /// The records in it, if some have expired before `limit_ms` that nobody was told of.
    pub(super) fn take_due(&mut self, limit_ms: u64) -> Option<Vec<FooterEntry>> {
        if self.first_void > limit_ms {
            return None;
        }
        let voids = self.entries.iter().map(|entry| entry.void_time);
        let later = voids.filter(|&void| void != NEVER && void.0 > limit_ms);
        self.first_void = later.map(|void| void.0).min().unwrap_or(u64::MAX);
        Some(self.entries.clone())
    }

    /// What its records are like.
    pub(super) fn contents(&self, now_ms: u64) -> Contents {
        contents(&self.entries, self.birth, self.size, self.early, now_ms)
    }

    /// How far the block has come, for the links of later blocks.
    pub(super) fn partly_durable(&self) -> bool {
        self.image.synced() > 0
    }

    /// Whether the flusher has something to do here at once, for writers that wait.
    pub(super) fn is_ready(&self) -> bool {
        self.target > self.issued && self.has_gathered()
    }

    /// Whether the next durable write is worth its while.
    fn has_gathered(&self) -> bool {
        self.is_alone() || self.cursor - self.issued >= GATHERED
    }

    fn is_alone(&self) -> bool {
        !self.in_flight.iter().any(|write| write.durable)
    }

    /// The next thing to write, marked as begun; `None` when there is nothing, or something must complete first.
    pub(super) fn next_step(
        &mut self,
        limits: Limits,
        links: impl FnOnce() -> Vec<Link>,
        records_hint: u64,
    ) -> Option<Step> {
        self.held.take_if(|held| held.is_over());
        if self.held.is_some() {
            return None;
        }
        let room = self.in_flight.len() < limits.writes;
        let step = if self.is_ready() && room {
            self.step_to_target(limits)
        } else if self.has_full_unit(limits.unit) && room && limits.room && self.is_alone() {
            Some(self.issue_units(limits.unit))
        } else if self.closed
            && self.footer == FooterState::None
            && self.image.synced() == self.cursor
        {
            Some(self.write_footer())
        } else {
            None
        };
        if let Some(Step::Write { start: 0, .. }) = step {
            self.encode_header(links(), records_hint);
        }
        step
    }

    /// Writes up to the target. What nobody waited for before goes first, in full units and unsynced; else it is one durable write.
    fn step_to_target(&mut self, limits: Limits) -> Option<Step> {
        let all_covered = self.covered == self.issued;
        // Much that is left of a closed block goes in units too: for its end a sync is due anyway, which it shares with other blocks.
        let backlog = self.closed && self.cursor - self.issued > limits.unit;
        if (!all_covered || backlog) && self.has_full_unit(limits.unit) {
            return limits.room.then(|| self.issue_units(limits.unit));
        }
        self.pad();
        // All of it becomes durable now, what nobody asked for too: nothing is left to wait for.
        self.target = self.cursor;
        self.waiting_since = None;
        Some(self.issue(self.cursor, all_covered))
    }

    /// Issues a full unit, or more where more are full: large writes cost less, and a device takes them faster.
    fn issue_units(&mut self, unit: u32) -> Step {
        let full = self.cursor / unit * unit;
        self.issue(full.min((self.issued / unit + UNITS_AT_ONCE) * unit), false)
    }

    fn issue(&mut self, end: u32, durable: bool) -> Step {
        debug_assert!(end.is_multiple_of(self.sector) && end <= self.cursor && end > self.issued);
        let start = self.issued;
        self.issued = end;
        self.in_flight.push_back(InFlight { end, durable, done: false });
        if durable {
            self.covered = end;
        }
        Step::Write { start, end, durable }
    }

    /// Whether it waits for a sync of the device.
    pub(super) fn needs_sync(&self) -> bool {
        let data = self.target > self.image.synced()
            && self.written >= self.target
            && self.covered < self.target;
        self.footer == FooterState::Written || data
    }

    /// A sync of the device is about to be issued: what is written is made durable by it. None was in flight.
    pub(super) fn join_sync(&mut self) {
        if self.footer == FooterState::Written {
            self.footer = FooterState::Syncing;
        } else if self.covered < self.written {
            // No durable write is on its way then, nor issued before the sync is done: it is the next to say what is durable.
            self.sync_in_flight = Some(self.written);
        }
    }

    /// Ends the flush at a sector boundary, so that the sector is complete and never written again.
    fn pad(&mut self) {
        if self.cursor.is_multiple_of(self.sector) {
            return;
        }
        let end = (self.cursor + MARK_BYTES as u32).next_multiple_of(self.sector);
        let mark = FlushMark {
            durable: u64::from(self.image.synced()),
            skip: u64::from(end - self.cursor),
        };
        let mut bytes = vec![0; (end - self.cursor) as usize];
        bytes[..MARK_BYTES].copy_from_slice(&mark.encode(self.seed, u64::from(self.cursor)));
        // SAFETY: as in `append`: neither committed nor issued, and the stream's lock is held.
        unsafe { self.image.region().write(self.cursor as usize, &bytes) };
        self.cursor = end;
        self.image.commit(end);
    }

    fn encode_header(&self, links: Vec<Link>, records_hint: u64) {
        let mut bytes = vec![0; block_header_region(self.sector) as usize];
        let header = BlockHeader {
            device: self.device,
            block: self.number,
            kind: BlockKind::Data,
            stream: self.stream.0,
            sequence: self.sequence,
            birth: self.birth,
            links,
            records_hint,
        };
        header.encode(&mut bytes);
        // SAFETY: the header region comes before the first record; no location points into it, so nobody reads it, and the write
        // that takes it along has not been submitted yet.
        unsafe { self.image.region().write(0, &bytes) };
    }

    fn write_footer(&mut self) -> Step {
        let footer = Footer {
            device: self.device,
            block: self.number,
            sequence: self.sequence,
            data_end: self.cursor,
            entries: std::mem::take(&mut self.entries),
        };
        let bytes = footer.encode(self.sector);
        self.entries = footer.entries;
        let start = self.size - bytes.len() as u32;
        // SAFETY: the footer lies behind the last record, above `committed`, so nobody reads it, and nothing of it was issued before.
        unsafe { self.image.region().write(start as usize, &bytes) };
        self.footer = FooterState::Writing;
        Step::Footer { start }
    }

    /// The flush write that ends at `end` is done. Returns how far the block is durable now, if it has come further.
    pub(super) fn write_done(&mut self, end: u32) -> Option<u32> {
        let write = self.in_flight.iter_mut().find(|write| write.end == end);
        write.expect("only writes that were issued complete").done = true;
        let mut durable = None;
        while let Some(first) = self.in_flight.pop_front_if(|first| first.done) {
            self.written = first.end;
            // A durable write is issued only when everything before it is durable or will be by such a write. They complete here in the
            // order of their places, so this extends an unbroken prefix.
            durable = first.durable.then_some(first.end).or(durable);
        }
        durable
    }

    /// The footer is on the device.
    pub(super) fn footer_done(&mut self) {
        self.footer = FooterState::Written;
    }

    /// The sync in flight is done; what it made durable here, if the block had joined it.
    pub(super) fn sync_done(&mut self) -> Option<Synced> {
        if self.footer == FooterState::Syncing {
            return Some(Synced::Whole);
        }
        let end = self.sync_in_flight.take()?;
        self.covered = self.covered.max(end);
        Some(Synced::To(end))
    }

    /// Everything below `end` survives power loss. Returns up to where it counts: of a group, half is nothing, for a crash would take it away.
    pub(super) fn durable_to(&mut self, end: u32) -> u32 {
        while self.bound.pop_front_if(|place| place.end <= end).is_some() {}
        let end = self.bound.front().map_or(end, |place| place.start.min(end));
        let durable = |entry: &FooterEntry| entry.offset + entry.size.bytes() as u32 <= end;
        self.durable_entries += self.entries[self.durable_entries..].partition_point(durable);
        if self.durable_entries == self.entries.len() {
            // It may have joined a sync that others asked for.
            self.waiting_since = None;
        }
        end
    }
}

/// What the records are like of a block of `size` bytes that was opened at version `birth`, and perhaps closed `early`.
pub(super) fn contents(
    entries: &[FooterEntry],
    birth: Version,
    size: u32,
    early: bool,
    now_ms: u64,
) -> Contents {
    let versions = || entries.iter().map(|entry| entry.version);
    let tombstones = entries.iter().filter(|entry| entry.tombstone);
    let sum: u128 = versions().map(|version| u128::from(version.sequence)).sum();
    let end = |entry: &FooterEntry| entry.offset + entry.size.bytes() as u32;
    let gap = |pair: &[FooterEntry]| pair[1].offset.saturating_sub(end(&pair[0]));
    let footer = (entries.len() as u64 * FOOTER_SHARE) as u32;
    let tail = size.saturating_sub(entries.last().map_or(0, end) + footer);
    // What is left where the next record did not fit is nobody's gain: its place would be as small elsewhere.
    let lost = if early || tail > size / 2 { tail } else { 0 };
    Contents {
        floor: versions().min().map_or(birth, |version| version.min(birth)),
        max: versions().max().unwrap_or(Version::ZERO),
        written: (sum / entries.len().max(1) as u128) as u64,
        guard: tombstones.map(|entry| entry.version.sequence).min().unwrap_or(u64::MAX),
        due: due::when(entries.iter().map(|entry| entry.void_time), now_ms),
        gaps: entries.windows(2).map(gap).sum::<u32>() + lost,
    }
}

#[cfg(test)]
mod tests;
