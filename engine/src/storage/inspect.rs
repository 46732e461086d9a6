//! Looking at a device offline: what its header says, what its blocks hold, whether all of it fits its checksums.

use std::path::Path;

use super::{
    open::foreign,
    superblock::read_slots,
    walk::{Soundness, Walk},
};
use crate::{
    device::{AlignedBuf, Device, FileDevice, IoEngine, IoResult, OpenMode, reactor},
    error::OpenError,
    format::{
        BlockHeader, BlockKind, DeviceHeader, Footer, HeaderSlot, PlaceSeed, block_header_region,
    },
    model::limits,
};
use std::sync::Arc;

/// Most pieces of damage that a report names.
const DAMAGE_KEPT: usize = 1000;

/// What a device holds.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Usable bytes of the device.
    pub size: u64,
    /// The two copies of the device header, the one that counts first: "sound", "damaged", "unknown format version" or "none".
    pub header_copies: Vec<&'static str>,
    /// The header.
    pub header: DeviceHeader,
    /// Blocks that were never opened.
    pub void_blocks: u64,
    /// Blocks of records with a sound footer.
    pub sealed_blocks: u64,
    /// Blocks of records without one: open at the last stop, or damaged.
    pub unsealed_blocks: u64,
    /// Blocks of a saved index.
    pub index_blocks: u64,
    /// Blocks that were freed.
    pub freed_blocks: u64,
    /// Versions of records in the blocks, live and dead.
    pub records: u64,
    /// Tombstones in the blocks.
    pub tombstones: u64,
    /// Bytes of versions and tombstones.
    pub record_bytes: u64,
    /// Records whose checksums were compared; 0 unless everything was read.
    pub verified: u64,
    /// Pieces of damage.
    pub damage_count: u64,
    /// What the first of them are, one sentence each.
    pub damage: Vec<String>,
}

/// Looks at the device at `path`, which must not be in use. With `verify` every byte of every record is read and compared. `progress` is told
/// blocks done and blocks in all.
///
/// # Errors
///
/// [`OpenError`] when the device cannot be read or is not one of Cairn's.
pub fn inspect(
    path: &Path,
    io: &IoEngine,
    verify: bool,
    progress: &dyn Fn(u64, u64),
) -> Result<Inspection, OpenError> {
    let failed = |doing| move |source| OpenError::Io { path: path.into(), doing, source };
    let device: Arc<dyn Device> =
        FileDevice::open(path, OpenMode::ReadOnly, io).map_err(failed("opening"))?;
    let (header, header_copies) = read_header(path, &device)?;
    let inspector = Inspector {
        device: &device,
        seed: header.secret.device_seed(&header.device),
        header: &header,
    };
    let mut report = Inspection {
        size: device.geometry().size,
        header_copies,
        header: header.clone(),
        void_blocks: 0,
        sealed_blocks: 0,
        unsealed_blocks: 0,
        index_blocks: 0,
        freed_blocks: 0,
        records: 0,
        tombstones: 0,
        record_bytes: 0,
        verified: 0,
        damage_count: 0,
        damage: Vec::new(),
    };
    for block in 1..header.blocks {
        inspector.block(block, verify, &mut report).map_err(failed("reading a block"))?;
        progress(u64::from(block), u64::from(header.blocks - 1));
    }
    Ok(report)
}

fn read_header(
    path: &Path,
    device: &Arc<dyn Device>,
) -> Result<(DeviceHeader, Vec<&'static str>), OpenError> {
    let failed =
        |source| OpenError::Io { path: path.into(), doing: "reading the device header", source };
    // How far apart the copies lie depends on the size of a write block: the largest is tried first.
    let mut sizes =
        [limits::WRITE_BLOCK_MAX, 64 << 10, 32 << 10, limits::WRITE_BLOCK_MIN].into_iter();
    let slots = loop {
        let Some(size) = sizes.next() else {
            let what = foreign(device).map_err(failed)?.unwrap_or("nothing, it is blank");
            return Err(OpenError::Foreign { path: path.into(), found: what.into() });
        };
        let slots = read_slots(device, size).map_err(failed)?;
        let fits = |slot: &HeaderSlot| match slot {
            HeaderSlot::Sound(_, header) => {
                crate::format::header_slot_bytes(u64::from(header.write_block))
                    == crate::format::header_slot_bytes(size)
            }
            _ => false,
        };
        if slots.iter().any(fits) {
            break slots;
        }
        if slots.iter().any(|slot| matches!(slot, HeaderSlot::Damaged)) && sizes.len() == 0 {
            return Err(OpenError::HeaderDamaged { path: path.into() });
        }
    };
    let copies = slots.iter().map(|slot| match slot {
        HeaderSlot::Sound(..) => "sound",
        HeaderSlot::UnknownVersion(_) => "unknown format version",
        HeaderSlot::Damaged => "damaged",
        HeaderSlot::Foreign => "none",
    });
    let copies = copies.collect();
    match slots.into_iter().next() {
        Some(HeaderSlot::Sound(_, header)) => Ok((*header, copies)),
        _ => Err(OpenError::HeaderDamaged { path: path.into() }),
    }
}

