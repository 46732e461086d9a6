//! The defragmenter of one device: moves what lives out of blocks where much is dead, so that they become free.
//!
//! A step machine, as the flusher: `turn` goes on as far as it can and says what it waits for. A thread with a ring of its own calls it in a
//! loop; a simulator calls it by hand.
//!
//! 1. While free blocks are short, the best victims are chosen (`storage::victims`) and their footers read, one ahead of the other.
//! 2. Of the records that the index still places in the block, the bytes are read.
//! 3. Each is verified and appended anew, with its version, under its index slot, if the slot still has it there. Expired records and
//!    tombstones go if they guard nothing any more; else a tombstone is what is moved.
//! 4. When nothing is left the block is emptied, and free once the copies are durable: that is the flusher's.
//!
//! A crash between any two steps leaves a record in both blocks or in one of them, never in none. A damaged record is not moved: its block is
//! pinned and stays as it is.
//!
//! It works while free blocks are fewer than the mark at which it starts, in small steps, about as fast as users write (`pace`), and as fast as it
//! can while somebody waits for room. Until then it has few reads in flight, so that those of users need not queue behind them.

mod pace;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use self::pace::{Pace, Signs};
use super::{Namespace, guard::Guarding, lying::Lying, truncate::Dropped};
use crate::{
    device::{IoKind, IoResult, reactor},
    format::{FooterEntry, PlaceSeed, RecordBuilder, RecordView},
    index::{CoarseExpiry, Entry, Slot},
    model::NEVER,
    storage::{
        Appending,
        append::Append,
        blocks::BlockState,
        space::Claim,
        store::Store,
        survey::{self, Pieces},
        victims,
    },
};

/// Blocks being read while another is moved, when writers are about to wait.
const AHEAD_PRESSED: usize = 3;
/// Pieces of a victim being read at once when nothing is urgent, and when somebody waits for room.
const READS: usize = 1;
const READS_AWAITED: usize = 4;
/// Records moved in one turn.
const MOVES_PER_TURN: usize = 128;
/// How many index entries are asked for ahead.
const PREFETCH_AHEAD: usize = 8;
/// One of so many victims is the block in which something has been dead for longest, so that the horizon moves.
const OLDEST_OF: u32 = 24;
/// Victims without a free block more, for each block of the device, until nothing is to be won.
const FRUITLESS: u32 = 2;
/// A victim that cannot be moved for want of room counts as so large a part of the device's blocks.
const STUCK_PART: u32 = 8;

type Reading<T> = Pin<Box<dyn Future<Output = IoResult<T>> + Send>>;

/// The defragmenter of one device.
pub(super) struct Defragmenter {
    store: usize,
    chosen: VecDeque<u32>,
    /// Victims being read or moved, the first one first.
    ahead: VecDeque<Victim>,
    builder: RecordBuilder,
    victims: u32,
    progress: Progress,
    guarding: Guarding,
    /// None: as fast as it can.
    pace: Option<Pace>,
}

/// Whether reclaiming wins anything.
#[derive(Default)]
struct Progress {
    /// Blocks that writers have taken.
    taken: u64,
    /// What was in use when there were last more free blocks than ever before with so much in use, and how many these were.
    in_use: u64,
    free: u32,
    /// Victims since either changed for the better.
    victims: u32,
}

struct Victim {
    block: u32,
    sequence: u64,
    /// Its footer told of all its records.
    complete: bool,
    /// Bytes that lived and that were dead in it when it was chosen.
    live: u32,
    dead: u32,
    stage: Stage,
}

enum Stage {
    Entries(Reading<(Vec<FooterEntry>, bool)>),
    /// Since when, if one piece is read at a time.
    Records(Vec<FooterEntry>, Reading<Pieces>, Option<Duration>),
    /// Being moved; the number says how far.
    Moving(Vec<FooterEntry>, Pieces, usize),
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something was done: call again.
    Worked,
    /// It waits for a read or for room, and its waker will be called.
    Waits,
    /// It has gone as far as its pace allows: call again after [`pace::PAUSE`].
    Paced,
    /// There is nothing to do.
    Idle,
}

/// What became of one record.
enum Moved {
    Done,
    /// Not just now: there is no room, or a truncation is being decided.
    NoRoom,
    /// There is no room, and none will come.
    Stuck,
    /// The namespace or the device takes no more.
    Over,
}

