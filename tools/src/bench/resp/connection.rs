//! One connection: commands go out in the order they were given, answers come back in the same order.
//!
//! Owns: the socket, the bytes not yet sent or understood, and a place for each command in flight. What is in flight is bounded by the job's depth, an answer
//! by `reply`. A connection that broke stays broken: whoever waits or comes later is told why.
//!
//! Concurrency: one thread. Nothing here waits; `turn` calls [`Connection::flush`] and [`Connection::receive`] when the socket is ready.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    io::{ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::reply::{Answer, Found, parse};
use crate::failure::{Doing, Failure, Result};

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Looks, a second apart, at which a connection may have said nothing while it owes an answer.
const PATIENCE: u32 = 30;
/// Bytes read at once, at least.
const CHUNK: usize = 64 << 10;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    state: RefCell<State>,
    /// Commands that wait for their answers.
    in_flight: Cell<usize>,
}

#[derive(Debug, Default)]
struct State {
    out: Vec<u8>,
    /// Bytes of `out` that are sent.
    sent: usize,
    /// Bytes received are those up to `filled`; the rest is room.
    input: Vec<u8>,
    filled: usize,
    /// Commands whose answers have not come, or were not taken.
    places: VecDeque<Place>,
    /// The number of the first of them.
    first: u64,
    /// The number of the command that the next answer belongs to.
    next: u64,
    broken: Option<String>,
    /// Whether anything came since the last look, and how many looks ago it did.
    heard: bool,
    silent: u32,
}

/// What became of a command.
#[derive(Debug)]
enum Place {
    /// It has no answer yet.
    Asked(Option<Waker>),
    /// Its answer has come.
    Answered(Answer),
    /// Its answer was taken, or nobody wants it.
    Empty,
}

