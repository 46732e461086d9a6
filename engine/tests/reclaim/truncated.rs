//! Sets that are truncated while their records, and those of others, are being moved.

use cairn_engine::device::sim::{CrashPolicy, Rng};

use crate::world::{World, config};

const KEYS: u64 = 23;

/// A device at work: the defragmenter is in the middle of a block that holds records of both sets. `moment` says where.
fn at_work(moment: u64) -> World {
    let mut world = World::new(config(), 12, 1700);
    for n in 0..KEYS {
        // An older version of each would come back if the newer one alone went.
        world.put("goes", n).unwrap();
        world.put("stays", n).unwrap();
    }
    let mut rng = Rng::new(moment);
    while world.stats().records_moved < 20 + moment {
        let set = if rng.coin() { "goes" } else { "stays" };
        world.put(set, rng.below(KEYS as usize) as u64).unwrap();
    }
    // Reads are asked for and answered, records are in hand and not yet moved.
    world.device().set_stepped(true);
    for _ in 0..moment % 7 {
        world.db.namespace.drive();
        world.device().step();
    }
    world.device().set_stepped(false);
    world
}

/// Records that are moved while their set is truncated come back, or others go with it.
#[test]
fn nothing_returns_and_nothing_else_goes() {
    for moment in 0..40 {
        let mut world = at_work(moment);
        world.truncate(Some("goes")).unwrap();
        world.check();
        assert_eq!((world.records_of("goes"), world.records_of("stays")), (0, KEYS));
        world.check_crashes(moment);
        // New records under the same keys stay, through reclaims and crashes.
        let mut rng = Rng::new(moment);
        let moved = world.stats().records_moved;
        (0..KEYS / 2).for_each(|n| world.put("goes", n).unwrap());
        for step in 0..150 {
            world.put("stays", rng.below(KEYS as usize) as u64).unwrap();
            if step % 25 == 0 {
                world.db.namespace.housekeep();
                world.check();
                world.check_crashes(rng.next_u64());
            }
        }
        assert!(world.stats().records_moved > moved);
    }
}

/// Power is lost at each write of a truncation: the set is there, whole, or gone; the other one is there.
#[test]
fn all_or_nothing_wherever_the_power_goes() {
    for moment in 0..8 {
        for cut in 0.. {
            let mut world = at_work(moment);
            world.device().cut_power_at(world.device().write_count() + cut);
            let done = world.truncate(Some("goes")).is_ok();
            for policy in CrashPolicy::all(cut) {
                let after = world.crashed(policy);
                let compared = after.compare();
                compared
                    .unwrap_or_else(|e| panic!("moment {moment}, write {cut}, {policy:?}: {e}"));
                let left = after.records_of("goes");
                assert!(left == 0 || (left == KEYS && !done), "half a truncation: {left}");
                after.audit();
            }
            if done {
                break;
            }
        }
    }
}