impl Defragmenter {
    /// The defragmenter of device number `store`, which goes as fast as it can.
    pub(super) fn new(store: usize) -> Self {
        Self {
            store,
            chosen: VecDeque::new(),
            ahead: VecDeque::new(),
            builder: RecordBuilder::default(),
            victims: 0,
            progress: Progress::default(),
            guarding: Guarding::default(),
            pace: None,
        }
    }

    /// The same, at the pace of users' writes.
    fn paced(mut self) -> Self {
        self.pace = Some(Pace::default());
        self
    }

    /// Goes on as far as it can without waiting.
    pub(super) fn turn(&mut self, namespace: &Namespace, waker: &Waker) -> Turn {
        let store = &namespace.shared.stores[self.store];
        if store.failure().is_some() {
            return Turn::Idle;
        }
        self.take_victims(namespace, store);
        let mut context = Context::from_waker(waker);
        let mut worked = false;
        let reads = if self.may_go_slowly(store) { READS } else { READS_AWAITED };
        for victim in &mut self.ahead {
            worked |= victim.read_on(namespace, reads, &mut self.pace, &mut context);
        }
        let Some(first) = self.ahead.front_mut() else { return Turn::Idle };
        let Stage::Moving(entries, pieces, next) = &mut first.stage else {
            return if worked { Turn::Worked } else { Turn::Waits };
        };
        let mut moving = Moving {
            namespace,
            store,
            block: first.block,
            sequence: first.sequence,
            builder: &mut self.builder,
            guarding: &mut self.guarding,
        };
        let turn = store.room.turn();
        let end = (*next + MOVES_PER_TURN).min(entries.len());
        let signs = signs(namespace, store, first.live, first.dead);
        let mut left = self.pace.as_mut().map_or(u64::MAX, |pace| pace.look(&signs));
        if left == 0 && *next < end {
            return if worked { Turn::Worked } else { Turn::Paced };
        }
        while *next < end && left > 0 {
            if let Some(ahead) = entries.get(*next + PREFETCH_AHEAD) {
                namespace.index.prefetch(ahead.digest);
            }
            match moving.one(&entries[*next], pieces) {
                Moved::Done => {
                    let bytes = entries[*next].size.bytes();
                    self.pace.as_mut().into_iter().for_each(|pace| pace.spend(bytes));
                    left = left.saturating_sub(bytes);
                    *next += 1;
                }
                Moved::Over => return Turn::Idle,
                Moved::Stuck => {
                    // The others may fit in what room is left; if it is none of them, nothing is to be won.
                    self.ahead.pop_front();
                    self.progress.victims += store.block_count / STUCK_PART + 1;
                    self.check_progress(store);
                    return Turn::Worked;
                }
                Moved::NoRoom => {
                    return match store.room.tell(turn, waker) {
                        true => Turn::Waits,
                        false => Turn::Worked,
                    };
                }
            }
        }
        if *next == entries.len() {
            let (block, complete) = (first.block, first.complete);
            if !complete && namespace.shared.blocks.get(block).in_use() > 0 {
                // Its footer is damaged, and not all that the index has here was found.
                namespace.shared.blocks.get(block).pin();
            }
            self.ahead.pop_front();
            namespace.shared.counters.reclaimed.add(1);
            self.check_progress(store);
        }
        Turn::Worked
    }

    /// Begins to read the next victims, if free blocks are wanted.
    fn take_victims(&mut self, namespace: &Namespace, store: &Store) {
        let ahead = if store.is_pressed() { AHEAD_PRESSED } else { 1 };
        while self.ahead.len() < ahead
            && (store.wants_blocks(&namespace.shared) || self.moves_horizon(namespace))
        {
            let Some(block) = self.next_victim(namespace, store) else { return };
            let state = namespace.shared.blocks.get(block);
            let sequence = state.sequence();
            if state.state() != BlockState::Sealed || self.has(block) {
                continue;
            }
            self.victims += 1;
            let entries = Box::pin(survey::entries(Arc::clone(&namespace.shared), block));
            let stage = Stage::Entries(entries);
            let (live, dead) = (state.in_use(), state.dead_bytes());
            self.ahead.push_back(Victim { block, sequence, complete: true, live, dead, stage });
        }
    }

