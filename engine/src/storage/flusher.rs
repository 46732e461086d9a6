//! Brings one device's write buffers to the device: the only place that decides when a write is issued.
//!
//! A step machine: `turn` takes what completed, issues what can be issued and says when it wants to be called again. A thread with
//! its own ring calls it in a loop; a simulator calls it by hand. Group commit falls out of it: while one durable write is in
//! flight, others gather behind it and go together. A device has one sync in flight at most, for all blocks that wait for one: those
//! that come meanwhile share the next, be they full, sealed or freed. It also marks emptied blocks as free on the device, and gives them back.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{
    Shared,
    append::Streams,
    blocks::BlockState,
    filling::{Filling, Limits, Step, Synced},
    store::Store,
};
use crate::{
    device::{Completion, IoKind, Region, reactor},
    format::{BlockHeader, BlockKind, LinkState, block_header_region},
};

/// Flush writes of one block that may be on their way at once.
const WRITES_IN_FLIGHT: usize = 4;
/// Requests on their way beside which no more writes are issued that nobody waits for: enough to keep a device busy, few enough that a durable
/// write does not stand in a long queue.
const REQUESTS_IN_FLIGHT: usize = 10;
/// Blocks that may be on their way to being free at once.
const FREES_IN_FLIGHT: usize = 32;

/// See [`Flusher::new`]: much less than a writer would notice, much more than a flush takes.
const HURRY_PAUSE: Duration = Duration::from_millis(4);

/// The flusher of one device.
#[derive(Debug)]
pub(crate) struct Flusher {
    store: usize,
    operations: Vec<InFlight>,
    frees: Vec<Freeing>,
    /// The least time between two flushes that are made only to free blocks.
    pause: Duration,
    last_hurry: Duration,
}

/// A block on its way to being free.
#[derive(Debug)]
struct Freeing {
    block: u32,
    stage: Stage,
}

/// How far it has come.
#[derive(Debug)]
enum Stage {
    /// The header that says so is being written.
    Marking(Completion<()>),
    /// That header is on the device, perhaps only in its cache.
    Marked,
    /// The sync in flight makes it durable.
    Syncing,
    /// It is durable; the device is being told that the rest is not needed.
    Discarding(Completion<()>),
}

impl Stage {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), String>> {
        match self {
            Self::Marking(completion) | Self::Discarding(completion) => {
                Pin::new(completion).poll(context).map_err(|error| error.to_string())
            }
            Self::Marked | Self::Syncing => Poll::Pending,
        }
    }
}

#[derive(Debug)]
struct InFlight {
    completion: Completion<()>,
    what: What,
}

/// A step that a block was found ready for, with what it takes to do it without the stream.
#[derive(Debug)]
struct Planned {
    step: Step,
    number: u32,
    sequence: u64,
    region: Arc<Region>,
}

/// What a request is for; blocks by their sequence.
#[derive(Clone, Copy, Debug)]
enum What {
    Write {
        sequence: u64,
        end: u32,
    },
    Footer {
        sequence: u64,
    },
    /// All blocks that had joined.
    Sync,
}

impl Flusher {
    /// The flusher of device number `store`. What flushes would gain by waiting they wait for `pause` at most.
    pub(crate) fn new(store: usize, pause: Duration) -> Self {
        Self { store, operations: Vec::new(), frees: Vec::new(), pause, last_hurry: Duration::ZERO }
    }

