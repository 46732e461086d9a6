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
    cell::RefCell,
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

thread_local! {
    /// Threads that this one has woken and not signalled yet, while it wakes many.
    static HELD: RefCell<Option<Vec<Signal>>> = const { RefCell::new(None) };
}

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
    pub(super) fn unpark(self: &Arc<Self>) {
        let how = self.state.swap(NOTIFIED, Ordering::AcqRel);
        if matches!(how, IN_RING | IN_THREAD) {
            Signal { parker: Arc::clone(self), how }.send_or_hold();
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

/// What ends the sleep of a thread that was found asleep: a call of the kernel.
struct Signal {
    parker: Arc<Parker>,
    how: u32,
}

impl Signal {
    fn send_or_hold(self) {
        let left = HELD.try_with(|held| match &mut *held.borrow_mut() {
            Some(list) => {
                list.push(self);
                None
            }
            None => Some(self),
        });
        // A thread that is going away wakes nobody by the dozen.
        if let Ok(Some(signal)) = left {
            signal.send();
        }
    }

    fn send(self) {
        match self.how {
            IN_RING => self.parker.write_eventfd(),
            _ => self.parker.thread.unpark(),
        }
    }
}

/// See [`super::reactor::wake_together`].
pub(super) fn wake_together(wake: impl FnOnce()) {
    /// Sends what is held, also if a waker panics: a thread that counts as woken and sleeps on would never be woken again.
    struct Release;
    impl Drop for Release {
        fn drop(&mut self) {
            let held = HELD.with(|held| held.borrow_mut().take());
            held.into_iter().flatten().for_each(Signal::send);
        }
    }
    let outermost = HELD.with(|held| held.borrow().is_none());
    let _release = outermost.then(|| {
        HELD.with(|held| *held.borrow_mut() = Some(Vec::new()));
        Release
    });
    wake();
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a sleeper in its ring would wake now.
    fn is_signalled(parker: &Parker) -> bool {
        let fd = parker.wake_fd().expect("a descriptor");
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which is a local.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    fn asleep_in_ring() -> Arc<Parker> {
        let parker = Arc::new(Parker::of_this_thread());
        parker.wake_fd().expect("a descriptor");
        assert!(parker.begin_wait());
        parker
    }

    /// Threads that are woken together are signalled when all are woken, not before, and all of them; one that is forgotten hangs with the clients
    /// that it serves.
    #[test]
    fn who_is_woken_together_is_signalled_at_the_end() {
        let (first, second) = (asleep_in_ring(), asleep_in_ring());
        wake_together(|| {
            first.unpark();
            wake_together(|| second.unpark());
            first.unpark();
            assert!(!is_signalled(&first) && !is_signalled(&second));
        });
        assert!(is_signalled(&first) && is_signalled(&second));
        let alone = asleep_in_ring();
        alone.unpark();
        assert!(is_signalled(&alone));
    }

    /// One waker that panics takes nobody's wake-up away.
    #[test]
    fn a_panic_among_wakers_loses_no_signal() {
        let parker = asleep_in_ring();
        let woken = std::panic::AssertUnwindSafe(|| {
            wake_together(|| {
                parker.unpark();
                panic!("as a waker of somebody else's may");
            });
        });
        assert!(std::panic::catch_unwind(woken).is_err());
        assert!(is_signalled(&parker));
    }
}
