//! Keeping a device's header: two slots that say the same.
//!
//! A change goes to one slot, durably, and then to the other. A crash in between leaves the one that was not being written, and what
//! damages one of them later leaves the same header in the other. The slots never differ while a namespace serves, so that an older one is
//! never taken for the present one: it would bring an old index back, or a set that was truncated.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{
    device::{AlignedBuf, Device, IoResult, Region, reactor},
    format::{DeviceHeader, HeaderSlot, TEAR_BYTES, header_slot_bytes},
    model::HashSecret,
};

/// A device's header in RAM, and the slot counter of its last write.
#[derive(Debug)]
pub(crate) struct Superblock {
    state: Mutex<State>,
    device: [u8; 16],
    incarnation: u64,
    secret: HashSecret,
}

#[derive(Debug)]
struct State {
    header: DeviceHeader,
    counter: u64,
}

impl Superblock {
    pub(crate) fn new(header: DeviceHeader, counter: u64) -> Self {
        Self {
            device: header.device,
            incarnation: header.incarnation,
            secret: header.secret.clone(),
            state: Mutex::new(State { header, counter }),
        }
    }

    /// The device's UUID.
    pub(crate) fn device(&self) -> [u8; 16] {
        self.device
    }

    /// The incarnation the device was opened with.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The namespace's hash secret.
    pub(crate) fn secret(&self) -> &HashSecret {
        &self.secret
    }

    /// A copy of the header.
    pub(crate) fn header(&self) -> DeviceHeader {
        self.state.lock().header.clone()
    }

    /// Changes the header and makes the change durable. Blocks; the header keeps its old value when the write fails.
    pub(crate) fn update(
        &self,
        device: &Arc<dyn Device>,
        change: impl FnOnce(&mut DeviceHeader),
    ) -> IoResult<()> {
        let mut state = self.state.lock();
        let mut header = state.header.clone();
        change(&mut header);
        let counter = write_slots(device, &header, state.counter)?;
        *state = State { header, counter };
        Ok(())
    }
}

/// Writes `header` durably to both slots, behind slot counter `counter`, and returns the new one.
pub(crate) fn write_slots(
    device: &Arc<dyn Device>,
    header: &DeviceHeader,
    counter: u64,
) -> IoResult<u64> {
    for counter in [counter + 1, counter + 2] {
        write_slot(device, header, counter, header.encode(counter))?;
    }
    Ok(counter + 2)
}

/// Writes the first header of a device that has none. A crash may tear the write, and what would be left must be known for what it is: the
/// front with its magic is there before the rest.
pub(crate) fn write_first(device: &Arc<dyn Device>, header: &DeviceHeader) -> IoResult<u64> {
    let mut front = header.encode(1);
    front.truncate(TEAR_BYTES);
    write_slot(device, header, 1, front)?;
    write_slots(device, header, 0)
}

/// Writes `bytes` durably to the slot that `counter` falls on.
fn write_slot(
    device: &Arc<dyn Device>,
    header: &DeviceHeader,
    counter: u64,
    mut bytes: Vec<u8>,
) -> IoResult<()> {
    bytes.resize(bytes.len().next_multiple_of(device.geometry().sector as usize), 0);
    let len = bytes.len();
    let slot = header_slot_bytes(u64::from(header.write_block)) * (counter % 2);
    reactor::block_on(device.write(&Region::from_bytes(&bytes), 0, len, slot, true))
}

/// What a device's two header slots hold, the one that counts first. `write_block` is the size to look with; a header
/// tells its own.
pub(crate) fn read_slots(device: &Arc<dyn Device>, write_block: u64) -> IoResult<Vec<HeaderSlot>> {
    let len = header_slot_bytes(write_block) as usize;
    let mut slots = Vec::new();
    for slot in [0, len as u64] {
        if slot + len as u64 > device.geometry().size {
            break;
        }
        let bytes = reactor::block_on(device.read(AlignedBuf::new(len), len, slot))?;
        slots.push(DeviceHeader::decode(&bytes[..len]));
    }
    slots.sort_by_key(|slot| match slot {
        HeaderSlot::Sound(counter, _) => (0, u64::MAX - counter),
        HeaderSlot::UnknownVersion(_) => (1, 0),
        HeaderSlot::Damaged => (2, 0),
        HeaderSlot::Foreign => (3, 0),
    });
    Ok(slots)
}
