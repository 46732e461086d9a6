//! The steps of one block against a device that completes requests in any order and keeps nothing that it was not asked to keep.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    device::sim::Rng,
    model::{Key, UserKey},
    storage::image::ImagePool,
};

const SIZE: u32 = 64 << 10;
const UNIT: u32 = 8 << 10;

/// A device's side of the bargain: what was asked, what is done, what survives.
struct Device {
    sector: u32,
    /// In flight, in the order they were asked.
    asked: Vec<Step>,
    /// For each sector: never asked, asked, done, durable.
    sectors: Vec<u8>,
}

const ASKED: u8 = 1;
const DONE: u8 = 2;
const DURABLE: u8 = 3;

impl Device {
    fn ask(&mut self, step: Step) {
        if let Step::Write { start, end, .. } = step {
            for sector in start / self.sector..end / self.sector {
                let before = std::mem::replace(&mut self.sectors[sector as usize], ASKED);
                assert_eq!(before, 0, "sector {sector} is written twice");
            }
        }
        if let Step::Sync = step {
            // Covers what is done now, not what will be.
            self.asked.push(Step::Sync);
            self.sectors
                .iter_mut()
                .filter(|state| **state == DONE)
                .for_each(|state| *state = DONE | 4);
            return;
        }
        self.asked.push(step);
    }

    /// Completes one request; what the block says is durable then must be.
    fn complete(&mut self, filling: &mut Filling, rng: &mut Rng) {
        if self.asked.is_empty() {
            return;
        }
        let durable_to = match self.asked.swap_remove(rng.below(self.asked.len())) {
            Step::Write { start, end, durable } => {
                let state = if durable { DURABLE } else { DONE };
                self.sectors[(start / self.sector) as usize..(end / self.sector) as usize]
                    .fill(state);
                filling.write_done(end)
            }
            Step::Sync => {
                self.sectors
                    .iter_mut()
                    .filter(|state| **state == DONE | 4)
                    .for_each(|state| *state = DURABLE);
                Some(filling.sync_done())
            }
            Step::Footer { .. } => panic!("the footer ends the test"),
        };
        if let Some(end) = durable_to {
            let front = &self.sectors[..(end / self.sector) as usize];
            assert!(front.iter().all(|&state| state == DURABLE), "{end} bytes are not durable");
            assert!(end >= filling.image.synced(), "durability goes back");
            filling.durable_to(end);
            drop(filling.image.advance_synced(end));
        }
    }
}

fn filling(sector: u32) -> Filling {
    let image = ImagePool::new(u64::from(SIZE), 1).take(false).expect("the first one");
    let opening = Opening {
        block: 3,
        number: 3,
        sequence: 7,
        birth: Version::ZERO,
        stream: StreamId(0),
        claim: Claim::Ordinary,
        device: [1; 16],
        device_seed: 5,
        sector,
        size: SIZE,
    };
    Filling::new(opening, image)
}

fn append(filling: &mut Filling, rng: &mut Rng, sequence: u64) -> bool {
    let key = Key::new("s", UserKey::Int(sequence as i64)).expect("a key");
    let mut builder = RecordBuilder::default();
    builder.start(&key, Digest(u128::from(sequence)), false);
    let len = if rng.below(5) == 0 { 9000 } else { 900 };
    builder.body().resize(100 + rng.below(len), 7);
    let size = builder.seal_body(VoidTime(0));
    if !filling.fits(size.bytes(), 1) {
        return false;
    }
    let record = Appending {
        builder: &mut builder,
        size,
        digest: Digest(u128::from(sequence)),
        set_hash: 1,
        cuts: 0,
        stream: StreamId(0),
        version: None,
        void_time: VoidTime(0),
        generation: 1,
        tombstone: false,
    };
    filling.append(record, Version { epoch: 0, sequence }, Duration::ZERO);
    true
}

/// Whatever is asked for and in whatever order requests complete: nothing is called durable before it and all in front of it is, no sector is
/// written twice, everything that was asked for becomes durable, and the footer comes last. Otherwise a writer would be told too early, or
/// wait for ever.
#[test]
fn every_order_keeps_the_promise() {
    for seed in 0..2000 {
        let mut rng = Rng::new(seed);
        let sector = [512, 4096][rng.below(2)];
        let mut filling = filling(sector);
        let sectors = vec![0; (SIZE / sector) as usize];
        let mut device = Device { sector, asked: Vec::new(), sectors };
        let mut sequence = 0;
        loop {
            match rng.below(6) {
                0 | 1 => {
                    sequence += 1;
                    if !append(&mut filling, &mut rng, sequence) {
                        break;
                    }
                    filling.image.want(if rng.coin() { filling.cursor } else { 0 });
                }
                2 if rng.below(3) == 0 => filling.want_all(),
                3 => device.complete(&mut filling, &mut rng),
                _ => {
                    if let Some(step) = filling.next_step(UNIT, 4, Vec::new, 0) {
                        device.ask(step);
                    }
                }
            }
        }
        filling.close(false);
        let footer = loop {
            match filling.next_step(UNIT, 4, Vec::new, 0) {
                Some(Step::Footer { start }) => break start,
                Some(step) => device.ask(step),
                None => {
                    assert!(!device.asked.is_empty(), "seed {seed}: waits for nothing");
                    device.complete(&mut filling, &mut rng);
                }
            }
        };
        assert!(device.asked.is_empty() && filling.image.synced() == filling.cursor, "seed {seed}");
        assert!(
            footer >= filling.cursor && footer % sector == 0 && filling.low().is_none(),
            "seed {seed}"
        );
        let used = &device.sectors[..(filling.cursor / sector) as usize];
        assert!(used.iter().all(|&state| state == DURABLE), "seed {seed}");
        assert_eq!(Arc::strong_count(&filling.image), 1);
    }
}
