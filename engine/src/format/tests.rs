//! The format does not change by accident: a fixed example of every structure encodes to exactly these bytes. And whatever a device gives back,
//! cut short or with a bit wrong, is survived, and never passes for what was written.

use std::fmt::Write;

use super::{
    checkpoint::{BlockStateImage, ItemKind, PayloadWriter, decode_payload},
    *,
};
use crate::model::{
    Digest, HashSecret, Key, NEVER, PartitionKind, SizeClass, UserKey, Value, Version, VoidTime,
};

const DEVICE: [u8; 16] = [0xd1; 16];

/// The rows of 16 bytes that are not all zeros.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (at, row) in bytes.chunks(16).enumerate().filter(|(_, row)| row.iter().any(|&b| b != 0)) {
        let hex: Vec<String> =
            row.chunks(8).map(|half| half.iter().map(|b| format!("{b:02x}")).collect()).collect();
        writeln!(text, "{:4} {}", at * 16, hex.join(" ")).unwrap();
    }
    text
}

fn check(bytes: &[u8], len: usize, golden: &str) {
    let lines = |text: &str| {
        text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(bytes.len(), len);
    assert_eq!(lines(&dump(bytes)), lines(golden), "\n{}", dump(bytes));
}

/// Calls `survives` with every front part of `bytes` and with every bit of them flipped.
fn spoil(bytes: &[u8], mut survives: impl FnMut(&[u8], &str)) {
    for len in 0..bytes.len() {
        survives(&bytes[..len], &format!("cut at {len}"));
    }
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        survives(&bad, &format!("bit {bit}"));
    }
}

fn version(sequence: u64) -> Version {
    Version { epoch: 3, sequence }
}

fn header() -> DeviceHeader {
    DeviceHeader {
        device: DEVICE,
        device_set: [0x5e; 16],
        index: 1,
        members: vec![[0xd0; 16], DEVICE],
        partition_kind: PartitionKind::Xxh3,
        clean: true,
        size: 1 << 30,
        write_block: 1 << 20,
        sector: 4096,
        blocks: 1024,
        incarnation: 9,
        checkpoint: Some(CheckpointRef { id: 0x1122_3344_5566_7788, first: 17, blocks: 4 }),
        version: version(0x0a0b_0c0d),
        cluster: "cairn".into(),
        namespace: "test".into(),
        secret: HashSecret(std::array::from_fn(|at| at as u8)),
        truncations: vec![Truncation { set_hash: 0xabcd, cut: version(77), until: 0x0102_0304 }],
    }
}

/// A device written by another version of this code would be refused, or worse, read wrongly.
#[test]
fn device_header() {
    let bytes = header().encode(6);
    check(&bytes, 512 + 2 * 16 + 24, GOLDEN_DEVICE_HEADER);
    let decode = |bytes: &[u8]| match DeviceHeader::decode(bytes) {
        HeaderSlot::Sound(counter, header) => Some((counter, *header)),
        _ => None,
    };
    assert_eq!(decode(&bytes), Some((6, header())));
    spoil(&bytes, |bad, what| assert_eq!(decode(bad), None, "{what}"));
}

fn block_header() -> BlockHeader {
    let link = |block, sequence, state| Link { block, sequence, state };
    BlockHeader {
        device: DEVICE,
        block: 12,
        kind: BlockKind::Data,
        stream: 5,
        sequence: 9 << 40 | 5,
        birth: version(1000),
        links: vec![
            link(11, 9 << 40 | 4, LinkState::Partly),
            link(7, 8 << 40 | 3, LinkState::Sealed),
        ],
        records_hint: 4711,
    }
}