    /// Whether it has a pace to keep to and nobody waits for room.
    fn may_go_slowly(&self, store: &Store) -> bool {
        self.pace.is_some() && !store.is_awaited()
    }

    /// Whether free blocks are plenty, but tombstones wait for the horizon to move.
    fn moves_horizon(&self, namespace: &Namespace) -> bool {
        let tombstones = namespace.counters.tombstones.get();
        let bytes = tombstones * crate::storage::blocks::TOMBSTONE_COST;
        bytes > namespace.shared.capacity() / TOMBSTONES_PART
    }

    fn next_victim(&mut self, namespace: &Namespace, store: &Store) -> Option<u32> {
        let wants_blocks = store.wants_blocks(&namespace.shared);
        if store.is_exhausted() && wants_blocks {
            return None;
        }
        let wants_oldest = !wants_blocks || self.victims % OLDEST_OF == OLDEST_OF - 1;
        if wants_oldest && namespace.counters.tombstones.get() > 0 {
            let oldest = victims::oldest(&namespace.shared, store);
            if let Some(block) = oldest.filter(|&block| !self.has(block)) {
                return Some(block);
            }
        }
        if !wants_blocks {
            return None;
        }
        // What was chosen a while ago may have begun another life.
        let stale = |block: &u32| namespace.shared.blocks.get(*block).dead_bytes() == 0;
        while self.chosen.pop_front_if(|block| stale(block)).is_some() {}
        if self.chosen.is_empty() {
            store.look_again();
            self.chosen.extend(self.choose(namespace, store));
            if self.chosen.is_empty() && self.ahead.is_empty() && store.is_pressed() {
                store.give_up();
                // What has died since the first look told nobody.
                self.chosen.extend(self.choose(namespace, store));
                if !self.chosen.is_empty() {
                    store.look_again();
                }
            }
        }
        self.chosen.pop_front()
    }

    fn choose(&self, namespace: &Namespace, store: &Store) -> Vec<u32> {
        let mut blocks = victims::choose(&namespace.shared, store);
        blocks.retain(|&block| !self.has(block));
        blocks
    }

    fn has(&self, block: u32) -> bool {
        self.ahead.iter().any(|victim| victim.block == block)
    }

    /// Gives up when block after block is moved and none is won, as where records are so large that they fit only where they are.
    fn check_progress(&mut self, store: &Store) {
        let (taken, in_use, free) =
            (store.opened_for_writes(), store.in_use(), store.free_blocks());
        let best = &mut self.progress;
        if !store.is_pressed() || taken > best.taken || in_use < best.in_use || free > best.free {
            *best = Progress { taken, in_use, free, victims: 0 };
            return;
        }
        best.victims += 1;
        if best.victims > FRUITLESS * store.block_count {
            best.victims = 0;
            self.chosen.clear();
            store.give_up_moving();
        }
    }
}

/// Tombstones that take up more than this part of the space are worth moving the horizon for.
const TOMBSTONES_PART: u64 = 64;

impl Victim {
    /// Takes what has been read and asks for what is next. Returns whether anything came.
    fn read_on(
        &mut self,
        namespace: &Namespace,
        reads: usize,
        pace: &mut Option<Pace>,
        context: &mut Context<'_>,
    ) -> bool {
        match &mut self.stage {
            Stage::Entries(reading) => {
                let Poll::Ready(read) = reading.as_mut().poll(context) else { return false };
                let mut entries = match read {
                    Ok((entries, complete)) => {
                        self.complete = complete;
                        entries
                    }
                    Err(error) => return self.unreadable(namespace, &error),
                };
                let wanted = self.still_there(namespace, &mut entries);
                let pieces = Box::pin(survey::pieces(
                    Arc::clone(&namespace.shared),
                    self.block,
                    self.sequence,
                    wanted,
                    reads,
                ));
                let since = (reads == 1).then(|| namespace.shared.clock.monotonic());
                self.stage = Stage::Records(entries, pieces, since);
                true
            }
            Stage::Records(entries, reading, since) => {
                let Poll::Ready(read) = reading.as_mut().poll(context) else { return false };
                let (entries, since) = (std::mem::take(entries), *since);
                if let (Some(pace), Some(since), Ok(Pieces::Read(pieces))) = (pace, since, &read)
                    && !pieces.is_empty()
                {
                    let took = namespace.shared.clock.monotonic().saturating_sub(since);
                    pace.read(took / pieces.len() as u32);
                }
                match read {
                    Ok(pieces) => self.stage = Stage::Moving(entries, pieces, 0),
                    Err(error) => return self.unreadable(namespace, &error),
                }
                true
            }
            Stage::Moving(..) => false,
        }
    }

