//! What is known of blocks outlives a clean stop: when their records expire, which tombstones they hold, what is dead in them.

use cairn_engine::device::sim::Rng;

use crate::world::{World, config};

/// Without its due times no block would be looked through again, and expired records would fill the device.
#[test]
fn expired_records_leave_after_a_warm_restart() {
    let mut world = World::new(config(), 12, 1500);
    for n in 0..50 {
        world.put_for("s", n, if n % 2 == 0 { 30_000 } else { 0 }).unwrap();
    }
    let world = world.restarted();
    world.check();
    assert_eq!((world.stats().records, world.stats().expired), (50, 0));
    world.advance(40_000);
    world.check();
    assert!(world.db.namespace.housekeep() > 0, "no block is due");
    assert_eq!((world.stats().records, world.records_of("s")), (25, 25));
    world.check();
    world.check_crashes(1);
}

/// Without the lowest tombstone and the first kill, tombstones would stay for ever, or go too early and bring the deleted back.
#[test]
fn tombstones_go_and_guard_after_a_warm_restart() {
    for seed in 0..3 {
        let mut world = World::new(config(), 13, 1500);
        for _ in 0..2 {
            (0..30).for_each(|n| world.put("s", n).unwrap());
            (0..10).for_each(|n| world.put("ghosts", n).unwrap());
        }
        (0..5).for_each(|n| world.delete("ghosts", n).unwrap());
        (5..10).for_each(|n| world.put_for("ghosts", n, 1000).unwrap());
        world.settle();
        world.advance(60_000);
        world.db.namespace.housekeep();
        assert_eq!(world.stats().tombstones, 10);
        let mut world = world.restarted();
        world.check();
        // Nothing was killed that a restart forgot: tombstones that guard do not go at once.
        world.db.namespace.housekeep();
        world.check();
        world.check_crashes(seed);
        let mut rng = Rng::new(seed);
        for step in 0..1500 {
            world.put("s", rng.below(30) as u64).unwrap();
            if step % 50 == 0 {
                world.db.namespace.housekeep();
                world.check();
                world.check_crashes(rng.next_u64());
            }
            if step % 400 == 399 {
                world = world.restarted();
            }
        }
        assert_eq!(world.stats().tombstones, 0);
    }
}

/// Tombstones that lie among records which stay are met by nobody but the keeper, and only if their block knows of them.
#[test]
fn tombstones_among_cold_records_go_after_a_warm_restart() {
    let mut world = World::new(config(), 16, 1500);
    for n in 0..10 {
        world.put("ghosts", n).unwrap();
        (0..3).for_each(|more| world.put("hot", 3 * n + more).unwrap());
    }
    for n in 0..10 {
        world.delete("ghosts", n).unwrap();
        (0..2).for_each(|more| world.put("cold", 2 * n + more).unwrap());
    }
    // What the ghosts left behind goes; nobody looks after the tombstones.
    for step in 0..300 {
        world.put("hot", step % 30).unwrap();
    }
    world.settle();
    let before = world.stats().tombstones;
    assert!(before > 0);
    let world = world.restarted();
    assert_eq!(world.stats().tombstones, before);
    world.db.namespace.housekeep();
    // Of the last ones something may still lie in a block that holds others.
    assert!(world.stats().tombstones <= before / 4, "{} of {before}", world.stats().tombstones);
    world.check();
    world.check_crashes(1);
}