/// As above, for the header of a block. One sound copy of two is enough, whatever became of the other.
#[test]
fn block_headers() {
    let mut region = vec![0xff; 1024];
    block_header().encode(&mut region);
    check(&region, 1024, GOLDEN_BLOCK_HEADER);
    assert_eq!(BlockHeader::decode(&region, &DEVICE, 12), Some(block_header()));
    assert_eq!(BlockHeader::decode(&region, &DEVICE, 13), None);
    assert_eq!(BlockHeader::decode(&region, &[0; 16], 12), None);
    spoil(&region[..512], |bad, what| {
        let mut both = vec![0xff; 1024];
        both[..bad.len()].copy_from_slice(bad);
        assert_eq!(BlockHeader::decode(&both, &DEVICE, 12), None, "{what}");
        both[512..].copy_from_slice(&region[512..]);
        assert_eq!(BlockHeader::decode(&both, &DEVICE, 12), Some(block_header()), "{what}");
        let _ = BlockHeader::decode(bad, &DEVICE, 12);
    });
}

fn footer() -> Footer {
    let entry = |digest, sequence, offset, tombstone| FooterEntry {
        digest: Digest(digest),
        version: version(sequence),
        void_time: VoidTime(1_800_000_000_123),
        generation: 2,
        set_hash: 0x5e7,
        offset,
        size: SizeClass(9),
        tombstone,
    };
    // An older record that was moved here, of another set and epoch, never expiring, behind a flush mark.
    let moved = FooterEntry {
        version: Version { epoch: 2, sequence: 900 },
        void_time: NEVER,
        set_hash: 0x5e8,
        ..entry(0xd16e59, 0, 1536, false)
    };
    let entries = vec![
        entry(0xd16e57, 1001, 1024, false),
        entry(0xd16e58, 1002, 1184, true),
        moved,
        entry(0xd16e5a, 1003, 1696, false),
    ];
    Footer { device: DEVICE, block: 12, sequence: 9 << 40 | 5, data_end: 2048, entries }
}

/// As above, for the footer of a block: with a wrong one, records would be missing after a crash.
#[test]
fn footers() {
    let bytes = footer().encode(512);
    check(&bytes, 512, GOLDEN_FOOTER);
    let decode = |bytes: &[u8]| {
        let (len, sequence) = Footer::measure(bytes, &DEVICE, 12)?;
        let footer = Footer::decode(bytes.get(bytes.len().checked_sub(len)?..)?, 1 << 20)?;
        assert_eq!(sequence, footer.sequence);
        Some(footer)
    };
    assert_eq!(decode(&bytes), Some(footer()));
    spoil(&bytes, |bad, what| assert_eq!(decode(bad), None, "{what}"));
}

fn record(tombstone: bool) -> Vec<u8> {
    let key = Key::new("set", UserKey::Str("key".into())).unwrap();
    let mut builder = RecordBuilder::default();
    builder.start(key.borrowed(), Digest(0xd16e57), tombstone);
    if !tombstone {
        let mut body = BodyWriter::new(builder.body());
        body.bin("b", &Value::Int(1)).unwrap();
        body.bin("text", &Value::Str("é".into())).unwrap();
        body.finish().unwrap();
    }
    builder.seal_body(VoidTime(1_800_000_000_123));
    builder.finish(version(1001), 2, seed(), 1024).to_vec()
}

fn seed() -> PlaceSeed {
    PlaceSeed::new(0x5eed, 9 << 40 | 5)
}

/// As above, for records. A record passes only where it was put, in the life of the block that it was put into.
#[test]
fn records() {
    check(&record(false), 96, GOLDEN_RECORD);
    check(&record(true), 80, GOLDEN_TOMBSTONE);
    let bytes = record(false);
    let whole = |bytes: &[u8], seed, offset| {
        RecordView::parse(bytes, seed, offset).is_ok_and(|record| record.verify_body().is_ok())
    };
    assert!(whole(&bytes, seed(), 1024));
    assert!(
        !whole(&bytes, seed(), 1040) && !whole(&bytes, PlaceSeed::new(0x5eed, 9 << 40 | 6), 1024)
    );
    let view = RecordView::parse(&bytes, seed(), 1024).unwrap();
    assert_eq!(
        (view.digest(), view.version(), view.generation()),
        (Digest(0xd16e57), version(1001), 2)
    );
    let padding = bytes.len() - 64 - 6 - view.body().len();
    spoil(&bytes, |bad, what| {
        // The padding belongs to nobody.
        let in_padding = bad.len() == bytes.len()
            && bad[..bytes.len() - padding] == bytes[..bytes.len() - padding];
        assert_eq!(whole(bad, seed(), 1024), in_padding, "{what}");
    });
}

