//! Commands of one connection that have begun, in their order, and their answers.
//!
//! A command is polled once at its turn; most are done then, and answer into the output at once. The others wait here. Of two
//! commands that touch the same key, one of them writing, the second begins when the first is *applied*; its answer, like every
//! answer, leaves behind those before it and when what it tells is *durable*. So a hundred writes of one key share a flush.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Instant,
};

use cairn_engine::Receipt;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    ahead::Known,
    clients::Client,
    command::Handler,
    door::Door,
    fail::Fail,
    reply::Reply,
    request::Request,
    run::{self, Ended, Job, Wait},
    session::Session,
    table::Entry,
    together::Joined,
};

/// Commands of one connection that are not applied yet.
const RUNNING_MAX: usize = 256;
/// Commands of one connection that may be under way however long answers are.
const RUNNING_MIN: usize = 8;
/// Bytes that commands under way may be about to answer with, as far as the length of the last answers tells.
const RUNNING_BYTES: usize = 8 << 20;
/// Bytes of the requests of commands under way, which these hold on to; one may always be.
const REQUESTS_MAX: usize = 16 << 20;
/// Bytes of values that commands of all of the worker's connections hold on to; above, each connection has one command under way.
const HELD_MAX: u64 = 256 << 20;
/// Commands of one connection that are not answered yet.
const WAITING_MAX: usize = 1024;
/// Boxes kept while the connection is busy.
const SPARE_MAX: usize = 16;

/// A command whose turn it is.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The command.
    pub entry: Entry,
    /// Whether the client wants its answer.
    pub wanted: bool,
    /// When it began.
    pub began: Instant,
}

/// A future in a box that is used again.
type Slot<F> = Pin<Box<Option<F>>>;

/// How far a command has come.
enum Item<F> {
    /// Not applied yet; and the bytes of its request.
    Running(Turn, Slot<F>, Touches, usize),
    /// Applied; the answers, of so many commands, must wait for something.
    Applied(Reply, usize, Wait),
    /// They wait.
    Settling(Reply, usize, Slot<F>),
    /// To be sent.
    Ready(Reply),
}

/// What a command touches.
#[derive(Debug, Default)]
struct Touches {
    everything: bool,
    writes: bool,
    keys: SmallVec<[u64; 2]>,
}

impl Touches {
    fn of(entry: Entry, request: &Request) -> Self {
        if !matches!(entry.command.handler, Handler::Keys(_)) {
            return Self { everything: true, ..Self::default() };
        }
        let places = entry.command.keys.of(request);
        // Two keys with one hash only make a command wait that need not. So may the same key of two databases: some commands name
        // another database than their own.
        let hash = |at: &usize| xxh3_64(request.arg(*at));
        Self {
            everything: places.is_empty(),
            writes: entry.command.writes(),
            keys: places.iter().map(hash).collect(),
        }
    }

    fn conflict(&self, other: &Self) -> bool {
        self.everything
            || other.everything
            || ((self.writes || other.writes)
                && self.keys.iter().any(|key| other.keys.contains(key)))
    }
}

/// The commands of a connection that have begun. `R` makes the future of a job.
pub struct Queue<R, F> {
    door: Arc<Door>,
    run: R,
    items: VecDeque<Item<F>>,
    /// How many are not applied.
    running: usize,
    /// Bytes of the requests of those.
    requests: usize,
    /// Bytes of answers that wait.
    bytes: usize,
    /// How long answers are, as far as the last ones tell.
    usual: usize,
    /// The end of the last command, and so the beginning of the next one.
    pub now: Instant,
    client: Arc<Client>,
    spare: Vec<Slot<F>>,
    session: Option<Box<Session>>,
    /// When it joined the others that wait for a device.
    joined: Joined,
}

