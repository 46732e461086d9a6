//! What the format costs: nanoseconds to encode and decode a record, a block header, a footer and a device header.
//!
//! `format [bytes of a value]`; 100, 1024 and 16384 when not given. One thread, caches warm; prints a table.

use std::{hint::black_box, time::Instant};

use cairn_engine::{
    format::{
        Bins, BlockHeader, BlockKind, BodyWriter, DeviceHeader, Footer, FooterEntry, PlaceSeed,
        RecordBuilder, RecordView, header_slot_bytes,
    },
    model::{Digest, HashSecret, Key, NEVER, PartitionKind, SizeClass, UserKey, Value, Version},
};

const SECTOR: u32 = 4096;
const BLOCK: u64 = 1 << 20;
const SEED: u64 = 7;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100, 1024, 16_384] } else { sizes };
    for size in sizes {
        record(size);
    }
    block_header();
    footer();
    device_header();
}

fn record(size: usize) {
    let key = Key::new("users", UserKey::Bytes(vec![1; 16])).expect("a valid key");
    let secret = HashSecret([3; HashSecret::LEN]);
    let seed = PlaceSeed::new(SEED, 1);
    let value = Value::Bytes(vec![0xa5; size]);
    let mut builder = RecordBuilder::default();
    let encode = |builder: &mut RecordBuilder| {
        let digest = secret.digest(PartitionKind::Xxh3, &key);
        builder.start(key.borrowed(), digest, false);
        let mut body = BodyWriter::new(builder.body());
        body.bin("v", &value).expect("a valid bin");
        body.finish().expect("one bin");
        builder.seal_body(NEVER);
        let version = Version { epoch: 1, sequence: 9 };
        builder.finish(version, 1, seed, 4096).len()
    };
    let name = format!("record of {size} bytes");
    timed(&name, "digest", 1_000_000, || secret.digest(PartitionKind::Xxh3, black_box(&key)));
    timed(&name, "encode", 1_000_000, || encode(&mut builder));
    encode(&mut builder);
    let bytes = builder.finish(Version { epoch: 1, sequence: 9 }, 1, seed, 4096).to_vec();
    timed(&name, "header checked", 1_000_000, || {
        RecordView::parse(black_box(&bytes), seed, 4096).expect("sound").size()
    });
    timed(&name, "decode, checked", 1_000_000, || {
        let view = RecordView::parse(black_box(&bytes), seed, 4096).expect("sound");
        view.verify_body().expect("sound");
        let mut bins = Bins::new(view.body()).expect("sound");
        black_box(bins.next());
    });
}

fn block_header() {
    let header = BlockHeader {
        device: [1; 16],
        block: 9,
        kind: BlockKind::Data,
        stream: 1,
        sequence: 77,
        birth: Version { epoch: 1, sequence: 5 },
        links: Vec::new(),
        records_hint: 1000,
    };
    let mut region = vec![0; SECTOR as usize];
    timed("block header", "encode", 1_000_000, || header.encode(black_box(&mut region)));
    header.encode(&mut region);
    timed("block header", "decode, checked", 1_000_000, || {
        BlockHeader::decode(black_box(&region), &[1; 16], 9).expect("sound").sequence
    });
}

/// The footer of a block full of records of 1 KiB.
fn footer() {
    let size = SizeClass::for_bytes(1100);
    let records = BLOCK / (size.bytes() + 24);
    let entry = |at: u64| FooterEntry {
        digest: Digest(u128::from(at) << 64 | 5),
        version: Version { epoch: 1, sequence: at },
        void_time: NEVER,
        generation: 1,
        set_hash: 3,
        offset: (u64::from(SECTOR) + at * size.bytes()) as u32,
        size,
        tombstone: false,
    };
    let entries: Vec<_> = (0..records).map(entry).collect();
    let data_end = entries.last().map_or(0, |e| e.offset + size.bytes() as u32);
    let footer = Footer { device: [1; 16], block: 9, sequence: 77, data_end, entries };
    let name = format!("footer of {records} records");
    timed(&name, "encode", 20_000, || footer.encode(black_box(SECTOR)));
    let bytes = footer.encode(SECTOR);
    timed(&name, "decode, checked", 20_000, || {
        Footer::decode(black_box(&bytes), 1 << 20).expect("sound").entries.len()
    });
}

fn device_header() {
    let header = DeviceHeader {
        device: [1; 16],
        device_set: [2; 16],
        index: 0,
        members: vec![[1; 16]],
        partition_kind: PartitionKind::Xxh3,
        clean: false,
        size: 1 << 30,
        write_block: BLOCK as u32,
        sector: SECTOR,
        blocks: 1024,
        incarnation: 3,
        checkpoint: None,
        version: Version { epoch: 1, sequence: 5 },
        cluster: "cairn".into(),
        namespace: "bench".into(),
        secret: HashSecret([3; HashSecret::LEN]),
        truncations: Vec::new(),
    };
    timed("device header", "encode", 200_000, || header.encode(2));
    let mut slot = header.encode(2);
    slot.resize(header_slot_bytes(BLOCK) as usize, 0);
    timed("device header", "decode, checked", 200_000, || DeviceHeader::decode(black_box(&slot)));
}

/// Prints the best of five rounds: what disturbs a round can only make it slower.
fn timed<R>(what: &str, step: &str, count: u32, mut work: impl FnMut() -> R) {
    let mut round = || {
        let start = Instant::now();
        (0..count).for_each(|_| _ = black_box(work()));
        start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
    };
    let best = (0..5).map(|_| round()).fold(f64::INFINITY, f64::min);
    println!("{what:<26} {step:<16} {best:>10.1} ns");
}