/// A record that is moved to another block is the same one there, and what it leaves behind is none; so is the tombstone in its place. Were it
/// otherwise, moving a record would lose it, or bring back what it had replaced.
#[test]
fn records_move() {
    let mut old = record(false);
    let (padded, version, generation) = (old.len(), version(1001), 2);
    // What the padding holds does not go along.
    old[padded - 1] = 0xee;
    let view = RecordView::parse(&old, seed(), 1024).unwrap();
    let (there, mut builder) = (PlaceSeed::new(0x5eed, 9 << 40 | 6), RecordBuilder::default());

    assert_eq!(builder.restore(&view).bytes() as usize, padded);
    let moved = builder.finish(version, generation, there, 4096).to_vec();
    assert!(RecordView::parse(&moved, seed(), 1024).is_err());
    assert!(RecordView::parse(&moved, there, 4112).is_err());
    let found = RecordView::parse(&moved, there, 4096).unwrap();
    assert!(found.verify_body().is_ok() && moved[padded - 1] == 0);
    assert_eq!((found.body(), found.key()), (view.body(), view.key()));
    assert_eq!((found.void_time(), found.version()), (view.void_time(), view.version()));
    // Back to where it was, it is what it was.
    assert_eq!(builder.finish(version, generation, seed(), 1024), record(false));

    // What was tied to others of its block is alone elsewhere.
    for bits in 0..8 {
        let ties = Ties { next: bits & 1 != 0, previous: bits & 2 != 0, behind: bits & 4 != 0 };
        builder.restore(&view);
        builder.tie(ties);
        let tied = builder.finish(version, generation, seed(), 1024).to_vec();
        let kind = 1 | [0, 0x80][bits & 1] | [0, 0x40][bits >> 1 & 1] | [0, 0x20][bits >> 2];
        let tied = RecordView::parse(&tied, seed(), 1024).unwrap();
        assert_eq!((tied.ties(), tied.tombstone(), tied.body()), (ties, false, view.body()));
        assert_eq!(builder.finish(version, generation, seed(), 1024)[10], kind);
        builder.restore(&tied);
        assert_eq!(builder.finish(version, generation, seed(), 1024), record(false));
        builder.tombstone_of(&tied);
        let grave = builder.finish(version, generation, seed(), 1024).to_vec();
        let grave = RecordView::parse(&grave, seed(), 1024).unwrap();
        assert!(grave.tombstone() && grave.ties() == Ties::default());
    }

    let size = builder.tombstone_of(&view);
    let grave = builder.finish(version, generation, there, 4096).to_vec();
    assert!(size < view.size() && grave.len() as u64 == size.bytes());
    assert!(RecordView::parse(&grave, there, 4112).is_err());
    let found = RecordView::parse(&grave, there, 4096).unwrap();
    assert!(found.tombstone() && found.verify_body().is_ok() && found.size() == size);
    assert_eq!((found.body(), found.void_time()), (&[][..], NEVER));
    assert_eq!((found.key(), found.digest()), (view.key(), view.digest()));
    assert_eq!((found.version(), found.generation()), (version, generation));
}

/// As above, for the mark that ends a flush: a wrong one would lead a walk astray.
#[test]
fn marks() {
    let mark = FlushMark { durable: 4096, skip: 352 };
    let bytes = mark.encode(seed(), 1184);
    check(&bytes, 16, GOLDEN_MARK);
    let mut block = vec![0; 2048];
    block[1184..1200].copy_from_slice(&bytes);
    assert!(matches!(walk_at(&block, seed(), 1184), Walked::Mark(found) if found == mark));
    assert!(matches!(walk_at(&block, seed(), 1168), Walked::Nothing));
    spoil(&bytes, |bad, what| {
        let mut block = vec![0xff; 2048];
        block[1184..1184 + bad.len()].copy_from_slice(bad);
        assert!(matches!(walk_at(&block, seed(), 1184), Walked::Nothing), "{what}");
    });
}

