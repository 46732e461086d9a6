//! The only reader of clocks in the engine, so that a simulator can own time.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Where the engine reads time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Wall-clock time in milliseconds since 1970: for expiry, never for order.
    fn now_ms(&self) -> u64;
    /// Time that never goes back, since some fixed start: for deadlines and measurements.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now() })
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when a test moves it.
#[derive(Debug)]
pub struct ManualClock {
    ms: AtomicU64,
    start_ms: u64,
}

impl ManualClock {
    /// A clock that stands at `now_ms` milliseconds since 1970.
    pub fn new(now_ms: u64) -> Arc<Self> {
        Arc::new(Self { ms: AtomicU64::new(now_ms), start_ms: now_ms })
    }

    /// Moves the clock on by `ms` milliseconds.
    pub fn advance(&self, ms: u64) {
        self.ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now_ms() - self.start_ms)
    }
}
