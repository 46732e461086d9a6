//! What survives a loss of power: every write of many workloads is the last one once, in every way a crash can leave the devices.
//!
//! A user would lose acknowledged writes, or see deleted and expired records again. Each test runs workloads from seeds, cuts the
//! power at each of their writes, and compares what comes up with a model (`model`). `CAIRN_CRASH_IMAGES` sets how many images each test
//! looks at, at least. A failure prints the line that has it again.

mod alone;
#[path = "../common/mod.rs"]
mod common;
mod format;
mod harness;
mod model;
mod reuse;
mod rig;
mod run;
mod workload;

use std::time::Instant;

use harness::{Case, Count, cut_at, cut_everywhere, cut_somewhere};
use rig::{Honesty, Shape};
use workload::Profile;

/// Images of one test, at least, unless the environment says otherwise.
const IMAGES: u64 = 2000;

const ONE: Profile = Profile {
    shape: Shape { devices: 1, sector: 512, block: 16 << 10, blocks: 12 },
    keys: 14,
    operations: 500,
    depth: 4,
    stepped: false,
    lag: 1,
    cached: 2,
    buffered: 20,
    largest: 2400,
    hot: 0,
    groups: (0, 0),
    promised: true,
};

/// Cuts everywhere in the workloads of one seed after the other, or where `CAIRN_SEED` says.
fn survive(name: &str, profile: Profile) {
    survive_with(name, profile, all);
}

fn survive_with(
    name: &str,
    profile: Profile,
    all: impl Fn(Profile, &mut Count) -> Result<(), (Case, String)>,
) {
    let started = Instant::now();
    let mut count = Count::default();
    let result = match std::env::var("CAIRN_SEED") {
        Ok(given) => {
            let numbers: Vec<u64> =
                given.split(':').map(|n| n.parse().expect("seed:cut:policy")).collect();
            let [seed, cut, policy] = numbers[..] else { panic!("CAIRN_SEED is seed:cut:policy") };
            let case = Case { seed, cut, policy: 0 };
            cut_at(profile, case, Some(policy as usize), Honesty::Honest, &mut count)
        }
        Err(_) => all(profile, &mut count),
    };
    println!("{name}: {count:?} in {:?}", started.elapsed());
    if let Err((Case { seed, cut, policy }, error)) = result {
        panic!(
            "{error}\nagain: CAIRN_SEED={seed}:{cut}:{policy} cargo test -p cairn-engine --test crash {name}"
        );
    }
}

/// Cuts at some of the writes of workloads on a device that is full from the beginning, or where `CAIRN_SEED` says.
fn sample(name: &str, profile: Profile) {
    survive_with(name, profile, |profile, count| {
        for seed in 1.. {
            if count.images >= images() / FULL_PART {
                break;
            }
            cut_somewhere(profile, seed, CUTS, count)?;
        }
        Ok(())
    });
}

/// Devices with many records take long to look at: tests on them look at so much fewer images.
const FULL_PART: u64 = 4;
/// Of the writes of one workload, so many are cut.
const CUTS: u64 = 60;

fn images() -> u64 {
    std::env::var("CAIRN_CRASH_IMAGES").map_or(IMAGES, |n| n.parse().expect("a number"))
}

fn all(profile: Profile, count: &mut Count) -> Result<(), (Case, String)> {
    for seed in 1.. {
        if count.images >= images() {
            break;
        }
        cut_everywhere(profile, seed, Honesty::Honest, count)?;
    }
    Ok(())
}

/// One device with small sectors, most writes durable.
#[test]
fn one_device() {
    survive("one_device", ONE);
}

/// Sectors of 4096 bytes: every flush is padded far, blocks hold few records and go round fast.
#[test]
fn large_sectors() {
    let shape = Shape { sector: 4096, block: 32 << 10, ..ONE.shape };
    survive("large_sectors", Profile { shape, ..ONE });
}

/// Two devices lose what is in flight independently: each may come up behind the other.
#[test]
fn two_devices() {
    let shape = Shape { devices: 2, blocks: 9, ..ONE.shape };
    survive("two_devices", Profile { shape, ..ONE });
}

/// Requests complete in any order, as on a real device with a queue.
#[test]
fn any_order() {
    survive("any_order", Profile { stepped: true, depth: 6, buffered: 40, ..ONE });
}

/// Two devices, any order, large sectors.
#[test]
fn two_devices_any_order() {
    let shape = Shape { devices: 2, sector: 4096, block: 32 << 10, blocks: 9 };
    survive(
        "two_devices_any_order",
        Profile { shape, stepped: true, depth: 6, buffered: 40, ..ONE },
    );
}

/// Hardly any room: every block is freed and used again soon, and writers wait for it.
#[test]
fn nearly_full() {
    let shape = Shape { blocks: 8, ..ONE.shape };
    survive("nearly_full", Profile { shape, keys: 7, largest: 4000, ..ONE });
}

/// The same with requests in any order on two devices.
#[test]
fn nearly_full_any_order() {
    let shape = Shape { devices: 2, blocks: 8, ..ONE.shape };
    let profile = Profile { shape, keys: 12, largest: 4000, cached: 16, ..ONE };
    survive("nearly_full_any_order", Profile { stepped: true, depth: 5, buffered: 50, ..profile });
}