/// A single wrong bit is told from bytes that were never written whole: the record is known for what it was, and for damaged.
#[test]
fn single_bits_are_told() {
    let bytes = record(false);
    let mut block = vec![0; 2048];
    let (head, body) = (64 + 6, RecordView::parse(&bytes, seed(), 1024).unwrap().body().len());
    for bit in 0..(head + body) * 8 {
        block[1024..1024 + bytes.len()].copy_from_slice(&bytes);
        block[1024 + bit / 8] ^= 1 << (bit % 8);
        let found = mended_at(
            &block,
            seed(),
            1024,
            |_| false,
            |found| match found {
                Walked::Record(record) => Some(record.version()),
                _ => None,
            },
        );
        match bit < head * 8 {
            true => assert_eq!(found, Some(Some(version(1001))), "bit {bit}"),
            false => assert!(mends_body(&block, seed(), 1024, |_| true), "bit {bit}"),
        }
        // Two wrong bits are no single one.
        block[1024 + (bit / 8 + 1) % head] ^= 0x81;
        assert!(
            bit >= head * 8 || mended_at(&block, seed(), 1024, |_| false, |_| ()).is_none(),
            "bit {bit}"
        );
    }
    assert!(
        mended_at(&block, seed(), 0, |_| true, |_| ()).is_none()
            && mended_at(&block, seed(), 4096, |_| true, |_| ()).is_none()
    );
}

/// As above, for the blocks of a checkpoint: with a wrong one the index would be wrong.
#[test]
fn checkpoints() {
    let state = BlockStateImage {
        sequence: 9 << 40 | 5,
        birth: version(1000),
        in_use: 320,
        records: 2,
        live: 1,
        floor: version(1000),
        max: version(1002),
        filled: 640,
        written: 1001,
        first_kill: 1002,
        guard: u64::MAX,
        due: 1_800_000_000_000,
        state: 3,
        stream: 5,
    };
    let mut states = Vec::new();
    state.encode(&mut states);
    assert_eq!(BlockStateImage::decode(&states[..].try_into().unwrap()), state);
    let mut writer = PayloadWriter::new(4096);
    writer.item(ItemKind::States, 12, &states);
    writer.item(ItemKind::Sets, 0, b"\x01\0\0\0\0\0\0\0\x03set");
    let bytes = writer.finish(0x1122_3344_5566_7788, 2);
    check(&bytes, 32 + 12 + 104 + 12 + 12, GOLDEN_CHECKPOINT);
    let decode = |bytes: &[u8], id, ordinal| {
        let items = decode_payload(bytes, id, ordinal)?;
        Some(
            items
                .into_iter()
                .map(|(kind, argument, bytes)| (kind, argument, bytes.to_vec()))
                .collect::<Vec<_>>(),
        )
    };
    let items = decode(&bytes, 0x1122_3344_5566_7788, 2).expect("sound");
    assert_eq!(items[0], (ItemKind::States, 12, states));
    assert_eq!(decode(&bytes, 0x1122_3344_5566_7788, 3), None);
    assert_eq!(decode(&bytes, 1, 2), None);
    spoil(&bytes, |bad, what| assert_eq!(decode(bad, 0x1122_3344_5566_7788, 2), None, "{what}"));
}

