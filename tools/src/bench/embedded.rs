//! The engine inside this process: plain threads, each with its own ring.

use std::{future::Future, path::Path, sync::Arc};

use cairn_engine::{
    DeviceConfig, Namespace, NamespaceConfig, OpenOptions, Outcome as Written,
    device::{IoEngine, reactor},
    format::ValueRef,
    model::{Durability, ExistsPolicy, Key, ReadPolicy, UserKey, Value, WritePolicy},
};

use super::{
    closed, load,
    measure::{Outcome, Tally},
    options::Args,
    plan::Plan,
    store::Store,
    workers::{self, Signals},
};
use crate::failure::{Doing, Failure, Result};

const BIN: &str = "v";

/// The engine as something to measure.
#[derive(Clone, Debug)]
pub struct Embedded {
    namespace: Arc<Namespace>,
    io: IoEngine,
    read: ReadPolicy,
    write: WritePolicy,
}

/// Runs every depth.
pub fn run(args: &Args) -> Result<Vec<Outcome>> {
    let store = Embedded::open(args)?;
    store.load_if_wanted(args)?;
    let outcomes = args.depth.iter().map(|depth| store.measure(&args.plan(*depth))).collect();
    store.close()?;
    outcomes
}

/// The I/O engine asked for.
pub fn io_engine(args: &Args) -> Result<IoEngine> {
    IoEngine::choose(args.io_engine).doing("choosing the I/O engine")
}

/// The file or device.
pub fn path(args: &Args) -> Result<&Path> {
    args.path.as_deref().ok_or_else(|| Failure::new("--path is missing"))
}

impl Embedded {
    /// Opens the namespace `bench` on the file or device of the arguments.
    pub fn open(args: &Args) -> Result<Self> {
        let path = path(args)?.to_path_buf();
        let raw = std::fs::metadata(&path).is_ok_and(|found| !found.is_file());
        let device = if raw {
            DeviceConfig::Raw(path)
        } else {
            DeviceConfig::File { path, size: args.size }
        };
        let mut config = NamespaceConfig::new("bench", vec![device]);
        config.max_record_size = (args.value_size + 4096).max(config.max_record_size);
        config.write_block_size =
            config.write_block_size.max((2 * config.max_record_size).next_power_of_two());
        let io = io_engine(args)?;
        let namespace =
            Namespace::open(&config, &OpenOptions::new(io.clone())).map_err(|error| {
                Failure::new(error.to_string())
                    .next("--path names another file; `rm` this one if nothing in it is wanted")
            })?;
        let durability = match args.durability {
            cairn_sdk::Durability::Device => Durability::Device,
            cairn_sdk::Durability::Buffer => Durability::Buffer,
        };
        let write = WritePolicy {
            durability: Some(durability),
            exists: ExistsPolicy::Replace,
            ..Default::default()
        };
        let read = ReadPolicy { bypass_cache: args.bypass_cache };
        Ok(Self { namespace, io, read, write })
    }

    /// Writes the keys first, unless they are there already or that is not wanted.
    pub fn load_if_wanted(&self, args: &Args) -> Result {
        let there = self.namespace.stats().records;
        let wanted = args.load || (!args.no_load && there < args.keys && args.read_pct > 0);
        if !wanted {
            return Ok(());
        }
        let buffered = Self {
            write: WritePolicy { durability: Some(Durability::Buffer), ..self.write },
            ..self.clone()
        };
        let plan = args.plan(1);
        load::all(&plan, |job, signals| {
            buffered.on_thread(|| load::job(&buffered, &plan, job, signals))
        })?;
        self.settle(args)
    }

    /// Waits until what was loaded has left the write buffers.
    fn settle(&self, args: &Args) -> Result {
        std::thread::sleep(self.namespace.config().flush_max);
        let last = Self {
            write: WritePolicy { durability: Some(Durability::Device), ..self.write },
            ..self.clone()
        };
        let key = args.keys - 1;
        let value = super::payload::value(key, 0, args.value_size as usize);
        reactor::block_on(last.write(key, value)).map_err(Failure::new)
    }

    /// One run.
    pub fn measure(&self, plan: &Plan) -> Result<Outcome> {
        let measured = workers::run("embedded", plan, |job, signals| self.job(plan, job, signals))?;
        Ok(Outcome {
            name: "embedded".into(),
            plan: plan.clone(),
            total: measured.total,
            took: measured.took,
            cpu: measured.cpu,
            server_cpu: None,
        })
    }

    fn job(&self, plan: &Plan, job: u32, signals: &Signals) -> Result<Tally> {
        self.on_thread(|| closed::job(self, plan, job, signals))
    }

    /// Runs a future on this thread, with a ring of its own.
    pub fn on_thread<F: Future>(&self, work: impl FnOnce() -> F) -> Result<F::Output> {
        let _ring = reactor::Reactor::install(self.io.kind).doing("making a ring")?;
        Ok(reactor::block_on(work()))
    }

    /// Bytes of the file that hold data, at its front.
    pub fn used_bytes(&self) -> u64 {
        let stats = self.namespace.stats();
        let used = stats.total_blocks - stats.free_blocks.min(stats.total_blocks);
        used * self.namespace.config().write_block_size
    }

    /// Closes the namespace, so that the file is whole and free for others.
    pub fn close(self) -> Result {
        self.namespace.close().doing("closing the namespace")
    }
}

fn key(key: u64) -> Result<Key, String> {
    Key::new("", UserKey::Int(key as i64)).map_err(|error| error.to_string())
}

impl Store for Embedded {
    async fn read<R>(
        &self,
        number: u64,
        look: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, String> {
        let found = self
            .namespace
            .get(&key(number)?, &self.read)
            .await
            .map_err(|error| error.to_string())?;
        let Some(record) = found else { return Ok(look(None)) };
        let mut bins = record.bins().map_err(|error| error.to_string())?;
        match bins.next() {
            Some(Ok((_, ValueRef::Bytes(bytes)))) => Ok(look(Some(bytes))),
            _ => Err(format!("key {number} holds something else")),
        }
    }

    async fn write(&self, number: u64, value: Vec<u8>) -> Result<(), String> {
        let bins = [(Box::from(BIN), Value::Bytes(value))];
        match self.namespace.put(&key(number)?, &bins, &self.write).await {
            Ok(Written::Done(_)) => Ok(()),
            Ok(outcome) => Err(format!("key {number}: {outcome:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn delete(&self, number: u64) -> Result<(), String> {
        match self.namespace.delete(&key(number)?, &self.write).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
