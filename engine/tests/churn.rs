//! A full namespace on a real file with all its threads: writers, deletes, lifetimes and truncations side by side with the defragmenter.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use cairn_engine::{
    DeviceConfig, Error, Namespace, NamespaceConfig, OpenOptions, Outcome, StartKind,
    device::{FileDevice, IoChoice, IoEngine, IoKind, OpenMode, reactor},
    model::{Durability, ExistsPolicy, Key, ReadPolicy, Ttl, UserKey, Value, WritePolicy},
};

const WRITERS: u64 = 4;
const HOT: u64 = 40;
/// Records of each writer that are overwritten now and then.
const COLD: u64 = 460;
const LEN: usize = 5600;
const ROUNDS: u64 = 2000;
/// Keys of each of those who do not only write.
const OTHERS: u64 = 60;

fn config(path: &Path) -> NamespaceConfig {
    let file = DeviceConfig::File { path: path.join("test.dat"), size: 16 << 20 };
    let mut config = NamespaceConfig::new("test", vec![file]);
    config.write_block_size = 64 << 10;
    config.flush_size = 16 << 10;
    config.post_write_cache = 256 << 10;
    config
}

fn key(set: &str, n: u64) -> Key {
    Key::new(set, UserKey::Int(n as i64)).unwrap()
}

fn bins(n: u64, version: u64) -> Vec<(Box<str>, Value)> {
    let bytes = vec![(n ^ version) as u8; LEN + (n % 64) as usize];
    vec![("v".into(), Value::Int(version as i64)), ("b".into(), Value::Bytes(bytes))]
}

/// The version that is there; the rest of the record must fit it.
fn version_of(namespace: &Namespace, set: &str, n: u64) -> Option<u64> {
    let record = reactor::block_on(namespace.get(&key(set, n), &ReadPolicy::default()));
    let record = record.unwrap_or_else(|error| panic!("{set}/{n}: {error}"))?;
    let found: Vec<(Box<str>, Value)> = record
        .bins()
        .unwrap()
        .map(|bin| bin.unwrap())
        .map(|(name, value)| (name.into(), value.to_value().unwrap()))
        .collect();
    let Value::Int(version) = found[0].1 else { panic!("{set}/{n} has no version") };
    assert_eq!(found, bins(n, version as u64), "{set}/{n}");
    Some(version as u64)
}

fn put(namespace: &Namespace, set: &str, n: u64, version: u64, ttl: Ttl) -> bool {
    let durability =
        if version.is_multiple_of(8) { Durability::Device } else { Durability::Buffer };
    let exists = ExistsPolicy::Replace;
    let policy =
        WritePolicy { exists, ttl, durability: Some(durability), ..WritePolicy::default() };
    match reactor::block_on(namespace.put(&key(set, n), &bins(n, version), &policy)) {
        Ok(Outcome::Done(_)) => true,
        Err(Error::NoSpace { .. }) => false,
        other => panic!("{set}/{n}: {other:?}"),
    }
}

/// One writer: hot and cold keys of its own. Returns the version of each.
fn write(namespace: &Namespace, writer: u64, refused: &AtomicU64) -> Vec<u64> {
    let first = writer * (HOT + COLD);
    let mut versions = vec![0; (HOT + COLD) as usize];
    let mut random = writer + 1;
    let mut next = |below: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for round in 0..ROUNDS + HOT + COLD {
        let at = match round.checked_sub(HOT + COLD) {
            // Each once, so that the file is full.
            None => round,
            Some(_) if next(4) > 0 => next(HOT),
            Some(_) => HOT + next(COLD),
        };
        match put(namespace, "w", first + at, round + 1, Ttl::Never) {
            true => versions[at as usize] = round + 1,
            false => drop(refused.fetch_add(1, SeqCst)),
        }
        if round.is_multiple_of(5) {
            let found = version_of(namespace, "w", first + at).unwrap_or(0);
            assert_eq!(found, versions[at as usize], "w/{}", first + at);
        }
    }
    versions
}

/// Writes and truncates a set until `done`. Nothing written before a truncation is there after it.
fn truncate(namespace: &Arc<Namespace>, done: &AtomicBool) {
    let mut version = 0;
    while !done.load(SeqCst) {
        (0..OTHERS).for_each(|n| {
            version += 1;
            put(namespace, "t", n, version, Ttl::Never);
        });
        reactor::block_on(namespace.truncate(Some("t"))).unwrap();
        for n in 0..OTHERS {
            assert_eq!(version_of(namespace, "t", n), None, "t/{n} was truncated");
        }
    }
}