    /// Leaves the entries that the index places in the block, and says where their bytes are.
    fn still_there(
        &self,
        namespace: &Namespace,
        entries: &mut Vec<FooterEntry>,
    ) -> Vec<std::ops::Range<u32>> {
        let digests: Vec<_> = entries.iter().map(|entry| entry.digest).collect();
        let mut ahead = digests.iter().skip(PREFETCH_AHEAD);
        entries.retain(|entry| {
            if let Some(digest) = ahead.next() {
                namespace.index.prefetch(*digest);
            }
            let location = namespace.shared.blocks.location(self.block, entry.offset);
            namespace.index.get(entry.digest).is_some_and(|found| found.location == location)
        });
        let range = |entry: &FooterEntry| entry.offset..entry.offset + entry.size.bytes() as u32;
        entries.iter().map(range).collect()
    }

    /// The block cannot be read: it stays as it is.
    fn unreadable(&mut self, namespace: &Namespace, error: &std::io::Error) -> bool {
        let store = namespace.shared.store_of(self.block);
        let offset = store.offset(&namespace.shared, self.block);
        tracing::error!(device = store.device.name(), offset, %error, "a block cannot be read; it is left as it is");
        namespace.shared.blocks.get(self.block).pin();
        self.stage = Stage::Moving(Vec::new(), Pieces::Read(Vec::new()), 0);
        true
    }
}

/// How things are for the pace at which a victim with so many bytes alive and dead is moved.
fn signs(namespace: &Namespace, store: &Store, live: u32, dead: u32) -> Signs {
    let shared = &namespace.shared;
    Signs {
        now: shared.clock.monotonic(),
        // Digests spread writes evenly over the devices.
        written: shared.counters.bytes_written.get() / shared.stores.len() as u64,
        live,
        dead,
        reserve_pct: store.reserve_pct(),
        awaited: store.is_awaited(),
    }
}

/// Moving the records of one block.
struct Moving<'a> {
    namespace: &'a Namespace,
    store: &'a Store,
    block: u32,
    sequence: u64,
    builder: &'a mut RecordBuilder,
    guarding: &'a mut Guarding,
}