    /// Takes what completed and issues what can be issued. Returns when to call again at the latest, if nothing kicks or completes.
    pub(crate) fn turn(&mut self, shared: &Shared, waker: &Waker) -> Option<Duration> {
        let store = &shared.stores[self.store];
        let mut durable = self.take_completed(shared, store, waker);
        if store.failure().is_some() {
            // What was on its way to being free stays as it is; only its requests are waited for.
            let mut context = Context::from_waker(waker);
            self.frees.retain(|free| !matches!(free.stage, Stage::Marked | Stage::Syncing));
            self.frees.retain_mut(|free| free.stage.poll(&mut context).is_pending());
            wake_all(durable);
            return None;
        }
        self.free_emptied(shared, store, waker);
        let now = shared.clock.monotonic();
        let mut guard = store.streams.lock();
        let streams = &mut *guard;
        let next_hurry = self.hurry(store, streams, shared.flush_max, now);
        let mut steps = Vec::new();
        for at in 0..streams.closing.len() + streams.open.len() {
            self.plan(shared, streams, at, &mut steps);
        }
        let sync = !self.is_syncing() && self.needs_sync(streams);
        if sync {
            self.join_sync(streams);
        }
        let waiting = streams.open.iter().flatten().filter_map(Filling::waiting_since).min();
        let deadline = waiting.map(|since| since + shared.flush_max);
        drop(guard);
        // Nobody else issues, and what is issued does not change any more: writers need not wait for the submission.
        for planned in steps {
            self.operations.push(Self::start(shared, store, planned));
        }
        if sync {
            self.operations.push(InFlight { completion: store.device.sync(), what: What::Sync });
        }
        let issued = self.operations.len();
        // What waited for the last write goes to the device before those are woken whom it made durable: they would stand in the way.
        reactor::turn();
        // Requests may complete while they are submitted: their wakers must be in place before this thread parks.
        durable.extend(self.take_completed(shared, store, waker));
        wake_all(durable);
        self.free_emptied(shared, store, waker);
        if self.operations.len() < issued || (!self.is_syncing() && self.any_marked()) {
            // Something is done that nobody will be woken for any more, and more can be issued for it.
            return Some(now);
        }
        deadline.into_iter().chain(next_hurry).min()
    }

    /// Asks for durability where time or need says so. Returns when need may say so again.
    fn hurry(
        &mut self,
        store: &Store,
        streams: &mut Streams,
        flush_max: Duration,
        now: Duration,
    ) -> Option<Duration> {
        let needed = store.is_urgent() || (store.is_short() && store.has_emptied());
        let next = self.last_hurry + self.pause;
        let urgent = needed && now >= next;
        if urgent {
            store.take_urgent();
            self.last_hurry = now;
        }
        for open in streams.open.iter_mut().flatten() {
            let due = open.waiting_since().is_some_and(|since| now >= since + flush_max);
            if (due || urgent) && open.low().is_some() {
                open.want_all();
            }
        }
        (needed && !urgent).then_some(next)
    }

    /// Marks emptied blocks as free, and gives back those that are.
    fn free_emptied(&mut self, shared: &Shared, store: &Store, waker: &Waker) {
        let most = FREES_IN_FLIGHT - self.frees.len();
        for block in store.take_reusable(shared, most) {
            let completion = mark_free(shared, store, block);
            self.frees.push(Freeing { block, stage: Stage::Marking(completion) });
        }
        let mut context = Context::from_waker(waker);
        let mut at = 0;
        while at < self.frees.len() {
            let free = &mut self.frees[at];
            match (free.stage.poll(&mut context), &free.stage) {
                (Poll::Pending, _) => at += 1,
                (Poll::Ready(Ok(())), Stage::Marking(_)) => free.stage = Stage::Marked,
                (Poll::Ready(Err(error)), Stage::Marking(_)) => {
                    self.frees.swap_remove(at);
                    shared.fence(store, &error);
                }
                // A device that cannot discard has lost nothing by it.
                (Poll::Ready(_), _) => store.freed(shared, self.frees.swap_remove(at).block),
            }
        }
    }

    /// A sync is done that was issued when the headers of some blocks said already that they are free.
    fn frees_are_durable(&mut self, shared: &Shared, store: &Store) {
        let durable = |free: &mut Freeing| matches!(free.stage, Stage::Syncing);
        for free in self.frees.extract_if(.., durable).collect::<Vec<_>>() {
            if store.discards_soon() {
                let header = block_header_region(store.sector);
                let offset = store.offset(shared, free.block) + header;
                let discard = store.device.discard(offset, shared.block_size - header);
                self.frees.push(Freeing { stage: Stage::Discarding(discard), ..free });
                shared.counters.discards.add(1);
            } else {
                store.freed(shared, free.block);
            }
        }
    }

