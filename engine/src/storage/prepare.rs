//! Preparing devices for a namespace before it is first opened: `cairn format`.

use std::{path::PathBuf, sync::Arc};

use super::{
    open::{Candidate, Identity, foreign, format_set},
    superblock::read_slots,
};
use crate::{
    device::Device,
    error::OpenError,
    format::{DeviceHeader, HeaderSlot},
    namespace::{DeviceConfig, NamespaceConfig, OpenOptions, open_device},
};

/// Prepares the devices of `config` as a new, empty set. A device that carries a file system, a partition table, data of unknown kind or
/// a namespace of Cairn's is refused unless `force` names its path. Nothing is written before all devices were looked at. Returns their headers.
///
/// # Errors
///
/// [`OpenError::Foreign`] and [`OpenError::WrongDevice`] for a device that would lose data; [`OpenError::Io`].
pub fn prepare(
    config: &NamespaceConfig,
    options: &OpenOptions,
    force: &[PathBuf],
) -> Result<Vec<DeviceHeader>, OpenError> {
    config.check().map_err(OpenError::Config)?;
    let identity = Identity {
        cluster: config.cluster.clone(),
        namespace: config.name.clone(),
        write_block: config.write_block_size,
    };
    let mut devices: Vec<Candidate> = Vec::new();
    for device in &config.devices {
        let candidate = open_device(device, options)?;
        if !force.iter().any(|path| path == device.path()) {
            refuse_if_used(device, &candidate.1, identity.write_block)?;
        }
        devices.push(candidate);
    }
    Ok(format_set(devices, &identity)?.into_iter().map(|member| member.header).collect())
}

fn refuse_if_used(
    config: &DeviceConfig,
    device: &Arc<dyn Device>,
    write_block: u64,
) -> Result<(), OpenError> {
    let path = config.path();
    let io =
        |source| OpenError::Io { path: path.into(), doing: "reading the device header", source };
    let slots = read_slots(device, write_block).map_err(io)?;
    let found = match slots.into_iter().next() {
        Some(HeaderSlot::Sound(_, header)) if header.incarnation == 0 => return Ok(()),
        Some(HeaderSlot::Sound(_, header)) => format!(
            "namespace {:?} of cluster {:?}, a Cairn device",
            header.namespace, header.cluster
        ),
        Some(HeaderSlot::UnknownVersion(_) | HeaderSlot::Damaged) => "a Cairn device".to_owned(),
        _ => match foreign(device).map_err(io)? {
            Some(found) => found.to_owned(),
            None => return Ok(()),
        },
    };
    Err(OpenError::Foreign { path: path.into(), found })
}
