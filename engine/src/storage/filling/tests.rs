//! The steps of one block against a device that completes requests in any order and keeps nothing that it was not asked to keep.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    device::sim::Rng,
    model::{Key, UserKey},
    storage::image::ImagePool,
};

const SIZE: u32 = 64 << 10;
const LIMITS: Limits = Limits { unit: 8 << 10, writes: 4, room: true };

/// A device's side of the bargain: what was asked, what is done, what survives.
struct Device {
    sector: u32,
    /// In flight, in the order they were asked; `None` is a sync.
    asked: Vec<Option<Step>>,
    /// For each sector: never asked, asked, done, durable.
    sectors: Vec<u8>,
    /// Where groups lie.
    groups: Vec<Range<u32>>,
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
        self.asked.push(Some(step));
    }

    /// Issues a sync if the block waits for one and none is in flight. It covers what is done now, not what will be.
    fn sync(&mut self, filling: &mut Filling) {
        if filling.needs_sync() && !self.asked.contains(&None) {
            filling.join_sync();
            self.asked.push(None);
            let done = self.sectors.iter_mut().filter(|state| **state == DONE);
            done.for_each(|state| *state = DONE | 4);
        }
    }

    /// Completes one request; what the block says is durable then must be.
    fn complete(&mut self, filling: &mut Filling, rng: &mut Rng) {
        if self.asked.is_empty() {
            return;
        }
        let durable_to = match self.asked.swap_remove(rng.below(self.asked.len())) {
            Some(Step::Write { start, end, durable }) => {
                let state = if durable { DURABLE } else { DONE };
                self.sectors[(start / self.sector) as usize..(end / self.sector) as usize]
                    .fill(state);
                filling.write_done(end)
            }
            None => {
                self.sectors
                    .iter_mut()
                    .filter(|state| **state == DONE | 4)
                    .for_each(|state| *state = DURABLE);
                match filling.sync_done() {
                    Some(Synced::To(end)) => Some(end),
                    other => panic!("a sync that made {other:?} durable"),
                }
            }
            Some(Step::Footer { .. }) => panic!("the footer ends the test"),
        };
        if let Some(end) = durable_to {
            let front = &self.sectors[..(end / self.sector) as usize];
            assert!(front.iter().all(|&state| state == DURABLE), "{end} bytes are not durable");
            assert!(end >= filling.image.synced(), "durability goes back");
            let end = filling.durable_to(end);
            let half = self.groups.iter().find(|group| group.start < end && end < group.end);
            assert!(half.is_none(), "half of {half:?} counts as durable");
            let low = filling.low();
            let whole = |ticket: u64| filling.tickets.iter().position(|&given| given == ticket);
            let place = low.and_then(whole).map(|at| filling.entries[at].offset);
            let inside =
                |group: &&Range<u32>| place.is_some_and(|at| group.start < at && at < group.end);
            assert!(!self.groups.iter().any(|group| inside(&group)), "half a group is given up");
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
    let len = if rng.below(5) == 0 { 9000 } else { 900 };
    put(filling, sequence, Duration::ZERO, 100 + rng.below(len))
}

/// Puts in a record of so many bytes, before its size class; false where it does not fit.
fn put(filling: &mut Filling, sequence: u64, now: Duration, bytes: usize) -> bool {
    let key = Key::new("s", UserKey::Int(sequence as i64)).expect("a key");
    let mut builder = RecordBuilder::default();
    builder.start(key.borrowed(), Digest(u128::from(sequence)), false);
    builder.body().resize(bytes, 7);
    let size = builder.seal_body(NEVER);
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
        void_time: NEVER,
        generation: 1,
        tombstone: false,
    };
    filling.append(record, Version { epoch: 0, sequence }, || now);
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
        let mut device = Device { sector, asked: Vec::new(), sectors, groups: Vec::new() };
        let mut sequence = 0;
        loop {
            match rng.below(7) {
                0 | 1 => {
                    let (start, records) = (filling.cursor, [1, 1, 2, 5][rng.below(4)]);
                    let all = (0..records).all(|_| {
                        sequence += 1;
                        append(&mut filling, &mut rng, sequence)
                    });
                    if records > 1 && filling.cursor > start {
                        filling.bind(start..filling.cursor);
                        device.groups.push(start..filling.cursor);
                    }
                    if !all {
                        break;
                    }
                    filling.image.want(if rng.coin() { filling.cursor } else { 0 });
                }
                2 if rng.below(3) == 0 => filling.want_all(),
                3 => device.complete(&mut filling, &mut rng),
                4 => device.sync(&mut filling),
                _ => {
                    if let Some(step) = filling.next_step(LIMITS, Vec::new, 0) {
                        device.ask(step);
                    }
                }
            }
        }
        filling.close(false);
        let footer = loop {
            device.sync(&mut filling);
            match filling.next_step(LIMITS, Vec::new, 0) {
                Some(Step::Footer { start }) => break start,
                Some(step) => device.ask(step),
                None => {
                    assert!(!device.asked.is_empty(), "seed {seed}: waits for nothing");
                    device.complete(&mut filling, &mut rng);
                }
            }
        };
        assert!(device.asked.is_empty() && filling.image.synced() == filling.cursor, "seed {seed}");
        filling.footer_done();
        assert!(filling.needs_sync(), "seed {seed}: nobody waits for the footer");
        filling.join_sync();
        assert_eq!(filling.sync_done(), Some(Synced::Whole));
        assert!(
            footer >= filling.cursor && footer % sector == 0 && filling.low().is_none(),
            "seed {seed}"
        );
        let used = &device.sectors[..(filling.cursor / sector) as usize];
        assert!(used.iter().all(|&state| state == DURABLE), "seed {seed}");
        assert_eq!(Arc::strong_count(&filling.image), 1);
    }
}