/// Devices that are far behind: whole blocks are on their way, and what empties a block is not yet durable when its space is wanted.
#[test]
fn far_behind() {
    let shape = Shape { blocks: 8, ..ONE.shape };
    let profile = Profile { shape, keys: 5, depth: 4, largest: 7000, cached: 16, ..ONE };
    survive("far_behind", Profile { stepped: true, lag: 100, buffered: 95, ..profile });
}

/// Three streams, and a device that is so full that records are moved all the time.
const FULL: Profile = Profile {
    shape: Shape { blocks: 40, ..ONE.shape },
    keys: 165,
    operations: 600,
    largest: 5000,
    hot: 70,
    ..ONE
};

/// Hot and cold records on a full device: what is moved is as old as the device, and acknowledged long ago.
#[test]
fn always_moving() {
    sample("always_moving", FULL);
}

/// The same with requests in any order, on two devices.
#[test]
fn always_moving_any_order() {
    let shape = Shape { devices: 2, ..FULL.shape };
    let profile = Profile { shape, keys: 330, operations: 900, depth: 6, buffered: 50, ..FULL };
    sample("always_moving_any_order", Profile { stepped: true, ..profile });
}

/// Ten streams: as many blocks are open at once when the power goes.
#[test]
fn all_streams() {
    let shape = Shape { blocks: 264, ..FULL.shape };
    sample("all_streams", Profile { shape, keys: 900, operations: 1500, largest: 7000, ..FULL });
}

/// Nothing but RAM is asked for: what survives is whole, in order, and no older than `flush-max`.
#[test]
fn buffered_only() {
    survive("buffered_only", Profile { buffered: 100, ..ONE });
}

/// Groups among other writes: each is there whole or not at all, whatever of its flushes was lost and whatever was built on it.
const GROUPS: Profile = Profile { groups: (45, 8), keys: 20, buffered: 60, ..ONE };

#[test]
fn groups() {
    survive("groups", GROUPS);
    survive("groups", Profile { promised: false, buffered: 90, ..GROUPS });
}

/// The same with requests in any order, and far behind: groups wait on their way when others are built on them.
#[test]
fn groups_any_order() {
    let profile = Profile { stepped: true, depth: 6, promised: false, ..GROUPS };
    survive("groups_any_order", profile);
    survive("groups_any_order", Profile { lag: 30, buffered: 90, cached: 16, ..profile });
}

/// Two devices: what a group takes the place of lies on both.
#[test]
fn groups_on_two_devices() {
    let shape = Shape { devices: 2, blocks: 9, ..ONE.shape };
    let profile = Profile { shape, stepped: true, depth: 6, promised: false, ..GROUPS };
    survive("groups_on_two_devices", profile);
}

/// Hardly any room: what a group took the place of would be overwritten as soon as half of it were enough.
#[test]
fn groups_nearly_full() {
    let shape = Shape { blocks: 8, ..ONE.shape };
    let profile = Profile { shape, keys: 8, largest: 3000, cached: 16, ..GROUPS };
    let profile = Profile { groups: (60, 5), promised: false, buffered: 80, ..profile };
    survive("groups_nearly_full", profile);
    survive("groups_nearly_full", Profile { stepped: true, depth: 5, lag: 20, ..profile });
}

/// Three streams on a full device: groups are moved, and what they are built on lies in several streams.
#[test]
fn groups_in_three_streams() {
    let profile = Profile { groups: (30, 20), promised: false, stepped: true, depth: 5, ..FULL };
    sample("groups_in_three_streams", Profile { buffered: 60, ..profile });
}

/// Ten streams.
#[test]
fn groups_in_all_streams() {
    let shape = Shape { blocks: 264, ..FULL.shape };
    let profile = Profile { shape, keys: 900, operations: 1500, largest: 7000, ..FULL };
    let profile = Profile { groups: (30, 20), promised: false, stepped: true, depth: 6, ..profile };
    sample("groups_in_all_streams", Profile { buffered: 60, ..profile });
}

/// Groups of a hundred kilobytes: each is flushed in many pieces.
#[test]
fn large_groups() {
    let shape = Shape { block: 128 << 10, blocks: 9, ..ONE.shape };
    let profile = Profile { shape, keys: 24, largest: 20 << 10, operations: 60, ..GROUPS };
    let profile = Profile { groups: (60, 20), promised: false, buffered: 70, ..profile };
    survive("large_groups", profile);
    survive("large_groups", Profile { stepped: true, depth: 5, lag: 10, ..profile });
}

/// The harness must see what it is for: on devices that acknowledge before anything is durable, and do nothing else wrong, acknowledged
/// writes are lost, and the same runs on honest devices lose none.
#[test]
fn devices_that_lie_are_found_out() {
    for profile in [ONE, Profile { stepped: true, depth: 6, ..ONE }] {
        let mut count = Count::default();
        assert!(cut_everywhere(profile, 1, Honesty::Honest, &mut count).is_ok());
        let (Case { cut, .. }, error) =
            cut_everywhere(profile, 1, Honesty::Lies, &mut count).expect_err("nobody noticed");
        println!("devices that lie: found at write {cut}: {error}");
    }
}
