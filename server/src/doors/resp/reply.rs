//! Answers: one encoder for RESP2 and RESP3.
//!
//! A command says what it answers in RESP3's words; a client of RESP2 gets the nearest there is. Nothing is checked: a command that
//! announces an array of three must write three. Buffers come from a small pool of the thread's own, and go back there.
//! An answer has a bound, and the encoder keeps it: what would pass it is not written, and the runner answers an error instead.

use std::cell::RefCell;

use super::{
    fail::{Done, TOO_LONG_ANSWER},
    number,
};

/// Buffers kept, and the size up to which they are.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 16 << 10;
/// Bytes of an answer, and of all answers of a transaction together.
pub const LEN_MAX: usize = 64 << 20;
/// What a type's letter, a number, a line's end and the like take at most beside the text.
const FRAME: usize = 32;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// The answer of a command, or what there is of it.
#[derive(Debug)]
pub struct Reply {
    out: Vec<u8>,
    /// Where it begins in `out`: what stands before it is not its own.
    begin: usize,
    resp3: bool,
    /// Whether something was not written since it would have been too long.
    cut: bool,
}

impl Reply {
    /// An empty answer.
    pub fn new(resp3: bool) -> Self {
        let out = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
        Self { out, begin: 0, resp3, cut: false }
    }

    /// An empty answer that is written behind these bytes.
    pub fn behind(out: Vec<u8>, resp3: bool) -> Self {
        Self { begin: out.len(), out, resp3, cut: false }
    }

