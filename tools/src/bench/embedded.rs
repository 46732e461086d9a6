//! The engine inside this process: plain threads, each with its own ring.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use cairn_engine::{
    DeviceConfig, Namespace, NamespaceConfig, OpenOptions, Outcome as Written, Stats,
    device::{IoEngine, reactor},
    format::ValueRef,
    model::{
        Durability, ExistsPolicy, GenerationCheck, Key, ReadPolicy, UserKey, Value, WritePolicy,
    },
};

use super::{
    alarm::Alarm,
    job::Job,
    store::{BINS_MAX, How, NewBin, Scanned, Shown, Store, Wrote},
    work,
};
use crate::failure::{Doing, Failure, Result};

/// Size of a file that is created, if the job does not say.
const FILE_SIZE: u64 = 4 << 30;
/// Most bytes of a scan's page.
const PAGE_BYTES: u64 = 16 << 20;

/// A namespace as something to measure.
#[derive(Clone, Debug)]
pub struct Embedded {
    namespace: Arc<Namespace>,
    io: IoEngine,
    set: Arc<str>,
    read: ReadPolicy,
    write: WritePolicy,
}

impl Embedded {
    /// Opens the namespace `bench` on the files and devices of the job.
    pub fn open(job: &Job) -> Result<Self> {
        let size = job.size.unwrap_or(FILE_SIZE);
        let device = |path: &std::path::PathBuf| {
            let raw = std::fs::metadata(path).is_ok_and(|found| !found.is_file());
            let path = path.clone();
            if raw { DeviceConfig::Raw(path) } else { DeviceConfig::File { path, size } }
        };
        let mut config = NamespaceConfig::new("bench", job.filenames.iter().map(device).collect());
        let largest = job.sizes().bounds().1;
        config.max_record_size = (largest + 4096).max(config.max_record_size);
        config.write_block_size =
            config.write_block_size.max((2 * config.max_record_size).next_power_of_two());
        let io = IoEngine::choose(job.device_io).doing("choosing the I/O engine")?;
        let namespace =
            Namespace::open(&config, &OpenOptions::new(io.clone())).map_err(|error| {
                Failure::new(error.to_string())
                    .next("--filename names another file; `rm` this one if nothing in it is wanted")
            })?;
        Ok(Self {
            namespace,
            io,
            set: job.set().into(),
            read: ReadPolicy::default(),
            write: WritePolicy::default(),
        }
        .with(job))
    }

    /// The same namespace with the policies of a job.
    pub fn with(&self, job: &Job) -> Self {
        let durability = match job.durability() {
            cairn_sdk::Durability::Device => Durability::Device,
            cairn_sdk::Durability::Buffer => Durability::Buffer,
        };
        Self {
            set: job.set().into(),
            read: ReadPolicy { bypass_cache: job.bypass_cache },
            write: WritePolicy { durability: Some(durability), ..Default::default() },
            ..self.clone()
        }
    }

    /// Whether the records of a job seem to be there.
    pub fn has_records(&self, job: &Job) -> bool {
        let sets = self.namespace.sets();
        sets.iter().any(|set| set.name == job.set() && set.records >= job.records)
    }

    /// The same, for a load: writes are acknowledged in RAM.
    pub fn for_load(&self) -> Self {
        let write = WritePolicy { durability: Some(Durability::Buffer), ..self.write };
        Self { write, ..self.clone() }
    }

    /// Waits until what was loaded has left the write buffers.
    pub fn settle(&self, job: &Job) -> Result {
        std::thread::sleep(self.namespace.config().flush_max);
        let last = job.records - 1;
        let size = job.sizes().bounds().0 as usize;
        let write = WritePolicy { durability: Some(Durability::Device), ..self.write };
        let durable = Self { write, ..self.clone() };
        let record = work::record(job, last, 0, size);
        reactor::block_on(durable.write(last, record, How::Replace)).map_err(Failure::new)?;
        Ok(())
    }

