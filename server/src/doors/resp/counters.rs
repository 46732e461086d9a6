//! How often each command was done, how long it took, and what it failed with: of one worker, written by its own thread alone.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;

use super::{fail::Fail, table};

/// Code words that are counted apart; clients cannot make more.
const ERRORS_MAX: usize = 128;

/// What is counted of one command.
#[derive(Debug, Default)]
pub struct Counted {
    /// How often it was done.
    pub calls: AtomicU64,
    /// Nanoseconds from its turn to its answer, together.
    pub nanos: AtomicU64,
    /// How often it was refused before it was begun.
    pub rejected: AtomicU64,
    /// How often it failed.
    pub failed: AtomicU64,
}

/// The counters of a worker.
#[derive(Debug)]
pub struct Counters {
    /// By the command's number in the table.
    pub commands: Box<[Counted]>,
    /// Errors by code word.
    pub errors: Mutex<BTreeMap<Box<[u8]>, u64>>,
    /// Bytes received.
    pub bytes_in: AtomicU64,
    /// Bytes sent.
    pub bytes_out: AtomicU64,
    /// Connections taken.
    pub connections: AtomicU64,
    /// Keys that were asked for and are there.
    pub hits: AtomicU64,
    /// Keys that were asked for and are not there.
    pub misses: AtomicU64,
    /// Bytes held of requests that are not complete, beyond what is read at once; changed by this worker alone.
    pub receiving: AtomicU64,
    /// Bytes of values that commands under way hold on to; changed by this worker alone.
    pub holding: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            commands: table::all().iter().map(|_| Counted::default()).collect(),
            errors: Mutex::default(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            receiving: AtomicU64::new(0),
            holding: AtomicU64::new(0),
        }
    }
}

/// Adds to a counter that only this thread writes.
pub fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

impl Counters {
    /// Counts a command that was done.
    pub fn done(&self, number: usize, took: Duration, failed: bool) {
        let counted = &self.commands[number];
        add(&counted.calls, 1);
        add(&counted.nanos, took.as_nanos() as u64);
        if failed {
            add(&counted.failed, 1);
        }
    }

    /// Counts a command that was refused.
    pub fn rejected(&self, number: usize) {
        add(&self.commands[number].rejected, 1);
    }

    /// Counts an error by its code word.
    pub fn error(&self, fail: &Fail) {
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(fail.code()) {
            *count += 1;
        } else if errors.len() < ERRORS_MAX {
            errors.insert(fail.code().into(), 1);
        }
    }

    /// Counts from 0 again.
    pub fn reset(&self) {
        for counted in &self.commands {
            for counter in [&counted.calls, &counted.nanos, &counted.rejected, &counted.failed] {
                counter.store(0, Relaxed);
            }
        }
        self.errors.lock().clear();
        let counters =
            [&self.bytes_in, &self.bytes_out, &self.connections, &self.hits, &self.misses];
        counters.into_iter().for_each(|counter| counter.store(0, Relaxed));
    }
}
