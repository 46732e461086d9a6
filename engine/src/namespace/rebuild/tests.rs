//! Footers of blocks whose versions overlap, as a defragmenter leaves them, in any order and in batches of any size.

use std::{collections::BTreeMap, sync::Arc};

use super::Rebuild;
use crate::{
    DeviceConfig, NamespaceConfig, OpenOptions,
    device::{
        Device, IoChoice, IoEngine,
        sim::{Rng, SimDevice},
    },
    format::{Footer, FooterEntry, checkpoint::BlockStateImage},
    index::Index,
    model::{Digest, NEVER, SizeClass, Version},
    namespace::start::build_shared,
    storage::{
        Shared,
        blocks::BlockState,
        open::{Identity, open_set},
        recover::Tally,
    },
};

const BLOCK: u64 = 64 << 10;
const BLOCKS: u32 = 24;
const KEYS: u64 = 300;
/// Two sets, by the hashes of their names.
const SETS: u64 = 2;

/// A start that took an older version for the newest would bring old values and deleted records back, and one that miscounted would free
/// blocks with live records in them.
#[test]
fn the_highest_version_wins_wherever_it_lies() {
    let first = std::env::var("CAIRN_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    for seed in first..first + 12 {
        println!("again: CAIRN_SEED={seed}");
        let mut rng = Rng::new(seed);
        let shared = storage(seed);
        let mut footers: Vec<(u32, Vec<FooterEntry>)> =
            (1..BLOCKS).map(|block| (block, random_entries(&mut rng))).collect();
        for (block, entries) in &footers {
            write_footer(&shared, *block, entries);
        }
        for at in (1..footers.len()).rev() {
            footers.swap(at, rng.below(at + 1));
        }
        check(&shared, &footers, 1 + rng.below(3000));
    }
}

/// Versions of the same few records, old and new ones mixed, as if all blocks had been open at the same time; some stand in several blocks.
fn random_entries(rng: &mut Rng) -> Vec<FooterEntry> {
    let size = SizeClass::for_bytes(80);
    (0..rng.below(150))
        .map(|at| {
            let key = rng.below(KEYS as usize) as u64;
            // A version belongs to one record and says whether that is a delete.
            let sequence = 1 + key + KEYS * rng.below(40) as u64;
            FooterEntry {
                digest: Digest(
                    u128::from(key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
                ),
                version: Version { epoch: 0, sequence },
                void_time: NEVER,
                generation: 1,
                set_hash: key % SETS,
                offset: 4096 + at as u32 * size.bytes() as u32,
                size,
                tombstone: sequence.is_multiple_of(5),
            }
        })
        .collect()
}

fn storage(seed: u64) -> Shared {
    let mut config = NamespaceConfig::new("test", vec![DeviceConfig::Raw("sim0".into())]);
    config.write_block_size = BLOCK;
    let device = SimDevice::new("sim0", BLOCK * u64::from(BLOCKS), 512, seed);
    let identity = Identity {
        cluster: config.cluster.clone(),
        namespace: config.name.clone(),
        write_block: BLOCK,
    };
    let set = open_set(vec![("sim0".into(), Arc::new(device) as Arc<dyn Device>)], &identity);
    let options = OpenOptions::new(IoEngine::choose(IoChoice::Pool).expect("a pool"));
    build_shared(&config, &options, &set.expect("a blank device"))
}

/// Puts the block's footer on its device and its state into the table, as a recovery does.
fn write_footer(shared: &Shared, block: u32, entries: &[FooterEntry]) {
    use crate::device::{Region, reactor::block_on};
    let (store, sequence) = (shared.store_of(block), u64::from(block) + 7);
    let footer = Footer {
        device: store.superblock.device(),
        block,
        sequence,
        data_end: BLOCK as u32 / 2,
        entries: entries.to_vec(),
    };
    let bytes = footer.encode(store.sector);
    let length = bytes.len();
    let end = BLOCK * u64::from(block + 1);
    let region = Region::from_bytes(&bytes);
    block_on(store.device.write(&region, 0, length, end - length as u64, true)).expect("a write");
    let versions = entries.iter().map(|entry| entry.version);
    let records = entries.iter().filter(|entry| !entry.tombstone).count() as u32;
    let state = BlockStateImage {
        sequence,
        floor: versions.clone().min().unwrap_or_default(),
        max: versions.max().unwrap_or_default(),
        filled: entries
            .iter()
            .map(|entry| crate::storage::blocks::cost(entry.size, entry.tombstone))
            .sum(),
        in_use: entries
            .iter()
            .map(|entry| crate::storage::blocks::cost(entry.size, entry.tombstone))
            .sum(),
        records,
        live: records,
        ..BlockStateImage::default()
    };
    shared.blocks.get(block).restore(&state, BlockState::Open);
}

fn check(shared: &Shared, footers: &[(u32, Vec<FooterEntry>)], batch_len: usize) {
    let (index, tally) = (Index::new(), Tally::default());
    let rebuild = Rebuild { batch_len, ..Rebuild::new(shared, &index, &[], &tally, 1) };
    for (block, entries) in footers {
        rebuild.take(*block, entries);
    }
    rebuild.finish();

    let mut newest: BTreeMap<Digest, FooterEntry> = BTreeMap::new();
    for entry in footers.iter().flat_map(|(_, entries)| entries) {
        let known = newest.entry(entry.digest).or_insert(*entry);
        if entry.version > known.version {
            *known = *entry;
        }
    }
    assert_eq!(index.len(), newest.len() as u64);
    let mut live_bytes = vec![0; BLOCKS as usize];
    for (digest, expected) in &newest {
        let entry = index.get(*digest).expect("a record that a footer names is in the index");
        let (block, offset) = shared.blocks.locate(entry.location).expect("a place on the device");
        let (_, entries) = footers.iter().find(|(at, _)| *at == block).expect("a block");
        let there = entries.iter().find(|there| there.offset == offset).expect("a record");
        assert_eq!((there.digest, there.version), (*digest, expected.version));
        assert_eq!(entry.tombstone, expected.tombstone);
        live_bytes[block as usize] += crate::storage::blocks::cost(entry.size, entry.tombstone);
    }
    for block in 1..BLOCKS {
        assert_eq!(shared.blocks.get(block).in_use(), live_bytes[block as usize], "block {block}");
    }
    let tombstones = newest.values().filter(|entry| entry.tombstone).count() as u64;
    assert_eq!(rebuild.tombstones(), tombstones);
    let counted: i64 = (0..SETS).map(|set| rebuild.found.lock().records(set)).sum();
    assert_eq!(counted as u64, newest.len() as u64 - tombstones);
}
