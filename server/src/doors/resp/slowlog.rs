//! Commands that took long: the last few, the newest first. None of them shows a password.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

use super::{clients::Client, request::Request};

/// Arguments kept of a command, and bytes of each.
const ARGUMENTS: usize = 32;
const ARGUMENT_BYTES: usize = 128;
/// What stands for an argument that may be a password.
const HIDDEN: &[u8] = b"(redacted)";
/// Most commands kept, whatever is asked for.
pub const LENGTH_MAX: i64 = 4096;

/// A command that took long.
#[derive(Clone, Debug)]
pub struct Slow {
    /// Its number, from 0.
    pub id: u64,
    /// When it was done, in seconds since 1970.
    pub at: u64,
    /// How long it took from its turn until it was applied.
    pub took: Duration,
    /// Its arguments, shortened.
    pub arguments: Vec<Box<[u8]>>,
    /// Whose it was.
    pub peer: SocketAddr,
    /// What that client calls itself.
    pub name: Box<str>,
}

/// The log.
#[derive(Debug)]
pub struct SlowLog {
    /// Microseconds from which on a command is slow; negative for never.
    pub slower_than: AtomicI64,
    /// Commands kept.
    pub length: AtomicU64,
    kept: Mutex<(u64, VecDeque<Slow>)>,
}

impl Default for SlowLog {
    fn default() -> Self {
        Self {
            slower_than: AtomicI64::new(10_000),
            length: AtomicU64::new(128),
            kept: Mutex::default(),
        }
    }
}

impl SlowLog {
    /// Whether a command that took so long is slow.
    pub fn is_slow(&self, took: Duration) -> bool {
        u64::try_from(self.slower_than.load(Relaxed))
            .is_ok_and(|least| took.as_micros() >= u128::from(least))
    }

    /// Keeps a command, unless it is one that only says a password.
    pub fn add(&self, request: &Request, took: Duration, client: &Client) {
        if request.is(0, "AUTH") {
            return;
        }
        // It may say one, at a place that is only clear when all of it is right.
        let hides = request.is(0, "HELLO");
        let (count, mut arguments) = (request.len(), Vec::new());
        for argument in request.args(0).take(if count > ARGUMENTS { ARGUMENTS - 1 } else { count })
        {
            let hidden = hides && !arguments.is_empty();
            arguments.push(if hidden { HIDDEN.into() } else { shortened(argument) });
        }
        if count > ARGUMENTS {
            let more = count - (ARGUMENTS - 1);
            arguments.push(format!("... ({more} more arguments)").into_bytes().into());
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (peer, name) = (client.peer, client.name());
        let mut kept = self.kept.lock();
        let id = kept.0;
        kept.0 += 1;
        kept.1.push_front(Slow { id, at, took, arguments, peer, name });
        kept.1.truncate(self.length.load(Relaxed).min(LENGTH_MAX as u64) as usize);
    }

    /// The newest `count`.
    pub fn newest(&self, count: usize) -> Vec<Slow> {
        self.kept.lock().1.iter().take(count).cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kept.lock().1.len()
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.kept.lock().1.clear();
    }
}

fn shortened(argument: &[u8]) -> Box<[u8]> {
    if argument.len() <= ARGUMENT_BYTES {
        return argument.into();
    }
    let mut short = argument[..ARGUMENT_BYTES].to_vec();
    let more = argument.len() - ARGUMENT_BYTES;
    short.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
    short.into()
}
