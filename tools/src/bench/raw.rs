//! The bare device: uniform reads of 4 KiB, through the same rings as the engine's. The limit to compare with.

use std::sync::Arc;

use cairn_engine::device::{AlignedBuf, Device, FileDevice, IoEngine, OpenMode, reactor};

use super::{
    closed,
    embedded::{io_engine, path},
    measure::Outcome,
    options::{Args, Distribution},
    plan::Plan,
    store::Store,
    workers,
};
use crate::failure::{Doing, Failure, Result};

/// Bytes of each read.
const BLOCK: usize = 4096;

/// A device as something to measure: its keys are its blocks.
#[derive(Clone, Debug)]
pub struct Raw {
    device: Arc<FileDevice>,
    io: IoEngine,
    blocks: u64,
}

/// Runs every depth.
pub fn run(args: &Args) -> Result<Vec<Outcome>> {
    let raw = Raw::open(args, u64::MAX)?;
    args.depth.iter().map(|depth| raw.measure(&args.plan(*depth))).collect()
}

impl Raw {
    /// Opens the device, to read its first `bytes`.
    pub fn open(args: &Args, bytes: u64) -> Result<Self> {
        let (io, path) = (io_engine(args)?, path(args)?);
        let device = FileDevice::open(path, OpenMode::ReadOnly, &io)
            .doing(format_args!("opening {}", path.display()))?;
        let blocks = device.geometry().size.min(bytes) / BLOCK as u64;
        if blocks == 0 {
            return Err(Failure::new(format!("{}: nothing to read", path.display())));
        }
        Ok(Self { device, io, blocks })
    }

    /// One run.
    pub fn measure(&self, plan: &Plan) -> Result<Outcome> {
        let plan = Plan {
            keys: self.blocks,
            value_size: BLOCK,
            distribution: Distribution::Uniform,
            verify: false,
            ..plan.clone()
        };
        let measured = workers::run("raw", &plan, |job, signals| {
            let _ring = reactor::Reactor::install(self.io.kind).doing("making a ring")?;
            Ok(reactor::block_on(closed::job(self, &plan, job, signals)))
        })?;
        let workers::Measured { total, took, cpu } = measured;
        Ok(Outcome { name: "raw".into(), plan, total, took, cpu, server_cpu: None })
    }
}

impl Store for Raw {
    async fn read<R>(&self, key: u64, look: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, String> {
        let read = self.device.read(AlignedBuf::new(BLOCK), BLOCK, key * BLOCK as u64);
        let buffer = read.await.map_err(|error| error.to_string())?;
        Ok(look(Some(&buffer)))
    }

    async fn write(&self, _: u64, _: Vec<u8>) -> Result<(), String> {
        Err("the bare device is only read".into())
    }

    async fn delete(&self, _: u64) -> Result<(), String> {
        Err("the bare device is only read".into())
    }
}
