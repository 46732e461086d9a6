//! A request as commands see it: its arguments, which are slices of the bytes that came.

use bytes::Bytes;

use super::parse::Spans;

/// A request. Cheap to keep: it holds on to the bytes it came in.
#[derive(Clone, Debug)]
pub struct Request {
    frame: Bytes,
    spans: Spans,
}

impl Request {
    /// A request of at least one argument, each at its place in `frame`.
    pub fn new(frame: Bytes, spans: Spans) -> Self {
        debug_assert!(!spans.is_empty());
        Self { frame, spans }
    }

    /// How many arguments there are, the command's name included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Never: a request has a name.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes of the whole request.
    pub fn bytes_len(&self) -> usize {
        self.frame.len()
    }

    /// An argument, 0 for the name; empty when there are fewer. The table's arity says which there are.
    pub fn arg(&self, at: usize) -> &[u8] {
        let Some((from, to)) = self.spans.get(at) else { return &[] };
        &self.frame[*from as usize..*to as usize]
    }

    /// An argument to be kept: it shares the request's memory.
    pub fn shared(&self, at: usize) -> Bytes {
        let Some((from, to)) = self.spans.get(at) else { return Bytes::new() };
        self.frame.slice(*from as usize..*to as usize)
    }

    /// The arguments from `from` on.
    pub fn args(&self, from: usize) -> impl ExactSizeIterator<Item = &[u8]> {
        let spans = self.spans.get(from..).unwrap_or(&[]);
        spans.iter().map(|(from, to)| &self.frame[*from as usize..*to as usize])
    }

    /// Whether an argument is this word, in any case. `word` is in upper case.
    pub fn is(&self, at: usize, word: &str) -> bool {
        self.arg(at).eq_ignore_ascii_case(word.as_bytes())
    }

    /// The same request in memory of its own: for one that is kept long, so that it does not hold on to others that came with it.
    pub fn detached(&self) -> Self {
        Self { frame: Bytes::copy_from_slice(&self.frame), spans: self.spans.clone() }
    }
}
