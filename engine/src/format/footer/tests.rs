//! Footers of blocks as they come and as they could come: what is told is what is read back, in as many bytes as were set aside for it, and
//! bytes that nobody wrote are survived.

use super::*;
use crate::{device::sim::Rng, model::NEVER};

const BLOCK: u64 = 1 << 20;

/// A footer of records as a block may hold them; how wild they are, the seed decides.
fn footer(rng: &mut Rng) -> Footer {
    let (sets, wild, count) = (1 + rng.below(4) * 90, rng.below(3) == 0, rng.below(400));
    let mut footer = Footer {
        device: [7; 16],
        block: 3,
        sequence: rng.next_u64(),
        data_end: 0,
        entries: vec![],
    };
    let mut version = Version { epoch: 0, sequence: rng.next_u64() >> 20 };
    let mut end = [1024, 4096][rng.below(2)];
    for _ in 0..count {
        version.sequence += 1 + rng.below(3) as u64;
        // A record that was moved keeps its old version.
        let old = match rng.below(if wild { 2 } else { 50 }) {
            0 => Version { epoch: rng.below(2) as u32 * u32::MAX, sequence: rng.next_u64() },
            _ => version,
        };
        let gap = if rng.below(8) == 0 { rng.below(4096) as u32 / 16 * 16 } else { 0 };
        let entry = FooterEntry {
            digest: Digest(u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())),
            version: old,
            void_time: match rng.below(3) {
                0 => NEVER,
                1 => VoidTime(1_800_000_000_000 + rng.below(1000) as u64),
                _ => VoidTime(rng.next_u64() >> if wild { 16 } else { 24 }),
            },
            generation: rng.next_u64() as u16,
            set_hash: (rng.below(sets) as u64).wrapping_mul(0x0123_4567_89ab_cdef),
            offset: end + gap,
            size: SizeClass(rng.below(if wild { 200 } else { 128 }) as u8),
            tombstone: rng.below(5) == 0,
        };
        if entry.end() > BLOCK - (64 << 10) {
            break;
        }
        end = entry.end() as u32;
        footer.entries.push(entry);
    }
    footer.data_end = end.next_multiple_of(512);
    footer
}

/// A start must find every record as it was written, wherever and whenever that was. And the writer must have set aside the room that the
/// footer needs: with less, it would lie over the last record.
#[test]
fn what_was_told_is_read() {
    for seed in 0..3000 {
        let mut rng = Rng::new(seed);
        let (footer, sector) = (footer(&mut rng), [512, 4096][rng.below(2)]);
        let mut size = FooterSize::new();
        for (at, entry) in footer.entries.iter().enumerate() {
            let most = size.bytes_with(1, sector);
            size.push(entry);
            let exact = Footer { entries: footer.entries[..=at].to_vec(), ..footer.clone() };
            assert!(size.bytes(sector) <= most, "seed {seed}, entry {at}");
            if at % 50 == 0 || at + 1 == footer.entries.len() {
                let length = exact.encode(sector).len() as u64;
                assert_eq!(size.bytes(sector), length, "seed {seed}, entry {at}");
            }
        }
        let bytes = footer.encode(sector);
        assert_eq!(bytes.len() as u64, size.bytes(sector), "seed {seed}");
        let measured = Footer::measure(&bytes[bytes.len() - 512..], &[7; 16], 3);
        assert_eq!(measured, Some((bytes.len(), footer.sequence)), "seed {seed}");
        assert_eq!(Footer::decode(&bytes, BLOCK), Some(footer), "seed {seed}");
    }
}

