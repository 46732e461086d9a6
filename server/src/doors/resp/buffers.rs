//! Buffers that connections share: whoever has nothing to keep holds none.

use std::cell::RefCell;

use bytes::BytesMut;

/// What is read at once.
pub const READ: usize = 16 << 10;
/// The largest piece that a growing argument is read in.
const PIECE: usize = 1 << 20;
/// Bytes of an output buffer that are sent before it gives them up.
const FORGET: usize = 64 << 10;
/// The largest output buffer that is kept for others, and how many are.
const OUTPUT_KEPT: usize = 64 << 10;
const OUTPUTS_KEPT: usize = 64;

thread_local! {
    /// The thread's read buffer, while nobody has it.
    static SPARE: RefCell<BytesMut> = RefCell::new(BytesMut::new());
    /// The thread's output buffers that nobody has.
    static OUTPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Makes room to read into, from the thread's spare if the buffer is empty. `needed` bytes in all are known to come; of those not
/// here yet only so much is reserved as has come already, so that a promise costs nothing.
pub fn make_room(buffer: &mut BytesMut, needed: usize) {
    if buffer.capacity() == 0 {
        *buffer =
            SPARE.try_with(|spare| std::mem::take(&mut *spare.borrow_mut())).unwrap_or_default();
    }
    let missing = needed.saturating_sub(buffer.len());
    let room = missing.min(buffer.len()).clamp(READ, PIECE);
    if buffer.capacity() - buffer.len() < room.min(READ / 4) || missing > READ {
        buffer.reserve(room);
    }
}

/// Gives an empty read buffer back for others.
pub fn give_back(buffer: BytesMut) {
    // A thread that is ending has none to keep.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.capacity() < buffer.capacity() && buffer.capacity() <= 2 * READ {
            *spare = buffer;
        }
    });
}

/// An empty output buffer.
pub fn output() -> Vec<u8> {
    OUTPUTS.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// Gives an output buffer back, whose bytes are sent.
pub fn give_back_output(mut output: Vec<u8>) {
    output.clear();
    let _ = OUTPUTS.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < OUTPUTS_KEPT && (1..=OUTPUT_KEPT).contains(&output.capacity()) {
            spare.push(output);
        }
    });
}

/// Gives up the `sent` bytes at the front of an output buffer that a steady reader never empties: once they are half of it, so that on
/// the whole no more bytes are moved than are sent.
pub fn forget_sent(output: &mut Vec<u8>, sent: &mut usize) {
    if *sent >= FORGET.max(output.len() / 2) {
        output.drain(..*sent);
        output.shrink_to(2 * output.len().max(FORGET));
        *sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that reads as fast as it is answered, but never all of it, must not have the node keep all that it ever read.
    #[test]
    fn what_is_sent_is_forgotten() {
        let (mut output, mut sent, mut next) = (vec![0; 300_000], 0, 0_u8);
        for _ in 0..10_000 {
            sent += 100_000;
            next = next.wrapping_add(1);
            output.extend(std::iter::repeat_n(next, 100_000));
            forget_sent(&mut output, &mut sent);
            assert!(output.len() - sent == 300_000 && output.capacity() < 2_000_000);
            assert_eq!(output.last(), Some(&next));
        }
    }
}
