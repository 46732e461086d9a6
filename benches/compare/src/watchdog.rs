//! Ends a process whose engine makes no progress, so that one engine cannot hold up the run of the others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

/// The exit status of a process that was ended so.
pub const STALLED: i32 = 75;

/// Watches one phase after another, from a thread of its own.
#[derive(Debug)]
pub struct Watchdog {
    start: Instant,
    /// When the phase under way must be over, in milliseconds since the start.
    end: Arc<AtomicU64>,
    limit: Duration,
}

impl Watchdog {
    /// A watchdog that gives each phase so long.
    pub fn new(limit: Duration) -> Self {
        let (start, end) = (Instant::now(), Arc::new(AtomicU64::new(u64::MAX)));
        let seen = Arc::clone(&end);
        thread::spawn(move || {
            while (start.elapsed().as_millis() as u64) < seen.load(SeqCst) {
                thread::sleep(Duration::from_millis(500));
            }
            eprintln!("no end of the phase within {limit:?}");
            // SAFETY: ends the process at once; what threads are in the middle of does not matter any more.
            unsafe { libc::_exit(STALLED) }
        });
        Self { start, end, limit }
    }

    /// A phase begins.
    pub fn phase(&self) {
        self.end.store((self.start.elapsed() + self.limit).as_millis() as u64, SeqCst);
    }
}
