//! The index against a plain map, its invariants after each step, and its bytes per record.
//!
//! Random tests print their seed when they fail; `CAIRN_SEED=<number>` runs them with that seed alone.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::Ordering;

use super::*;
use crate::model::{Location, SizeClass};

/// A small generator (splitmix64), so that a seed means the same run for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Runs `test` with a few seeds, and says which one failed.
fn with_seeds(count: u64, test: impl Fn(Random)) {
    let given =
        std::env::var("CAIRN_SEED").ok().map(|text| text.parse().expect("CAIRN_SEED is a number"));
    for seed in given.map_or(1..=count, |seed| seed..=seed) {
        eprintln!("seed {seed} (CAIRN_SEED={seed} replays it)");
        test(Random(seed));
    }
}

fn digest(partition: u16, tag: u64) -> Digest {
    Digest(u128::from(partition) << 116 | u128::from(tag) << 52)
}

fn entry(number: u64) -> Entry {
    Entry {
        location: Location::from_units(number % ((1 << 40) - 1) + 1),
        size: SizeClass(number as u8),
        generation: number as u16,
        expiry: CoarseExpiry::NEVER,
        tombstone: number & 1 == 1,
        older: number & 2 == 2,
    }
}

fn put(index: &Index, at: Digest, value: Entry) -> Option<Entry> {
    index.with_slot(at, |slot| {
        let before = slot.get();
        slot.set(value);
        before
    })
}

fn take(index: &Index, at: Digest) -> Option<Entry> {
    index.with_slot(at, |slot| {
        let before = slot.get();
        slot.remove();
        before
    })
}

fn check(index: &Index, partition: u16) {
    index.partitions[usize::from(partition)].lock(&index.shared).check();
}

fn whole(index: &Index, partition: u16) -> Vec<(u64, Entry)> {
    let mut out = Vec::new();
    assert!(index.page(partition, None, usize::MAX / 2, &mut out));
    out
}

/// The index and a map that must agree with it, over two partitions.
struct Model {
    index: Index,
    map: BTreeMap<(u16, u64), Entry>,
    random: Random,
    /// Draws a tag.
    tags: fn(&mut Random) -> u64,
}

impl Model {
    fn new(random: Random, tags: fn(&mut Random) -> u64) -> Self {
        Self { index: Index::new(), map: BTreeMap::new(), random, tags }
    }

    fn step(&mut self, growing: bool) {
        let partition = if self.random.below(8) == 0 { 4095 } else { 17 };
        let tag = (self.tags)(&mut self.random);
        let at = digest(partition, tag);
        let value = entry(self.random.next());
        let known = self.map.get(&(partition, tag)).copied();
        match self.random.below(100) {
            0..60 if growing => {
                assert_eq!(put(&self.index, at, value), known);
                self.map.insert((partition, tag), value);
            }
            0..50 => self.remove_some(partition, tag),
            50..75 => assert_eq!(self.index.get(at), known),
            75..90 => {
                assert_eq!(put(&self.index, at, value), known);
                self.map.insert((partition, tag), value);
            }
            90..98 => self.compare_page(partition, tag),
            98 => self.index.with_slot(at, |slot| assert_eq!(slot.get(), known)),
            _ => self.index.prefetch(at),
        }
        assert_eq!(self.index.len(), self.map.len() as u64);
    }

    /// Removes the tag itself, or the nearest one above that is there (so that removals find something).
    fn remove_some(&mut self, partition: u16, tag: u64) {
        let there =
            self.map.range((partition, tag)..=(partition, u64::MAX)).next().map(|(&key, _)| key.1);
        let tag = there.unwrap_or(tag);
        assert_eq!(take(&self.index, digest(partition, tag)), self.map.remove(&(partition, tag)));
    }

    fn compare_page(&mut self, partition: u16, after: u64) {
        let limit = self.random.below(2000) as usize;
        let mut out = Vec::new();
        let ended = self.index.page(partition, Some(after), limit, &mut out);
        let range = (Bound::Excluded((partition, after)), Bound::Included((partition, u64::MAX)));
        let expected: Vec<_> =
            self.map.range(range).take(limit).map(|(key, &value)| (key.1, value)).collect();
        assert_eq!(out, expected);
        let rest = self.map.range(range).count();
        assert!(if ended { rest <= limit } else { rest >= limit });
    }

