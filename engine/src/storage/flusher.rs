//! Brings one device's write buffers to the device: the only place that decides when a write is issued.
//!
//! A step machine: `turn` takes what completed, issues what can be issued and says when it wants to be called again. A thread with
//! its own ring calls it in a loop; a simulator calls it by hand. Group commit falls out of it: while one durable write is in
//! flight, others gather behind it and go together.

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
    blocks::BlockState,
    filling::Step,
    store::{Store, Stream},
};
use crate::{
    device::{Completion, IoKind, Region, reactor},
    format::LinkState,
};

/// Flush writes of one block that may be on their way at once.
const WRITES_IN_FLIGHT: usize = 4;

/// The flusher of one device.
#[derive(Debug)]
pub(crate) struct Flusher {
    store: usize,
    operations: Vec<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    completion: Completion<()>,
    sequence: u64,
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

#[derive(Debug)]
enum What {
    Write { end: u32, durable: bool },
    Sync,
    Footer,
}

impl Flusher {
    /// The flusher of device number `store`.
    pub(crate) fn new(store: usize) -> Self {
        Self { store, operations: Vec::new() }
    }

    /// Takes what completed and issues what can be issued. Returns when to call again at the latest, if nothing kicks or completes.
    pub(crate) fn turn(&mut self, shared: &Shared, waker: &Waker) -> Option<Duration> {
        let store = &shared.stores[self.store];
        self.take_completed(shared, store, waker);
        // What a dropped tombstone or a truncation emptied waits for no flush, so no completion would free it.
        shared.free_emptied();
        if store.failure().is_some() {
            return None;
        }
        let now = shared.clock.monotonic();
        let mut guard = store.stream.lock();
        let stream = &mut *guard;
        self.hurry(store, stream, shared.flush_max, now);
        let mut steps = Vec::new();
        for at in 0..=stream.closing.len() {
            Self::plan(shared, stream, at, &mut steps);
        }
        let deadline = Store::flush_deadline(stream, shared.flush_max);
        drop(guard);
        // Nobody else issues, and what is issued does not change any more: writers need not wait for the submission.
        for planned in steps {
            self.operations.push(Self::start(shared, store, planned));
        }
        // Requests may complete while they are submitted: their wakers must be in place before this thread parks.
        self.take_completed(shared, store, waker);
        deadline
    }

    /// Asks for durability where time or need says so.
    fn hurry(&self, store: &Store, stream: &mut Stream, flush_max: Duration, now: Duration) {
        let due = Store::flush_deadline(stream, flush_max).is_some_and(|deadline| now >= deadline);
        let urgent = store.take_urgent();
        if let Some(open) = &mut stream.open
            && (due || urgent)
            && open.low().is_some()
        {
            open.want_all();
        }
    }

    /// Plans everything that block number `at` (the closing ones, then the open one) is ready for.
    fn plan(shared: &Shared, stream: &mut Stream, at: usize, steps: &mut Vec<Planned>) {
        loop {
            let recent = &stream.recent;
            let closing = stream.closing.len();
            let filling = match at < closing {
                true => &mut stream.closing[at],
                false => match &mut stream.open {
                    Some(open) => open,
                    None => return,
                },
            };
            let hint = shared.records_hint.load(SeqCst);
            let (unit, most) = (shared.flush_size, WRITES_IN_FLIGHT);
            let links = || recent.iter().copied().collect();
            let Some(step) = filling.next_step(unit, most, links, hint) else { return };
            let (number, sequence) = (filling.number, filling.sequence);
            let begins = matches!(step, Step::Write { start: 0, .. });
            let region = Arc::clone(filling.image.region());
            steps.push(Planned { step, number, sequence, region });
            if begins {
                Store::link(stream, number, sequence);
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
                (write(start, end, durable), What::Write { end, durable })
            }
            Step::Sync => (store.device.sync(), What::Sync),
            Step::Footer { start } => (write(start, shared.block_size as u32, true), What::Footer),
        };
        InFlight { completion, sequence, what }
    }

    fn take_completed(&mut self, shared: &Shared, store: &Store, waker: &Waker) {
        let mut context = Context::from_waker(waker);
        let mut at = 0;
        while at < self.operations.len() {
            match Pin::new(&mut self.operations[at].completion).poll(&mut context) {
                Poll::Pending => at += 1,
                Poll::Ready(result) => {
                    let done = self.operations.swap_remove(at);
                    match result {
                        Ok(()) => Self::completed(shared, store, &done),
                        Err(error) => shared.fence(store, &error.to_string()),
                    }
                }
            }
        }
    }

    fn completed(shared: &Shared, store: &Store, done: &InFlight) {
        let mut guard = store.stream.lock();
        let stream = &mut *guard;
        let closing = stream.closing.iter_mut().chain(&mut stream.open);
        let mut found = closing.filter(|filling| filling.sequence == done.sequence);
        let filling = found.next().expect("a block stays until its footer is written");
        let durable = match done.what {
            What::Write { end, durable } => filling.write_done(end, durable),
            What::Sync => Some(filling.sync_done()),
            What::Footer => {
                drop(guard);
                return Self::sealed(shared, store, done.sequence);
            }
        };
        let Some(end) = durable else { return };
        let first = !filling.partly_durable();
        filling.durable_to(end);
        let (block, image) = (filling.block, Arc::clone(&filling.image));
        if first {
            shared.blocks.get(block).prior_life_overwritten();
            stream.note(done.sequence, LinkState::Partly);
        }
        store.refresh_low(stream);
        drop(guard);
        image.advance_synced(end).into_iter().for_each(Waker::wake);
        shared.free_emptied();
    }

    fn sealed(shared: &Shared, store: &Store, sequence: u64) {
        let mut stream = store.stream.lock();
        let at = stream.closing.iter().position(|filling| filling.sequence == sequence);
        let filling =
            stream.closing.remove(at.expect("only closed blocks get a footer")).expect("found");
        stream.note(sequence, LinkState::Sealed);
        store.refresh_low(&stream);
        drop(stream);
        let block = shared.blocks.get(filling.block);
        let (floor, max) = filling.versions();
        block.close(floor, max);
        block.set_state(BlockState::Sealed);
        shared.cache_image(filling.block, sequence);
        if block.in_use() == 0 && block.transition(BlockState::Sealed, BlockState::Emptied) {
            store.emptied(shared, filling.block);
        }
        shared.free_emptied();
        store.room.wake_all();
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.operations.is_empty()
    }
}

/// Runs the flusher of device number `store` on this thread until `stop` is set and everything issued has completed.
pub(crate) fn run(shared: &Arc<Shared>, store: usize, kind: IoKind, stop: &AtomicBool) {
    let guard = reactor::Reactor::install(kind);
    if let Err(error) = &guard {
        tracing::warn!(%error, "no ring for the flusher: it uses the thread pool");
    }
    let device = &shared.stores[store];
    let waker = reactor::waker();
    device.set_flusher(waker.clone());
    let mut flusher = Flusher::new(store);
    let mut registered = Registered::default();
    loop {
        device.take_kick();
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
