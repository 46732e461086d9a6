//! Where one thread sleeps, and how others wake it.
//!
//! Owns: one word of state and the eventfd that ends a wait in the ring. The descriptor lives as long as the
//! parker, that is as the last waker, so a late wake-up never writes to a descriptor that means something else
//! by then.
//!
//! Concurrency: the owner moves between AWAKE and one of the sleeping states; anyone swaps NOTIFIED in. The
//! swap tells the waker how the owner sleeps, if it does, so that a thread that is awake costs its wakers one
//! atomic operation.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    task::Wake,
    thread::{self, Thread},
    time::Instant,
};

const AWAKE: u32 = 0;
const NOTIFIED: u32 = 1;
const IN_RING: u32 = 2;
const IN_THREAD: u32 = 3;

/// One thread's sleeping place.
pub(super) struct Parker {
    state: AtomicU32,
    thread: Thread,
    eventfd: OnceLock<OwnedFd>,
}

impl Parker {
    pub(super) fn of_this_thread() -> Parker {
        Parker { state: AtomicU32::new(AWAKE), thread: thread::current(), eventfd: OnceLock::new() }
    }

    /// The eventfd, made at the first call. Only the owner calls this.
    pub(super) fn wake_fd(&self) -> io::Result<RawFd> {
        if let Some(fd) = self.eventfd.get() {
            return Ok(fd.as_raw_fd());
        }
        // Blocking, because the ring would complete a read of a non-blocking one at once, with EAGAIN.
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just made this descriptor, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(self.eventfd.get_or_init(|| fd).as_raw_fd())
    }

    /// Ends the owner's sleep, or its next one.
    pub(super) fn unpark(&self) {
        match self.state.swap(NOTIFIED, Ordering::AcqRel) {
            IN_RING => self.write_eventfd(),
            IN_THREAD => self.thread.unpark(),
            _ => {}
        }
    }

    fn write_eventfd(&self) {
        let fd = self.eventfd.get().expect("only a thread with an eventfd sleeps in its ring");
        let one = 1_u64;
        // SAFETY: writes eight bytes of a local. It cannot fail: the count is far from its limit, each write is read.
        let written = unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), 8) };
        assert_eq!(written, 8, "an eventfd takes a write");
    }

    /// Announces a wait in the ring. False if there was a wake-up, and no wait is wanted.
    pub(super) fn begin_wait(&self) -> bool {
        self.sleep_as(IN_RING)
    }

    /// Ends a wait in the ring. A wake-up after this writes no eventfd.
    pub(super) fn end_wait(&self) {
        self.clear();
    }

    /// Uses up a wake-up, if there is one.
    pub(super) fn clear(&self) {
        // Acquire: what the waker did before it woke us is seen by whoever looks now.
        self.state.swap(AWAKE, Ordering::AcqRel);
    }

    /// Sleeps until a wake-up or the deadline.
    pub(super) fn park_thread(&self, deadline: Option<Instant>) {
        if self.sleep_as(IN_THREAD) {
            while self.state.load(Ordering::Acquire) == IN_THREAD {
                match deadline {
                    None => thread::park(),
                    Some(at) => {
                        let left = at.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            break;
                        }
                        thread::park_timeout(left);
                    }
                }
            }
        }
        self.clear();
    }

    fn sleep_as(&self, how: u32) -> bool {
        self.state.compare_exchange(AWAKE, how, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.unpark();
    }
}
