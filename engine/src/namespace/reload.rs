//! A warm restart: reads the index that a clean stop left.
//!
//! The blocks of each device's part are read by several threads, each a stretch of them with many reads in flight, and what a block holds is
//! brought into the index while the next ones are on their way. A partition's entries may go on from one stretch to the next: what stands at
//! the ends of stretches is put together when all are read. Nothing that is damaged is used: then the whole checkpoint is refused.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use super::{OpenOptions, Progress, sets::Sets};
use crate::{
    device::{IoResult, reactor},
    format::checkpoint::{BLOCK_STATE_BYTES, BlockStateImage, ItemKind},
    index::{ENTRY_BYTES, Index},
    model::PARTITIONS,
    storage::{Shared, blocks::BlockState, checkpoint::Part, open::DeviceSet, store::Store},
};

/// How often progress is told.
const PROGRESS_PARTS: u64 = 100;

/// What a checkpoint gave back.
pub(super) struct Loaded {
    pub(super) index: Index,
    pub(super) sets: Sets,
    pub(super) tombstones: u64,
    pub(super) bytes_read: u64,
}

/// Packed entries of one partition.
#[derive(Debug, Default)]
struct Piece {
    partition: u32,
    packed: Vec<[u8; ENTRY_BYTES]>,
}

/// Reads the checkpoint that the devices' headers name. On failure says why.
pub(super) fn load(
    shared: &Shared,
    set: &DeviceSet,
    options: &OpenOptions,
    started: Duration,
) -> Result<Loaded, String> {
    let mut parts = Vec::new();
    for (member, store) in set.members.iter().zip(&shared.stores) {
        let named = member.header.checkpoint.expect("the caller saw one on every device");
        let part = Part::open(shared, store, named).map_err(|error| error.to_string())?;
        parts.push(part.ok_or("it is damaged")?);
    }
    let blocks: u64 = parts.iter().map(|part| part.len() as u64).sum();
    // Nearly all that a large checkpoint holds is entries.
    let records = blocks * shared.block_size / ENTRY_BYTES as u64;
    let loading = Loading {
        shared,
        options,
        started,
        index: Index::expecting(records),
        sets: Sets::default(),
        tombstones: AtomicU64::new(0),
        states: AtomicU64::new(0),
        records: AtomicU64::new(0),
        done: AtomicU64::new(0),
        blocks,
    };
    loading.read(&parts)?;
    let states: u64 = shared.stores.iter().map(|store| u64::from(store.block_count)).sum();
    if loading.states.load(SeqCst) != states {
        return Err("it does not know all write blocks".into());
    }
    Ok(Loaded {
        index: loading.index,
        sets: loading.sets,
        tombstones: loading.tombstones.into_inner(),
        bytes_read: (blocks + parts.len() as u64) * shared.block_size,
    })
}

struct Loading<'a> {
    shared: &'a Shared,
    options: &'a OpenOptions,
    started: Duration,
    index: Index,
    sets: Sets,
    tombstones: AtomicU64,
    states: AtomicU64,
    records: AtomicU64,
    done: AtomicU64,
    blocks: u64,
}

