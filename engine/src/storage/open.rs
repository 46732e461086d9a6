//! Opening the devices of a namespace: who they are, whether they belong together, and preparing new ones.
//!
//! Nothing that might be somebody's data is overwritten here: a device is formatted only when it is blank, or when `force` was asked for
//! by name. A set of devices is complete or it is refused, with the device named that does not fit.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    signature,
    superblock::{Superblock, read_slots, write_first},
};
use crate::{
    device::{AlignedBuf, Device, Region, reactor},
    error::OpenError,
    format::{DeviceHeader, HeaderSlot, block_header_region},
    model::{HashSecret, PartitionKind, Version, limits},
};

/// What the devices of a namespace must agree on.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) cluster: String,
    pub(crate) namespace: String,
    pub(crate) write_block: u64,
}

/// A device with its path, not yet looked at.
pub(crate) type Candidate = (PathBuf, Arc<dyn Device>);

/// A device that belongs to the namespace.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) path: PathBuf,
    pub(crate) device: Arc<dyn Device>,
    pub(crate) header: DeviceHeader,
    counter: u64,
    /// One of the two header slots is damaged or was being written when the node stopped; the other serves.
    pub(crate) slot_damaged: bool,
}

impl Member {
    pub(crate) fn superblock(&self) -> Superblock {
        Superblock::new(self.header.clone(), self.counter)
    }
}

/// The complete set of a namespace's devices, in the order of the set.
pub(crate) struct DeviceSet {
    pub(crate) members: Vec<Member>,
    /// Nothing was ever written to it.
    pub(crate) fresh: bool,
}

enum Found {
    Member(Box<Member>),
    Blank,
}

/// Looks at all devices, formats blank ones, and gives every device a new incarnation's header to be written by the caller.
pub(crate) fn open_set(
    candidates: Vec<Candidate>,
    identity: &Identity,
) -> Result<DeviceSet, OpenError> {
    let mut members = Vec::new();
    let mut blank = Vec::new();
    for (path, device) in candidates {
        check_size(&path, &device, identity.write_block)?;
        match look(&path, &device, identity)? {
            Found::Member(member) => members.push(*member),
            Found::Blank => blank.push((path, device)),
        }
    }
    let never_started = members.iter().all(|member| member.header.incarnation == 0);
    if never_started && !(blank.is_empty() && is_complete(&members)) {
        // A preparation that was cut short: no record was ever written to any of them.
        let all = members.into_iter().map(|m| (m.path, m.device)).chain(blank).collect();
        return Ok(DeviceSet { members: format_set(all, identity)?, fresh: true });
    }
    members = check_together(members)?;
    if !blank.is_empty() {
        add(&mut members, blank, identity)?;
    }
    Ok(DeviceSet { members, fresh: never_started })
}

/// Formats devices as a new set, whatever they hold.
pub(crate) fn format_set(
    devices: Vec<Candidate>,
    identity: &Identity,
) -> Result<Vec<Member>, OpenError> {
    let uuids: Vec<[u8; 16]> = devices.iter().map(|_| new_uuid()).collect();
    let set = new_uuid();
    let secret = HashSecret::random();
    let mut members = Vec::new();
    for (index, (path, device)) in devices.into_iter().enumerate() {
        check_size(&path, &device, identity.write_block)?;
        let header = new_header(&device, identity, set, &uuids, index, secret.clone());
        members.push(prepare(path, device, header)?);
    }
    Ok(members)
}

fn new_uuid() -> [u8; 16] {
    *uuid::Uuid::new_v4().as_bytes()
}

fn new_header(
    device: &Arc<dyn Device>,
    identity: &Identity,
    set: [u8; 16],
    members: &[[u8; 16]],
    index: usize,
    secret: HashSecret,
) -> DeviceHeader {
    let geometry = device.geometry();
    DeviceHeader {
        device: members[index],
        device_set: set,
        index: index as u16,
        members: members.to_vec(),
        partition_kind: PartitionKind::HashSlot,
        clean: true,
        size: geometry.size,
        write_block: identity.write_block as u32,
        sector: geometry.sector,
        blocks: (geometry.size / identity.write_block).min(u64::from(u32::MAX)) as u32,
        incarnation: 0,
        checkpoint: None,
        version: Version::ZERO,
        cluster: identity.cluster.clone(),
        namespace: identity.namespace.clone(),
        secret,
        truncations: Vec::new(),
    }
}

