//! What the index costs: bytes per record while it grows, and nanoseconds per operation when it is full.
//!
//! `index [records in millions] [threads]`; 20 and 2 when not given. Prints a table to standard output.

use std::hint::black_box;
use std::time::Instant;

use cairn_engine::index::{CoarseExpiry, Entry, Index};
use cairn_engine::model::{Digest, Location, SizeClass};

/// Operations of each timed round.
const ROUND: u64 = 4_000_000;
/// Lookups prefetched together.
const BATCH: u64 = 16;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let records = arguments.next().unwrap_or(20) * 1_000_000;
    let threads = arguments.next().unwrap_or(2);
    println!("{records} records of {} bytes packed", cairn_engine::index::ENTRY_BYTES);
    let grown = grow(records);
    operations(&grown, records, threads);
    drop(grown);
    let index = Index::new();
    let start = Instant::now();
    index.reserve(records, 1);
    println!("reserve: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let inserted = timed(1, |_| insert(&index, 0..records));
    println!("insert with reserve: {:.0} ns", inserted / records as f64);
    println!("bytes per record with reserve: {:.2}", index.memory_bytes() as f64 / records as f64);
    drop(index);
    let index = Index::new();
    let inserted = timed(threads, |thread| insert(&index, share(records, thread, threads)));
    println!("insert, {threads} threads: {:.0} ns each", inserted / (records / threads) as f64);
    reload(&index);
}

/// Fills an index and prints bytes per record and nanoseconds per insert by the way.
fn grow(records: u64) -> Index {
    let index = Index::new();
    let before = resident_bytes();
    let (mut worst, mut sum, mut points) = (0f64, 0f64, 0u32);
    println!(
        "{:>12} {:>8} {:>8} {:>8} {:>10}",
        "records", "mean", "worst", "resident", "insert ns"
    );
    let mut next_line = 1_000_000;
    let (mut filled, mut spent) = (0, 0f64);
    while filled < records {
        let step = (filled / 100).clamp(10_000, 100_000).min(records - filled);
        spent += timed(1, |_| insert(&index, filled..filled + step));
        filled += step;
        if filled >= 1_000_000 {
            let bytes = index.memory_bytes() as f64 / filled as f64;
            (worst, sum, points) = (worst.max(bytes), sum + bytes, points + 1);
        }
        if filled >= next_line {
            let resident = (resident_bytes() - before) as f64 / filled as f64;
            let mean = sum / f64::from(points);
            println!(
                "{filled:>12} {mean:>8.2} {worst:>8.2} {resident:>8.2} {:>10.0}",
                spent / filled as f64
            );
            next_line = (next_line * 5 / 4).max(next_line + 1_000_000).min(records);
            (worst, sum, points) = (0.0, 0.0, 0);
        }
        if next_line == records && filled == records {
            break;
        }
    }
    index
}

fn operations(index: &Index, records: u64, threads: u64) {
    for threads in [1, threads] {
        let each = |run: &(dyn Fn(u64) + Sync)| timed(threads, run) / ROUND as f64;
        let hit = each(&|thread| lookups(index, records, thread, 0));
        let miss = each(&|thread| lookups(index, records, thread, records));
        let batch = each(&|thread| batched_lookups(index, records, thread));
        let update = each(&|thread| updates(index, records, thread));
        println!(
            "{threads} thread(s), ns each: hit {hit:.0}, miss {miss:.0}, hit in batches of {BATCH} {batch:.0}, update {update:.0}"
        );
    }
}

fn reload(index: &Index) {
    let (copy, mut out) = (Index::new(), Vec::new());
    let (mut paged, mut loaded) = (0f64, 0f64);
    for partition in 0..4096 {
        out.clear();
        let start = Instant::now();
        assert!(index.page(partition, None, 1 << 30, &mut out));
        paged += start.elapsed().as_secs_f64() * 1e9;
        let packed: Vec<_> = out.iter().map(|(tag, entry)| entry.pack(*tag)).collect();
        loaded += timed(1, |_| assert!(copy.load_partition(partition, &packed).is_some()));
    }
    assert_eq!(copy.len(), index.len());
    let each = copy.len() as f64;
    println!(
        "page {:.1} ns an entry, load {:.1} ns an entry, {:.2} bytes per record",
        paged / each,
        loaded / each,
        copy.memory_bytes() as f64 / each
    );
}

fn lookups(index: &Index, records: u64, thread: u64, offset: u64) {
    let mut found = 0u64;
    for round in 0..ROUND {
        found += u64::from(index.get(digest(pick(thread, round) % records + offset)).is_some());
    }
    assert_eq!(found, if offset == 0 { ROUND } else { 0 });
}

fn batched_lookups(index: &Index, records: u64, thread: u64) {
    for batch in 0..ROUND / BATCH {
        let digests: [Digest; BATCH as usize] =
            std::array::from_fn(|at| digest(pick(thread, batch * BATCH + at as u64) % records));
        digests.iter().for_each(|&digest| index.prefetch(digest));
        digests.iter().for_each(|&digest| _ = black_box(index.get(digest)));
    }
}

fn updates(index: &Index, records: u64, thread: u64) {
    for round in 0..ROUND {
        index.with_slot(digest(pick(thread, round) % records), |slot| {
            let mut entry = slot.get().expect("every record is there");
            entry.generation = entry.generation.wrapping_add(1);
            slot.set(entry);
        });
    }
}

fn insert(index: &Index, numbers: std::ops::Range<u64>) {
    for number in numbers {
        index.with_slot(digest(number), |slot| slot.set(entry(number)));
    }
}

/// Runs `f` on each of `threads` threads; the nanoseconds until the last is done.
fn timed(threads: u64, f: impl Fn(u64) + Sync) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let f = &f;
        (1..threads).for_each(|thread| _ = scope.spawn(move || f(thread)));
        f(0);
    });
    start.elapsed().as_secs_f64() * 1e9
}

fn share(records: u64, thread: u64, threads: u64) -> std::ops::Range<u64> {
    thread * (records / threads)..(thread + 1) * (records / threads)
}

fn pick(thread: u64, round: u64) -> u64 {
    mix((thread + 1) << 40 | round) >> 8
}

/// An even spread of digests, without the cost of hashing keys.
fn digest(number: u64) -> Digest {
    Digest(u128::from(mix(number)) << 64 | u128::from(mix(number ^ 1 << 63)))
}

fn mix(number: u64) -> u64 {
    let mut word = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

fn entry(number: u64) -> Entry {
    Entry {
        location: Location::from_units(number + 1),
        size: SizeClass(63),
        generation: 1,
        expiry: CoarseExpiry::NEVER,
        tombstone: false,
        older: false,
    }
}

/// Memory of the process, as the kernel counts it.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number of pages")
        * 4096
}