impl Loading<'_> {
    /// Reads all parts, each in as many stretches as there are threads for it.
    fn read(&self, parts: &[Part<'_>]) -> Result<(), String> {
        let threads = self.options.threads.div_ceil(parts.len()).max(1);
        let stretches = parts.iter().flat_map(|part| {
            let len = part.len();
            (0..threads).map(move |at| (part, len * at / threads..len * (at + 1) / threads))
        });
        let ends: Vec<IoResult<Option<Vec<Piece>>>> = std::thread::scope(|scope| {
            let threads: Vec<_> = stretches
                .map(|(part, range)| {
                    scope.spawn(move || {
                        let _reactor = reactor::Reactor::install(self.options.io.kind);
                        self.stretch(part, range)
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().expect("loading does not panic")).collect()
        });
        let mut pieces: Vec<Piece> = Vec::new();
        for end in ends {
            let end = end.map_err(|error| error.to_string())?.ok_or("it is damaged")?;
            for piece in end.into_iter().filter(|piece| !piece.packed.is_empty()) {
                match pieces.last_mut().filter(|last| last.partition == piece.partition) {
                    Some(last) => last.packed.extend(piece.packed),
                    None => pieces.push(piece),
                }
            }
        }
        match pieces.iter().all(|piece| self.take_partition(piece)) {
            true => Ok(()),
            false => Err("it is damaged".into()),
        }
    }

    /// Reads some blocks of a part. Returns the entries of the first partition met and of the last, which may not be all of them; `None`
    /// when something is damaged.
    fn stretch(&self, part: &Part<'_>, range: Range<usize>) -> IoResult<Option<Vec<Piece>>> {
        let mut first: Option<Piece> = None;
        let mut present = Piece::default();
        let take = |kind, argument: u32, bytes: &[u8]| match kind {
            ItemKind::Blocks => true,
            ItemKind::Sets => self.take_set(part.store(), bytes),
            ItemKind::States => self.take_states(part.store(), argument, bytes),
            ItemKind::Entries => {
                if present.partition != argument && !present.packed.is_empty() {
                    if first.is_none() {
                        first = Some(std::mem::take(&mut present));
                    } else if !self.take_partition(&present) {
                        return false;
                    }
                    present.packed.clear();
                }
                present.partition = argument;
                let (packed, rest) = bytes.as_chunks::<ENTRY_BYTES>();
                present.packed.extend_from_slice(packed);
                rest.is_empty()
            }
        };
        let sound = part.read(range, take, || self.step())?;
        Ok(sound.then(|| first.into_iter().chain([present]).collect()))
    }

    fn take_partition(&self, piece: &Piece) -> bool {
        if piece.packed.is_empty() {
            return true;
        }
        if piece.partition as usize >= PARTITIONS {
            return false;
        }
        let tombstones = self.index.load_partition(piece.partition as u16, &piece.packed);
        self.tombstones.fetch_add(tombstones.unwrap_or(0), SeqCst);
        self.records.fetch_add(piece.packed.len() as u64, SeqCst);
        tombstones.is_some()
    }

    fn take_set(&self, store: &Store, bytes: &[u8]) -> bool {
        let Some((records, rest)) = bytes.split_first_chunk::<8>() else { return false };
        let name = rest.split_first().map(|(len, text)| (usize::from(*len), text));
        let Some((_, text)) = name.filter(|(len, text)| *len == text.len()) else { return false };
        let Ok(name) = std::str::from_utf8(text) else { return false };
        self.sets.restore(name, store.set_hash(name), i64::from_le_bytes(*records));
        true
    }

    fn take_states(&self, store: &Store, first: u32, bytes: &[u8]) -> bool {
        let states = bytes.as_chunks::<BLOCK_STATE_BYTES>().0;
        if u64::from(first) + states.len() as u64 > u64::from(store.block_count) {
            return false;
        }
        for (number, raw) in (first..).zip(states) {
            let image = BlockStateImage::decode(raw);
            let Some(state) = BlockState::from_byte(image.state) else { return false };
            self.shared.blocks.get(store.first_block + number).restore(&image, state);
            self.shared.go_on_behind(image.birth);
        }
        self.states.fetch_add(states.len() as u64, SeqCst);
        true
    }

    /// One block is done.
    fn step(&self) {
        let done = self.done.fetch_add(1, SeqCst) + 1;
        if done.is_multiple_of((self.blocks / PROGRESS_PARTS).max(1)) || done == self.blocks {
            (self.options.progress)(&Progress {
                phase: "reading the saved index",
                done,
                total: self.blocks,
                records: self.records.load(SeqCst),
                elapsed: self.options.clock.monotonic().saturating_sub(self.started),
            });
        }
    }
}