impl Moving<'_> {
    fn one(&mut self, entry: &FooterEntry, pieces: &Pieces) -> Moved {
        let namespace = self.namespace;
        let shared = &namespace.shared;
        let cuts = shared.cuts();
        let lying = Lying { footer: entry, block: self.block, sequence: self.sequence };
        let end = entry.offset + entry.size.bytes() as u32;
        let seed = PlaceSeed::new(self.store.seed, self.sequence);
        let view = pieces.get(entry.offset..end).ok_or(()).and_then(|bytes| {
            let view = RecordView::parse(bytes, seed, u64::from(entry.offset)).map_err(drop)?;
            view.verify_body().map_err(drop)?;
            Ok(view)
        });
        let Ok(view) = view else { return self.damaged(entry) };
        match namespace.drop_cut(lying) {
            Dropped::No => {}
            Dropped::Done => return Moved::Done,
            Dropped::NotYet => return Moved::NoRoom,
        }
        let now = shared.clock.now_ms();
        let known = namespace.index.get(entry.digest);
        // The index alone knows of an evicted record that it stands for a tombstone.
        let guards = entry.tombstone
            || entry.void_time.expired(now)
            || known.is_some_and(|known| known.tombstone);
        if guards && namespace.let_go(lying, self.guarding) {
            return Moved::Done;
        }
        let stays_tombstone = guards && !entry.tombstone;
        let size = match stays_tombstone {
            true => self.builder.tombstone_of(&view),
            false => self.builder.restore(&view),
        };
        let void_time = if guards { NEVER } else { entry.void_time };
        let from = shared.blocks.get(self.block).stream();
        let age = shared.version_now().sequence.saturating_sub(entry.version.sequence);
        let record = Appending {
            builder: self.builder,
            size,
            digest: entry.digest,
            set_hash: entry.set_hash,
            cuts,
            stream: self.store.sorting.of_survivor(from, void_time, now, age),
            version: Some(entry.version),
            void_time,
            generation: entry.generation,
            tombstone: guards,
        };
        let mut record = Some(record);
        let append = namespace.index.with_slot(entry.digest, |slot: &mut Slot<'_>| {
            // What has become a tombstone since is left for the next time.
            let old = lying.entry(shared, slot).filter(|old| guards || !old.tombstone)?;
            let record = record.take().expect("called once");
            let append = self.store.append(shared, Claim::Reclaim, false, record, &[]);
            if let Append::Done(appended) = &append {
                let expiry = CoarseExpiry::new(void_time);
                let (location, tombstone) = (appended.location, guards);
                slot.set(Entry { location, size, expiry, tombstone, ..old });
                namespace.moved(&old, guards, entry, appended.at);
            }
            Some(append)
        });
        match append {
            None | Some(Append::Cut) => Moved::Done,
            Some(Append::Done(_)) => {
                shared.counters.records_moved.add(1);
                shared.counters.bytes_moved.add(size.bytes());
                Moved::Done
            }
            Some(Append::Wait(_)) => Moved::NoRoom,
            Some(Append::Full) => Moved::Stuck,
            Some(Append::Failed(_) | Append::Closed) => Moved::Over,
        }
    }

    /// A record that the index names is damaged: it stays where it is, and so does its block.
    fn damaged(&self, entry: &FooterEntry) -> Moved {
        let shared = &self.namespace.shared;
        let lying = Lying { footer: entry, block: self.block, sequence: self.sequence };
        let named = self.namespace.index.with_slot(entry.digest, |slot| lying.entry(shared, slot));
        if named.is_some() {
            let offset = self.store.offset(shared, self.block) + u64::from(entry.offset);
            tracing::error!(
                device = self.store.device.name(),
                offset,
                "a damaged record is left as it is"
            );
            shared.blocks.get(self.block).pin();
            shared.counters.damaged.add(1);
        }
        Moved::Done
    }
}

impl Namespace {
    /// Counts a record that was moved at version sequence `at`. Under its index slot.
    fn moved(&self, old: &Entry, became_tombstone: bool, entry: &FooterEntry, at: u64) {
        if became_tombstone && !old.tombstone {
            // It has expired: what is left behind needs no guard of its own.
            self.counters.tombstones.add(1);
            self.counters.expired.add(1);
            self.sets.count_out(entry.set_hash);
            self.shared.expire(old.location, old.size);
        } else {
            self.shared.moved(old.location, old.size, old.tombstone, at);
        }
    }
}

/// Runs the defragmenter of device number `store` on this thread until `stop` is set or the namespace is gone.
pub(super) fn run(namespace: &Weak<Namespace>, store: usize, kind: IoKind, stop: &AtomicBool) {
    let guard = reactor::Reactor::install(kind);
    if let Err(error) = &guard {
        tracing::warn!(%error, "no ring for the defragmenter: it uses the thread pool");
    }
    let waker = reactor::waker();
    let mut defragmenter = Defragmenter::new(store).paced();
    if let Some(namespace) = namespace.upgrade() {
        namespace.shared.stores[store].defragmenter.listen(waker.clone());
    }
    while !stop.load(SeqCst) {
        let Some(namespace) = namespace.upgrade() else { return };
        namespace.shared.stores[store].defragmenter.take();
        let turn = defragmenter.turn(&namespace, &waker);
        // Not kept while parked: the namespace may be let go.
        drop(namespace);
        match turn {
            Turn::Worked => drop(reactor::turn()),
            Turn::Paced => reactor::park(Some(Instant::now() + pace::PAUSE)),
            Turn::Waits => reactor::park(Some(Instant::now() + LOOK_WAITING)),
            Turn::Idle => reactor::park(Some(Instant::now() + LOOK_IDLE)),
        }
    }
}

/// How long the defragmenter waits without being told of anything, at most.
const LOOK_WAITING: Duration = Duration::from_millis(100);
/// How often it looks whether tombstones wait for the horizon.
const LOOK_IDLE: Duration = Duration::from_secs(1);
