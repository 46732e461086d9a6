//! How a thread does I/O and how it waits: its ring, its parking place, and `block_on`.
//!
//! Owns: the thread-local ring that [`Reactor::install`] sets up, and the `Parker` that every thread has.
//!
//! Invariants: finished requests are answered when no part of the thread-local state is borrowed, so a waker
//! may do anything, even submit. A wake-up is never lost: a parker's state is set before the last look at it,
//! and who wakes swaps it before looking whether anyone sleeps.
//!
//! Concurrency: everything here belongs to one thread, except `Parker` and the wakers made from it.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    marker::PhantomData,
    os::fd::RawFd,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

pub(super) use super::parker::Parker;
use super::{
    IoKind, Region,
    request::Request,
    ring::{Finished, Ring},
};

thread_local! {
    static LOCAL: Local = Local {
        parker: Arc::new(Parker::of_this_thread()),
        installed: Cell::new(None),
        ring: RefCell::new(None),
        finished: Cell::new(Finished::new()),
        task: Cell::new(None),
    };
}

struct Local {
    parker: Arc<Parker>,
    installed: Cell<Option<IoKind>>,
    ring: RefCell<Option<Ring>>,
    /// An empty list, kept for its allocation.
    finished: Cell<Finished>,
    /// The waker of `block_on`, kept for the next call.
    task: Cell<Option<Arc<TaskWaker>>>,
}

impl Local {
    /// Runs `work` on the ring and answers what it finished; none without a ring.
    fn with_ring<R>(&self, work: impl FnOnce(&mut Ring, &mut Finished) -> R) -> Option<(R, usize)> {
        let mut finished = self.finished.take();
        let result = self.ring.borrow_mut().as_mut().map(|ring| work(ring, &mut finished));
        let count = finished.len();
        for (request, outcome) in finished.drain(..) {
            request.finish(outcome);
        }
        self.finished.set(finished);
        result.map(|result| (result, count))
    }
}

/// This thread's way of doing I/O, installed and removed.
#[derive(Debug)]
pub struct Reactor;

/// Keeps a thread's reactor installed. Dropped, it waits for the requests in flight, answers them and removes
/// the ring.
#[derive(Debug)]
#[must_use = "dropping the guard removes the reactor"]
pub struct Guard {
    /// The reactor belongs to the thread, so its guard must not leave it.
    not_send: PhantomData<*const ()>,
}

impl Reactor {
    /// Gives this thread a reactor: with a ring, or, for `Pool`, one that only parks. For threads that wait with [`park`] or [`block_on`]; one whose runtime
    /// waits elsewhere takes [`Self::install_polled`].
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the thread has one; what the kernel says if it refuses a ring.
    pub fn install(kind: IoKind) -> io::Result<Guard> {
        Self::install_as(kind, false)
    }

    /// The same for a thread whose runtime polls descriptors: [`ring_fd`] gives it the one to poll.
    ///
    /// # Errors
    ///
    /// As [`Self::install`].
    pub fn install_polled(kind: IoKind) -> io::Result<Guard> {
        Self::install_as(kind, true)
    }

    fn install_as(kind: IoKind, polled: bool) -> io::Result<Guard> {
        LOCAL.with(|local| {
            if local.installed.get().is_some() {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists));
            }
            if kind == IoKind::Uring {
                let ring = Ring::new(local.parker.wake_fd()?, polled)?;
                *local.ring.borrow_mut() = Some(ring);
            }
            local.installed.set(Some(kind));
            Ok(Guard { not_send: PhantomData })
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = LOCAL.try_with(|local| {
            local.with_ring(Ring::drain);
            let ring = local.ring.take();
            drop(ring);
            local.installed.set(None);
        });
    }
}

/// The kind of the reactor that this thread has.
#[must_use]
pub fn installed() -> Option<IoKind> {
    LOCAL.with(|local| local.installed.get())
}

/// A descriptor that is readable when this thread's ring has completions, for a runtime that polls descriptors; none unless the reactor was installed with
/// [`Reactor::install_polled`].
#[must_use]
pub fn ring_fd() -> Option<RawFd> {
    LOCAL.with(|local| local.ring.borrow().as_ref().and_then(Ring::fd))
}

/// Requests of this thread's ring that are not finished.
#[must_use]
pub fn pending() -> usize {
    LOCAL.with(|local| local.ring.borrow().as_ref().map_or(0, Ring::pending))
}

