//! How a thread with a runtime waits for an instant.

use std::{
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::{Duration, Instant},
};

use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    bench::drive::Timer,
    failure::{Doing, Result},
};

/// A timer of the kernel's: the runtime's own is only exact to a millisecond, which is what is to be measured.
#[derive(Debug)]
pub struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// A timer that is not set.
    pub fn new() -> Result<Self> {
        // SAFETY: no memory is involved.
        let fd = unsafe {
            libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC)
        };
        if fd < 0 {
            return Err(std::io::Error::last_os_error()).doing("making a timer");
        }
        // SAFETY: the descriptor was just made and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the descriptor is owned by what is registered and so is open for as long.
        let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Self(watched.doing("making a timer")?))
    }

    /// Sets it to go off after `wait`, and forgets that it went off before.
    fn set(&self, wait: Duration) {
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let wait = wait.max(Duration::from_nanos(1));
        let value =
            libc::timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let spec = libc::itimerspec { it_interval: zero, it_value: value };
        // SAFETY: `spec` is a valid timer setting, and the old one is not asked for.
        unsafe {
            libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const spec, std::ptr::null_mut())
        };
    }
}

impl Timer for Alarm {
    async fn until(&self, at: Instant) {
        loop {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.set(left);
            match self.0.readable().await {
                // Setting it again takes the expiry away; what is left to do is to wait for the next one.
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => return tokio::time::sleep(left).await,
            }
        }
    }
}