/// A block that must wait for a group in the one before is not written, and hands its waiting on: a crash could leave what it holds, or the block after it,
/// without the group that they depend on.
#[test]
fn a_held_block_waits_and_holds_the_next() {
    let mut rng = Rng::new(1);
    let [mut first, mut second, mut third] = [filling(512), filling(512), filling(512)];
    for block in [&mut first, &mut second, &mut third] {
        assert!(append(block, &mut rng, 1));
        block.want_all();
    }
    assert!(first.holds_next().is_none());
    let end = first.end();
    first.bind(1024..end);
    second.hold(first.holds_next());
    third.hold(second.holds_next());
    assert!(second.next_step(LIMITS, Vec::new, 0).is_none());
    assert!(third.next_step(LIMITS, Vec::new, 0).is_none());
    assert_eq!((first.bound_at(1024), first.bound_at(end), first.bound()), (Some(end), None, 1));
    // Half of it is nothing.
    assert_eq!(first.durable_to(end - 16), 1024);
    drop(first.image.advance_synced(1024));
    assert!(second.next_step(LIMITS, Vec::new, 0).is_none());
    assert_eq!((first.durable_to(end), first.bound()), (end, 0));
    drop(first.image.advance_synced(end));
    assert!(second.next_step(LIMITS, Vec::new, 0).is_some() && second.holds_next().is_none());
    assert!(third.next_step(LIMITS, Vec::new, 0).is_some());
}

/// All of a block is durable by a sync that others asked for, and nothing is left to wait for: a flusher that is told to look at a moment which
/// has passed never rests.
#[test]
fn what_is_durable_waits_for_no_flush() {
    let mut filling = filling(512);
    let mut sequence = 0;
    while filling.end() < LIMITS.unit {
        sequence += 1;
        assert!(put(&mut filling, sequence, Duration::from_secs(1), 1024));
    }
    assert!(filling.waiting_since().is_some());
    let step = filling.next_step(LIMITS, Vec::new, 0);
    assert_eq!(step, Some(Step::Write { start: 0, end: LIMITS.unit, durable: false }));
    assert_eq!(filling.write_done(LIMITS.unit), None);
    filling.join_sync();
    assert_eq!(filling.sync_done(), Some(Synced::To(LIMITS.unit)));
    assert_eq!(filling.durable_to(LIMITS.unit), LIMITS.unit);
    assert_eq!((filling.low(), filling.waiting_since()), (None, None));
}
