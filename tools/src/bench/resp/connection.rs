//! One connection: commands go out in the order they were given, answers come back in the same order.
//!
//! Owns: the socket, and the bytes not yet sent or understood. What is in flight is bounded by the job's depth, an answer
//! by `reply`. A connection that broke stays broken: whoever waits or comes later is told why.
//!
//! Concurrency: one thread. Nothing here waits; `turn` calls [`Connection::flush`] and [`Connection::receive`] when the socket is ready.

use std::{
    cell::RefCell,
    future::Future,
    io::{ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    places::Places,
    reply::{Answer, Found, parse},
};
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
}

#[derive(Debug, Default)]
struct State {
    out: Vec<u8>,
    /// Bytes of `out` that are sent.
    sent: usize,
    /// Bytes received are those up to `filled`; the rest is room.
    input: Vec<u8>,
    filled: usize,
    places: Places,
    broken: Option<String>,
    /// Whether anything came since the last look, and how many looks ago it did.
    heard: bool,
    silent: u32,
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
                    return Ok(Self { stream, state });
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
        let state = self.state.borrow();
        if state.broken.is_some() { 0 } else { state.places.waiting() }
    }

    /// Asks: `write` appends one command. It leaves with whatever else is asked in the same turn.
    pub fn ask(&self, write: impl FnOnce(&mut Vec<u8>)) -> Asked<'_> {
        let state = &mut *self.state.borrow_mut();
        let number = state.broken.is_none().then(|| {
            write(&mut state.out);
            state.places.add()
        });
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
                Err(error) if error.kind() == ErrorKind::WouldBlock => return state.drop_sent(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return state.give_up(format!("sending: {error}")),
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
            Ok(0) => return state.give_up("the server closed the connection".into()),
            Ok(n) => state.filled += n,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return;
            }
            Err(error) => return state.give_up(format!("receiving: {error}")),
        }
        state.heard = true;
        if let Err(why) = state.understand() {
            state.give_up(format!("the server does not speak RESP: {why}"));
        }
    }

    /// A look, one a second: a server that owes an answer and stays silent too long is given up.
    pub fn look(&self) {
        let state = &mut *self.state.borrow_mut();
        let silent = !std::mem::take(&mut state.heard) && state.places.waiting() > 0;
        state.silent = if silent { state.silent + 1 } else { 0 };
        if state.silent > PATIENCE && state.broken.is_none() {
            state.give_up(format!("no answer in {PATIENCE} s"));
        }
    }
}

impl State {
    /// Gives each answer that is whole to the command it belongs to.
    fn understand(&mut self) -> Result<(), String> {
        let mut at = 0;
        let room = loop {
            match parse(&self.input[at..self.filled])? {
                Found::Part(needed) => break needed,
                Found::Whole(answer, len) => {
                    at += len;
                    let unasked = |_| "an answer that nothing asked for";
                    self.places.answer(answer).map_err(unasked)?;
                }
            }
        };
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        // A large value has its room at once, and a buffer that was large does not stay so.
        let wanted = room.max(self.filled) + CHUNK;
        if self.input.len() < wanted {
            self.input.resize(wanted, 0);
        } else if self.input.len() > 4 * wanted {
            self.input.truncate(wanted);
            self.input.shrink_to_fit();
        }
        Ok(())
    }

    /// Makes room for more: what was sent takes as much as what was not, at most.
    fn drop_sent(&mut self) {
        if self.sent > self.out.len() / 2 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn give_up(&mut self, why: String) {
        self.broken = Some(why);
        (self.out, self.sent) = (Vec::new(), 0);
        (self.input, self.filled) = (Vec::new(), 0);
        self.places.wake_all();
    }
}

/// A command in flight; ready with its answer, or with why there will be none.
#[derive(Debug)]
pub struct Asked<'a> {
    connection: &'a Connection,
    /// Its place; none where it was not sent.
    number: Option<u64>,
}

impl Future for Asked<'_> {
    type Output = Result<Answer, String>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let state = &mut *self.connection.state.borrow_mut();
        let answer = self.number.and_then(|number| state.places.take(number, context));
        match (answer, &state.broken) {
            (Some(answer), _) => Poll::Ready(Ok(answer)),
            (None, Some(why)) => Poll::Ready(Err(why.clone())),
            (None, None) => Poll::Pending,
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.connection.state.borrow_mut().places.leave(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that is always a little behind does not make the bytes kept for it grow: only what is in flight is kept.
    #[test]
    fn what_was_sent_is_not_kept() {
        const VALUE: usize = 1 << 20;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = Connection::open(&listener.local_addr().unwrap().to_string()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let ask = || drop(connection.ask(|out| out.resize(out.len() + VALUE, b'x')));
        while !connection.has_unsent() {
            ask();
            connection.flush();
        }
        let mut piece = vec![0; VALUE];
        for _ in 0..100 {
            ask();
            connection.flush();
            let state = connection.state.borrow();
            assert!(state.sent <= state.out.len() / 2);
            assert!(state.out.len() < 64 * VALUE, "{}", state.out.len());
            drop(state);
            server.read_exact(&mut piece).unwrap();
        }
    }
}
