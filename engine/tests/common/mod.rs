//! What the engine's tests share: a namespace on simulated devices, driven by hand and so the same way every time.
#![allow(dead_code, missing_docs)]

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use cairn_engine::{
    DeviceConfig, Namespace, NamespaceConfig, OpenError, OpenOptions, Record,
    device::{Device, IoChoice, IoEngine, sim::SimDevice},
    model::{Key, UserKey, Value},
    time::ManualClock,
};

pub const NOW_MS: u64 = 1_800_000_000_000;

/// Settings small enough that a few hundred writes fill many blocks.
pub fn small_config() -> NamespaceConfig {
    let mut config = NamespaceConfig::new("test", vec![DeviceConfig::Raw("sim0".into())]);
    config.write_block_size = 16 << 10;
    config.flush_size = 4 << 10;
    config.post_write_cache = 32 << 10;
    config.max_record_size = 8 << 10;
    config
}

pub fn options(clock: &Arc<ManualClock>) -> OpenOptions {
    let mut options = OpenOptions::new(IoEngine::choose(IoChoice::Pool).unwrap());
    options.clock = Arc::clone(clock) as _;
    options.threads = 1;
    options
}

/// A namespace on simulated devices.
pub struct Driven {
    pub namespace: Arc<Namespace>,
    pub devices: Vec<Arc<SimDevice>>,
    pub clock: Arc<ManualClock>,
}

impl Driven {
    pub fn open(
        config: &NamespaceConfig,
        devices: Vec<Arc<SimDevice>>,
        clock: &Arc<ManualClock>,
    ) -> Result<Self, OpenError> {
        let dyn_devices = devices.iter().map(|d| Arc::clone(d) as Arc<dyn Device>).collect();
        let namespace = Namespace::open_driven(config, &options(clock), dyn_devices)?;
        Ok(Self { namespace, devices, clock: Arc::clone(clock) })
    }

    pub fn fresh(config: &NamespaceConfig, size: u64, sector: u32) -> Self {
        let clock = ManualClock::new(NOW_MS);
        let devices = vec![Arc::new(SimDevice::new("sim0", size, sector, 1))];
        Self::open(config, devices, &clock).unwrap()
    }

    /// One turn of the flushers and the devices.
    pub fn turn(&self) -> bool {
        let busy = self.namespace.drive();
        // Every device takes a step, not only the first that can.
        let steps = self.devices.iter().filter(|device| device.step()).count();
        busy || steps > 0
    }

    /// Drives a future to its end; `None` when nothing moves any more, as after a power cut.
    pub fn try_run<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10_000 {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Some(output);
            }
            self.turn();
        }
        None
    }

    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.try_run(future).expect("the operation comes to an end")
    }
}

pub fn key(set: &str, n: u64) -> Key {
    Key::new(set, UserKey::Str(format!("key-{n}").into())).unwrap()
}

pub fn bin(value: Value) -> Vec<(Box<str>, Value)> {
    vec![("b".into(), value)]
}

pub fn value_of(record: &Record) -> Value {
    let (_, value) = record.bins().unwrap().next().unwrap().unwrap();
    value.to_value().unwrap()
}
