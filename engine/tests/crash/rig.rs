//! Simulated devices behind one power supply: the power goes at the same instant for all of them.
//!
//! Writes and syncs are numbered over all devices together. The supply also watches what no recovery test can see afterwards: that no sector
//! is written twice in one life of its block.

use std::sync::Arc;

use cairn_engine::{
    device::{
        AlignedBuf, Completion, Device, Geometry, Region,
        sim::{CrashPolicy, Rng, SimDevice},
    },
    format::{DeviceHeader, header_slot_bytes},
    model::{HashSecret, PartitionKind, Version},
};
use std::sync::Mutex;

/// What is the same for all devices of a rig.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub devices: usize,
    pub sector: u32,
    pub block: u64,
    pub blocks: u64,
}

/// Whether a device keeps its promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honesty {
    Honest,
    /// Acknowledges durable writes and syncs before anything is durable.
    Lies,
}

/// Several devices on one power supply.
pub struct Rig {
    pub sims: Vec<Arc<SimDevice>>,
    supply: Arc<Supply>,
    honesty: Honesty,
}

struct Supply {
    sims: Vec<Arc<SimDevice>>,
    block: u64,
    state: Mutex<State>,
}

struct State {
    writes: u64,
    cut_at: Option<u64>,
    /// Sectors written in this life of their block, for each device.
    written: Vec<Vec<bool>>,
    rewritten: Option<String>,
}

impl Rig {
    /// Devices with power until write number `cut_at` is submitted.
    pub fn new(
        sims: Vec<Arc<SimDevice>>,
        block: u64,
        cut_at: Option<u64>,
        honesty: Honesty,
    ) -> Self {
        let sectors = |sim: &Arc<SimDevice>| sim.geometry().size / u64::from(sim.geometry().sector);
        let written = sims.iter().map(|sim| vec![false; sectors(sim) as usize]).collect();
        let state = State { writes: 0, cut_at, written, rewritten: None };
        let supply = Supply { sims: sims.clone(), block, state: Mutex::new(state) };
        Self { sims, supply: Arc::new(supply), honesty }
    }

    /// The devices for the engine.
    pub fn devices(&self) -> Vec<Arc<dyn Device>> {
        let powered = |at| Powered { at, supply: Arc::clone(&self.supply), honesty: self.honesty };
        (0..self.sims.len()).map(|at| Arc::new(powered(at)) as Arc<dyn Device>).collect()
    }

    /// Writes and syncs so far.
    pub fn writes(&self) -> u64 {
        self.supply.state.lock().unwrap().writes
    }

    pub fn is_off(&self) -> bool {
        self.sims.iter().any(|sim| sim.is_dead())
    }

    /// The sector that was written twice, if one was.
    pub fn rewritten(&self) -> Option<String> {
        self.supply.state.lock().unwrap().rewritten.clone()
    }

    pub fn set_stepped(&self, stepped: bool) {
        self.sims.iter().for_each(|sim| sim.set_stepped(stepped));
    }

    /// The devices that come up after the power was lost now.
    pub fn images(&self, policy: CrashPolicy) -> Vec<Arc<SimDevice>> {
        self.sims.iter().map(|sim| Arc::new(sim.crash_image(policy))).collect()
    }
}

struct Powered {
    at: usize,
    supply: Arc<Supply>,
    honesty: Honesty,
}

impl Powered {
    fn sim(&self) -> &Arc<SimDevice> {
        &self.supply.sims[self.at]
    }

    /// Counts a write or a sync, and cuts the power of all devices if it is the one.
    fn count(&self) {
        let mut state = self.supply.state.lock().unwrap();
        let number = state.writes;
        state.writes += 1;
        if state.cut_at == Some(number) {
            for (at, sim) in self.supply.sims.iter().enumerate() {
                match at == self.at {
                    true => sim.cut_power_at(sim.write_count()),
                    false => sim.cut_power(),
                }
            }
        }
    }

    /// A write at the front of a block begins its next life; any other sector of it may be written once.
    fn watch(&self, offset: u64, len: u64) {
        let (block, sector) = (self.supply.block, u64::from(self.geometry().sector));
        if offset < block {
            return;
        }
        let state = &mut *self.supply.state.lock().unwrap();
        let written = &mut state.written[self.at];
        if offset.is_multiple_of(block) {
            written[(offset / sector) as usize..((offset + block) / sector) as usize].fill(false);
        }
        for number in offset / sector..(offset + len) / sector {
            if std::mem::replace(&mut written[number as usize], true) {
                state.rewritten = Some(format!("device {}: sector {number}", self.at));
            }
        }
    }
}

impl Device for Powered {
    fn name(&self) -> &str {
        self.sim().name()
    }

    fn geometry(&self) -> Geometry {
        self.sim().geometry()
    }

    fn read(&self, buffer: AlignedBuf, len: usize, offset: u64) -> Completion<AlignedBuf> {
        self.sim().read(buffer, len, offset)
    }

    fn write(
        &self,
        source: &Arc<Region>,
        start: usize,
        len: usize,
        offset: u64,
        durable: bool,
    ) -> Completion<()> {
        self.watch(offset, len as u64);
        self.count();
        let durable = durable && self.honesty == Honesty::Honest;
        self.sim().write(source, start, len, offset, durable)
    }

    fn sync(&self) -> Completion<()> {
        self.count();
        match self.honesty {
            Honesty::Honest => self.sim().sync(),
            Honesty::Lies => Completion::ready(Ok(())),
        }
    }

    fn discard(&self, offset: u64, len: u64) -> Completion<()> {
        self.sim().discard(offset, len)
    }
}

/// Devices formatted as the engine does it, but with identities and a secret that the seed decides, so that a run can be had again.
pub fn formatted(shape: Shape, seed: u64) -> Vec<Arc<SimDevice>> {
    let mut rng = Rng::new(seed);
    let mut bytes = |len: usize| -> Vec<u8> { (0..len).map(|_| rng.next_u64() as u8).collect() };
    let mut uuid = || -> [u8; 16] { bytes(16).try_into().unwrap() };
    let (set, members) = (uuid(), (0..shape.devices).map(|_| uuid()).collect::<Vec<_>>());
    let secret = HashSecret(bytes(HashSecret::LEN).try_into().unwrap());
    let size = shape.block * shape.blocks;
    let format = |index: usize| {
        let header = DeviceHeader {
            device: members[index],
            device_set: set,
            index: index as u16,
            members: members.clone(),
            partition_kind: PartitionKind::Xxh3,
            clean: true,
            size,
            write_block: shape.block as u32,
            sector: shape.sector,
            blocks: shape.blocks as u32,
            incarnation: 0,
            checkpoint: None,
            version: Version::ZERO,
            cluster: "cairn".into(),
            namespace: "test".into(),
            secret: secret.clone(),
            truncations: Vec::new(),
        };
        let sim = SimDevice::new(&format!("sim{index}"), size, shape.sector, seed ^ index as u64);
        for counter in [1, 2] {
            sim.write_raw(header_slot_bytes(shape.block) * (counter % 2), &header.encode(counter));
        }
        Arc::new(sim)
    };
    (0..shape.devices).map(format).collect()
}
