//! A namespace on a real file with its own threads, through io_uring and through the thread pool.

use std::{path::Path, sync::Arc};

use cairn_engine::{
    DeviceConfig, Namespace, NamespaceConfig, OpenOptions, Outcome, StartKind,
    device::{IoChoice, IoEngine, IoKind, reactor},
    model::{Durability, ExistsPolicy, Key, ReadPolicy, UserKey, Value, WritePolicy},
};

const THREADS: u64 = 4;
const KEYS: u64 = 400;

fn config(path: &Path) -> NamespaceConfig {
    let file = DeviceConfig::File { path: path.join("test.dat"), size: 32 << 20 };
    let mut config = NamespaceConfig::new("test", vec![file]);
    config.write_block_size = 256 << 10;
    config.flush_size = 64 << 10;
    config.post_write_cache = 1 << 20;
    config
}

fn key(n: u64) -> Key {
    Key::new("s", UserKey::Int(n as i64)).unwrap()
}

fn value(n: u64, round: u64) -> Vec<(Box<str>, Value)> {
    let len = 50 + (n * 37 % 3000) as usize;
    vec![
        ("n".into(), Value::Int((n * 10 + round) as i64)),
        ("b".into(), Value::Bytes(vec![n as u8; len])),
    ]
}

fn check(namespace: &Namespace, n: u64, round: u64) {
    let record = reactor::block_on(
        namespace.get(&key(n), &ReadPolicy { bypass_cache: n.is_multiple_of(2) }),
    );
    let record = record.unwrap().expect("an acknowledged record is there");
    let bins: Vec<(Box<str>, Value)> = record
        .bins()
        .unwrap()
        .map(|bin| bin.unwrap())
        .map(|(name, v)| (name.into(), v.to_value().unwrap()))
        .collect();
    assert_eq!(bins, value(n, round), "key {n}");
}

/// Writers on several threads, each reading back what it was promised, then everything again after a clean stop: what a user does all day.
fn writers_and_readers(choice: IoChoice) {
    let Ok(io) = IoEngine::choose(choice) else {
        eprintln!("skipped: {choice:?} cannot be used on this machine");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions::new(io.clone());
    let namespace = Namespace::open(&config(dir.path()), &options).unwrap();
    assert_eq!(namespace.report().kind, StartKind::Fresh);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let namespace = Arc::clone(&namespace);
            scope.spawn(move || worker(&namespace, io.kind, thread));
        }
    });
    let stats = namespace.stats();
    assert_eq!(stats.records, THREADS * KEYS);
    namespace.close().unwrap();
    drop(namespace);
    let namespace = Namespace::open(&config(dir.path()), &options).unwrap();
    assert_eq!((namespace.report().kind, &namespace.report().damage), (StartKind::Warm, &vec![]));
    for n in 0..THREADS * KEYS {
        check(&namespace, n, 2);
    }
    assert_eq!(namespace.stats().in_use_bytes, stats.in_use_bytes);
}

fn worker(namespace: &Namespace, kind: IoKind, thread: u64) {
    let _reactor = reactor::Reactor::install(kind).unwrap();
    for round in 0..3 {
        for n in (0..KEYS).map(|n| n * THREADS + thread) {
            let durability =
                if n.is_multiple_of(3) { Durability::Device } else { Durability::Buffer };
            let policy = WritePolicy {
                exists: ExistsPolicy::Replace,
                durability: Some(durability),
                ..WritePolicy::default()
            };
            let put = reactor::block_on(namespace.put(&key(n), &value(n, round), &policy));
            assert!(matches!(put, Ok(Outcome::Done(_))), "{put:?}");
            if n.is_multiple_of(5) {
                check(namespace, n, round);
            }
        }
    }
}

#[test]
fn on_io_uring() {
    writers_and_readers(IoChoice::Uring);
}

#[test]
fn on_the_thread_pool() {
    writers_and_readers(IoChoice::Pool);
}

/// Many tasks add to one counter at once: no addition is lost, though nobody locks the record across I/O.
#[test]
fn a_hot_counter_counts_every_addition() {
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions::new(IoEngine::choose(IoChoice::Auto).unwrap());
    let namespace = Namespace::open(&config(dir.path()), &options).unwrap();
    let policy = WritePolicy { durability: Some(Durability::Buffer), ..WritePolicy::default() };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..500 {
                    let add = [cairn_engine::Operation::Add("n".into(), Value::Int(1))];
                    let done = reactor::block_on(namespace.operate(&key(1), &add, &policy));
                    assert!(matches!(done, Ok(Outcome::Done(_))), "{done:?}");
                }
            });
        }
    });
    let record =
        reactor::block_on(namespace.get(&key(1), &ReadPolicy::default())).unwrap().unwrap();
    let (_, total) = record.bins().unwrap().next().unwrap().unwrap();
    assert_eq!(total.to_value().unwrap(), Value::Int(THREADS as i64 * 500));
}
