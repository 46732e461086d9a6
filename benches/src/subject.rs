//! The engine under test: one namespace on one file or device, values in one bin, threads that each keep a number of operations in flight.

use std::{
    future::Future,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cairn_engine::{
    DeviceConfig, Error, Namespace, NamespaceConfig, OpenError, OpenOptions, Outcome,
    device::{IoChoice, IoEngine, reactor},
    format::{BodyWriter, RecordBuilder, ValueRef},
    model::{
        Digest, Durability, ExistsPolicy, Key, NEVER, ReadPolicy, Ttl, UserKey, Value, WritePolicy,
    },
};
use futures_util::future::join_all;

use crate::keys::mix;

const BIN: &str = "v";
const SET: &str = "s";

/// A namespace and the way this process does I/O.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The namespace, for statistics.
    pub namespace: Arc<Namespace>,
    io: IoEngine,
}

/// The key of a number: 8 bytes without order, as digests of names would be.
pub fn key(number: u64) -> Key {
    Key::new(SET, UserKey::Bytes(mix(number).to_be_bytes().to_vec())).expect("a valid key")
}

/// Bytes that one record with a value of `value_bytes` takes on its device, padding included.
pub fn record_bytes(value_bytes: usize) -> u64 {
    let mut builder = RecordBuilder::default();
    builder.start(key(0).borrowed(), Digest(0), false);
    let mut body = BodyWriter::new(builder.body());
    body.bin(BIN, &Value::Bytes(vec![0; value_bytes])).expect("a valid bin");
    body.finish().expect("one bin");
    builder.seal_body(NEVER).bytes()
}

/// Settings for a namespace on `path`: a raw device, or a file that is made with `size` bytes.
pub fn config(path: &Path, size: u64) -> NamespaceConfig {
    let raw = std::fs::metadata(path).is_ok_and(|found| !found.is_file());
    let device = match raw {
        true => DeviceConfig::Raw(path.to_owned()),
        false => DeviceConfig::File { path: path.to_owned(), size },
    };
    NamespaceConfig::new("bench", vec![device])
}

impl Subject {
    /// Opens the namespace.
    ///
    /// # Errors
    ///
    /// Those of the engine; and the operating system's when there is no way to do I/O.
    pub fn open(config: &NamespaceConfig) -> Result<Self, OpenError> {
        let io = IoEngine::choose(IoChoice::Auto)
            .map_err(|error| OpenError::Config(format!("no way to do I/O: {error}")))?;
        let namespace = Namespace::open(config, &OpenOptions::new(io.clone()))?;
        Ok(Self { namespace, io })
    }

    /// Shows the value of `number` to `look`; `None` when there is no record.
    ///
    /// # Errors
    ///
    /// Those of the engine; a record without the bin counts as damaged.
    pub async fn get<R>(
        &self,
        number: u64,
        policy: &ReadPolicy,
        look: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, Error> {
        let Some(record) = self.namespace.get(&key(number), policy).await? else {
            return Ok(None);
        };
        let strange = Error::InvalidRequest("the record is not one of this benchmark");
        let bin = record.bins().ok().and_then(|mut bins| bins.next()?.ok());
        match bin {
            Some((BIN, ValueRef::Bytes(bytes))) => Ok(Some(look(bytes))),
            _ => Err(strange),
        }
    }

    /// Puts a value in the place of what `number` has.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    pub async fn put(
        &self,
        number: u64,
        value: Vec<u8>,
        durability: Durability,
        ttl: Ttl,
    ) -> Result<(), Error> {
        let policy = WritePolicy {
            exists: ExistsPolicy::Replace,
            durability: Some(durability),
            ttl,
            ..WritePolicy::default()
        };
        let bins = [(Box::from(BIN), Value::Bytes(value))];
        match self.namespace.put(&key(number), &bins, &policy).await? {
            Outcome::Done(_) => Ok(()),
            _ => Err(Error::InvalidRequest("a replace that is not conditional was refused")),
        }
    }

    /// Deletes the record of `number`; false when there is none.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    pub async fn delete(&self, number: u64, durability: Durability) -> Result<bool, Error> {
        let policy = WritePolicy { durability: Some(durability), ..WritePolicy::default() };
        let outcome = self.namespace.delete(&key(number), &policy).await?;
        Ok(matches!(outcome, Outcome::Done(())))
    }

    /// Runs a future to its end on this thread, with a ring of its own.
    pub fn on_thread<F: Future>(&self, work: F) -> F::Output {
        let _ring = reactor::Reactor::install(self.io.kind)
            .unwrap_or_else(|error| panic!("no ring for this thread: {error}"));
        reactor::block_on(work)
    }

    /// Runs `lane` so often at the same time on each of `threads` threads; it is told which one it is, from 0.
    pub fn lanes<F, T>(&self, threads: u64, depth: u64, lane: impl Fn(u64) -> F + Sync) -> Vec<T>
    where
        F: Future<Output = T>,
        T: Send,
    {
        let on_thread = |thread: u64| {
            let lanes = (0..depth).map(|at| lane(thread * depth + at));
            self.on_thread(join_all(lanes))
        };
        std::thread::scope(|scope| {
            let on_thread = &on_thread;
            let threads: Vec<_> =
                (0..threads).map(|thread| scope.spawn(move || on_thread(thread))).collect();
            let results = threads.into_iter().map(|thread| thread.join().expect("a lane panicked"));
            results.flatten().collect()
        })
    }

    /// Waits until everything written so far has left the write buffers for good.
    pub fn settle(&self) {
        std::thread::sleep(2 * self.namespace.config().flush_max);
    }
}

/// Prints a line from time to time.
#[derive(Debug)]
pub struct Ticker {
    every: Duration,
    next: Instant,
}

impl Ticker {
    /// One that is due every so often, for the first time after that.
    pub fn new(every: Duration) -> Self {
        Self { every, next: Instant::now() + every }
    }

    /// Whether it is due; then not again before its time has passed.
    pub fn due(&mut self) -> bool {
        let due = Instant::now() >= self.next;
        if due {
            self.next += self.every;
        }
        due
    }
}
