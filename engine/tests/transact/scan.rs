//! Scans by cursor over the whole namespace.

use std::collections::HashSet;

use crate::{
    applied,
    common::{Driven, key, small_config},
    delete, number, put,
};

/// However few a step looks at, and whatever comes and goes meanwhile: what is there all the time is met, and met once.
#[test]
fn every_record_is_met_whatever_the_steps() {
    let db = Driven::fresh(&small_config(), 4 << 20, 512);
    let ns = &db.namespace;
    let one = number(1);
    for n in 0..600 {
        let set = if n % 3 == 0 { "a" } else { "b" };
        assert!(applied(db.run(ns.transact(&[put(&key(set, n), None, &one)]))));
    }
    for (limit, bytes) in [(1, u64::MAX), (7, 200), (10_000, u64::MAX), (0, 0)] {
        let (mut cursor, mut met, mut steps, mut twice) = (Some(0), HashSet::new(), 0, 0);
        while let Some(from) = cursor {
            let step = db.run(ns.scan_from(from, Some("b"), limit, bytes)).unwrap();
            assert_eq!(step.damaged, 0);
            for record in &step.records {
                twice += u32::from(!met.insert(record.key().unwrap()));
            }
            cursor = step.next;
            // Others come and go.
            let other = key("b", 1000 + steps % 50);
            assert!(applied(db.run(ns.transact(&[put(&other, None, &one)]))));
            assert!(applied(db.run(ns.transact(&[delete(&key("b", 1000 + (steps + 25) % 50))]))));
            steps += 1;
        }
        let there = (0..600).filter(|n| n % 3 != 0).map(|n| key("b", n));
        assert!(there.into_iter().all(|key| met.contains(&key)), "with {limit} a step");
        assert!(limit == 1 || twice == 0);
        assert_eq!(steps == 1, limit == 10_000);
    }
    assert_eq!(ns.set_len("a"), 200);
}

/// A number that no step gave is a place all the same: a client may send any.
#[test]
fn any_number_is_a_cursor() {
    let db = Driven::fresh(&small_config(), 1 << 20, 512);
    let ns = &db.namespace;
    assert!(applied(db.run(ns.transact(&[put(&key("a", 1), None, &number(1))]))));
    for cursor in [0, 1, 1 << 52, (1 << 52) - 1, u64::MAX] {
        let step = db.run(ns.scan_from(cursor, None, 10, 1000)).unwrap();
        assert_eq!(step.next, None);
    }
}

/// Whoever asks for a key at random gets any of them, and about as often as any other: also where all keys share a few partitions, and
/// among many of another set.
#[test]
fn a_sample_is_near_uniform() {
    const KEYS: u64 = 20;
    const DRAWS: usize = 8000;
    let db = Driven::fresh(&small_config(), 4 << 20, 512);
    let ns = &db.namespace;
    assert!(db.run(ns.sample("a", 10)).unwrap().is_none());
    let one = number(1);
    for n in 0..KEYS {
        assert!(applied(db.run(ns.transact(&[put(&key("a", n), None, &one)]))));
        assert!(applied(db.run(ns.transact(&[put(&key("b", n), None, &one)]))));
    }
    let mut met = std::collections::HashMap::new();
    for _ in 0..DRAWS {
        let record = db.run(ns.sample("a", 100)).unwrap().expect("one of two is of the set");
        *met.entry(record.key().unwrap()).or_insert(0_u32) += 1;
    }
    // 400 of each are expected, with a deviation of 20: eight of them are never met by chance.
    assert_eq!(met.len() as u64, KEYS);
    assert!(met.values().all(|count| (240..=560).contains(count)), "{met:?}");
    for n in 0..KEYS {
        assert!(applied(db.run(ns.transact(&[delete(&key("a", n))]))));
    }
    assert!(db.run(ns.sample("a", 100)).unwrap().is_none());
}