struct Inspector<'a> {
    device: &'a Arc<dyn Device>,
    seed: u64,
    header: &'a DeviceHeader,
}

impl Inspector<'_> {
    fn block(&self, block: u32, verify: bool, report: &mut Inspection) -> IoResult<()> {
        let size = u64::from(self.header.write_block);
        let region = block_header_region(self.header.sector);
        let base = u64::from(block) * size;
        let head = self.read(base, region)?;
        let head = &head[..region as usize];
        let Some(found) = BlockHeader::decode(head, &self.header.device, block) else {
            match head.iter().all(|&byte| byte == 0) {
                true => report.void_blocks += 1,
                false => report.damage(block, base, "the block header is damaged"),
            }
            return Ok(());
        };
        match found.kind {
            BlockKind::Data => {}
            BlockKind::Index => {
                report.index_blocks += 1;
                return Ok(());
            }
            BlockKind::Freed => {
                report.freed_blocks += 1;
                return Ok(());
            }
        }
        let footer = self.footer(block, found.sequence)?;
        match &footer {
            Some(_) => report.sealed_blocks += 1,
            None => report.unsealed_blocks += 1,
        }
        if let Some(footer) = footer.as_ref().filter(|_| !verify) {
            for entry in &footer.entries {
                report.count(entry.tombstone, entry.size.bytes());
            }
            return Ok(());
        }
        let bytes = self.read(base, size)?;
        let seed = PlaceSeed::new(self.seed, found.sequence);
        let walk = Walk::run(&bytes[..size as usize], seed, self.header.sector, |_| 0);
        for found in walk.found() {
            report.count(found.entry.tombstone, found.entry.size.bytes());
            report.verified += u64::from(verify);
            if found.soundness != Soundness::Whole {
                let offset = base + u64::from(found.entry.offset);
                report.damage(block, offset, "a record is damaged");
            }
        }
        self.compare(block, footer.as_ref(), &walk, report);
        Ok(())
    }

    /// What the footer names must be there.
    fn compare(&self, block: u32, footer: Option<&Footer>, walk: &Walk, report: &mut Inspection) {
        let base = u64::from(block) * u64::from(self.header.write_block);
        let holes = walk.holes.iter().filter(|_| footer.is_some() || walk.durable > 0);
        for (start, end) in holes {
            if footer.is_some() || u64::from(*start) < walk.durable {
                let what = format!("{} bytes hold no sound record", end - start);
                report.damage(block, base + u64::from(*start), &what);
            }
        }
        let Some(footer) = footer else { return };
        let found = walk.found();
        for entry in &footer.entries {
            if found.binary_search_by_key(&entry.offset, |found| found.entry.offset).is_err() {
                report.damage(
                    block,
                    base + u64::from(entry.offset),
                    "a record that the footer names is damaged",
                );
            }
        }
    }

    fn footer(&self, block: u32, sequence: u64) -> IoResult<Option<Footer>> {
        let size = u64::from(self.header.write_block);
        let end = u64::from(block + 1) * size;
        let sector = u64::from(self.header.sector);
        let tail = self.read(end - sector, sector)?;
        let measured = Footer::measure(&tail[..sector as usize], &self.header.device, block);
        let Some((length, found)) = measured else { return Ok(None) };
        let length = (length as u64).next_multiple_of(sector);
        if found != sequence || length > size {
            return Ok(None);
        }
        let bytes = self.read(end - length, length)?;
        Ok(Footer::decode(&bytes[..length as usize], size))
    }

    fn read(&self, offset: u64, len: u64) -> IoResult<AlignedBuf> {
        reactor::block_on(self.device.read(AlignedBuf::new(len as usize), len as usize, offset))
    }
}

impl Inspection {
    fn count(&mut self, tombstone: bool, bytes: u64) {
        let counter = if tombstone { &mut self.tombstones } else { &mut self.records };
        *counter += 1;
        self.record_bytes += bytes;
    }

    fn damage(&mut self, block: u32, offset: u64, what: &str) {
        self.damage_count += 1;
        if self.damage.len() < DAMAGE_KEPT {
            self.damage.push(format!("block {block}, offset {offset}: {what}"));
        }
    }
}
