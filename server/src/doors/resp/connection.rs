//! A connection: read, take all complete commands, start each in order, answer in order, one write.
//!
//! One task and no others: [`Connection`] is polled by hand. What it does not need while its client is silent it does not have: the
//! read buffer is the thread's, the answers' is given back, and commands that wait lie in boxes of their own. A client that does not
//! read its answers is read from no more; one that sends slowly costs what it has sent.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::{io::AsyncWrite, net::TcpStream};
use tokio_util::io::poll_read_buf;

use super::{
    ahead::{self, AHEAD, Ahead, Known},
    buffers,
    clients::{Connected, End},
    command::{Flags, Handler},
    counters,
    door::Door,
    fail::Fail,
    parse::{Bounds, Parsed, Parser, ProtocolError},
    queue::{Queue, Turn},
    reply::Reply,
    request::Request,
    run::{Ended, Job},
    session::Session,
    table::{self, Entry},
};

/// Commands taken before other connections have their turn, and the time after which no more are taken.
const TURN: usize = 256;
const TURN_TIME: Duration = Duration::from_millis(1);
/// Bytes of answers that are sent before more is done.
const ENOUGH: usize = 256 << 10;

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
    /// Woken when the connection is told to end.
    waker: Option<Waker>,
    /// Nothing more is read: the client has gone, or has said something that cannot be understood.
    deaf: bool,
    /// Bytes counted as held of a request that is not complete.
    held: usize,
}

impl<R, F> Drop for Connection<R, F> {
    fn drop(&mut self) {
        let receiving = &self.door.counters.receiving;
        receiving.store(receiving.load(Relaxed) - self.held as u64, Relaxed);
    }
}

