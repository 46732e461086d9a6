//! Transactions of several threads at once, on a real file.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use cairn_engine::{
    DeviceConfig, Namespace, NamespaceConfig, OpenOptions, Sight, Transacted,
    device::{IoChoice, IoEngine, reactor::block_on},
    model::{Durability, Key},
};

use crate::{applied, check, common::key, get, number, number_of, put};

const ACCOUNTS: u64 = 24;
const EACH: i64 = 1000;

fn open(path: &std::path::Path, durability: Durability) -> Arc<Namespace> {
    let file = DeviceConfig::File { path: path.join("test.dat"), size: 16 << 20 };
    let mut config = NamespaceConfig::new("test", vec![file]);
    config.write_block_size = 128 << 10;
    config.flush_size = 16 << 10;
    config.post_write_cache = 256 << 10;
    config.durability = durability;
    let options = OpenOptions::new(IoEngine::choose(IoChoice::Auto).unwrap());
    Namespace::open(&config, &options).unwrap()
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn accounts() -> Vec<Key> {
    (0..ACCOUNTS).map(|n| key("accounts", n)).collect()
}

/// One transfer between two accounts; false when somebody else was faster.
async fn transfer(ns: &Namespace, keys: [&Key; 2], wait: bool) -> bool {
    let from = ns.look(keys[0]).await.unwrap();
    let to = ns.look(keys[1]).await.unwrap();
    let (less, more) = (number(number_of(&from) - 1), number(number_of(&to) + 1));
    let steps = [put(keys[0], Some(&from), &less), put(keys[1], Some(&to), &more)];
    match ns.transact(&steps).await.unwrap() {
        Transacted::Applied(receipt) => {
            if wait {
                receipt.durable().await.unwrap();
            }
            true
        }
        Transacted::Changed => false,
    }
}

/// Money is neither made nor lost, at no instant and at no stop: whoever sees half of a transfer sees a wrong sum.
#[test]
fn transfers_keep_the_sum() {
    let directory = tempfile::tempdir().unwrap();
    for (seed, durability) in [(1, Durability::Buffer), (2, Durability::Device)] {
        let ns = open(directory.path(), durability);
        let keys = accounts();
        for key in &keys {
            assert!(applied(block_on(ns.transact(&[put(key, None, &number(EACH))]))));
        }
        let (done, transfers, sums) =
            (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let (ns, keys, transfers) = (&ns, &keys, &transfers);
                    scope.spawn(move || {
                        let mut state = seed * 100 + writer;
                        for round in 0..400 {
                            let from = random(&mut state) % ACCOUNTS;
                            let to = (from + 1 + random(&mut state) % (ACCOUNTS - 1)) % ACCOUNTS;
                            let pair = [&keys[from as usize], &keys[to as usize]];
                            if block_on(transfer(ns, pair, round % 8 == 0)) {
                                transfers.fetch_add(1, SeqCst);
                            }
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    let seen: Vec<Sight> =
                        keys.iter().map(|key| block_on(ns.look(key)).unwrap()).collect();
                    let checks: Vec<_> =
                        keys.iter().zip(&seen).map(|(key, seen)| check(key, seen)).collect();
                    if applied(block_on(ns.transact(&checks))) {
                        let sum: i64 = seen.iter().map(number_of).sum();
                        assert_eq!(sum, ACCOUNTS as i64 * EACH);
                        sums.fetch_add(1, SeqCst);
                    }
                }
            });
            let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
            done.store(true, SeqCst);
            assert!(ended.iter().all(Result::is_ok));
        });
        assert!(transfers.load(SeqCst) > 0);
        let sum = |ns: &Namespace| -> i64 {
            keys.iter().map(|key| block_on(get(ns, key)).unwrap()).sum()
        };
        assert_eq!(sum(&ns), ACCOUNTS as i64 * EACH);
        ns.close().unwrap();
        drop(ns);
        let ns = open(directory.path(), durability);
        assert_eq!(sum(&ns), ACCOUNTS as i64 * EACH);
        ns.close().unwrap();
    }
}

/// Two keys that are always written together: who has read the newer one of the first must not get the older one of the second, also without
/// asking afterwards.
#[test]
fn a_change_is_one_instant_to_readers_without_locks() {
    let directory = tempfile::tempdir().unwrap();
    let ns = open(directory.path(), Durability::Buffer);
    let keys = [key("s", 1), key("s", 2), key("s", 3), key("s", 4)];
    let write = |n: i64| {
        let bins = number(n);
        let steps: Vec<_> = keys.iter().map(|key| put(key, None, &bins)).collect();
        assert!(applied(block_on(ns.transact(&steps))));
    };
    write(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = |order: [usize; 4]| {
            let (ns, keys, done) = (&ns, &keys, &done);
            move || {
                let mut last = 0;
                while !done.load(SeqCst) {
                    for at in order {
                        let now = block_on(get(ns, &keys[at])).unwrap();
                        assert!(now >= last, "{now} behind {last}");
                        last = now;
                    }
                }
            }
        };
        scope.spawn(reader([0, 1, 2, 3]));
        scope.spawn(reader([3, 1, 2, 0]));
        (1..4000).for_each(write);
        done.store(true, SeqCst);
    });
    ns.close().unwrap();
}