/// Writes and deletes until `done`; in the end all are deleted.
fn delete(namespace: &Namespace, done: &AtomicBool) {
    let mut version = 0;
    loop {
        let last = done.load(SeqCst);
        for n in 0..OTHERS {
            version += 1;
            if put(namespace, "d", n, version, Ttl::Never) {
                assert_eq!(version_of(namespace, "d", n), Some(version), "d/{n}");
            }
            let policy =
                WritePolicy { durability: Some(Durability::Buffer), ..WritePolicy::default() };
            let deleted = reactor::block_on(namespace.delete(&key("d", n), &policy));
            assert!(matches!(deleted, Ok(_) | Err(Error::NoSpace { .. })), "{deleted:?}");
            if deleted.is_ok() {
                assert_eq!(version_of(namespace, "d", n), None, "d/{n} was deleted");
            }
        }
        if last {
            return;
        }
    }
}

/// Gives records short and long lives over versions that live for ever. Returns which must be there in the end.
fn expire(namespace: &Namespace, done: &AtomicBool) -> Vec<u64> {
    let (mut version, mut stays) = (0, vec![0; OTHERS as usize]);
    while !done.load(SeqCst) {
        for n in 0..OTHERS {
            version += 1;
            let ttl = match n % 3 {
                0 => Ttl::Never,
                1 => Ttl::Millis(3_600_000),
                _ if version % 2 == 0 => Ttl::Never,
                _ => Ttl::Millis(1),
            };
            if put(namespace, "e", n, version, ttl) && n % 3 < 2 {
                stays[n as usize] = version;
            }
        }
    }
    // The last of the short lives.
    for n in (2..OTHERS).step_by(3) {
        version += 1;
        assert!(put(namespace, "e", n, version, Ttl::Millis(1)), "e/{n} finds no room");
    }
    stays
}

fn verify(namespace: &Namespace, written: &[Vec<u64>], stays: &[u64], when: &str) {
    for (n, &version) in (0..).zip(written.iter().flatten()) {
        assert_eq!(version_of(namespace, "w", n).unwrap_or(0), version, "{when}: w/{n}");
    }
    for n in 0..OTHERS {
        let stay = stays[n as usize];
        assert_eq!(version_of(namespace, "e", n).unwrap_or(0), stay, "{when}: e/{n}");
        assert_eq!(version_of(namespace, "t", n), None, "{when}: t/{n}");
        assert_eq!(version_of(namespace, "d", n), None, "{when}: d/{n}");
    }
}

/// What a user does all day on a device that is too small for it: every acknowledged write is there, now, after a clean stop, and after a
/// start that has nothing but the records.
fn full_file(choice: IoChoice) {
    let Ok(io) = IoEngine::choose(choice) else {
        eprintln!("skipped: {choice:?} cannot be used on this machine");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions::new(io.clone());
    let namespace = Namespace::open(&config(dir.path()), &options).unwrap();
    let (done, refused) = (AtomicBool::new(false), AtomicU64::new(0));
    let with_ring = |kind: IoKind| reactor::Reactor::install(kind).unwrap();
    let (written, stays) = std::thread::scope(|scope| {
        let (namespace, done, refused, kind) = (&namespace, &done, &refused, io.kind);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let _reactor = with_ring(kind);
                    write(namespace, writer, refused)
                })
            })
            .collect();
        scope.spawn(move || {
            let _reactor = with_ring(kind);
            truncate(namespace, done);
        });
        scope.spawn(move || {
            let _reactor = with_ring(kind);
            delete(namespace, done);
        });
        let expiring = scope.spawn(move || {
            let _reactor = with_ring(kind);
            expire(namespace, done)
        });
        let written: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        // Whatever became of the writers, the others come to an end.
        done.store(true, SeqCst);
        let written = written.into_iter().map(|writer| writer.unwrap()).collect::<Vec<_>>();
        (written, expiring.join().unwrap())
    });
    let stats = namespace.stats();
    println!("{choice:?}: {} refused, {stats:?}", refused.load(SeqCst));
    assert!(stats.records_moved > 0, "the defragmenter had nothing to do: {stats:?}");
    verify(&namespace, &written, &stays, "running");
    namespace.close().unwrap();
    drop(namespace);
    let namespace = Namespace::open(&config(dir.path()), &options).unwrap();
    assert_eq!(namespace.report().kind, StartKind::Warm);
    verify(&namespace, &written, &stays, "after a clean stop");
    // Dropped without a stop: the next start has the records alone.
    drop(namespace);
    let namespace = Namespace::open(&config(dir.path()), &options).unwrap();
    assert_eq!((namespace.report().kind, &namespace.report().damage), (StartKind::Cold, &vec![]));
    verify(&namespace, &written, &stays, "after a cold start");
    drop(namespace);
    // Without threads nothing changes while all is counted again.
    let path = dir.path().join("test.dat");
    let device = FileDevice::open(&path, OpenMode::ReadWrite, &io).unwrap();
    let namespace = Namespace::open_driven(&config(dir.path()), &options, vec![device]).unwrap();
    namespace.audit().unwrap_or_else(|error| panic!("{error}"));
    verify(&namespace, &written, &stays, "without threads");
}

#[test]
fn on_io_uring() {
    full_file(IoChoice::Uring);
}

#[test]
fn on_the_thread_pool() {
    full_file(IoChoice::Pool);
}
