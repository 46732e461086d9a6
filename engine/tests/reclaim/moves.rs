//! Records that are moved out of a block that is being reclaimed.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
};

use cairn_engine::{
    DeviceConfig,
    device::sim::{CrashPolicy, Effect, Fault, Rng, SimDevice, Trigger},
    format::{DeviceHeader, Footer, HeaderSlot},
    model::{Digest, Durability, Ttl, Version, WritePolicy},
    time::ManualClock,
};

use crate::{
    common::{Driven, NOW_MS, bin, key},
    world::{BLOCK, Held, READ, World, config, replace, value},
};

/// Which moments of a reclaim were met.
#[derive(Debug, Default, PartialEq, Eq)]
struct Moments {
    /// Records were moved and nothing was written since.
    moved: bool,
    /// Something was written since, and no block has become free.
    flushed: bool,
    /// A block has become free, and nothing was written since.
    freed: bool,
}

/// Power is lost at every moment of moving records: before the copies are flushed, before the block's header says that it is free, before it is
/// written anew. Records that were acknowledged long ago would be lost, though nobody has touched them.
#[test]
fn a_crash_at_every_moment_of_a_move() {
    // One stream, and three.
    for (blocks, keys, most) in [(12, 48, 60), (34, 200, 120)] {
        let mut world = World::new(config(), blocks, 1700);
        (0..keys).for_each(|n| world.put("s", n).unwrap());
        world.device().set_stepped(true);
        let mut rng = Rng::new(blocks);
        let mut moments = Moments::default();
        let (mut round, mut turns) = (1_000_000, 0);
        while world.stats().records_moved < most {
            round += 1;
            let n = rng.below(keys as usize) as u64;
            world.begin("s", n, Some(Held { round, void_ms: 0 }));
            let (key, bins) = (key("s", n), bin(value(round, 1700)));
            let namespace = Arc::clone(&world.db.namespace);
            let policy = replace(Ttl::Never);
            let mut put = Box::pin(namespace.put(&key, &bins, &policy));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let mut before = world.stats();
            let mut writes = world.device().write_count();
            while put.as_mut().poll(&mut context).is_pending() {
                match turns % 2 {
                    0 => drop(world.db.namespace.drive()),
                    _ => drop(world.device().step()),
                }
                turns += 1;
                let (now, written) = (world.stats(), world.device().write_count());
                let moving = now.records_moved > before.records_moved;
                moments.moved |= moving && written == writes;
                moments.flushed |=
                    moving && written > writes && now.free_blocks == before.free_blocks;
                moments.freed |= now.free_blocks > before.free_blocks && written == writes;
                if moving || now.free_blocks > before.free_blocks {
                    world.check_crashes(rng.next_u64());
                }
                (before, writes) = (now, written);
            }
            drop(put);
            world.end("s", n, true);
        }
        let all = Moments { moved: true, flushed: true, freed: true };
        assert_eq!(moments, all, "{blocks} blocks: some moments were not met");
        world.device().set_stepped(false);
        world.settle();
        world.check();
        assert!(world.stats().capacity_bytes <= blocks * BLOCK);
    }
}

/// A moved record keeps its version. With a new one it would pass for a write, and win over real ones elsewhere that it knows nothing of.
#[test]
fn a_moved_record_keeps_its_version() {
    let blocks = 12;
    let mut world = World::new(config(), blocks, 1700);
    let mut versions: BTreeMap<Digest, BTreeSet<Version>> = BTreeMap::new();
    let mut lives = BTreeSet::new();
    let header = match DeviceHeader::decode(&world.device().read_raw(0, BLOCK as usize / 2)) {
        HeaderSlot::Sound(_, header) => header,
        other => panic!("{other:?}"),
    };
    let look = |world: &World, versions: &mut BTreeMap<_, BTreeSet<_>>, lives: &mut BTreeSet<_>| {
        for block in 1..blocks {
            let bytes = world.device().read_raw(block * BLOCK, BLOCK as usize);
            let Some((len, sequence)) = Footer::measure(&bytes, &header.device, block as u32)
            else {
                continue;
            };
            if !lives.insert(sequence) {
                continue;
            }
            let footer = Footer::decode(&bytes[bytes.len() - len..], BLOCK).expect("it is sound");
            for entry in footer.entries {
                versions.entry(entry.digest).or_default().insert(entry.version);
            }
        }
    };
    let keys = 48;
    (0..keys).for_each(|n| world.put("s", n).unwrap());
    let mut rng = Rng::new(1);
    let mut writes = keys;
    while world.stats().records_moved < 100 {
        world.put("s", rng.below(keys as usize) as u64).unwrap();
        writes += 1;
        world.settle();
        look(&world, &mut versions, &mut lives);
    }
    let found: usize = versions.values().map(BTreeSet::len).sum();
    assert!(found as u64 <= writes, "{found} versions of {writes} writes");
    assert!(found as u64 > writes / 2, "few were found: {found} of {writes}");
}

/// A record's next version may go to another device, as when one was added. Its old block must not be freed before the other device has made
/// that version durable, however durable everything on its own device is.
#[test]
fn a_block_waits_for_the_other_device() {
    let config = config();
    let clock = ManualClock::new(NOW_MS);
    let sim = |name| Arc::new(SimDevice::new(name, 12 * BLOCK, 512, 1));
    let first = sim("sim0");
    let db = Driven::open(&config, vec![Arc::clone(&first)], &clock).unwrap();
    let keys = 40;
    let put = |db: &Driven, n: u64, round: u64, durability: Durability| {
        let policy = WritePolicy { durability: Some(durability), ..replace(Ttl::Never) };
        let (key, bins) = (key("s", n), bin(value(round, 1700)));
        db.try_run(db.namespace.put(&key, &bins, &policy)).is_some_and(|done| done.is_ok())
    };
    (0..keys).for_each(|n| assert!(put(&db, n, 1, Durability::Device)));
    db.namespace.close().unwrap();
    let mut two = config.clone();
    two.devices = vec![DeviceConfig::Raw("sim0".into()), DeviceConfig::Raw("sim1".into())];
    let first = Arc::new(first.crash_image(CrashPolicy::LoseAll));
    let db = Driven::open(&two, vec![first, sim("sim1")], &clock).unwrap();
    // What goes to the second device stays on its way.
    let hangs = Trigger::Range { offset: BLOCK, len: 11 * BLOCK };
    db.devices[1].inject(Fault::forever(Effect::Stuck, hangs));
    for round in 2..30 {
        // In the end those that belong to the second device wait.
        for n in 0..keys {
            put(&db, n, round, Durability::Buffer);
        }
        let images = db.devices.iter().map(|d| Arc::new(d.crash_image(CrashPolicy::LoseAll)));
        let after = Driven::open(&two, images.collect(), &clock).unwrap();
        for n in 0..keys {
            let record = after.run(after.namespace.get(&key("s", n), &READ)).unwrap();
            assert!(record.is_some(), "round {round}: {n} is lost");
        }
    }
}
