//! Writing a new file through once, before it holds anything.
//!
//! Space that a file system has only set aside must be marked as written at the first write of each piece, in its journal. A small durable write
//! then costs the file system's commit besides its own: two to three times as long (docs/decisions/0031-laid-out-files.md). A raw device has
//! nothing of the kind.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::recover::Progress;
use crate::device::{Completion, Device, IoResult, Region, reactor};

/// What is written at once, in bytes.
const PIECE: u64 = 1 << 20;
/// Writes in flight.
const IN_FLIGHT: usize = 8;

/// Writes zeros over all of a new file.
pub(crate) fn lay_out(device: &Arc<dyn Device>, progress: &dyn Fn(&Progress)) -> IoResult<()> {
    let (size, started) = (device.geometry().size, Instant::now());
    let zeros = Region::from_bytes(&vec![0; PIECE as usize]);
    let mut flying: VecDeque<Completion<()>> = VecDeque::new();
    let total = size.div_ceil(PIECE);
    for piece in 0..total {
        if flying.len() == IN_FLIGHT {
            reactor::block_on(flying.pop_front().expect("it is full"))?;
        }
        let offset = piece * PIECE;
        let len = PIECE.min(size - offset) as usize;
        flying.push_back(device.write(&zeros, 0, len, offset, false));
        if piece % 256 == 255 || piece + 1 == total {
            let elapsed = started.elapsed();
            let phase = "laying out the file";
            progress(&Progress { phase, done: piece + 1, total, records: 0, elapsed });
        }
    }
    flying.into_iter().try_for_each(reactor::block_on)?;
    reactor::block_on(device.sync())
}
