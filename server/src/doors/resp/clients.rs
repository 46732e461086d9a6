//! Who is connected: what `CLIENT LIST` shows, and how a connection is told to end, or to go to another worker.
//!
//! Each connection writes its own line, with plain stores; others read it, and may see a moment in between. Which worker a connection
//! is to be served by changes under the lock of the list alone, so that the counts by worker are exact.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Instant,
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

/// Longest name a client may give itself or its library.
pub const NAME_MAX: usize = 256;

/// What a client calls itself.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Its own name.
    pub name: Box<str>,
    /// Its library's.
    pub lib_name: Box<str>,
    /// The library's version.
    pub version: Box<str>,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    /// Its number, never used twice.
    pub id: u64,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Where it came to.
    pub local: SocketAddr,
    /// The descriptor of its socket.
    pub descriptor: i32,
    /// The worker that serves it; written by that worker's thread alone.
    pub worker: AtomicUsize,
    /// When it came.
    pub since: Instant,
    /// Its last command, in milliseconds since `since`.
    pub active_ms: AtomicU64,
    /// Its database.
    pub db: AtomicU8,
    /// Whether it speaks RESP3.
    pub resp3: AtomicBool,
    /// The number of its last command in the table; `u16::MAX` for none.
    pub command: AtomicU16,
    /// Commands queued by MULTI, and one; 0 outside.
    pub queued: AtomicU32,
    /// Keys it watches.
    pub watched: AtomicU32,
    /// Bytes received and not yet understood.
    pub input: AtomicUsize,
    /// Bytes of answers not yet sent.
    pub output: AtomicUsize,
    /// Names it gave itself; most never do.
    pub names: Mutex<Option<Box<Names>>>,
    /// The worker that is to serve it.
    place: AtomicUsize,
    ending: AtomicU8,
    waker: AtomicWaker,
}

impl Client {
    /// A client that has just come.
    pub fn new(
        id: u64,
        (peer, local): (SocketAddr, SocketAddr),
        descriptor: i32,
        worker: usize,
    ) -> Self {
        Self {
            id,
            peer,
            local,
            descriptor,
            worker: AtomicUsize::new(worker),
            since: Instant::now(),
            active_ms: AtomicU64::new(0),
            db: AtomicU8::new(0),
            resp3: AtomicBool::new(false),
            command: AtomicU16::new(u16::MAX),
            queued: AtomicU32::new(0),
            watched: AtomicU32::new(0),
            input: AtomicUsize::new(0),
            output: AtomicUsize::new(0),
            names: Mutex::new(None),
            place: AtomicUsize::new(worker),
            ending: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// Says that it did something now.
    pub fn touch(&self, now: Instant) {
        self.active_ms.store((now - self.since).as_millis() as u64, Relaxed);
    }

    /// How long it has done nothing, in milliseconds.
    pub fn idle_ms(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.since).as_millis() as u64;
        age.saturating_sub(self.active_ms.load(Relaxed))
    }

    /// Its name; empty when it has none.
    pub fn name(&self) -> Box<str> {
        self.names.lock().as_ref().map_or_else(Box::default, |names| names.name.clone())
    }

    /// Changes what it calls itself.
    pub fn rename(&self, change: impl FnOnce(&mut Names)) {
        let mut names = self.names.lock();
        change(names.get_or_insert_default());
    }

    /// The worker that is to serve it from its next rest on.
    pub fn place(&self) -> usize {
        self.place.load(Relaxed)
    }

    /// Tells the connection to end.
    pub fn end(&self, how: End) {
        self.ending.fetch_max(how as u8, SeqCst);
        self.waker.wake();
    }

    /// Has this waker woken when it is told to end.
    pub fn watch(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// Whether and how it was told to end.
    pub fn ending(&self) -> Option<End> {
        match self.ending.load(SeqCst) {
            0 => None,
            1 => Some(End::Answered),
            _ => Some(End::Now),
        }
    }
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// When what has begun is answered.
    Answered = 1,
    /// At once.
    Now = 2,
}

/// All clients.
#[derive(Debug, Default)]
pub struct Clients {
    all: Mutex<All>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct All {
    by_id: BTreeMap<u64, Arc<Client>>,
    /// How many are to be served by each worker; as long as the highest worker that ever was to serve one.
    by_place: Vec<usize>,
}

impl All {
    fn at(&mut self, place: usize) -> &mut usize {
        if self.by_place.len() <= place {
            self.by_place.resize(place + 1, 0);
        }
        &mut self.by_place[place]
    }
}

impl Clients {
    /// A number for a new client.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed) + 1
    }

    /// Takes a client in, until the answer is dropped.
    pub fn add(self: &Arc<Self>, client: Client) -> Connected {
        let client = Arc::new(client);
        let mut all = self.all.lock();
        all.by_id.insert(client.id, Arc::clone(&client));
        *all.at(client.place()) += 1;
        drop(all);
        Connected { clients: Arc::clone(self), client }
    }

    /// All of them, by number.
    pub fn list(&self) -> Vec<Arc<Client>> {
        self.all.lock().by_id.values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.lock().by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.lock().by_id.is_empty()
    }

    /// How many are to be served by this worker.
    pub fn placed(&self, worker: usize) -> usize {
        self.all.lock().by_place.get(worker).copied().unwrap_or(0)
    }

    /// Sends so many clients of one worker to another one; all, if they are fewer. Each goes when it next has something to do and has done it:
    /// nobody is woken who is silent. Those who did something last and those who have long been silent go in the same shares.
    pub fn send(&self, from: usize, to: usize, count: usize) {
        let mut all = self.all.lock();
        let now = Instant::now();
        let mut those: Vec<_> =
            all.by_id.values().filter(|client| client.place() == from).cloned().collect();
        those.sort_by_cached_key(|client| client.idle_ms(now));
        let (len, count) = (those.len(), count.min(those.len()));
        // The last of each share: of two, the one with less to do.
        let chosen = |at: &usize| (at + 1) * count / len > at * count / len;
        for at in (0..len).filter(chosen) {
            those[at].place.store(to, Relaxed);
        }
        *all.at(from) -= count;
        *all.at(to) += count;
    }
}

/// A client's place among the others; given up when it is dropped.
#[derive(Debug)]
pub struct Connected {
    clients: Arc<Clients>,
    /// The client.
    pub client: Arc<Client>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut all = self.clients.all.lock();
        all.by_id.remove(&self.client.id);
        *all.at(self.client.place()) -= 1;
    }
}