/// Makes regions known to this thread's ring, which makes writes from them cheaper. They stay registered, and
/// in memory, until the reactor is removed. Without a ring this does nothing.
///
/// # Errors
///
/// What the kernel says, such as too little lockable memory. Regions that were registered before the one that
/// failed stay so; writes from the others work too, only not as cheaply.
pub fn register_buffers(regions: &[Arc<Region>]) -> io::Result<()> {
    LOCAL.with(|local| match local.with_ring(|ring, _| ring.register(regions)) {
        Some((result, _)) => result,
        None => Ok(()),
    })
}

/// Gives this thread read buffers of up to 4 KiB that its ring knows, 1 MiB of them in all, which makes small reads cheaper. They stay registered until the
/// reactor is removed. Without a ring this does nothing.
///
/// # Errors
///
/// What the kernel says, such as too little lockable memory; reads work all the same.
pub fn register_read_buffers() -> io::Result<()> {
    LOCAL.with(|local| match local.with_ring(|ring, _| ring.register_reads()) {
        Some((result, _)) => result,
        None => Ok(()),
    })
}

/// Submits what is queued and answers what is done, without waiting; returns how many requests were answered.
/// Does nothing on a thread without a ring.
pub fn turn() -> usize {
    LOCAL.with(|local| local.with_ring(Ring::turn).map_or(0, |((), count)| count))
}

/// Waits until a request that this thread submitted completes, someone wakes [`waker`], or the deadline. What
/// is queued is submitted before the wait, by the same call of the kernel. May return early, so the caller looks
/// again at what it waits for. Only devices that do real I/O end it by their completions alone.
pub fn park(deadline: Option<Instant>) {
    LOCAL.with(|local| {
        let Some(((), done)) = local.with_ring(Ring::take) else {
            return local.parker.park_thread(deadline);
        };
        // What is done already is a reason not to wait, and so is a wake-up.
        if done == 0 && local.parker.begin_wait() {
            local.with_ring(|ring, _| ring.wait(deadline));
            local.parker.end_wait();
            local.with_ring(Ring::take);
        } else {
            local.with_ring(Ring::turn);
        }
        // Wake-ups that came meanwhile, from the requests just answered too, are used up: the caller looks now.
        local.parker.clear();
    });
}

/// Wakes this thread's [`park`], from any thread. Cheap when the thread is not parked.
#[must_use]
pub fn waker() -> Waker {
    LOCAL.with(|local| Waker::from(Arc::clone(&local.parker)))
}

/// Runs `wake`, which wakes many, and signals each thread that it finds asleep once, when all of them are woken. Signalled at the first of many that wait
/// on it, a thread would wake for that one, sleep again, and have to be signalled for the next.
///
/// Only for wakers, which do not wait for those whom they wake.
pub(crate) fn wake_together(wake: impl FnOnce()) {
    super::parker::wake_together(wake);
}

/// The parker of this thread; none while the thread is going away.
pub(super) fn current_parker() -> Option<Arc<Parker>> {
    LOCAL.try_with(|local| Arc::clone(&local.parker)).ok()
}

/// Gives a request to this thread's ring, or back if it has none.
pub(super) fn submit(request: Request) -> Result<(), Request> {
    let mut request = Some(request);
    let _ = LOCAL.try_with(|local| {
        local.with_ring(|ring, finished| {
            if let Some(request) = request.take() {
                ring.submit(request, finished);
            }
        })
    });
    request.map_or(Ok(()), Err)
}

/// Runs a future to its end on this thread, parking while it waits. Works with and without a reactor, and
/// inside itself.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let task =
        LOCAL.with(|local| local.task.take().unwrap_or_else(|| TaskWaker::new(&local.parker)));
    let waker = Waker::from(Arc::clone(&task));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut parked = false;
    task.woken.store(true, Ordering::Relaxed);
    let output = loop {
        // Only a wake-up for this future polls it again: others' completions end a park too. The flag, apart
        // from the parker's state, is also what an inner `block_on` or `park` cannot use up.
        if !task.woken.swap(false, Ordering::AcqRel) {
            park(None);
            parked = true;
        } else if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            break output;
        }
    };
    if parked {
        // These parks may have used up a wake-up or a completion that an outer loop of this thread waits for.
        task.parker.unpark();
    }
    drop(waker);
    LOCAL.with(|local| local.task.set(Some(task)));
    output
}

/// The waker of one `block_on`.
struct TaskWaker {
    woken: AtomicBool,
    parker: Arc<Parker>,
}

impl TaskWaker {
    fn new(parker: &Arc<Parker>) -> Arc<TaskWaker> {
        Arc::new(TaskWaker { woken: AtomicBool::new(true), parker: Arc::clone(parker) })
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever set the flag unparks; the flag is set before, so the thread either sees it or is unparked.
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.parker.unpark();
        }
    }
}

#[cfg(test)]
mod tests;
