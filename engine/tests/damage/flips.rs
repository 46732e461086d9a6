//! Single bits that turn over: in every header, in every footer, and anywhere in the records.

use std::time::Instant;

use cairn_engine::{
    device::sim::Rng,
    format::{BLOCK_HEADER_BYTES, RECORD_HEADER_BYTES, block_header_region},
};

use crate::base::{BLOCKS, Base, SECTOR, Seen};

/// A device header has a copy that says the same, so a bit of one costs nothing: not a record, not a deletion, not the way it stopped.
#[test]
fn device_headers() {
    for clean in [false, true] {
        let base = Base::new(clean);
        let (_, len, slots) = base.header();
        for slot in slots {
            assert_eq!(base.flip_all(slot, len), Seen::default(), "slot at {slot}");
        }
    }
}

/// A block header has a copy beside it: a bit of one costs nothing. A footer can be made again from the records.
#[test]
fn block_headers_and_footers() {
    let base = Base::new(false);
    let blocks = base.blocks();
    let size = base.config.write_block_size;
    let sealed = blocks.iter().rfind(|(_, _, footer)| footer.is_some()).expect("a sealed block");
    let open =
        blocks.last().filter(|(_, _, footer)| footer.is_none()).expect("the last block is open");
    for (number, _, _) in [sealed, open] {
        for copy in [0, block_header_region(SECTOR) / 2] {
            let seen = base.flip_all(number * size + copy, BLOCK_HEADER_BYTES as u64);
            assert_eq!(seen, Seen::default(), "header of block {number}");
        }
    }
    let len = sealed.2.as_ref().unwrap().encode(SECTOR).len() as u64;
    let seen = base.flip_all((sealed.0 + 1) * size - len, len);
    assert_eq!((seen.stale, seen.refused), (0, 0), "footer of block {}", sealed.0);
}

/// A bit of a record's header, or of its key, makes the record unreadable, and a read says so. It is never taken for absent, nor does the
/// version before it come back: not even from a block that was open, where what a crash cut short is passed over.
#[test]
fn record_headers() {
    let head = RECORD_HEADER_BYTES as u64 + 1 + 5;
    for clean in [false, true] {
        let base = Base::new(clean);
        let size = base.config.write_block_size;
        let mut sum = Seen::default();
        for (number, offset) in places(&base) {
            let seen = base.flip_all(number * size + offset, head);
            assert_eq!(seen.stale, 0, "record at {offset} of block {number}, {seen:?}");
            (sum.refused, sum.damage) = (sum.refused + seen.refused, sum.damage + seen.damage);
        }
        println!("record headers, clean: {clean}: {sum:?}");
        assert!(sum.refused > 0 && (clean || sum.damage > 0));
    }
}

/// Some records: the first and the last of a sealed block, all of the open one or of the last.
fn places(base: &Base) -> Vec<(u64, u64)> {
    let blocks = base.blocks();
    let mut places = Vec::new();
    for (at, (number, header, footer)) in blocks.iter().enumerate() {
        let offsets: Vec<u64> = match footer {
            Some(footer) => footer.entries.iter().map(|entry| u64::from(entry.offset)).collect(),
            None => base.walk(*number, header.sequence),
        };
        match at + 1 == blocks.len() {
            true => places.extend(offsets.iter().map(|&offset| (*number, offset))),
            false => places
                .extend([offsets[0], *offsets.last().unwrap()].map(|offset| (*number, offset))),
        }
    }
    places
}

/// Ten thousand bits anywhere behind the device header: bodies, padding, marks, what is dead. Never a value that was not written; never
/// less than was written without a word.
#[test]
fn anywhere() {
    let started = Instant::now();
    let bases = [Base::new(false), Base::new(true)];
    let mut rng = Rng::new(7);
    let (mut sum, mut flips) = (Seen::default(), 0);
    while flips < 10_000 {
        let base = &bases[flips % 2];
        let size = base.config.write_block_size;
        let offset = size + rng.below(((BLOCKS - 1) * size) as usize) as u64;
        // Half of the device was never written.
        if base.device.read_raw(offset / 512 * 512, 512).iter().all(|&byte| byte == 0) {
            continue;
        }
        let seen = base.flip(offset, rng.below(8) as u8).unwrap_or_else(|error| panic!("{error}"));
        flips += 1;
        sum.refused += seen.refused;
        sum.stale += seen.stale;
        sum.damage += seen.damage;
        sum.torn += seen.torn;
        assert!(!seen.closed);
    }
    println!("{flips} bits anywhere: {sum:?} in {:?}", started.elapsed());
    assert_eq!(sum.stale, 0);
    assert!(sum.refused > 0);
}
