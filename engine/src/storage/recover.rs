//! Finding out what lies in the write blocks after a crash.
//!
//! First every block's header is read: which blocks hold data, in which order they were opened, and, through their links, which of them must be
//! sealed. Then each data block's footer is read. A block without one was open when the node stopped and is walked record by record, then sealed;
//! its end may be torn, which is no damage, since nothing there was acknowledged. A block that was sealed, or was durable further, and does
//! not show it now is damage: counted, reported, and saved as far as it can be read.
//!
//! What is found goes to a sink, block by block, from several threads at once; the highest version wins there.

use std::{
    collections::VecDeque,
    io,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use parking_lot::Mutex;

use super::{Shared, blocks::BlockState, store::Store, walk::Walk};
use crate::{
    device::{AlignedBuf, Completion, IoKind, IoResult, Region, reactor},
    format::{
        BlockHeader, BlockKind, Footer, FooterEntry, LinkState, PlaceSeed, Walked,
        block_header_region, checkpoint::BlockStateImage, walk_at,
    },
    model::Version,
};

/// Most sentences of damage that are kept.
const DAMAGE_KEPT: usize = 100;
/// Header reads in flight, for each thread.
const HEADS_IN_FLIGHT: usize = 32;
/// Footer reads in flight, for each thread.
const TAILS_IN_FLIGHT: usize = 8;

/// What is read at once where a block cannot be read as a whole, in bytes.
const PIECE: usize = 4096;

/// How far a start has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is being done.
    pub phase: &'static str,
    /// Write blocks done.
    pub done: u64,
    /// Write blocks there are to do.
    pub total: u64,
    /// Records found so far.
    pub records: u64,
    /// Time since the start began.
    pub elapsed: Duration,
}

/// How a recovery runs.
pub(crate) struct Recovery<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) kind: IoKind,
    pub(crate) threads: usize,
    pub(crate) progress: &'a (dyn Fn(&Progress) + Send + Sync),
    /// Told about how many records there will be, once, before the first.
    pub(crate) expect: &'a (dyn Fn(u64) + Send + Sync),
    /// Takes the records of one block.
    pub(crate) sink: &'a (dyn Fn(u32, &[FooterEntry]) + Send + Sync),
    pub(crate) started: Duration,
    pub(crate) tally: &'a Tally,
}

/// What a recovery found.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) bytes_read: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) data_blocks: AtomicU64,
    pub(crate) open_blocks: AtomicU64,
    pub(crate) torn: AtomicU64,
    done: AtomicU64,
    damage: Mutex<Damage>,
    suspects: Mutex<Vec<Suspect>>,
}

/// A block that looks damaged.
#[derive(Debug)]
struct Suspect {
    block: u32,
    what: Vec<String>,
}

#[derive(Debug, Default)]
struct Damage {
    count: u64,
    sentences: Vec<String>,
}

impl Tally {
    /// Counts a piece of damage and keeps what it is.
    pub(crate) fn damage(&self, sentence: String) {
        tracing::warn!("{sentence}");
        let mut damage = self.damage.lock();
        damage.count += 1;
        if damage.sentences.len() < DAMAGE_KEPT {
            damage.sentences.push(sentence);
        }
    }

    /// How many pieces of damage there were, and what the first ones are.
    pub(crate) fn take_damage(&self) -> (u64, Vec<String>) {
        let mut damage = self.damage.lock();
        (damage.count, std::mem::take(&mut damage.sentences))
    }
}

/// What a block's header says.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    status: HeadStatus,
    sequence: u64,
    birth: Version,
    records_hint: u64,
    unreadable: bool,
    /// The latest that another block's links say of this one.
    link: Option<(u64, LinkState)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum HeadStatus {
    #[default]
    Void,
    Data,
    Other,
    Damaged,
}

