//! Records that were deleted or have expired, while their older versions still lie on the device and what guards against them goes.

use cairn_engine::device::sim::{CrashPolicy, Rng};

use crate::world::{World, config};

const GHOSTS: u64 = 20;
const OTHERS: u64 = 40;

/// Ghosts-to-be have two versions that would live for ever, among other records.
fn haunted() -> World {
    let mut world = World::new(config(), 13, 1500);
    for _ in 0..2 {
        for n in 0..OTHERS {
            world.put("s", n).unwrap();
            if n % 2 == 0 {
                world.put("ghosts", n / 2).unwrap();
            }
        }
    }
    world
}

/// Overwrites other records until no guard is left; whatever comes up after a crash in between has no ghosts. Without
/// `housekeeps` the keeper comes late: the defragmenter lets guards go that it meets.
fn exorcise(world: &mut World, seed: u64, housekeeps: bool) {
    let mut rng = Rng::new(seed);
    let moved = world.stats().records_moved;
    let mut least = u64::MAX;
    for step in 0..2000 {
        world.put("s", rng.below(OTHERS as usize) as u64).unwrap();
        if step % 10 != 0 {
            continue;
        }
        if housekeeps || step > 800 {
            world.db.namespace.housekeep();
        }
        let left = world.stats().tombstones;
        if left != least || left == 0 || step % 100 == 0 {
            world.check();
            world.check_crashes(rng.next_u64());
            // And once more, from what came up.
            let mut again = world.crashed(CrashPolicy::LoseAll);
            (0..30).for_each(|n| again.put("s", n).unwrap());
            again.db.namespace.housekeep();
            again.check();
            again.check_crashes(rng.next_u64());
        }
        least = least.min(left);
        if left == 0 && step > 200 {
            break;
        }
    }
    assert_eq!(world.stats().tombstones, 0, "tombstones stay for ever, seed {seed}");
    assert!(world.stats().records_moved > moved, "nothing was moved");
    assert_eq!(world.records_of("ghosts"), 0);
}

/// A deleted record comes back, with its tombstone let go too early, or its block freed too late.
#[test]
fn of_deleted_records_do_not_return() {
    for seed in 1..4 {
        let mut world = haunted();
        (0..GHOSTS).for_each(|n| world.delete("ghosts", n).unwrap());
        assert_eq!(world.stats().tombstones, GHOSTS);
        exorcise(&mut world, seed, seed != 1);
    }
}

/// A record whose last version has expired comes back as its older version, which would have lived for ever. The keeper counts it as a
/// tombstone from then on; sets no longer count it.
#[test]
fn of_expired_records_do_not_return() {
    for seed in 1..4 {
        let mut world = haunted();
        (0..GHOSTS).for_each(|n| world.put_for("ghosts", n, 5000).unwrap());
        assert_eq!(world.records_of("ghosts"), GHOSTS);
        world.settle();
        world.advance(60_000);
        world.db.namespace.housekeep();
        // Some have lost their older versions already.
        assert!(world.stats().tombstones > 0, "nothing guards");
        assert_eq!(world.stats().expired, GHOSTS);
        assert_eq!(world.records_of("ghosts"), 0);
        exorcise(&mut world, seed, true);
    }
}

/// The same without the keeper: the defragmenter meets an expired record that still guards, and what it moves is a tombstone.
#[test]
fn of_guards_that_are_moved_do_not_return() {
    let mut world = haunted();
    (0..GHOSTS).for_each(|n| world.put_for("ghosts", n, 5000).unwrap());
    world.advance(60_000);
    let mut rng = Rng::new(1);
    let mut most = 0;
    for _ in 0..300 {
        world.put("s", rng.below(OTHERS as usize) as u64).unwrap();
        if world.stats().tombstones > most {
            most = world.stats().tombstones;
            world.check();
            world.check_crashes(rng.next_u64());
        }
    }
    assert!(most > 0, "no guard was moved");
    exorcise(&mut world, 7, true);
}

/// A record that expired is written anew and deleted: every guard on the way takes the place of the one before.
#[test]
fn of_several_lives_do_not_return() {
    let mut world = haunted();
    let mut rng = Rng::new(3);
    for life in 0..6 {
        (0..GHOSTS).for_each(|n| world.put_for("ghosts", n, 3000).unwrap());
        (0..30).for_each(|n| world.put("s", n).unwrap());
        if life % 2 == 0 {
            world.advance(60_000);
            world.db.namespace.housekeep();
        }
        world.check();
        world.check_crashes(rng.next_u64());
        (0..GHOSTS).filter(|n| n % 3 == life % 3).for_each(|n| world.delete("ghosts", n).unwrap());
        world.check();
        world.check_crashes(rng.next_u64());
    }
    world.advance(60_000);
    exorcise(&mut world, 5, true);
}

/// A start from the records alone must find out what is dead in them, or it lets guards go too early.
#[test]
fn do_not_return_after_a_cold_start() {
    for seed in 1..4 {
        let mut world = haunted();
        (0..GHOSTS / 2).for_each(|n| world.delete("ghosts", n).unwrap());
        (GHOSTS / 2..GHOSTS).for_each(|n| world.put_for("ghosts", n, 5000).unwrap());
        world.settle();
        world.advance(60_000);
        let mut world = world.crashed(CrashPolicy::from_seed(seed));
        for _ in 0..3 {
            world.db.namespace.housekeep();
            // Blocks in which nothing is left become free.
            world.settle();
            world.check();
            world.check_crashes(seed);
        }
        exorcise(&mut world, seed, true);
    }
}