    /// Plans everything that block number `at` (the closing ones, then the open ones) is ready for.
    fn plan(&self, shared: &Shared, streams: &mut Streams, at: usize, steps: &mut Vec<Planned>) {
        loop {
            let limits = Limits {
                unit: shared.flush_size,
                writes: WRITES_IN_FLIGHT,
                room: self.operations.len() + steps.len() < REQUESTS_IN_FLIGHT,
            };
            let recent = &streams.recent;
            let closing = streams.closing.len();
            let filling = match at < closing {
                true => &mut streams.closing[at],
                false => match &mut streams.open[at - closing] {
                    Some(open) => open,
                    None => return,
                },
            };
            let hint = shared.records_hint.load(SeqCst);
            let links = || recent.iter().copied().collect();
            let Some(step) = filling.next_step(limits, links, hint) else { return };
            let (number, sequence) = (filling.number, filling.sequence);
            let begins = matches!(step, Step::Write { start: 0, .. });
            let region = Arc::clone(filling.image.region());
            steps.push(Planned { step, number, sequence, region });
            if begins {
                // Only now, so that its own header does not name it.
                streams.note(number, sequence, LinkState::Opened);
            }
        }
    }

    fn start(shared: &Shared, store: &Store, planned: Planned) -> InFlight {
        let Planned { step, number, sequence, region } = planned;
        let base = u64::from(number) * shared.block_size;
        let write = |start: u32, end: u32, durable: bool| {
            shared.counters.flushes.add(1);
            shared.counters.bytes_flushed.add(u64::from(end - start));
            let (offset, len) = (base + u64::from(start), (end - start) as usize);
            store.device.write(&region, start as usize, len, offset, durable)
        };
        let (completion, what) = match step {
            Step::Write { start, end, durable } => {
                (write(start, end, durable), What::Write { sequence, end })
            }
            Step::Footer { start } => {
                (write(start, shared.block_size as u32, false), What::Footer { sequence })
            }
        };
        InFlight { completion, what }
    }

    fn needs_sync(&self, streams: &Streams) -> bool {
        self.any_marked() || streams.fillings().any(Filling::needs_sync)
    }

    fn any_marked(&self) -> bool {
        self.frees.iter().any(|free| matches!(free.stage, Stage::Marked))
    }

    fn join_sync(&mut self, streams: &mut Streams) {
        streams.fillings_mut().for_each(Filling::join_sync);
        let marked = self.frees.iter_mut().filter(|free| matches!(free.stage, Stage::Marked));
        marked.for_each(|free| free.stage = Stage::Syncing);
    }

    fn is_syncing(&self) -> bool {
        self.operations.iter().any(|operation| matches!(operation.what, What::Sync))
    }

    /// Takes what is done. Returns who waits for it.
    fn take_completed(&mut self, shared: &Shared, store: &Store, waker: &Waker) -> Vec<Waker> {
        let mut durable = Vec::new();
        let mut context = Context::from_waker(waker);
        let mut at = 0;
        while at < self.operations.len() {
            match Pin::new(&mut self.operations[at].completion).poll(&mut context) {
                Poll::Pending => at += 1,
                Poll::Ready(result) => {
                    let done = self.operations.swap_remove(at);
                    match result {
                        Ok(()) => {
                            durable.extend(Self::completed(shared, store, done.what));
                            if let What::Sync = done.what {
                                self.frees_are_durable(shared, store);
                            }
                        }
                        Err(error) => shared.fence(store, &error.to_string()),
                    }
                }
            }
        }
        durable
    }

    /// A request is done. Returns who waits for it.
    fn completed(shared: &Shared, store: &Store, done: What) -> Vec<Waker> {
        let mut streams = store.streams.lock();
        let (mut wakers, mut whole) = (Vec::new(), Vec::new());
        match done {
            What::Write { sequence, end } => {
                if let Some(end) = streams.filling(sequence).write_done(end) {
                    wakers = Self::durable_to(store, &mut streams, sequence, end);
                }
            }
            What::Footer { sequence } => streams.filling(sequence).footer_done(),
            What::Sync => {
                let synced = streams.fillings_mut();
                let synced = synced.filter_map(|f| Some((f.sequence, f.sync_done()?)));
                for (sequence, synced) in synced.collect::<Vec<_>>() {
                    match synced {
                        Synced::To(end) => {
                            wakers.extend(Self::durable_to(store, &mut streams, sequence, end));
                        }
                        Synced::Whole => whole.push(sequence),
                    }
                }
            }
        }
        store.refresh_low(&streams);
        drop(streams);
        store.tell_others_of_low(shared);
        whole.into_iter().for_each(|sequence| Self::sealed(shared, store, sequence));
        wakers
    }

