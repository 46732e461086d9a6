//! Every operation on records, on a simulated device: what a user sees, before and after restarts.

mod common;

use cairn_engine::{
    Error, Operation, Outcome, StartKind,
    model::{
        Durability, ExistsPolicy, GenerationCheck, PARTITIONS, ReadPolicy, Ttl, Value, WritePolicy,
    },
};
use common::{Driven, bin, key, small_config, value_of};

const READ: ReadPolicy = ReadPolicy { bypass_cache: false };

fn policy() -> WritePolicy {
    WritePolicy::default()
}

fn replace() -> WritePolicy {
    WritePolicy { exists: ExistsPolicy::Replace, ..policy() }
}

fn scan_all(db: &Driven, set: Option<&str>) -> usize {
    let mut count = 0;
    for partition in 0..PARTITIONS as u16 {
        let mut after = None;
        loop {
            let page = db.run(db.namespace.scan(partition, after, set, 3, 4000)).unwrap();
            count += page.records.len();
            assert_eq!(page.damaged, 0);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    count
}

/// The life of a record: created, merged, replaced, touched, deleted; generations count its writes.
#[test]
fn a_record_lives_and_dies() {
    let db = Driven::fresh(&small_config(), 1 << 20, 512);
    let (ns, k) = (&db.namespace, key("s", 1));
    assert!(db.run(ns.get(&k, &READ)).unwrap().is_none());
    let two = [("a".into(), Value::Int(1)), ("b".into(), Value::Str("x".into()))];
    let Outcome::Done(first) = db.run(ns.put(&k, &two, &policy())).unwrap() else { panic!() };
    assert_eq!(first.generation, 1);
    let Outcome::Done(second) = db
        .run(ns.put(&k, &[("a".into(), Value::Nil), ("c".into(), Value::Bool(true))], &policy()))
        .unwrap()
    else {
        panic!()
    };
    assert_eq!(second.generation, 2);
    let record = db.run(ns.get(&k, &READ)).unwrap().unwrap();
    let bins: Vec<_> = record
        .bins()
        .unwrap()
        .map(|b| b.unwrap())
        .map(|(n, v)| (n.to_owned(), v.to_value().unwrap()))
        .collect();
    assert_eq!(
        bins,
        [("b".to_owned(), Value::Str("x".into())), ("c".to_owned(), Value::Bool(true))]
    );
    db.run(ns.put(&k, &bin(Value::Double(0.5)), &replace())).unwrap();
    assert_eq!(db.run(ns.get(&k, &READ)).unwrap().unwrap().bins().unwrap().len(), 1);
    let touched =
        db.run(ns.touch(&k, &WritePolicy { ttl: Ttl::Millis(5000), ..policy() })).unwrap();
    let Outcome::Done(touched) = touched else { panic!() };
    assert_eq!((touched.generation, touched.void_time.0), (4, common::NOW_MS + 5000));
    assert_eq!(db.run(ns.exists(&k, &READ)).unwrap(), Some(touched));
    assert_eq!(db.run(ns.delete(&k, &policy())).unwrap(), Outcome::Done(()));
    assert_eq!(db.run(ns.delete(&k, &policy())).unwrap(), Outcome::NotFound);
    assert_eq!(db.run(ns.exists(&k, &READ)).unwrap(), None);
    assert_eq!((ns.stats().records, ns.stats().tombstones), (0, 1));
    assert_eq!(ns.sets(), []);
}

/// Each `exists` policy and each generation check, on a record that exists and on one that does not.
#[test]
fn policies_are_kept() {
    let db = Driven::fresh(&small_config(), 1 << 20, 512);
    let ns = &db.namespace;
    let cases = [
        (ExistsPolicy::Update, true, true),
        (ExistsPolicy::UpdateOnly, false, true),
        (ExistsPolicy::Replace, true, true),
        (ExistsPolicy::ReplaceOnly, false, true),
        (ExistsPolicy::CreateOnly, true, false),
    ];
    for (at, (exists, creates, changes)) in (0..).zip(cases) {
        let (absent, present) = (key("p", at), key("q", at));
        db.run(ns.put(&present, &bin(Value::Int(0)), &policy())).unwrap();
        let with = WritePolicy { exists, ..policy() };
        let created = db.run(ns.put(&absent, &bin(Value::Int(1)), &with)).unwrap();
        assert_eq!(matches!(created, Outcome::Done(_)), creates, "{exists:?}");
        let changed = db.run(ns.put(&present, &bin(Value::Int(1)), &with)).unwrap();
        assert_eq!(matches!(changed, Outcome::Done(_)), changes, "{exists:?}");
    }
    let k = key("g", 1);
    let with = |generation| WritePolicy { generation, ..policy() };
    let put = |p: WritePolicy| db.run(ns.put(&k, &bin(Value::Int(1)), &p)).unwrap();
    assert_eq!(put(with(GenerationCheck::Equal(0))), Outcome::GenerationMismatch(0));
    assert!(matches!(put(with(GenerationCheck::Greater(1))), Outcome::Done(_)));
    assert_eq!(put(with(GenerationCheck::Equal(2))), Outcome::GenerationMismatch(1));
    assert!(matches!(put(with(GenerationCheck::Equal(1))), Outcome::Done(_)));
    assert_eq!(put(with(GenerationCheck::Greater(2))), Outcome::GenerationMismatch(2));
}

/// `operate` applies all of its operations or none, and its reads see the writes before them.
#[test]
fn operate_is_one_step() {
    let db = Driven::fresh(&small_config(), 1 << 20, 512);
    let (ns, k) = (&db.namespace, key("s", 1));
    let operations = [
        Operation::Add("n".into(), Value::Int(5)),
        Operation::Read("n".into()),
        Operation::Append("t".into(), Value::Str("ab".into())),
        Operation::Prepend("t".into(), Value::Str("_".into())),
        Operation::ReadAll,
    ];
    let Outcome::Done(done) = db.run(ns.operate(&k, &operations, &policy())).unwrap() else {
        panic!()
    };
    let expected: Vec<(Box<str>, Value)> = vec![
        ("n".into(), Value::Int(5)),
        ("n".into(), Value::Int(5)),
        ("t".into(), Value::Str("_ab".into())),
    ];
    assert_eq!(done.bins, expected);
    let wrong =
        [Operation::Add("n".into(), Value::Int(1)), Operation::Add("t".into(), Value::Int(1))];
    assert!(matches!(db.run(ns.operate(&k, &wrong, &policy())), Err(Error::BinType { .. })));
    let read = [Operation::Read("n".into())];
    let Outcome::Done(same) = db.run(ns.operate(&k, &read, &policy())).unwrap() else { panic!() };
    assert_eq!(same.bins[0].1, Value::Int(5));
    assert_eq!(same.metadata.unwrap().generation, 1);
    let anew = [
        Operation::Delete,
        Operation::Write("z".into(), Value::Nil),
        Operation::Add("z".into(), Value::Int(1)),
    ];
    let Outcome::Done(anew) = db.run(ns.operate(&k, &anew, &policy())).unwrap() else { panic!() };
    assert!(anew.metadata.is_some());
    assert_eq!(db.run(ns.get(&k, &READ)).unwrap().unwrap().bins().unwrap().len(), 1);
    let Outcome::Done(gone) = db.run(ns.operate(&k, &[Operation::Delete], &policy())).unwrap()
    else {
        panic!()
    };
    assert_eq!(gone.metadata, None);
    assert_eq!(db.run(ns.operate(&k, &read, &policy())).unwrap(), Outcome::NotFound);
}

/// Expired records are not returned, to the millisecond, and a write over one starts anew.
#[test]
fn expiry_is_exact() {
    let db = Driven::fresh(&small_config(), 1 << 20, 512);
    let (ns, k) = (&db.namespace, key("s", 1));
    let short = WritePolicy { ttl: Ttl::Millis(1500), ..policy() };
    db.run(ns.put(&k, &bin(Value::Int(1)), &short)).unwrap();
    db.clock.advance(1499);
    assert!(db.run(ns.get(&k, &READ)).unwrap().is_some());
    assert!(db.run(ns.exists(&k, &READ)).unwrap().is_some());
    db.clock.advance(1);
    assert!(db.run(ns.get(&k, &READ)).unwrap().is_none());
    assert!(db.run(ns.exists(&k, &READ)).unwrap().is_none());
    assert_eq!(scan_all(&db, None), 0);
    assert_eq!(db.run(ns.delete(&k, &policy())).unwrap(), Outcome::NotFound);
    let create = WritePolicy { exists: ExistsPolicy::CreateOnly, ..policy() };
    let Outcome::Done(anew) = db.run(ns.put(&k, &bin(Value::Int(2)), &create)).unwrap() else {
        panic!()
    };
    assert_eq!((anew.generation, anew.void_time.0), (1, 0));
}

/// What was written is there after a clean stop and after a crash, with counts, sets and generations; the start says which it was.
#[test]
fn restarts_keep_everything() {
    let config = small_config();
    let mut db = Driven::fresh(&config, 4 << 20, 4096);
    for round in 0..3u64 {
        for n in 0..200 {
            let value =
                bin(Value::Bytes(vec![n as u8; 100 + (n as usize * 13 + round as usize) % 1500]));
            db.run(db.namespace.put(&key("a", n), &value, &replace())).unwrap();
        }
    }
    for n in 0..50 {
        db.run(db.namespace.delete(&key("a", n * 4), &policy())).unwrap();
    }
    db.run(db.namespace.put(&key("other", 1), &bin(Value::Int(7)), &policy())).unwrap();
    for clean in [true, false, true, false, false] {
        let before = (db.namespace.stats(), db.namespace.sets());
        if clean {
            db.namespace.close().unwrap();
        }
        db = Driven::open(&config, db.devices, &db.clock).unwrap();
        let kind = if clean { StartKind::Warm } else { StartKind::Cold };
        assert_eq!(db.namespace.report().kind, kind);
        assert_eq!(db.namespace.report().damage, Vec::<String>::new());
        let after = (db.namespace.stats(), db.namespace.sets());
        assert_eq!((after.0.records, after.0.tombstones), (before.0.records, before.0.tombstones));
        assert_eq!(after.0.in_use_bytes, before.0.in_use_bytes, "{kind:?}");
        assert_eq!(after.1, before.1);
        for n in 0..200u64 {
            let record = db.run(db.namespace.get(&key("a", n), &READ)).unwrap();
            assert_eq!(record.is_some(), n % 4 != 0, "{n}");
            if let Some(record) = record {
                assert_eq!(record.metadata().generation, 3);
                let len = 100 + (n as usize * 13 + 2) % 1500;
                assert_eq!(value_of(&record), Value::Bytes(vec![n as u8; len]));
            }
        }
        assert_eq!(scan_all(&db, Some("a")), 150);
        assert_eq!(scan_all(&db, None), 151);
    }
}

/// A truncation removes what was written before it and nothing else, and the records do not come back.
#[test]
fn truncated_sets_stay_empty() {
    let config = small_config();
    let mut db = Driven::fresh(&config, 2 << 20, 512);
    for n in 0..100 {
        db.run(db.namespace.put(&key("a", n), &bin(Value::Int(1)), &policy())).unwrap();
        db.run(db.namespace.put(&key("b", n), &bin(Value::Int(1)), &policy())).unwrap();
    }
    db.run(db.namespace.delete(&key("a", 0), &policy())).unwrap();
    assert_eq!(db.run(db.namespace.truncate(Some("a"))).unwrap(), 99);
    db.run(db.namespace.put(&key("a", 5), &bin(Value::Int(2)), &policy())).unwrap();
    for clean in [None, Some(false), Some(true), Some(false)] {
        if let Some(clean) = clean {
            if clean {
                db.namespace.close().unwrap();
            }
            db = Driven::open(&config, db.devices, &db.clock).unwrap();
        }
        assert_eq!(scan_all(&db, Some("a")), 1);
        assert_eq!(scan_all(&db, Some("b")), 100);
        assert!(db.run(db.namespace.get(&key("a", 7), &READ)).unwrap().is_none());
        let sets: Vec<(String, u64)> =
            db.namespace.sets().into_iter().map(|s| (s.name, s.records)).collect();
        assert_eq!(sets, [("a".to_owned(), 1), ("b".to_owned(), 100)]);
    }
    assert_eq!(db.run(db.namespace.truncate(None)).unwrap(), 101);
    assert_eq!((db.namespace.stats().records, db.namespace.stats().in_use_bytes), (0, 0));
    assert_eq!(db.namespace.sets(), []);
    let db = Driven::open(&config, db.devices, &db.clock).unwrap();
    assert_eq!(scan_all(&db, None), 0);
}

/// A full namespace refuses writes and says so; reads and deletes go on; space that deletes and truncation free is used again.
#[test]
fn a_full_namespace_still_deletes() {
    let config = small_config();
    let db = Driven::fresh(&config, 512 << 10, 512);
    let ns = &db.namespace;
    let value = bin(Value::Bytes(vec![3; 1000]));
    for cycle in 0..4 {
        let mut written = 0;
        let full = loop {
            match db.run(ns.put(&key("s", written), &value, &replace())) {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, Error::NoSpace { .. }), "{full}");
        assert!(written > 100, "{written} in cycle {cycle}");
        assert!(db.run(ns.get(&key("s", 1), &READ)).unwrap().is_some());
        for n in 0..written {
            assert_eq!(db.run(ns.delete(&key("s", n), &policy())).unwrap(), Outcome::Done(()));
        }
        db.run(ns.truncate(None)).unwrap();
        assert_eq!(ns.stats().records, 0);
    }
}

/// Durability `buffer` acknowledges at once, and the record is on the device after `flush-max` at the latest.
#[test]
fn buffered_writes_reach_the_device_in_time() {
    let config = small_config();
    let db = Driven::fresh(&config, 1 << 20, 512);
    let buffered = WritePolicy { durability: Some(Durability::Buffer), ..replace() };
    let writes = db.devices[0].write_count();
    db.run(db.namespace.put(&key("s", 1), &bin(Value::Int(1)), &buffered)).unwrap();
    assert!(db.run(db.namespace.get(&key("s", 1), &READ)).unwrap().is_some());
    while db.turn() {
        if db.devices[0].write_count() > writes {
            panic!("flushed before its time");
        }
        db.clock.advance(100);
        if cairn_engine::time::Clock::now_ms(&*db.clock)
            >= common::NOW_MS + config.flush_max.as_millis() as u64
        {
            break;
        }
    }
    while db.turn() {}
    let image = std::sync::Arc::new(
        db.devices[0].crash_image(cairn_engine::device::sim::CrashPolicy::LoseAll),
    );
    let db = Driven::open(&config, vec![image], &db.clock).unwrap();
    assert!(db.run(db.namespace.get(&key("s", 1), &READ)).unwrap().is_some());
}