    /// The bytes it was written behind, and it.
    pub fn into_all(mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The answer in memory of its own, and the bytes it was written behind.
    pub fn split(mut self) -> (Self, Vec<u8>) {
        let mut own = Self::new(self.resp3);
        own.out.extend_from_slice(self.bytes());
        self.truncate(0);
        (own, self.into_all())
    }

    /// Whether it is written for RESP3.
    pub fn is_resp3(&self) -> bool {
        self.resp3
    }

    /// Changes what is written from here on.
    pub fn set_resp3(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.out[self.begin..]
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.out.len() - self.begin
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses an answer that was too long: a part of it would be none.
    ///
    /// # Errors
    ///
    /// [`TOO_LONG_ANSWER`].
    pub fn complete(&self) -> Done {
        if self.cut { Err(TOO_LONG_ANSWER) } else { Ok(()) }
    }

    /// Takes back everything behind the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(self.begin + len);
        if self.cut {
            self.cut = false;
            self.out.shrink_to(self.begin + len);
        }
    }

    /// A status such as `OK`.
    pub fn simple(&mut self, status: &str) {
        self.line(b'+', status.as_bytes());
    }

    /// `OK`.
    pub fn ok(&mut self) {
        self.whole(b"+OK\r\n");
    }

    /// An error: its code word and text. A line's end in it would break the protocol and becomes a space.
    pub fn error(&mut self, text: &[u8]) {
        if !self.has_room(text.len()) {
            return;
        }
        self.out.push(b'-');
        let safe = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
        self.out.extend(text.iter().map(safe));
        self.out.extend_from_slice(b"\r\n");
    }

    /// A number.
    pub fn int(&mut self, number: i64) {
        self.numbered(b':', number);
    }

    /// A string of any bytes.
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if !self.has_room(bytes.len()) {
            return;
        }
        self.out.reserve(bytes.len() + 24);
        self.numbered(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A string, or null.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// Nothing where a string could be.
    pub fn null(&mut self) {
        self.whole(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// Nothing where an array could be.
    pub fn null_array(&mut self) {
        self.whole(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// So many answers follow.
    pub fn array(&mut self, count: usize) {
        self.numbered(b'*', count as i64);
    }

    /// So many pairs follow.
    pub fn map(&mut self, pairs: usize) {
        match self.resp3 {
            true => self.numbered(b'%', pairs as i64),
            false => self.numbered(b'*', 2 * pairs as i64),
        }
    }

    /// So many answers follow, in no order.
    pub fn set(&mut self, count: usize) {
        self.numbered(if self.resp3 { b'~' } else { b'*' }, count as i64);
    }

    /// So many answers follow that nobody asked for.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the types to come"))]
    pub fn push(&mut self, count: usize) {
        self.numbered(if self.resp3 { b'>' } else { b'*' }, count as i64);
    }

    /// A double.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the types to come"))]
    pub fn double(&mut self, value: f64) {
        let text = number::double(value);
        match self.resp3 {
            true => self.line(b',', text.as_bytes()),
            false => self.bulk(text),
        }
    }

    /// True or false.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the types to come"))]
    pub fn boolean(&mut self, value: bool) {
        match self.resp3 {
            true => self.line(b'#', if value { b"t" } else { b"f" }),
            false => self.int(value.into()),
        }
    }

    /// Text for people; `format` is `txt` or `mkd`.
    pub fn verbatim(&mut self, format: &str, text: &str) {
        debug_assert_eq!(format.len(), 3);
        if !self.resp3 {
            return self.bulk(text);
        }
        if !self.has_room(text.len()) {
            return;
        }
        self.numbered(b'=', text.len() as i64 + 4);
        self.out.extend_from_slice(format.as_bytes());
        self.out.push(b':');
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// Whether there is room for so many bytes more and what frames them. Once there was none, there is none for anything.
    fn has_room(&mut self, more: usize) -> bool {
        self.cut |= self.len() + more + FRAME > LEN_MAX;
        !self.cut
    }

    fn whole(&mut self, text: &[u8]) {
        if self.has_room(text.len()) {
            self.out.extend_from_slice(text);
        }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        if !self.has_room(text.len()) {
            return;
        }
        self.out.push(kind);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    fn numbered(&mut self, kind: u8, value: i64) {
        if !self.has_room(0) {
            return;
        }
        self.out.push(kind);
        match u8::try_from(value) {
            Ok(digit @ 0..10) => self.out.push(b'0' + digit),
            _ => self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.out.capacity() == 0 || self.out.capacity() > KEPT_BYTES {
            return;
        }
        let mut buffer = std::mem::take(&mut self.out);
        buffer.clear();
        // A thread that is ending has no pool any more.
        let _ = BUFFERS.try_with(|buffers| {
            let mut buffers = buffers.borrow_mut();
            if buffers.len() < KEPT {
                buffers.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(resp3: bool, write: impl FnOnce(&mut Reply)) -> String {
        let mut reply = Reply::new(resp3);
        write(&mut reply);
        String::from_utf8(reply.bytes().to_vec()).unwrap()
    }

    /// A client of RESP2 must never meet a type that only RESP3 has.
    #[test]
    fn each_protocol_gets_its_own_types() {
        type Case = (fn(&mut Reply), &'static str, &'static str);
        let cases: [Case; 9] = [
            (|r| r.null(), "$-1\r\n", "_\r\n"),
            (|r| r.null_array(), "*-1\r\n", "_\r\n"),
            (|r| r.map(2), "*4\r\n", "%2\r\n"),
            (|r| r.set(2), "*2\r\n", "~2\r\n"),
            (|r| r.push(2), "*2\r\n", ">2\r\n"),
            (|r| r.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|r| r.boolean(true), ":1\r\n", "#t\r\n"),
            (|r| r.verbatim("txt", "hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (|r| r.int(-12), ":-12\r\n", ":-12\r\n"),
        ];
        for (write, two, three) in cases {
            assert_eq!(told(false, write), two);
            assert_eq!(told(true, write), three);
        }
    }

    /// What a client sent comes back in some errors; it must not be able to forge a second answer.
    #[test]
    fn an_error_is_one_line() {
        assert_eq!(told(false, |r| r.error(b"ERR a\r\n+OK")), "-ERR a  +OK\r\n");
    }

    /// A command that answers without end must not take the node's memory; and what is cut short must not be sent as if it were whole.
    #[test]
    fn an_answer_ends_at_its_bound() {
        let (mut reply, text) = (Reply::new(false), vec![b'x'; 1 << 20]);
        for _ in 0..1000 {
            reply.bulk(&text);
        }
        assert!(reply.len() <= LEN_MAX && reply.complete().is_err());
        // What is short is not written behind a gap.
        let len = reply.len();
        reply.ok();
        assert_eq!(reply.len(), len);
        reply.truncate(0);
        reply.ok();
        assert_eq!((reply.complete(), reply.bytes()), (Ok(()), &b"+OK\r\n"[..]));
    }
}