const GOLDEN_DEVICE_HEADER: &str = "
       0 45717f9361f6eddb 434149524e444556
      16 0100000038020000 0600000000000000
      32 d1d1d1d1d1d1d1d1 d1d1d1d1d1d1d1d1
      48 5e5e5e5e5e5e5e5e 5e5e5e5e5e5e5e5e
      64 0100020001010100 0000004000000000
      80 0000100000100000 0004000001000000
      96 0900000000000000 8877665544332211
     112 1100000004000000 0d0c0b0a00000000
     128 0300000000000000 0000000000000000
     144 05636169726e0000 0000000000000000
     176 0474657374000000 0000000000000000
     208 0001020304050607 08090a0b0c0d0e0f
     224 1011121314151617 18191a1b1c1d1e1f
     240 2021222324252627 28292a2b2c2d2e2f
     256 3031323334353637 38393a3b3c3d3e3f
     272 4041424344454647 48494a4b4c4d4e4f
     288 5051525354555657 58595a5b5c5d5e5f
     304 6061626364656667 68696a6b6c6d6e6f
     320 7071727374757677 78797a7b7c7d7e7f
     336 8081828384858687 88898a8b8c8d8e8f
     352 9091929394959697 98999a9b9c9d9e9f
     368 a0a1a2a3a4a5a6a7 a8a9aaabacadaeaf
     384 b0b1b2b3b4b5b6b7 b8b9babbbcbdbebf
     512 d0d0d0d0d0d0d0d0 d0d0d0d0d0d0d0d0
     528 d1d1d1d1d1d1d1d1 d1d1d1d1d1d1d1d1
     544 cdab000000000000 4d00000000000000
     560 0300000004030201
";
const GOLDEN_BLOCK_HEADER: &str = "
       0 ee3723004c383fb8 434149524e424c4b
      16 d1d1d1d1d1d1d1d1 d1d1d1d1d1d1d1d1
      32 0c00000001020500 0500000000090000
      48 e803000000000000 0300000000000000
      64 0b00000001000000 0400000000090000
      80 0700000002000000 0300000000080000
     320 6712000000000000 0000000000000000
     512 ee3723004c383fb8 434149524e424c4b
     528 d1d1d1d1d1d1d1d1 d1d1d1d1d1d1d1d1
     544 0c00000001020500 0500000000090000
     560 e803000000000000 0300000000000000
     576 0b00000001000000 0400000000090000
     592 0700000002000000 0300000000080000
     832 6712000000000000 0000000000000000
";
const GOLDEN_FOOTER: &str = "
       0 0e090200576ed100 0000000000000000
      16 00000000d20ff6c1 e285e36803000000
      32 00e7050000000000 0003090200586ed1
      48 0000000000000000 000000000002001c
      64 090200596ed10000 0000000000000000
      80 000000cb01020000 0001e80500000000
      96 00000c0e0902005a 6ed1000000000000
     112 00000000000000ce 0100030000000000
     448 776ff2198db2dd03 434149524e454e44
     464 d1d1d1d1d1d1d1d1 d1d1d1d1d1d1d1d1
     480 0c00000004000000 0500000000090000
     496 0008000000020000 0000000000000000
";
const GOLDEN_RECORD: &str = "
       0 b6f888687baa39db 7243010103050300
      16 576ed10000000000 0000000000000000
      32 e903000000000000 030000000f000000
      48 7b505c18a3010200 40c07ead9b09b51d
      64 7365746b65790200 0162030204746578
      80 740502c3a9000000 0000000000000000
";
const GOLDEN_TOMBSTONE: &str = "
       0 7c2c0033338c74cd 7243020103040300
      16 576ed10000000000 0000000000000000
      32 e903000000000000 0300000000000000
      48 7b505c18a3010200 c294d3380580062d
      64 7365746b65790000 0000000000000000
";
const GOLDEN_MARK: &str = "
       0 078e9c1af8c49786 6643000100160000
";
const GOLDEN_CHECKPOINT: &str = "
       0 4db5c3f589d58420 434149524e494458
      16 8877665544332211 020000008c000000
      32 020000000c000000 6800000005000000
      48 00090000e8030000 0000000003000000
      64 4001000002000000 01000000e8030000
      80 0000000003000000 03000000ea030000
      96 00000000e9030000 00000000ea030000
     112 00000000ffffffff ffffffff00505c18
     128 a301000080020000 0305000000000000
     144 0000000003000000 000000000c000000
     160 0100000000000000 03736574
";