const TOO_MUCH: Fail =
    Fail::text("BUSY the node receives more at once than worker-receiving allows; try again");

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
    /// A connection that has just come. `run` runs commands.
    pub fn new(stream: TcpStream, door: Arc<Door>, connected: Connected, run: R) -> Self {
        let trusted = door.shared.config.password.is_none();
        let session = Session::new(Arc::clone(&connected.client), trusted);
        Self {
            stream,
            queue: Queue::new(Arc::clone(&door), Arc::clone(&connected.client), run),
            connected,
            session: Some(Box::new(session)),
            parser: Parser::default(),
            input: BytesMut::new(),
            ahead: Vec::new(),
            broken: None,
            output: Vec::new(),
            sent: 0,
            stalled: None,
            waker: None,
            deaf: false,
            held: 0,
            door,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> io::Result<Stop> {
        let (mut commands, began) = (0, self.queue.now);
        if self.output.capacity() == 0 {
            self.output = buffers::output();
        }
        loop {
            self.collect(cx);
            let (mut hungry, mut ended) = (false, false);
            while self.may_take() {
                // One command at least: time may have gone by for other reasons.
                let late = commands > 0 && self.queue.now.duration_since(began) > TURN_TIME;
                ended = late || commands == TURN;
                if ended {
                    break;
                }
                if let Some((entry, request)) = self.stalled.take() {
                    self.start(entry, request, None, cx);
                } else if !self.take(cx) {
                    hungry = !self.deaf;
                    break;
                }
                commands += 1;
            }
            self.write(cx)?;
            if ended {
                return Ok(Stop::Yield);
            }
            if hungry && self.output.len() - self.sent < ENOUGH {
                if self.read(cx)? {
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

    /// Takes the next command from what was read; whether there was one.
    fn take(&mut self, cx: &mut Context<'_>) -> bool {
        if self.ahead.is_empty() && self.broken.is_none() {
            self.understand();
        }
        let Some(Ahead { request, named, known }) = self.ahead.pop() else {
            if let (Some(error), Some(session)) = (self.broken, &mut self.session) {
                session.closing = true;
                self.hang_up();
                self.fail(None, &Fail::new(format!("ERR {error}")));
            }
            return false;
        };
        match self.admit(named, &request) {
            Ok(Some(entry)) => self.start(entry, request, known, cx),
            Ok(None) => {}
            Err((entry, fail)) => self.fail(entry, &fail),
        }
        true
    }

    /// Takes requests from what was read: several at once, so that what they will read is on its way to the CPU meanwhile. Whoever is
    /// not authenticated is understood one request at a time: the next one may be allowed more.
    fn understand(&mut self) {
        let Some(session) = &self.session else { return };
        let authenticated = session.authenticated;
        let request_max = self.door.shared.config.request_max as usize;
        let most = if authenticated { AHEAD } else { 1 };
        while self.ahead.len() < most {
            let request =
                match self.parser.parse(&self.input, Bounds { authenticated, request_max }) {
                    Ok(Parsed::More) => break,
                    Ok(Parsed::Nothing(len)) => {
                        let _ = self.input.split_to(len);
                        continue;
                    }
                    Ok(Parsed::Request(len, spans)) => {
                        Request::new(self.input.split_to(len).freeze(), spans)
                    }
                    Ok(Parsed::Inline(len, bytes, spans)) => {
                        let _ = self.input.split_to(len);
                        Request::new(Bytes::from(bytes), spans)
                    }
                    Err(error) => {
                        self.broken = Some(error);
                        break;
                    }
                };
            self.ahead.push(Ahead::new(request));
        }
        if self.ahead.len() > 1 {
            ahead::fetch(&self.door, session.db, &mut self.ahead);
        }
        self.ahead.reverse();
    }

    /// The command a request is, if it is to be done now; `None` when it was queued.
    fn admit(
        &mut self,
        named: Option<Entry>,
        request: &Request,
    ) -> Result<Option<Entry>, (Option<Entry>, Fail)> {
        let Some(session) = &mut self.session else { return Ok(None) };
        let found = table::find(named, request);
        let allowed = match &found {
            Ok(entry) => session.may(*entry),
            Err(fail) => Err(fail.clone()),
        };
        if let Err(fail) = allowed {
            let named = found.ok().or(named);
            if named.is_some_and(|entry| matches!(entry.command.handler, Handler::Exec)) {
                session.leave_multi();
                session.unwatch();
                return Err((named, Fail::exec_aborted(&fail)));
            }
            session.refuse();
            if named.is_none() && (request.is(0, "POST") || request.is(0, "HOST:")) {
                // A web page that has a browser talk to us: it learns nothing, and what follows is not looked at.
                session.closing = true;
                self.hang_up();
                (self.output, self.sent) = (Vec::new(), 0);
                return Ok(None);
            }
            return Err((named, fail));
        }
        let Ok(entry) = found else { return Ok(None) };
        session.client.command.store(entry.number as u16, Relaxed);
        let flags = entry.command.flags;
        if session.multi.is_none() || flags.has(Flags::NOT_QUEUED) {
            return Ok(Some(entry));
        }
        if flags.has(Flags::NO_MULTI) {
            session.refuse();
            let fail = Fail::text("ERR Command not allowed inside a transaction");
            return Err((Some(entry), fail));
        }
        let most = self.door.shared.config.request_max as usize;
        if let Err(fail) = session.queue(entry, request, most) {
            session.refuse();
            return Err((Some(entry), fail));
        }
        self.answer(|_, reply| reply.simple("QUEUED"));
        Ok(None)
    }

    /// Begins a command, or has it wait for those before it.
    fn start(
        &mut self,
        entry: Entry,
        request: Request,
        known: Option<Known>,
        cx: &mut Context<'_>,
    ) {
        let Some(session) = &mut self.session else { return };
        match entry.command.handler {
            Handler::Session(handler) => {
                let mut reply = Reply::new(session.resp3);
                let done = handler(session, &self.door, &request, &mut reply);
                let done = done.and_then(|()| reply.complete());
                if let Err(fail) = &done {
                    reply.truncate(0);
                    reply.error(fail.bytes());
                    self.door.counters.error(fail);
                }
                let turn = Turn { entry, wanted: true, began: self.queue.now };
                self.queue.count(&turn, Some(&request), done.is_err());
                if session.answered() {
                    self.queue.push_ready(reply, &mut self.output);
                }
            }
            _ if self.queue.conflicts(entry, &request) => {
                self.stalled = Some((entry, request));
            }
            Handler::Keys(handler) => {
                let (db, resp3, wanted) = (session.db, session.resp3, session.answered());
                let turn = Turn { entry, wanted, began: self.queue.now };
                let job = Job::Keys(entry, handler, request, db);
                self.queue.start(turn, job, known, resp3, cx, &mut self.output);
            }
            Handler::Alone(_) | Handler::Exec => {
                let (resp3, wanted) = (session.resp3, session.answered());
                let turn = Turn { entry, wanted, began: self.queue.now };
                if let Some(session) = self.session.take() {
                    let job = Job::Alone(entry, request, session);
                    self.queue.start(turn, job, None, resp3, cx, &mut self.output);
                    self.session = self.queue.session();
                }
            }
            Handler::Container => {}
        }
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

    /// Answers a command that was refused.
    fn fail(&mut self, entry: Option<Entry>, fail: &Fail) {
        self.door.counters.error(fail);
        if let Some(entry) = entry {
            self.door.counters.rejected(entry.number);
        }
        self.answer(|_, reply| reply.error(fail.bytes()));
    }

    fn answer(&mut self, write: impl FnOnce(&mut Session, &mut Reply)) {
        let Some(session) = &mut self.session else { return };
        let mut reply = Reply::new(session.resp3);
        write(session, &mut reply);
        if session.answered() {
            self.queue.push_ready(reply, &mut self.output);
        }
    }

    /// Reads no more.
    fn hang_up(&mut self) {
        self.deaf = true;
        self.input = BytesMut::new();
        self.ahead = Vec::new();
        self.broken = None;
        self.may_hold();
        self.parser = Parser::default();
    }

    /// Reads what has come; whether something has.
    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut buffer = std::mem::take(&mut self.input);
        buffers::make_room(&mut buffer, self.parser.needed());
        let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut buffer);
        let read = match read {
            Poll::Pending => None,
            Poll::Ready(Ok(count)) => Some(count),
            Poll::Ready(Err(error)) => return Err(error),
        };
        if buffer.is_empty() {
            buffers::give_back(buffer);
        } else {
            self.input = buffer;
        }
        match read {
            None => Ok(false),
            Some(0) => {
                // What was asked before is still answered.
                self.hang_up();
                if let Some(session) = &mut self.session {
                    session.closing = true;
                }
                Ok(false)
            }
            Some(count) if !self.may_hold() => {
                tracing::debug!(count, "a request was given up: the worker receives too much");
                self.hang_up();
                if let Some(session) = &mut self.session {
                    session.closing = true;
                }
                self.fail(None, &TOO_MUCH);
                Ok(false)
            }
            Some(count) => {
                self.connected.client.touch(self.queue.now);
                counters::add(&self.door.counters.bytes_in, count as u64);
                Ok(true)
            }
        }
    }

    /// Counts what is held of an incomplete request; whether the worker has room for it.
    fn may_hold(&mut self) -> bool {
        let held = self.input.len().saturating_sub(buffers::READ);
        let receiving = &self.door.counters.receiving;
        let all = receiving.load(Relaxed) + held as u64 - self.held as u64;
        let grows = held > self.held;
        receiving.store(all, Relaxed);
        self.held = held;
        !grows || all <= self.door.state.limits.worker_receiving as u64
    }

    /// Sends answers as far as the client takes them.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.sent < self.output.len() {
            let bytes = &self.output[self.sent..];
            match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                Poll::Pending => {
                    buffers::forget_sent(&mut self.output, &mut self.sent);
                    return Ok(());
                }
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.sent += count;
                    counters::add(&self.door.counters.bytes_out, count as u64);
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        self.sent = 0;
        buffers::give_back_output(std::mem::take(&mut self.output));
        Ok(())
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

/// Completes when the connection has ended.
impl<R, F> Future for Connection<R, F>
where
    R: Fn(Arc<Door>, Job, Reply) -> F + Unpin,
    F: Future<Output = Ended>,
{
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Being told takes the waker, and more may be told: to end at once, after all.
        let told = this.connected.client.ending().is_some();
        if told || !this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            this.connected.client.watch(cx.waker());
            this.waker = Some(cx.waker().clone());
        }
        match this.connected.client.ending() {
            None => {}
            Some(End::Now) => return Poll::Ready(Ok(())),
            Some(End::Answered) => {
                this.hang_up();
                this.stalled = None;
            }
        }
        this.queue.now = Instant::now();
        let stop = this.turn(cx)?;
        this.show();
        if this.is_over() {
            return Poll::Ready(Ok(()));
        }
        match stop {
            Stop::Yield => cx.waker().wake_by_ref(),
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