    fn sweep(&mut self, partition: u16, remove_of_eight: u64) {
        let mut seen = Vec::new();
        let (map, random) = (&mut self.map, &mut self.random);
        self.index.sweep(partition, |tag, found| {
            seen.push(tag);
            assert_eq!(map.get(&(partition, tag)), Some(&found));
            match random.below(8) {
                roll if roll < remove_of_eight => {
                    map.remove(&(partition, tag));
                    Verdict::Remove
                }
                7 => {
                    let value = entry(random.next());
                    map.insert((partition, tag), value);
                    Verdict::Set(value)
                }
                _ => Verdict::Keep,
            }
        });
        assert!(
            seen.is_sorted_by(|left, right| left < right),
            "a sweep goes by tag and sees nothing twice"
        );
    }

    fn check(&self) {
        for partition in [17, 4095] {
            check(&self.index, partition);
            let expected: Vec<_> = self
                .map
                .range((partition, 0)..=(partition, u64::MAX))
                .map(|(key, &value)| (key.1, value))
                .collect();
            assert!(
                whole(&self.index, partition) == expected,
                "partition {partition} differs from the map"
            );
        }
    }

    fn run(mut self, steps: usize) {
        for round in 0..4 {
            for step in 0..steps {
                self.step(round % 2 == 0);
                if step % 64 == 0 {
                    check(&self.index, 17);
                }
            }
            self.check();
            self.sweep(17, 2);
            self.sweep(4095, 8);
            self.check();
        }
        self.sweep(17, 8);
        self.sweep(17, 8);
        self.check();
    }
}

/// Whatever is done in whatever order, the index holds what a plain map holds, in the same order, and keeps its
/// invariants. Tags evenly spread, as real ones are.
#[test]
fn agrees_with_a_map_on_even_tags() {
    with_seeds(4, |random| Model::new(random, Random::next).run(6000));
}

/// The same with few distinct tags, so that updates and removals of the same entry are many, tag 0 and the largest included.
#[test]
fn agrees_with_a_map_on_few_tags() {
    fn tags(random: &mut Random) -> u64 {
        match random.below(40) {
            0 => 0,
            1 => u64::MAX,
            2 => 1,
            _ => random.below(60) << 58,
        }
    }
    with_seeds(8, |random| Model::new(random, tags).run(2000));
}

/// The same with tags that share their top bits, down to all but ten: splitting cannot part them, and they must be found
/// all the same, with a bounded directory.
#[test]
fn agrees_with_a_map_on_tags_with_equal_prefixes() {
    fn tags(random: &mut Random) -> u64 {
        let shared = [0x0123_4567_89ab_cdef, u64::MAX, 0, 1 << 63][random.below(4) as usize];
        let own_bits = [10, 11, 24, 54][random.below(4) as usize];
        shared ^ random.next() & ((1 << own_bits) - 1)
    }
    with_seeds(4, |random| Model::new(random, tags).run(6000));
}

/// A great many tags with one prefix of 40 bits: more than one segment can hold at any depth.
#[test]
fn holds_any_number_of_tags_with_one_prefix() {
    let (index, mut random) = (Index::new(), Random(5));
    for prefix in [0u64, 0xab_cdef_1234, (1 << 40) - 1] {
        let tags: Vec<u64> = (0..3000).map(|_| prefix << 24 | random.below(1 << 24)).collect();
        tags.iter().for_each(|&tag| _ = put(&index, digest(9, tag), entry(tag)));
        check(&index, 9);
        assert!(tags.iter().all(|&tag| index.get(digest(9, tag)) == Some(entry(tag))));
    }
    assert!(index.memory_bytes() < 4 << 20, "{} bytes for 9000 entries", index.memory_bytes());
    index.sweep(9, |_, _| Verdict::Remove);
    check(&index, 9);
    assert_eq!((index.len(), index.shared.pool.pages_in_use()), (0, 0));
}

/// An index that is told to expect many records takes its memory in huge pieces from the first record on, and finds everything all the same; one
/// that is told of few does not: a namespace of a thousand records would take megabytes.
#[test]
fn an_expected_size_chooses_the_pieces_of_memory() {
    for (expected, least) in [(100, 0), (100_000_000, 2 << 20)] {
        let (index, mut random) = (Index::expecting(expected), Random(8));
        let empty = index.memory_bytes();
        let tags: Vec<u64> = (0..1000).map(|_| random.next()).collect();
        tags.iter().for_each(|&tag| _ = put(&index, digest(5, tag), entry(tag)));
        check(&index, 5);
        assert!(tags.iter().all(|&tag| index.get(digest(5, tag)) == Some(entry(tag))));
        let grown = index.memory_bytes() - empty;
        assert!((least..least + (1 << 20)).contains(&grown), "{grown} bytes, {expected} expected");
    }
}