/// Ordinary records: no more than the share that accounts of space count with, and no entry above the bound.
#[test]
fn entries_are_small() {
    let entry = |at: u64, set_hash, version, void_time| FooterEntry {
        digest: Digest(u128::MAX / (u128::from(at) + 1)),
        version,
        void_time: VoidTime(void_time),
        generation: at as u16,
        set_hash,
        offset: 4096 + at as u32 * 1136,
        size: SizeClass(70),
        tombstone: false,
    };
    let total = |entries: &mut dyn Iterator<Item = FooterEntry>| {
        let mut size = FooterSize::new();
        entries.for_each(|entry| size.push(&entry));
        size.bytes
    };
    let version = |at| Version { epoch: 1, sequence: 1 << 33 | at };
    let plain = total(&mut (0..900).map(|at| entry(at, 7, version(at), 0)));
    let expiring =
        total(&mut (0..900).map(|at| entry(at, 7, version(at), 1_800_000_000_000 + at / 2)));
    assert!(
        plain <= 900 * 21 + 40 && expiring <= 900 * FOOTER_SHARE as usize,
        "{plain} {expiring}"
    );

    let mut worst = FooterSize::new();
    worst.encoder.sets = (0..1 << 14).map(|hash| (hash, hash)).collect();
    let mut far = entry(0, u64::MAX, Version { epoch: 9, sequence: 1 << 63 }, VoidTime::MAX_MS);
    far.offset = 0xffff_fff0;
    worst.push(&far);
    assert!((50..=ENTRY_MAX).contains(&worst.bytes), "{}", worst.bytes);
}

/// Makes the checksum fit again, so that what was spoilt reaches the decoder.
fn resign(bytes: &mut [u8]) {
    let sum = Footer::sum(bytes);
    put_uint::<8>(bytes, bytes.len() - TRAILER_BYTES, sum);
}

/// Bytes that nobody wrote, though their checksum fits: no panic, no room made for what is not there, and no record that overlaps another or
/// lies outside the block's records. A record out there would be looked for in another block.
#[test]
fn garbage_is_survived() {
    let mut read = 0;
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let mut footer = footer(&mut rng);
        footer.entries.truncate(20);
        let mut bytes = footer.encode(512);
        let entries = bytes.len() - TRAILER_BYTES;
        for _ in 0..1 + rng.below(4) {
            match rng.below(8) {
                0 => put_uint::<4>(&mut bytes, entries + 36, rng.next_u64() >> 32),
                1 => {
                    put_uint::<4>(&mut bytes, entries + 48, rng.next_u64() >> (32 + rng.below(32)))
                }
                2 => put_uint::<4>(&mut bytes, entries + 52, rng.next_u64() >> 32),
                3 => bytes[rng.below(entries)] = 0xff,
                _ => bytes[rng.below(entries)] ^= rng.next_u64() as u8,
            }
        }
        if rng.below(10) == 0 {
            (0..entries).for_each(|at| bytes[at] = rng.next_u64() as u8);
        }
        resign(&mut bytes);
        let _ = Footer::measure(&bytes, &[7; 16], 3);
        let Some(footer) = Footer::decode(&bytes, BLOCK) else { continue };
        read += 1;
        let mut end = 1024;
        for entry in &footer.entries {
            assert!(u64::from(entry.offset) >= end, "seed {seed}");
            end = entry.end();
        }
        assert!(end <= u64::from(footer.data_end).max(1024), "seed {seed}");
        assert!(u64::from(footer.data_end) + bytes.len() as u64 <= BLOCK, "seed {seed}");
        // Whatever was read can be told again.
        assert_eq!(Footer::decode(&footer.encode(512), BLOCK), Some(footer), "seed {seed}");
    }
    assert!((1000..19_000).contains(&read), "the garbage is of one kind only: {read}");
}

/// Records that overlap, or lie behind the end of the records, are no footer, though someone wrote it.
#[test]
fn impossible_places_are_refused() {
    let mut rng = Rng::new(1);
    let mut good = footer(&mut rng);
    while good.entries.len() < 3 {
        good = footer(&mut rng);
    }
    let refused = |spoil: &dyn Fn(&mut Footer)| {
        let mut bad = good.clone();
        spoil(&mut bad);
        Footer::decode(&bad.encode(512), BLOCK).is_none()
    };
    assert!(!refused(&|_| {}));
    assert!(refused(&|bad| bad.entries[1].offset = bad.entries[0].offset));
    assert!(refused(&|bad| bad.entries[0].offset = 512));
    assert!(refused(&|bad| bad.data_end = bad.entries.last().unwrap().offset));
    assert!(refused(&|bad| bad.data_end = BLOCK as u32));
    assert!(refused(&|bad| bad.entries.swap(0, 2)));
}
