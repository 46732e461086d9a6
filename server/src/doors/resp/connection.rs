//! A connection: read, take all complete commands, start each in order, answer in order, one write.
//!
//! One task and no others: [`Connection`] is polled by hand. What it does not need while its client is silent it does not have: the
//! read buffer is the thread's, the answers' is given back, and commands that wait lie in boxes of their own. A client that does not
//! read its answers is read from no more; one that sends slowly costs what it has sent. At rest, which is when nothing is read and not
//! answered, it may go on with another worker.

mod commands;
mod held;
mod plain;
mod rest;
mod transfer;

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use held::Held;
use tokio::net::TcpStream;

pub use rest::AtRest;

use super::{
    ahead::Ahead,
    buffers,
    clients::{Connected, End},
    door::Door,
    parse::{Parser, ProtocolError},
    queue::Queue,
    reply::Reply,
    request::Request,
    run::{Ended, Job},
    session::Session,
    table::Entry,
};

/// Commands taken before other connections have their turn, and the time after which no more are taken.
const TURN: usize = 256;
pub(super) const TURN_TIME: Duration = Duration::from_millis(1);
/// Bytes of answers that are sent before more is done.
const ENOUGH: usize = 256 << 10;

/// Bytes of answers that do not wait for other connections' turns.
const SOON: usize = 64 << 10;

/// A client's connection.
pub struct Connection<R, F> {
    stream: TcpStream,
    door: Arc<Door>,
    connected: Connected,
    /// Away while a command has it that is done alone.
    session: Option<Box<Session>>,
    parser: Parser,
    input: BytesMut,
    /// Requests that are understood and not begun, the next one last.
    ahead: Vec<Ahead>,
    /// What stands behind them, if it cannot be understood.
    broken: Option<ProtocolError>,
    output: Vec<u8>,
    /// Bytes of `output` that are sent.
    sent: usize,
    queue: Queue<R, F>,
    /// A command that waits until those it depends on are applied.
    stalled: Option<(Entry, Request)>,
    /// Its answers wait until the other connections that were ready with it have had their turn.
    later: bool,
    /// Woken when the connection is told to end.
    waker: Option<Waker>,
    /// Nothing more is read: the client has gone, or has said something that cannot be understood.
    deaf: bool,
    /// What it holds of a request that is not complete.
    held: Held,
}

/// Why a connection is served no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It has ended.
    Over,
    /// Another worker is to go on with it: see [`Connection::into_rest`].
    Moves,
}

/// Why a turn ended.
enum Stop {
    /// Everything that could be done is done.
    Idle,
    /// Others have their turn first.
    Yield,
}