/// Every entry of one overfull partition is found while its segments split, and all memory for entries comes back when
/// they go: by single removals here, in an order that has nothing to do with their tags.
#[test]
fn one_partition_takes_all_and_gives_all_back() {
    let (index, mut random) = (Index::new(), Random(3));
    let tags: Vec<u64> = (0..150_000).map(|_| random.next()).collect();
    for (count, &tag) in tags.iter().enumerate() {
        put(&index, digest(0, tag), entry(tag));
        if count % 10_000 == 0 {
            check(&index, 0);
        }
    }
    check(&index, 0);
    let full = index.memory_bytes();
    assert!(tags.iter().all(|&tag| index.get(digest(0, tag)) == Some(entry(tag))));
    for (count, &tag) in tags.iter().enumerate() {
        assert_eq!(take(&index, digest(0, tag)), Some(entry(tag)));
        assert_eq!(index.get(digest(0, tag)), None);
        if count % 10_000 == 0 {
            check(&index, 0);
        }
    }
    check(&index, 0);
    assert_eq!((index.len(), index.shared.pool.pages_in_use()), (0, 0));
    assert!(
        index.memory_bytes() * 4 < full + (16 << 20),
        "{} of {full} bytes are still held",
        index.memory_bytes()
    );
}

/// A scan that goes on from its last tag while others insert and remove sees each entry that was there all the time
/// exactly once.
#[test]
fn a_cursor_survives_growth_and_shrinking() {
    with_seeds(3, |mut random| {
        let index = Index::new();
        let stay: Vec<u64> = (0..4000).map(|_| random.next() | 1).collect();
        stay.iter().for_each(|&tag| _ = put(&index, digest(5, tag), entry(tag)));
        let (mut seen, mut after, mut others) = (Vec::new(), None, Vec::new());
        while !index.page(5, after, 100, &mut seen) {
            after = seen.last().map(|&(tag, _)| tag);
            for _ in 0..1000 {
                let tag = random.next() & !1;
                put(&index, digest(5, tag), entry(tag));
                others.push(tag);
            }
            if random.below(3) == 0 {
                others.drain(..).for_each(|tag| _ = take(&index, digest(5, tag)));
            }
        }
        check(&index, 5);
        assert!(
            seen.is_sorted_by(|left, right| left.0 < right.0),
            "the order of a scan is that of the tags"
        );
        let mut expected = stay.clone();
        expected.sort_unstable();
        let kept: Vec<u64> = seen.iter().map(|&(tag, _)| tag).filter(|tag| tag & 1 == 1).collect();
        assert_eq!(kept, expected);
    });
}

/// Threads that count up the same entries under `with_slot` lose no step, while readers see only whole entries and
/// other threads make the segments grow and shrink under them.
#[test]
fn threads_on_the_same_entries_lose_nothing() {
    const THREADS: u64 = 4;
    const STEPS: u64 = 30_000;
    let index = Index::new();
    let whole_entry = |count: u16| Entry {
        location: Location::from_units(u64::from(count) + 1),
        size: SizeClass(count as u8),
        generation: count,
        expiry: CoarseExpiry::NEVER,
        tombstone: false,
        older: false,
    };
    let shared_tag = |number: u64| Random(number % 64).next() | 1;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let index = &index;
            scope.spawn(move || {
                let mut random = Random(thread);
                for step in 0..STEPS {
                    let at = digest(7, shared_tag(random.next()));
                    index.with_slot(at, |slot| {
                        slot.set(whole_entry(slot.get().map_or(0, |old| old.generation) + 1))
                    });
                    if let Some(seen) = index.get(digest(7, shared_tag(random.next()))) {
                        assert_eq!(seen, whole_entry(seen.generation));
                    }
                    let own = digest(7, Random((thread << 32) | (step / 2 % 2000)).next() & !1);
                    if step / 4000 % 2 == 0 {
                        put(index, own, entry(step));
                        assert_eq!(index.get(own), Some(entry(step)));
                    } else {
                        take(index, own);
                        assert_eq!(index.get(own), None);
                    }
                }
            });
        }
    });
    check(&index, 7);
    let sum: u64 = (0..64)
        .map(|number| u64::from(index.get(digest(7, shared_tag(number))).unwrap().generation))
        .sum();
    assert_eq!(sum, THREADS * STEPS);
}