    /// Everything below `end` of a block survives power loss. Returns who waits for it.
    fn durable_to(store: &Store, streams: &mut Streams, sequence: u64, end: u32) -> Vec<Waker> {
        let filling = streams.filling(sequence);
        let first = !filling.partly_durable();
        let bound = filling.bound();
        let end = filling.durable_to(end);
        store.unbind(bound - filling.bound());
        let wakers = filling.image.advance_synced(end);
        let number = filling.number;
        if first {
            streams.note(number, sequence, LinkState::Partly);
        }
        wakers
    }

    fn sealed(shared: &Shared, store: &Store, sequence: u64) {
        let mut streams = store.streams.lock();
        let at = streams.closing.iter().position(|filling| filling.sequence == sequence);
        let filling =
            streams.closing.remove(at.expect("only closed blocks get a footer")).expect("found");
        streams.note(filling.number, sequence, LinkState::Sealed);
        store.refresh_low(&streams);
        drop(streams);
        let block = shared.blocks.get(filling.block);
        block.close(&filling.contents(shared.clock.now_ms()));
        block.set_state(BlockState::Sealed);
        shared.cache_image(filling.block, sequence);
        if block.in_use() == 0 && block.transition(BlockState::Sealed, BlockState::Emptied) {
            store.emptied(shared, filling.block);
        }
        // What has died in it while it was on its way can be won from now on.
        store.look_again();
        store.defragmenter.kick();
        store.room.wake_all();
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.operations.is_empty() && self.frees.is_empty()
    }
}

/// Wakes all who waited for a write, each thread of theirs once.
fn wake_all(durable: Vec<Waker>) {
    reactor::wake_together(|| durable.into_iter().for_each(Waker::wake));
}

/// Begins to say on the device that a block is free.
fn mark_free(shared: &Shared, store: &Store, block: u32) -> Completion<()> {
    let state = shared.blocks.get(block);
    let mut bytes = vec![0; block_header_region(store.sector) as usize];
    let header = BlockHeader {
        device: store.superblock.device(),
        block: block - store.first_block,
        kind: BlockKind::Freed,
        stream: state.stream().0,
        sequence: state.sequence(),
        birth: state.birth(),
        links: Vec::new(),
        records_hint: shared.records_hint.load(SeqCst),
    };
    header.encode(&mut bytes);
    shared.counters.bytes_flushed.add(bytes.len() as u64);
    let offset = store.offset(shared, block);
    store.device.write(&Region::from_bytes(&bytes), 0, bytes.len(), offset, false)
}

/// Runs the flusher of device number `store` on this thread until `stop` is set and everything issued has completed.
pub(crate) fn run(shared: &Arc<Shared>, store: usize, kind: IoKind, stop: &AtomicBool) {
    let guard = reactor::Reactor::install(kind);
    if let Err(error) = &guard {
        tracing::warn!(%error, "no ring for the flusher: it uses the thread pool");
    }
    let device = &shared.stores[store];
    let waker = reactor::waker();
    device.flusher.listen(waker.clone());
    let mut flusher = Flusher::new(store, HURRY_PAUSE);
    let mut registered = Registered::default();
    loop {
        device.flusher.take();
        registered.add_new(shared);
        let deadline = flusher.turn(shared, &waker);
        if stop.load(SeqCst)
            && flusher.is_idle()
            && (device.is_clean() || device.failure().is_some())
        {
            break;
        }
        reactor::park(
            deadline.map(|at| Instant::now() + at.saturating_sub(shared.clock.monotonic())),
        );
    }
}

/// The images' memory that this thread's ring knows.
#[derive(Debug, Default)]
struct Registered {
    count: usize,
    given_up: bool,
}

impl Registered {
    fn add_new(&mut self, shared: &Shared) {
        if self.given_up || shared.images.made() == self.count {
            return;
        }
        let regions: Vec<Arc<Region>> = shared.images.regions_after(self.count);
        self.count += regions.len();
        if let Err(error) = reactor::register_buffers(&regions) {
            tracing::debug!(%error, "write buffers are not registered with io_uring");
            self.given_up = true;
        }
    }
}