    /// Runs a future on this thread, with a ring of its own.
    pub fn on_thread<T>(&self, work: impl AsyncFnOnce(&Self, &Alarm) -> T) -> Result<T> {
        let _ring = reactor::Reactor::install(self.io.kind).doing("making a ring")?;
        let alarm = Alarm::default();
        Ok(block_on(work(self, &alarm), &alarm))
    }

    /// Counters of the engine.
    pub fn stats(&self) -> Stats {
        self.namespace.stats()
    }

    /// Bytes of the files that hold data, at their front.
    pub fn used_bytes(&self) -> u64 {
        let stats = self.stats();
        let used = stats.total_blocks - stats.free_blocks.min(stats.total_blocks);
        used * self.namespace.config().write_block_size
    }

    /// Closes the namespace, so that the file is whole and free for others.
    pub fn close(&self) -> Result {
        self.namespace.close().doing("closing the namespace")
    }

    fn key(&self, number: u64) -> Result<Key, String> {
        Key::new(&*self.set, UserKey::Int(number as i64)).map_err(|error| error.to_string())
    }
}

/// As the reactor's own, and wakes for the alarm too. An alarm whose waiter has gone wakes the thread once for nothing.
fn block_on<F: Future>(future: F, alarm: &Alarm) -> F::Output {
    let waker = reactor::waker();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        reactor::park(alarm.take());
    }
}

impl Store for Embedded {
    async fn read<R>(
        &self,
        number: u64,
        look: impl FnOnce(Option<Shown<'_>>) -> R,
    ) -> Result<R, String> {
        let found = self.namespace.get(&self.key(number)?, &self.read).await;
        let Some(record) = found.map_err(|error| error.to_string())? else { return Ok(look(None)) };
        let other = || format!("key {number} holds something else");
        let mut bins = [("", &[][..]); BINS_MAX];
        let mut count = 0;
        for bin in record.bins().map_err(|error| error.to_string())? {
            let Ok((name, ValueRef::Bytes(bytes))) = bin else { return Err(other()) };
            *bins.get_mut(count).ok_or_else(other)? = (name, bytes);
            count += 1;
        }
        let generation = record.metadata().generation.into();
        Ok(look(Some(Shown { bins: &bins[..count], generation })))
    }

    async fn write(&self, number: u64, bins: Vec<NewBin>, how: How) -> Result<Wrote, String> {
        let bins: Vec<_> =
            bins.into_iter().map(|(name, bytes)| (name.into(), Value::Bytes(bytes))).collect();
        let (exists, generation) = match how {
            How::Replace => (ExistsPolicy::Replace, GenerationCheck::Any),
            How::Update => (ExistsPolicy::Update, GenerationCheck::Any),
            How::UpdateIf(wanted) => {
                (ExistsPolicy::UpdateOnly, GenerationCheck::Equal(wanted as u16))
            }
        };
        let policy = WritePolicy { exists, generation, ..self.write };
        match self.namespace.put(&self.key(number)?, &bins, &policy).await {
            Ok(Written::Done(_)) => Ok(Wrote::Done),
            Ok(Written::GenerationMismatch(_) | Written::NotFound)
                if matches!(how, How::UpdateIf(_)) =>
            {
                Ok(Wrote::Stale)
            }
            Ok(outcome) => Err(format!("key {number}: {outcome:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn delete(&self, number: u64) -> Result<(), String> {
        match self.namespace.delete(&self.key(number)?, &self.write).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn scan(&self, partition: u16, limit: usize) -> Result<Scanned, String> {
        let page = self.namespace.scan(partition, None, Some(&self.set), limit, PAGE_BYTES).await;
        let page = page.map_err(|error| error.to_string())?;
        let mut scanned = Scanned { records: page.records.len() as u64, bytes: 0 };
        for record in &page.records {
            for bin in record.bins().map_err(|error| error.to_string())? {
                if let Ok((_, ValueRef::Bytes(bytes))) = bin {
                    scanned.bytes += bytes.len();
                }
            }
        }
        Ok(scanned)
    }
}