/// Makes every block's header void and writes the device header: the device holds nothing afterwards.
fn prepare(
    path: PathBuf,
    device: Arc<dyn Device>,
    header: DeviceHeader,
) -> Result<Member, OpenError> {
    let io = |doing| {
        let path = path.clone();
        move |source| OpenError::Io { path, doing, source }
    };
    // A block whose header is all zeros was never opened. Whatever stood there before must not pass for damage, or worse.
    let region = block_header_region(header.sector) as usize;
    let zeros = Region::from_bytes(&vec![0; region]);
    let slots = Region::from_bytes(&vec![0; header.write_block as usize]);
    // Durably first: a header must not outlive the blocks that it speaks of.
    reactor::block_on(device.write(&slots, 0, header.write_block as usize, 0, true))
        .map_err(io("clearing the device header"))?;
    let mut blocks = 1..header.blocks;
    loop {
        let batch: Vec<_> = blocks
            .by_ref()
            .take(64)
            .map(|block| u64::from(block) * u64::from(header.write_block))
            .map(|offset| device.write(&zeros, 0, region, offset, false))
            .collect();
        if batch.is_empty() {
            break;
        }
        for write in batch {
            reactor::block_on(write).map_err(io("clearing block headers"))?;
        }
    }
    reactor::block_on(device.sync()).map_err(io("clearing block headers"))?;
    let counter = write_first(&device, &header).map_err(io("writing the device header"))?;
    Ok(Member { path, device, header, counter, slot_damaged: false })
}

fn check_size(path: &Path, device: &Arc<dyn Device>, write_block: u64) -> Result<(), OpenError> {
    let blocks = device.geometry().size / write_block;
    if blocks >= limits::BLOCKS_MIN {
        return Ok(());
    }
    Err(OpenError::Config(format!(
        "{}: {} bytes are too few: at least {} write blocks of {} bytes are needed, {} bytes in all",
        path.display(),
        device.geometry().size,
        limits::BLOCKS_MIN,
        write_block,
        limits::BLOCKS_MIN * write_block,
    )))
}

/// What a device holds.
fn look(path: &Path, device: &Arc<dyn Device>, identity: &Identity) -> Result<Found, OpenError> {
    let io =
        |source| OpenError::Io { path: path.into(), doing: "reading the device header", source };
    let slots = read_slots(device, identity.write_block).map_err(io)?;
    let damaged = slots.iter().any(|slot| matches!(slot, HeaderSlot::Damaged));
    match slots.into_iter().next() {
        Some(HeaderSlot::Sound(counter, header)) => {
            check_identity(path, device, &header, identity)?;
            Ok(Found::Member(Box::new(Member {
                path: path.into(),
                device: Arc::clone(device),
                header: *header,
                counter,
                slot_damaged: damaged,
            })))
        }
        Some(HeaderSlot::UnknownVersion(version)) => Err(OpenError::WrongDevice {
            path: path.into(),
            why: format!("has format version {version}, which this version of Cairn does not know"),
        }),
        Some(HeaderSlot::Damaged) => match is_empty(device, identity.write_block).map_err(io)? {
            // Its preparation was cut short.
            true => Ok(Found::Blank),
            false => Err(OpenError::HeaderDamaged { path: path.into() }),
        },
        _ => match foreign(device).map_err(io)? {
            Some(found) => Err(OpenError::Foreign { path: path.into(), found: found.into() }),
            None => Ok(Found::Blank),
        },
    }
}

/// Whether everything behind the first block is zeros.
fn is_empty(device: &Arc<dyn Device>, write_block: u64) -> std::io::Result<bool> {
    let size = device.geometry().size;
    let mut offset = write_block;
    while offset < size {
        let len = (size - offset).min(1 << 20) as usize;
        let bytes = reactor::block_on(device.read(AlignedBuf::new(len), len, offset))?;
        if bytes[..len].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        offset += len as u64;
    }
    Ok(true)
}