impl<R, F> Connection<R, F>
where
    R: Fn(Arc<Door>, Job, Reply) -> F,
    F: Future<Output = Ended>,
{
    /// Serves a connection, on the worker's own thread. `run` runs commands.
    pub fn new(at_rest: AtRest, door: Arc<Door>, run: R) -> io::Result<Self> {
        let AtRest { stream, connected, session } = at_rest;
        Ok(Self {
            stream: TcpStream::from_std(stream)?,
            queue: Queue::new(Arc::clone(&door), Arc::clone(&connected.client), run),
            connected,
            session: Some(session),
            parser: Parser::default(),
            input: BytesMut::new(),
            ahead: Vec::new(),
            broken: None,
            output: Vec::new(),
            sent: 0,
            stalled: None,
            later: false,
            waker: None,
            deaf: false,
            held: Held::new(&door.counters),
            door,
        })
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> io::Result<Stop> {
        let (mut commands, began) = (0, self.queue.now);
        // Up to here the socket was offered what there is to send.
        let (back, mut offered) = (std::mem::take(&mut self.later), 0);
        if back {
            self.write(cx)?;
            offered = self.output.len();
        }
        if self.output.capacity() == 0 {
            self.output = buffers::output();
        }
        loop {
            self.collect(cx);
            let (mut hungry, mut ended) = (false, false);
            while self.may_take() {
                // One command at least: time may have gone by for other reasons.
                let late = commands > 0 && self.queue.now.duration_since(began) > TURN_TIME;
                ended = late || commands >= TURN;
                if ended {
                    break;
                }
                let begun = match self.stalled.take() {
                    Some((entry, request)) => {
                        self.start(entry, request, None, cx);
                        1
                    }
                    None => self.take(cx),
                };
                if begun == 0 {
                    hungry = !self.deaf;
                    break;
                }
                commands += begun;
            }
            // All connections that are ready now have their turn before the first of them is answered: a client of many wakes up once for all.
            let len = self.output.len();
            if len > offered && len - self.sent < SOON {
                self.later = true;
                return Ok(Stop::Yield);
            }
            self.write(cx)?;
            offered = self.output.len();
            if ended {
                return Ok(Stop::Yield);
            }
            if hungry && self.output.len() - self.sent < ENOUGH {
                if self.read(cx)? {
                    if back {
                        self.queue.now = Instant::now();
                    }
                    continue;
                }
            } else if self.may_take() && !hungry && !self.deaf {
                // What was written made room.
                continue;
            }
            return Ok(Stop::Idle);
        }
    }

    /// Whether another command may be begun.
    fn may_take(&self) -> bool {
        let Some(session) = &self.session else { return false };
        if session.closing && self.stalled.is_none() {
            return false;
        }
        let blocked = match &self.stalled {
            Some((entry, request)) => self.queue.conflicts(*entry, request),
            None => self.deaf && self.ahead.is_empty(),
        };
        !blocked
            && !self.queue.is_full()
            && self.output.len() - self.sent + self.queue.bytes() < self.output_max()
    }

    fn output_max(&self) -> usize {
        self.door.shared.config.output_buffer as usize
    }

    /// Takes what has come of the commands that wait.
    fn collect(&mut self, cx: &mut Context<'_>) {
        if self.queue.is_waiting() {
            self.queue.poll(cx, &mut self.output);
            if let Some(session) = self.queue.session() {
                self.session = Some(session);
            }
        }
    }

    /// Whether everything is answered and nothing more will be asked.
    fn is_over(&self) -> bool {
        let closing = self.deaf || self.session.as_ref().is_some_and(|session| session.closing);
        closing && self.output.is_empty() && !self.queue.is_waiting() && self.stalled.is_none()
    }

    fn show(&self) {
        let client = &self.connected.client;
        let ahead: usize = self.ahead.iter().map(|ahead| ahead.request.bytes_len()).sum();
        client.input.store(self.input.len() + ahead, Relaxed);
        client.output.store(self.output.len() - self.sent + self.queue.bytes(), Relaxed);
        if let Some(session) = &self.session {
            client.db.store(session.db, Relaxed);
            client.resp3.store(session.resp3, Relaxed);
        }
    }
}

/// Completes when the connection has ended, or is to go on elsewhere.
impl<R, F> Future for Connection<R, F>
where
    R: Fn(Arc<Door>, Job, Reply) -> F + Unpin,
    F: Future<Output = Ended>,
{
    type Output = io::Result<Left>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Left>> {
        let this = self.get_mut();
        // Being told takes the waker, and more may be told: to end at once, after all.
        let told = this.connected.client.ending().is_some();
        if told || !this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            this.connected.client.watch(cx.waker());
            this.waker = Some(cx.waker().clone());
        }
        match this.connected.client.ending() {
            None => {}
            Some(End::Now) => return Poll::Ready(Ok(Left::Over)),
            Some(End::Answered) => {
                this.hang_up();
                this.stalled = None;
            }
        }
        // Who only comes back to send has nothing to time.
        if !this.later {
            this.queue.now = Instant::now();
        }
        let stop = this.turn(cx)?;
        this.show();
        if this.is_over() {
            return Poll::Ready(Ok(Left::Over));
        }
        match stop {
            Stop::Yield => cx.waker().wake_by_ref(),
            Stop::Idle if this.moves() => return Poll::Ready(Ok(Left::Moves)),
            Stop::Idle => {
                this.queue.rest();
                if this.ahead.is_empty() {
                    this.ahead = Vec::new();
                }
            }
        }
        Poll::Pending
    }
}