/// A reader finds an entry that is always there, whatever splits and merges around it.
#[test]
fn readers_never_miss_a_present_entry() {
    let index = Index::new();
    let fixed: Vec<u64> = (0..200).map(|number| Random(number).next() | 1).collect();
    fixed.iter().for_each(|&tag| _ = put(&index, digest(1, tag), entry(tag)));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    fixed
                        .iter()
                        .for_each(|&tag| assert_eq!(index.get(digest(1, tag)), Some(entry(tag))));
                }
            });
        }
        for round in 0..6 {
            let tags: Vec<u64> =
                (0..8000).map(|number| Random(round << 32 | number).next() & !1).collect();
            tags.iter().for_each(|&tag| _ = put(&index, digest(1, tag), entry(tag)));
            index.sweep(1, |tag, _| if tag & 1 == 0 { Verdict::Remove } else { Verdict::Keep });
        }
        done.store(true, Ordering::Relaxed);
    });
    check(&index, 1);
    assert_eq!(index.len(), 200);
}

/// A warm restart puts back what was written, also into reserved room; what was not written so, it does not take.
#[test]
fn a_loaded_partition_equals_an_inserted_one() {
    with_seeds(3, |mut random| {
        for count in [0, 1, 31, 700, 701, 20_000] {
            let map: BTreeMap<u64, Entry> =
                (0..count).map(|_| (random.next(), entry(random.next()))).collect();
            let mut packed: Vec<_> = map.iter().map(|(&tag, entry)| entry.pack(tag)).collect();
            let tombstones = map.values().filter(|entry| entry.tombstone).count() as u64;
            let (plain, reserved, wrong) = (Index::new(), Index::new(), Index::new());
            reserved.reserve(4096 * count, 3);
            for index in [&plain, &reserved] {
                assert_eq!(index.load_partition(3, &packed), Some(tombstones));
                check(index, 3);
                assert!(
                    whole(index, 3).into_iter().eq(map.iter().map(|(&tag, &value)| (tag, value)))
                );
                assert_eq!(index.len(), map.len() as u64);
            }
            if count > 1 {
                packed.swap(0, 1);
                assert_eq!(wrong.load_partition(3, &packed), None);
                packed.swap(0, 1);
                packed[1][8..13].fill(0);
                assert_eq!(wrong.load_partition(3, &packed), None);
                assert!(wrong.is_empty());
            }
        }
    });
}

/// A set and a removal through one slot: the last one counts, and the slot shows it at once.
#[test]
fn a_slot_shows_its_own_changes() {
    let index = Index::new();
    let at = digest(2, 77);
    index.with_slot(at, |slot| {
        slot.set(entry(1));
        assert_eq!(slot.get(), Some(entry(1)));
        slot.remove();
        assert_eq!(slot.get(), None);
    });
    assert!(index.is_empty());
    index.with_slot(at, |slot| slot.set(entry(2)));
    assert_eq!((index.get(at), index.partition_len(2)), (Some(entry(2)), 1));
}

/// The promise to users: at most 24 bytes of memory for a record, everything included, wherever between two growth steps
/// an index of a million records or more happens to be; with and without room made beforehand.
#[test]
fn no_more_than_24_bytes_per_record() {
    let (index, mut random) = (Index::new(), Random(11));
    for count in 1..=2_200_000u64 {
        put(
            &index,
            Digest(u128::from(random.next()) << 64 | u128::from(random.next())),
            entry(count),
        );
        if count >= 1_000_000 && count % 10_000 == 0 {
            let bytes = index.memory_bytes() as f64 / count as f64;
            assert!(bytes <= 24.0, "{bytes:.2} bytes per record at {count} records");
        }
    }
    (0..4096).for_each(|partition| check(&index, partition));
    drop(index);
    for records in [1_000_000, 1_700_000] {
        let (index, mut random) = (Index::new(), Random(12));
        index.reserve(records, 1);
        for count in 1..=records {
            put(
                &index,
                Digest(u128::from(random.next()) << 64 | u128::from(random.next())),
                entry(count),
            );
        }
        let bytes = index.memory_bytes() as f64 / records as f64;
        assert!(bytes <= 24.0, "{bytes:.2} bytes per record, {records} reserved");
    }
}

/// Pages do not stay behind when most records are deleted: segments shrink and merge, so that the rest takes little more
/// than it would have taken by itself.
#[test]
fn deleting_most_records_gives_most_pages_back() {
    let (index, mut random) = (Index::new(), Random(21));
    let digests: Vec<Digest> =
        (0..60_000u64).map(|_| digest(random.below(4) as u16, random.next())).collect();
    digests.iter().for_each(|&at| _ = put(&index, at, entry(1)));
    for (gone, &at) in digests.iter().enumerate().take(58_000) {
        take(&index, at);
        if gone % 2000 == 0 {
            let bytes = index.shared.pool.pages_in_use() as f64 * 640.0 / index.len() as f64;
            assert!(bytes < 27.0, "{bytes:.1} bytes of pages per record, {} left", index.len());
        }
    }
    (0..4).for_each(|partition| check(&index, partition));
}
