//! The one seam: what every engine can do here. One file for each engine in `engines/`.

use std::future::Future;

use cairn_benches::keys::mix;

use crate::{failure::Result, options::Setup};

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// When the engine has it; on the disk a little later.
    Buffered,
    /// When it survives a loss of power.
    Durable,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was taken.
    Done,
    /// There was no room for it.
    Refused,
}

/// A storage engine with its data in a folder of its own. Keys are [`key_bytes`], which have no order.
pub trait Engine: Sized + Sync {
    /// Whether a call holds its thread until it is done: then every operation in flight has a thread of its own.
    const BLOCKS: bool;
    /// Whether a write can be made to survive a loss of power.
    const DURABLE: bool;
    /// What a reader of the table must know of this engine.
    const NOTES: &'static [&'static str];

    /// Opens it anew with the memory of `setup`.
    fn open(setup: &Setup) -> Result<Self>;

    /// Shows the value of `key` to `look`; false when it has none.
    fn get(&self, key: u64, look: impl FnOnce(&[u8])) -> impl Future<Output = Result<bool>>;

    /// Writes a value.
    fn put(&self, key: u64, value: &[u8], safety: Safety) -> impl Future<Output = Result<Written>>;

    /// Writes many values while nothing else is going on, buffered.
    fn load(&self, values: &[(u64, Vec<u8>)]) -> impl Future<Output = Result<Written>> {
        async move {
            for (key, value) in values {
                if self.put(*key, value, Safety::Buffered).await? == Written::Refused {
                    return Ok(Written::Refused);
                }
            }
            Ok(Written::Done)
        }
    }

    /// Runs a future to its end on this thread. A blocking engine's futures never wait.
    fn on_thread<F: Future>(&self, work: F) -> Result<F::Output>;

    /// Brings everything written so far to the disk, and lets the work end that it left behind.
    fn settle(&self) -> Result;

    /// Bytes that caches of values hold at this moment.
    fn cache_bytes(&self) -> u64;
}

/// The key of a number, for all engines.
pub fn key_bytes(number: u64) -> [u8; 8] {
    mix(number).to_be_bytes()
}

/// Runs the future of a blocking engine.
pub fn at_once<F: Future>(work: F) -> F::Output {
    futures_util::FutureExt::now_or_never(work).expect("a blocking engine's futures never wait")
}