impl Recovery<'_> {
    /// Reads everything, hands the records to the sink and leaves every block in its state.
    pub(crate) fn run(&self) -> IoResult<()> {
        let mut heads = self.read_heads()?;
        self.check_readable(&heads)?;
        let mut data = Vec::new();
        for (block, head) in heads.iter_mut().enumerate() {
            self.check_link(block as u32, head);
            match head.status {
                HeadStatus::Data | HeadStatus::Damaged => data.push(block as u32),
                HeadStatus::Void | HeadStatus::Other => {}
            }
        }
        let newest = heads.iter().max_by_key(|head| (head.birth, head.sequence));
        (self.expect)(newest.map_or(0, |head| head.records_hint));
        // In the order of their birth, so that blocks whose versions overlap come close together.
        data.sort_by_key(|&block| heads[block as usize].birth);
        self.tally.data_blocks.store(data.len() as u64, SeqCst);
        self.tally.done.store(0, SeqCst);
        let next = AtomicUsize::new(0);
        self.on_threads(|| self.read_data_blocks(&heads, &data, &next))?;
        self.judge_suspects(&heads);
        Ok(())
    }

    /// What looks like damage may be the beginning of a new life: when a freed block is written anew and the power goes, parts of the old life
    /// are overwritten and its header may still stand. Such a block has no live record left, and is not the one opened last.
    fn judge_suspects(&self, heads: &[Head]) {
        for Suspect { block, what } in self.tally.suspects.lock().drain(..) {
            let store = self.shared.store_of(block);
            let blocks = &heads[store.first_block as usize..][..store.block_count as usize];
            let newest = blocks.iter().map(|head| head.sequence).max();
            if self.shared.blocks.get(block).live() > 0
                || newest == Some(heads[block as usize].sequence)
            {
                what.iter().for_each(|what| self.damage(block, what));
            } else {
                self.tally.torn.fetch_add(what.len() as u64, SeqCst);
            }
        }
    }

    /// A block that cannot be read is damage; a device of which most cannot be read is no device to start with.
    fn check_readable(&self, heads: &[Head]) -> IoResult<()> {
        for store in &self.shared.stores {
            let blocks = &heads[store.first_block as usize..][..store.block_count as usize];
            if blocks.iter().filter(|head| head.unreadable).count() > blocks.len() / 2 {
                let device = store.device.name();
                return Err(io::Error::other(format!(
                    "{device}: most of its blocks cannot be read"
                )));
            }
        }
        Ok(())
    }

    fn on_threads(&self, work: impl Fn() -> IoResult<()> + Sync) -> IoResult<()> {
        if self.threads <= 1 {
            return work();
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|_| {
                    scope.spawn(|| {
                        let _reactor = reactor::Reactor::install(self.kind);
                        work()
                    })
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().expect("recovery does not panic"))
        })
    }

    fn read_heads(&self) -> IoResult<Vec<Head>> {
        let total: usize = self.shared.blocks.iter().count();
        let heads: Mutex<Vec<Head>> = Mutex::new(vec![Head::default(); total]);
        let next = AtomicUsize::new(0);
        self.on_threads(|| {
            let mut window: VecDeque<(u32, Completion<AlignedBuf>)> = VecDeque::new();
            loop {
                let block = next.fetch_add(1, SeqCst);
                if block < total {
                    if self.shared.blocks.get(block as u32).state() == BlockState::Reserved {
                        continue;
                    }
                    window.push_back((block as u32, self.read_head(block as u32)));
                    if window.len() < HEADS_IN_FLIGHT {
                        continue;
                    }
                }
                let Some((block, read)) = window.pop_front() else { return Ok(()) };
                match reactor::block_on(read) {
                    Ok(bytes) => self.take_head(&heads, block, &bytes),
                    Err(_) => self.salvage_head(&heads, block),
                }
                self.step("reading block headers", total as u64);
            }
        })?;
        Ok(heads.into_inner())
    }

    fn read_head(&self, block: u32) -> Completion<AlignedBuf> {
        let store = self.shared.store_of(block);
        let len = block_header_region(store.sector) as usize;
        self.tally.bytes_read.fetch_add(len as u64, SeqCst);
        store.device.read(AlignedBuf::new(len), len, self.offset(store, block))
    }

    fn offset(&self, store: &Store, block: u32) -> u64 {
        u64::from(block - store.first_block) * self.shared.block_size
    }

    fn salvage_head(&self, heads: &Mutex<Vec<Head>>, block: u32) {
        let len = block_header_region(self.shared.store_of(block).sector) as usize;
        match self.salvage(block, len) {
            (bytes, true) => self.take_head(heads, block, &bytes),
            // Not to be taken for a block that was never opened.
            (_, false) => {
                let head = &mut heads.lock()[block as usize];
                (head.status, head.unreadable) = (HeadStatus::Damaged, true);
            }
        }
    }

    /// The first `len` bytes of a block that could not be read as a whole: piece by piece, with zeros for what cannot be read, and
    /// whether that was nothing.
    fn salvage(&self, block: u32, len: usize) -> (AlignedBuf, bool) {
        let store = self.shared.store_of(block);
        let (base, piece) = (self.offset(store, block), (store.sector as usize).max(PIECE));
        let (mut bytes, mut complete) = (AlignedBuf::new(len), true);
        bytes.fill(0);
        for start in (0..len).step_by(piece) {
            let part = piece.min(len - start);
            let read = store.device.read(AlignedBuf::new(part), part, base + start as u64);
            match reactor::block_on(read) {
                Ok(read) => bytes[start..start + part].copy_from_slice(&read[..part]),
                Err(error) => {
                    complete = false;
                    self.shared.blocks.get(block).be_unsure();
                    self.damage(
                        block,
                        &format!("bytes {start} to {} cannot be read: {error}", start + part),
                    );
                }
            }
        }
        (bytes, complete)
    }

    fn take_head(&self, heads: &Mutex<Vec<Head>>, block: u32, bytes: &[u8]) {
        let store = self.shared.store_of(block);
        let region = &bytes[..block_header_region(store.sector) as usize];
        let header =
            BlockHeader::decode(region, &store.superblock.device(), block - store.first_block);
        let mut heads = heads.lock();
        let head = &mut heads[block as usize];
        let Some(header) = header else {
            if region.iter().any(|&byte| byte != 0) {
                head.status = HeadStatus::Damaged;
            }
            return;
        };
        head.status = match header.kind {
            BlockKind::Data => HeadStatus::Data,
            BlockKind::Index | BlockKind::Freed => HeadStatus::Other,
        };
        (head.sequence, head.birth) = (header.sequence, header.birth);
        head.records_hint = header.records_hint;
        for link in header.links {
            let linked = store.first_block + link.block;
            if link.block < store.block_count {
                let head = &mut heads[linked as usize];
                head.link = head.link.max(Some((link.sequence, link.state)));
            }
        }
    }

    /// Whether the block is what later blocks say it must be.
    fn check_link(&self, block: u32, head: &mut Head) {
        let Some((sequence, state)) = head.link else { return };
        if head.status == HeadStatus::Damaged || sequence <= head.sequence {
            return;
        }
        if state >= LinkState::Partly {
            // The device lost a write that it had said was durable. What the links know may still let the records be found.
            let older = "reads older than it was written; the device lost acknowledged writes";
            self.damage(block, older);
            head.status = HeadStatus::Damaged;
        }
    }

    fn damage(&self, block: u32, what: &str) {
        let store = self.shared.store_of(block);
        let (number, offset) = (block - store.first_block, self.offset(store, block));
        self.tally
            .damage(format!("{}: block {number} at offset {offset}: {what}", store.device.name()));
        self.shared.counters.damaged.add(1);
    }

    fn step(&self, phase: &'static str, total: u64) {
        let done = self.tally.done.fetch_add(1, SeqCst) + 1;
        if done.is_multiple_of((total / 200).max(1)) || done == total {
            let elapsed = self.shared.clock.monotonic().saturating_sub(self.started);
            let records = self.tally.records.load(SeqCst);
            (self.progress)(&Progress { phase, done, total, records, elapsed });
        }
    }

    fn read_data_blocks(&self, heads: &[Head], data: &[u32], next: &AtomicUsize) -> IoResult<()> {
        let mut window: VecDeque<(u32, Completion<AlignedBuf>)> = VecDeque::new();
        let mut guess = (self.shared.block_size / 16).max(4096) as usize;
        loop {
            if let Some(&block) = data.get(next.fetch_add(1, SeqCst)) {
                window.push_back((block, self.read_tail(block, guess)));
                if window.len() < TAILS_IN_FLIGHT {
                    continue;
                }
            }
            let Some((block, read)) = window.pop_front() else { return Ok(()) };
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
            self.step("reading records", data.len() as u64);
        }
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
                self.take_records(block, head.birth, head.sequence, &footer.entries);
                measured.map(|(length, _)| length)
            }
            footer => {
                self.take_unsealed(block, head, footer, tail);
                None
            }
        }
    }

    /// A block without a sound footer of its own: it was open, or it is damaged.
    fn take_unsealed(&self, block: u32, head: &Head, footer: Option<Footer>, tail: &[u8]) {
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
        let sealed = head.link.is_some_and(|(sequence, state)| {
            sequence == head.sequence && state == LinkState::Sealed
        });
        let seed = PlaceSeed::new(store.seed, head.sequence);
        let walk = Walk::run(bytes, seed, store.sector, |set| store.set_hash(set));
        if sealed {
            let mut what =
                vec!["the footer is damaged; its records were found one by one".to_owned()];
            what.extend(walk.holes.iter().map(hole));
            self.tally.suspects.lock().push(Suspect { block, what });
            self.take_records(block, head.birth, head.sequence, &walk.entries_with_damaged());
            return;
        }
        self.tally.open_blocks.fetch_add(1, SeqCst);
        let verdict = walk.judge(bytes, seed);
        self.tally.torn.fetch_add(verdict.torn, SeqCst);
        let what = verdict.damaged.iter().map(hole).collect();
        self.tally.suspects.lock().push(Suspect { block, what });
        self.take_records(block, head.birth, head.sequence, &verdict.entries);
        self.seal(store, block, head.sequence, verdict.entries);
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
            self.take_records(block, Version::ZERO, footer.sequence, &footer.entries);
            return;
        }
        if let Some(sequence) = linked {
            let walk = Walk::run(bytes, PlaceSeed::new(store.seed, sequence), store.sector, |e| {
                store.set_hash(e)
            });
            if walk.records > 0 {
                self.damage(block, "the header is damaged; its records were found one by one");
                walk.holes.iter().for_each(|place| self.damage(block, &hole(place)));
                self.take_records(block, Version::ZERO, sequence, &walk.entries_with_damaged());
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

    fn take_records(&self, block: u32, birth: Version, sequence: u64, entries: &[FooterEntry]) {
        let versions = entries.iter().map(|entry| entry.version);
        let floor = versions.clone().min().unwrap_or(birth);
        let floor = if birth == Version::ZERO { floor } else { floor.min(birth) };
        let max = versions.max().unwrap_or(birth);
        let state = BlockStateImage { sequence, birth, floor, max, ..BlockStateImage::default() };
        // Open for now: a block must not be freed while records may still turn out to be live in it.
        self.shared.blocks.get(block).restore(&state, BlockState::Open);
        self.shared.go_on_behind(max);
        self.shared.go_on_behind(birth);
        (self.sink)(block, entries);
        self.tally.records.fetch_add(entries.len() as u64, SeqCst);
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
            Footer::decode(&tail[end - length as usize..end], shared.block_size)
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