/// What a device holds that is not Cairn's; `None` when its front is blank.
pub(crate) fn foreign(device: &Arc<dyn Device>) -> std::io::Result<Option<&'static str>> {
    let len = (signature::LOOK_AT as u64).min(device.geometry().size) as usize;
    let front = reactor::block_on(device.read(AlignedBuf::new(len), len, 0))?;
    Ok(signature::recognise(&front[..len]))
}

fn check_identity(
    path: &Path,
    device: &Arc<dyn Device>,
    header: &DeviceHeader,
    identity: &Identity,
) -> Result<(), OpenError> {
    let why = if header.cluster != identity.cluster {
        format!("belongs to cluster {:?}, not {:?}", header.cluster, identity.cluster)
    } else if header.namespace != identity.namespace {
        format!("belongs to namespace {:?}, not {:?}", header.namespace, identity.namespace)
    } else if u64::from(header.write_block) != identity.write_block {
        format!(
            "was formatted with write-block-size {}, not {}",
            header.write_block, identity.write_block
        )
    } else if device.geometry().size < header.size {
        format!("is cut short: {} bytes of {}", device.geometry().size, header.size)
    } else if device.geometry().sector > header.sector {
        format!(
            "was formatted for sectors of {} bytes, but has sectors of {}",
            header.sector,
            device.geometry().sector
        )
    } else {
        return Ok(());
    };
    Err(OpenError::WrongDevice { path: path.into(), why })
}

fn is_complete(members: &[Member]) -> bool {
    let Some(first) = members.first() else { return false };
    members.iter().all(|member| member.header.device_set == first.header.device_set)
        && first.header.members.len() == members.len()
}

/// Checks that the devices are one complete set, and puts them into its order.
fn check_together(mut members: Vec<Member>) -> Result<Vec<Member>, OpenError> {
    members.sort_by_key(|member| member.header.index);
    let Some(longest) = members.iter().max_by_key(|member| member.header.members.len()) else {
        return Ok(members);
    };
    let (set, list) = (longest.header.device_set, longest.header.members.clone());
    let stranger = members.iter().find(|member| {
        let header = &member.header;
        header.device_set != set || list.get(usize::from(header.index)) != Some(&header.device)
    });
    if let Some(stranger) = stranger {
        return Err(OpenError::WrongDevice {
            path: stranger.path.clone(),
            why: "belongs to another set of devices of this namespace".into(),
        });
    }
    let twice = members.windows(2).find(|pair| pair[0].header.index == pair[1].header.index);
    if let Some(pair) = twice {
        return Err(OpenError::WrongDevice {
            path: pair[1].path.clone(),
            why: format!("is the same device as {}, or a copy of it", pair[0].path.display()),
        });
    }
    if members.len() < list.len() {
        let missing = list.iter().position(|uuid| members.iter().all(|m| m.header.device != *uuid));
        return Err(OpenError::Config(format!(
            "the namespace has {} devices, {} were given: device number {} with UUID {} is missing",
            list.len(),
            members.len(),
            missing.unwrap_or(0),
            missing.map_or_else(String::new, |at| uuid::Uuid::from_bytes(list[at]).to_string()),
        )));
    }
    for member in &mut members {
        member.header.members.clone_from(&list);
    }
    Ok(members)
}

/// Takes blank devices into an existing set. The new devices' headers come first: until the old ones name them, they are not missed.
fn add(
    members: &mut Vec<Member>,
    blank: Vec<Candidate>,
    identity: &Identity,
) -> Result<(), OpenError> {
    if members.len() + blank.len() > limits::DEVICES_MAX {
        return Err(OpenError::Config(format!("at most {} devices", limits::DEVICES_MAX)));
    }
    let first = members[0].header.clone();
    let mut list = first.members.clone();
    list.extend(blank.iter().map(|_| new_uuid()));
    for (path, device) in blank {
        let (index, secret) = (members.len(), first.secret.clone());
        let mut header = new_header(&device, identity, first.device_set, &list, index, secret);
        header.incarnation = first.incarnation;
        members.push(prepare(path, device, header)?);
    }
    for member in members {
        member.header.members.clone_from(&list);
        // The index that a clean stop left does not know the new devices.
        member.header.clean = false;
    }
    Ok(())
}
