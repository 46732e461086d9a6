//! Buffers that connections share: whoever has nothing to keep holds none.

use std::cell::RefCell;

use bytes::BytesMut;

/// What is read at once.
pub const READ: usize = 16 << 10;
/// The largest piece that a growing argument is read in.
const PIECE: usize = 1 << 20;
/// The largest output buffer that is kept for others.
const OUTPUT_KEPT: usize = 256 << 10;

thread_local! {
    /// The thread's read buffer, while nobody has it.
    static SPARE: RefCell<BytesMut> = RefCell::new(BytesMut::new());
    /// The thread's output buffer, while nobody has it.
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
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
    OUTPUT.try_with(|spare| std::mem::take(&mut *spare.borrow_mut())).unwrap_or_default()
}

/// Gives an output buffer back, whose bytes are sent.
pub fn give_back_output(mut output: Vec<u8>) {
    output.clear();
    let _ = OUTPUT.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.capacity() < output.capacity() && output.capacity() <= OUTPUT_KEPT {
            *spare = output;
        }
    });
}
