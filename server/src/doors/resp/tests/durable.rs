//! `FLUSHDB` and `SWAPDB`: what they answer is on the device, and memory never says what the device may not.

use cairn_engine::{
    device::sim::{CrashPolicy, Effect, Fault, Trigger},
    model::Durability,
};
use futures::poll;

use super::rig::{Rig, text};

const SEED: u64 = 0x5eed;

/// Keys that others have deleted, but not yet durably, would be there again after a loss of power, although FLUSHDB answered that the
/// database is empty.
#[tokio::test]
async fn flushdb_waits_for_what_others_deleted() {
    let rig = Rig::new(Durability::Buffer, 1).await;
    assert_eq!(rig.ask(&["SET", "a", "1"]).await, "+OK\r\n");
    rig.settle().await;
    assert_eq!(rig.ask(&["DEL", "a"]).await, ":1\r\n");
    let mut flush = rig.begin(&["FLUSHDB"]);
    assert!(poll!(&mut flush).is_pending(), "it answered before the delete was durable");
    assert_eq!(text(&rig.drive(flush).await), "+OK\r\n");
    for policy in CrashPolicy::all(SEED) {
        let after = rig.after_crash(policy).await;
        assert_eq!(after.ask(&["EXISTS", "a"]).await, ":0\r\n", "{policy:?}");
    }
}

/// The same for keys that FLUSHDB deletes itself, which may not even be durable yet.
#[tokio::test]
async fn what_flushdb_deleted_stays_deleted() {
    let rig = Rig::new(Durability::Buffer, 1).await;
    assert_eq!(rig.ask(&["SET", "old", "1"]).await, "+OK\r\n");
    rig.settle().await;
    assert_eq!(rig.ask(&["SET", "new", "1"]).await, "+OK\r\n");
    assert_eq!(text(&rig.drive(rig.begin(&["FLUSHDB"])).await), "+OK\r\n");
    for policy in CrashPolicy::all(SEED) {
        let after = rig.after_crash(policy).await;
        assert_eq!(after.ask(&["EXISTS", "old", "new"]).await, ":0\r\n", "{policy:?}");
    }
}

/// A device that fails while SWAPDB writes leaves open what the next start will find. Until then nobody may be told, or write to, one of
/// two databases on a guess: after the restart it could have been the other one.
#[tokio::test]
async fn a_swap_in_doubt_is_not_guessed() {
    let (mut swapped, mut not_swapped) = (0, 0);
    for (seed, effect) in (1..=8)
        .flat_map(|seed| [Effect::WriteError(5), Effect::SyncError(5)].map(|effect| (seed, effect)))
    {
        let rig = Rig::new(Durability::Device, seed).await;
        let first = rig.door.sets();
        rig.device.inject(Fault::forever(effect, Trigger::After(0)));
        let swap = rig.drive(rig.begin(&["SWAPDB", "0", "5"])).await;
        let sets = rig.door.sets();
        if swap.failed.is_none() {
            // The fault was of a kind that this write does not meet: then it is done.
            assert_ne!(sets, first);
            continue;
        }
        assert_eq!(swap.failed.unwrap().code(), b"INDOUBT");
        let known = sets.set(0).is_ok();
        if !known {
            let get = rig.begin(&["GET", "a"]).await;
            assert_eq!(get.failed.unwrap().code(), b"INDOUBT");
        }
        for policy in CrashPolicy::all(seed) {
            let found = rig.after_crash(policy).await.door.sets();
            *(if found == first { &mut not_swapped } else { &mut swapped }) += 1;
            assert!(!known || found == sets, "seed {seed}, {effect:?}, {policy:?}");
        }
    }
    // Otherwise there was nothing in doubt, and this test shows nothing.
    assert!(swapped > 0 && not_swapped > 0, "{swapped} {not_swapped}");
}

/// A client that goes away in the middle of SWAPDB must not leave memory and device at odds: what is written until the next start would then
/// be in the other database.
#[tokio::test]
async fn a_swap_ends_without_its_client() {
    let rig = Rig::new(Durability::Device, 1).await;
    let first = rig.door.sets();
    let mut swap = rig.begin(&["SWAPDB", "0", "5"]);
    assert!(poll!(&mut swap).is_pending());
    tokio::task::yield_now().await;
    drop(swap);
    rig.settle().await;
    let found = rig.after_crash(CrashPolicy::LoseAll).await.door.sets();
    assert_eq!(rig.door.sets(), found);
    assert_ne!(found, first);
}