impl<R, F> Queue<R, F>
where
    R: Fn(Arc<Door>, Job, Reply) -> F,
    F: Future<Output = Ended>,
{
    /// An empty queue.
    pub fn new(door: Arc<Door>, client: Arc<Client>, run: R) -> Self {
        Self {
            door,
            run,
            client,
            items: VecDeque::new(),
            running: 0,
            requests: 0,
            bytes: 0,
            usual: 0,
            now: Instant::now(),
            spare: Vec::new(),
            session: None,
            joined: Joined::default(),
        }
    }

    /// Whether something is not answered.
    pub fn is_waiting(&self) -> bool {
        !self.items.is_empty()
    }

    /// Whether something is not applied.
    pub fn is_running(&self) -> bool {
        self.running > 0
    }

    /// Whether no more may begin.
    pub fn is_full(&self) -> bool {
        let too_long = self.running >= RUNNING_MIN && self.running * self.usual > RUNNING_BYTES;
        let held = self.door.counters.holding.load(Relaxed);
        let too_much = self.running > 0 && (self.requests >= REQUESTS_MAX || held >= HELD_MAX);
        too_long || too_much || self.running >= RUNNING_MAX || self.items.len() >= WAITING_MAX
    }

    /// Bytes of answers that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The session, if a command has given it back.
    pub fn session(&mut self) -> Option<Box<Session>> {
        self.session.take()
    }

    /// Whether this command must wait until one before it is applied.
    pub fn conflicts(&self, entry: Entry, request: &Request) -> bool {
        if self.running == 0 || matches!(entry.command.handler, Handler::Session(_)) {
            return false;
        }
        let touches = Touches::of(entry, request);
        self.items
            .iter()
            .any(|item| matches!(item, Item::Running(_, _, others, _) if others.conflict(&touches)))
    }

    /// Begins a command.
    pub fn start(
        &mut self,
        turn: Turn,
        job: Job,
        known: Option<Known>,
        resp3: bool,
        cx: &mut Context<'_>,
        output: &mut Vec<u8>,
    ) {
        let Some(job) = self.at_once(&turn, job, known, resp3, cx, output) else { return };
        let reply = Reply::new(resp3);
        let touches = match &job {
            Job::Keys(entry, _, request, _) => Touches::of(*entry, request),
            Job::Alone(..) | Job::Settle(_) => Touches { everything: true, ..Touches::default() },
        };
        let len = match &job {
            Job::Keys(_, _, request, _) | Job::Alone(_, request, _) => request.bytes_len(),
            Job::Settle(_) => 0,
        };
        let mut slot = self.fill(job, reply);
        match poll(&mut slot, cx) {
            Poll::Pending => {
                self.running += 1;
                self.requests += len;
                self.items.push_back(Item::Running(turn, slot, touches, len));
            }
            Poll::Ready(ended) => {
                self.keep(slot);
                let item = self.applied(&turn, ended);
                self.push(item, cx, output);
            }
        }
    }

    /// Does a command that need not wait; gives it back if it must.
    fn at_once(
        &mut self,
        turn: &Turn,
        job: Job,
        known: Option<Known>,
        resp3: bool,
        cx: &mut Context<'_>,
        output: &mut Vec<u8>,
    ) -> Option<Job> {
        let Job::Keys(entry, handler, request, db) = job else { return Some(job) };
        // Its answer goes straight to where it is sent from, if nothing stands before it.
        let straight = self.items.is_empty();
        let mut reply = match straight {
            true => Reply::behind(std::mem::take(output), resp3),
            false => Reply::new(resp3),
        };
        let done = run::at_once(&self.door, (entry, handler), &request, (db, known), &mut reply);
        let Some(result) = done else {
            if straight {
                *output = reply.into_all();
            }
            return Some(Job::Keys(entry, handler, request, db));
        };
        let (failed, wait) = match result {
            Ok(wait) => (None, wait),
            Err(fail) => (Some(fail), Wait::Nothing),
        };
        if !straight {
            let ended = Ended { reply, failed, wait, session: None, request: Some(request) };
            let item = self.applied(turn, ended);
            self.push(item, cx, output);
            return None;
        }
        self.note(turn, Some(&request), failed.as_ref(), &mut reply);
        if matches!(wait, Wait::Nothing) {
            *output = reply.into_all();
            return None;
        }
        let (reply, rest) = reply.split();
        *output = rest;
        self.bytes += reply.len();
        self.push(Item::Applied(reply, 1, wait), cx, output);
        None
    }

    fn push(&mut self, item: Item<F>, cx: &mut Context<'_>, output: &mut Vec<u8>) {
        match item {
            Item::Ready(reply) if self.items.is_empty() => {
                output.extend_from_slice(reply.bytes());
            }
            item => {
                self.items.push_back(item);
                if self.items.len() == 1 {
                    // It may be durable already, and must be asked once to be told when it is.
                    self.send(cx, output);
                }
            }
        }
    }

    /// Appends an answer that is known already.
    pub fn push_ready(&mut self, reply: Reply, output: &mut Vec<u8>) {
        if self.items.is_empty() {
            return output.extend_from_slice(reply.bytes());
        }
        self.bytes += reply.len();
        self.items.push_back(Item::Ready(reply));
    }

    /// Appends the answers of so many commands, which leave when what these wrote is durable, if that was promised.
    pub fn push_written(
        &mut self,
        reply: Reply,
        answers: usize,
        receipt: Receipt,
        cx: &mut Context<'_>,
        output: &mut Vec<u8>,
    ) {
        match run::wait_for(receipt) {
            Wait::Nothing => self.push_ready(reply, output),
            wait => {
                self.bytes += reply.len();
                self.push(Item::Applied(reply, answers, wait), cx, output);
            }
        }
    }

    /// Goes on with what waits, and sends what can be sent.
    pub fn poll(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>) {
        for at in 0..self.items.len() {
            if self.running == 0 {
                break;
            }
            if let Item::Running(turn, slot, _, len) = &mut self.items[at]
                && let Poll::Ready(ended) = poll(slot, cx)
            {
                let (turn, len) = (*turn, *len);
                self.running -= 1;
                self.requests -= len;
                let item = self.applied(&turn, ended);
                if let Item::Running(_, slot, ..) = std::mem::replace(&mut self.items[at], item) {
                    self.keep(slot);
                }
            }
        }
        self.send(cx, output);
    }

    /// Sends the answers at the front, as far as they may leave.
    fn send(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>) {
        while let Some(item) = self.items.pop_front() {
            let (reply, answers, mut slot) = match item {
                Item::Running(..) => return self.items.push_front(item),
                Item::Ready(reply) => {
                    self.bytes -= reply.len();
                    output.extend_from_slice(reply.bytes());
                    continue;
                }
                Item::Applied(reply, _, wait) if wait.is_over(&self.door) => {
                    self.bytes -= reply.len();
                    output.extend_from_slice(reply.bytes());
                    continue;
                }
                Item::Applied(reply, answers, wait) => {
                    let slot = self.fill(Job::Settle(wait), Reply::new(reply.is_resp3()));
                    (reply, answers, slot)
                }
                Item::Settling(reply, answers, slot) => (reply, answers, slot),
            };
            match self.door.together.poll(cx, &mut self.joined, |cx| poll(&mut slot, cx)) {
                Poll::Pending => {
                    return self.items.push_front(Item::Settling(reply, answers, slot));
                }
                Poll::Ready(ended) => {
                    self.keep(slot);
                    self.bytes -= reply.len();
                    let Some(fail) = &ended.failed else {
                        output.extend_from_slice(reply.bytes());
                        continue;
                    };
                    for _ in 0..answers {
                        self.door.counters.error(fail);
                        // A client that wants no answers gets no errors.
                        if !reply.is_empty() {
                            output.extend_from_slice(ended.reply.bytes());
                        }
                    }
                }
            }
        }
    }

    /// Gives back what an idle connection does not need.
    pub fn rest(&mut self) {
        // One box is kept: most turns need one, and ten thousand are still little.
        self.spare.truncate(1);
        self.spare.shrink_to(1);
        if self.items.is_empty() && self.items.capacity() > 0 {
            self.items = VecDeque::new();
        }
    }

    fn applied(&mut self, turn: &Turn, ended: Ended) -> Item<F> {
        let Ended { mut reply, failed, wait, session, request } = ended;
        if session.is_some() {
            self.session = session;
        }
        self.note(turn, request.as_ref(), failed.as_ref(), &mut reply);
        let ready = matches!(wait, Wait::Nothing);
        if !(ready && self.items.is_empty()) {
            self.bytes += reply.len();
        }
        if ready { Item::Ready(reply) } else { Item::Applied(reply, 1, wait) }
    }

    /// Counts a command that is applied, and takes its answer away if nobody wants it.
    fn note(
        &mut self,
        turn: &Turn,
        request: Option<&Request>,
        failed: Option<&Fail>,
        reply: &mut Reply,
    ) {
        if let Some(fail) = failed {
            self.door.counters.error(fail);
        }
        self.count(turn, request, failed.is_some());
        self.usual = (self.usual - self.usual / 4).max(reply.len());
        if !turn.wanted {
            reply.truncate(0);
        }
    }

    /// Counts a command that is done, and begins the time of the next one.
    pub fn count(&mut self, turn: &Turn, request: Option<&Request>, failed: bool) {
        let now = Instant::now();
        let took = now.saturating_duration_since(turn.began);
        self.now = now;
        self.door.counters.done(turn.entry.number, took, failed);
        if let Some(request) = request
            && self.door.shared.slow.is_slow(took)
        {
            self.door.shared.slow.add(request, took, &self.client);
        }
    }

    /// Counts commands that were answered together since the last one was counted: each with an equal share of the time, and as slow all of
    /// them together, in the name of the `last`.
    pub fn count_together(
        &mut self,
        commands: impl ExactSizeIterator<Item = Entry>,
        last: impl FnOnce() -> Request,
    ) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.now);
        self.now = now;
        let share = took / commands.len().max(1) as u32;
        commands.for_each(|entry| self.door.counters.done(entry.number, share, false));
        if self.door.shared.slow.is_slow(took) {
            self.door.shared.slow.add(&last(), took, &self.client);
        }
    }

    fn fill(&mut self, job: Job, reply: Reply) -> Slot<F> {
        let mut slot = self.spare.pop().unwrap_or_else(|| Box::pin(None));
        slot.as_mut().set(Some((self.run)(Arc::clone(&self.door), job, reply)));
        slot
    }

    fn keep(&mut self, mut slot: Slot<F>) {
        if self.spare.len() < SPARE_MAX {
            slot.as_mut().set(None);
            self.spare.push(slot);
        }
    }
}

fn poll<F: Future<Output = Ended>>(slot: &mut Slot<F>, cx: &mut Context<'_>) -> Poll<Ended> {
    match slot.as_mut().as_pin_mut() {
        Some(future) => future.poll(cx),
        None => Poll::Pending,
    }
}