impl Connection {
    /// Connects to `HOST:PORT`.
    pub fn open(host: &str) -> Result<Self> {
        let what = format!("connecting to {host}");
        let mut failed = Failure::new(format!("{what}: the name has no address"));
        for address in host.to_socket_addrs().doing(&what)? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true).doing(&what)?;
                    stream.set_nonblocking(true).doing(&what)?;
                    let state = RefCell::new(State::default());
                    return Ok(Self { stream, state, in_flight: Cell::new(0) });
                }
                Err(error) => failed = Failure::new(format!("{what}: {error}")),
            }
        }
        Err(failed.next(
            "is a server running there? `cairn serve --dev` starts one; `--host` names another",
        ))
    }

    /// How many commands wait for their answers.
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Asks: `write` appends one command. It leaves with whatever else is asked in the same turn.
    pub fn ask(&self, write: impl FnOnce(&mut Vec<u8>)) -> Asked<'_> {
        let state = &mut *self.state.borrow_mut();
        let number = state.first + state.places.len() as u64;
        if state.broken.is_none() {
            write(&mut state.out);
            state.places.push_back(Place::Asked(None));
            self.in_flight.set(self.in_flight.get() + 1);
        }
        Asked { connection: self, number }
    }

    /// The socket; `None` when nothing more will come of it.
    pub fn fd(&self) -> Option<RawFd> {
        self.state.borrow().broken.is_none().then(|| self.stream.as_raw_fd())
    }

    /// Whether there are bytes that could not be sent yet.
    pub fn has_unsent(&self) -> bool {
        let state = self.state.borrow();
        state.broken.is_none() && state.sent < state.out.len()
    }

    /// Sends what there is, as far as the socket takes it.
    pub fn flush(&self) {
        let state = &mut *self.state.borrow_mut();
        while state.broken.is_none() && state.sent < state.out.len() {
            match (&self.stream).write(&state.out[state.sent..]) {
                Ok(n) => state.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.give_up(state, format!("sending: {error}")),
            }
        }
        state.out.clear();
        state.sent = 0;
    }

    /// Takes what has come, once: a server that is faster than this thread must not keep it here.
    pub fn receive(&self) {
        let state = &mut *self.state.borrow_mut();
        if state.broken.is_some() {
            return;
        }
        if state.input.len() - state.filled < CHUNK {
            state.input.resize(state.filled + CHUNK, 0);
        }
        match (&self.stream).read(&mut state.input[state.filled..]) {
            Ok(0) => return self.give_up(state, "the server closed the connection".into()),
            Ok(n) => state.filled += n,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return;
            }
            Err(error) => return self.give_up(state, format!("receiving: {error}")),
        }
        state.heard = true;
        if let Err(why) = self.understand(state) {
            self.give_up(state, format!("the server does not speak RESP: {why}"));
        }
    }

    /// Gives each answer that is whole to the command it belongs to.
    fn understand(&self, state: &mut State) -> Result<(), String> {
        let mut at = 0;
        let room = loop {
            match parse(&state.input[at..state.filled])? {
                Found::Part(needed) => break needed,
                Found::Whole(answer, len) => {
                    at += len;
                    self.answer(state, answer)?;
                }
            }
        };
        state.input.copy_within(at..state.filled, 0);
        state.filled -= at;
        // A large value has its room at once, and a buffer that was large does not stay so.
        let wanted = room.max(state.filled) + CHUNK;
        if state.input.len() < wanted {
            state.input.resize(wanted, 0);
        } else if state.input.len() > 4 * wanted {
            state.input.truncate(wanted);
            state.input.shrink_to_fit();
        }
        Ok(())
    }

    fn answer(&self, state: &mut State, answer: Answer) -> Result<(), String> {
        let place = state.places.get_mut((state.next - state.first) as usize);
        let place = place.ok_or("an answer that nothing asked for")?;
        state.next += 1;
        self.in_flight.set(self.in_flight.get() - 1);
        if let Place::Asked(waker) = place {
            let waker = waker.take();
            *place = Place::Answered(answer);
            waker.into_iter().for_each(Waker::wake);
        }
        state.drop_empty();
        Ok(())
    }

    /// A look, one a second: a server that owes an answer and stays silent too long is given up.
    pub fn look(&self) {
        let state = &mut *self.state.borrow_mut();
        let silent = self.in_flight() > 0 && !std::mem::take(&mut state.heard);
        state.silent = if silent { state.silent + 1 } else { 0 };
        if state.silent > PATIENCE && state.broken.is_none() {
            self.give_up(state, format!("no answer in {PATIENCE} s"));
        }
    }

    fn give_up(&self, state: &mut State, why: String) {
        state.broken = Some(why);
        (state.out, state.sent) = (Vec::new(), 0);
        (state.input, state.filled) = (Vec::new(), 0);
        self.in_flight.set(0);
        for place in &mut state.places {
            if let Place::Asked(waker) = place {
                waker.take().into_iter().for_each(Waker::wake);
            }
        }
    }
}

impl State {
    /// Forgets what is through, as far as nothing before it is not.
    fn drop_empty(&mut self) {
        while self.first < self.next && matches!(self.places.front(), Some(Place::Empty)) {
            self.places.pop_front();
            self.first += 1;
        }
    }
}

/// A command in flight; ready with its answer, or with why there will be none.
#[derive(Debug)]
pub struct Asked<'a> {
    connection: &'a Connection,
    number: u64,
}

impl Future for Asked<'_> {
    type Output = Result<Answer, String>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let state = &mut *self.connection.state.borrow_mut();
        let index = self.number.checked_sub(state.first).map(|index| index as usize);
        let place = index.and_then(|index| state.places.get_mut(index));
        match place.map(|place| std::mem::replace(place, Place::Empty)) {
            Some(Place::Answered(answer)) => {
                state.drop_empty();
                return Poll::Ready(Ok(answer));
            }
            Some(_) if state.broken.is_none() => {}
            _ => {
                let why = state.broken.clone();
                return Poll::Ready(Err(why.unwrap_or_else(|| "it was answered before".into())));
            }
        }
        if let Some(place) = index.and_then(|index| state.places.get_mut(index)) {
            *place = Place::Asked(Some(context.waker().clone()));
        }
        Poll::Pending
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let state = &mut *self.connection.state.borrow_mut();
        let index = self.number.checked_sub(state.first).map(|index| index as usize);
        if let Some(place) = index.and_then(|index| state.places.get_mut(index)) {
            *place = Place::Empty;
            state.drop_empty();
        }
    }
}
