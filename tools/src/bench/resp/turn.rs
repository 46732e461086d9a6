//! What a thread does all the time: the work, as far as it gets; then sending what it asked for; then waiting for sockets and for its alarm.
//!
//! Everything the work asks for in one turn leaves in one piece. Sockets are looked at once a turn, however much there is to do, so that neither side starves.
//! One thread; it is not worth a runtime, whose wake-ups of itself alone cost a system call each.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use super::connection::Connection;
use crate::{
    bench::alarm::Alarm,
    failure::{Doing, Result},
};

/// How often silent servers are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Whether the work was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Runs `work`, which uses these connections and this alarm alone: nothing else wakes it.
pub fn run<F: Future>(connections: &[Connection], alarm: &Alarm, work: F) -> Result<F::Output> {
    wake_in_time();
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut work = pin!(work);
    let mut sockets = Vec::with_capacity(connections.len());
    let mut look = Instant::now() + LOOK;
    loop {
        if woken.0.swap(false, Relaxed)
            && let Poll::Ready(output) = work.as_mut().poll(&mut Context::from_waker(&waker))
        {
            return Ok(output);
        }
        connections.iter().for_each(Connection::flush);
        let until = alarm.at().map_or(look, |at| at.min(look));
        let at_once = woken.0.load(Relaxed);
        wait(connections, &mut sockets, if at_once { None } else { Some(until) })?;
        for (connection, socket) in connections.iter().zip(&sockets) {
            if socket.revents & !libc::POLLOUT != 0 {
                connection.receive();
            }
        }
        let now = Instant::now();
        if alarm.at().is_some_and(|at| now >= at) {
            alarm.take();
            woken.0.store(true, Relaxed);
        }
        if now >= look {
            look = now + LOOK;
            connections.iter().for_each(Connection::look);
        }
    }
}

/// Waits until a socket is ready, or until an instant; without one only looks.
fn wait(
    connections: &[Connection],
    sockets: &mut Vec<libc::pollfd>,
    until: Option<Instant>,
) -> Result {
    sockets.clear();
    sockets.extend(connections.iter().map(|connection| {
        let out = if connection.has_unsent() { libc::POLLOUT } else { 0 };
        // A negative number is passed over.
        libc::pollfd { fd: connection.fd().unwrap_or(-1), events: libc::POLLIN | out, revents: 0 }
    }));
    let left = until.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
    let time =
        libc::timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    // SAFETY: `sockets` is a valid list of its length, `time` a valid time, and the mask of signals is left as it is.
    let ready = unsafe {
        libc::ppoll(sockets.as_mut_ptr(), sockets.len() as u64, &raw const time, std::ptr::null())
    };
    if ready < 0 {
        // A signal, Ctrl-C for one: nothing is ready then.
        sockets.iter_mut().for_each(|socket| socket.revents = 0);
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error).doing("waiting for the server");
        }
    }
    Ok(())
}

/// Lets this thread wake at its instants: by default they come some 50 us later, to save power.
fn wake_in_time() {
    // SAFETY: no memory is involved. Where it is refused, starts come a little later, and the results say so.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}
