//! Requests out of bytes: RESP arrays of bulk strings, and inline commands.
//!
//! A [`Parser`] is told the bytes from the first one of a request on, again with more of them as they come, and goes on where it
//! stood: no byte is looked at twice but for a line's end. It answers places in those bytes, copies nothing (but an inline command,
//! whose quotes must be taken off), recurses nowhere, and reserves nothing for a length before its bytes are there. What it refuses
//! it refuses in Redis's words. No I/O here: the parser is a plain function of bytes.

use smallvec::SmallVec;

use super::{inline, number::integer};

/// Longest line: an inline command, or the count or length in front of arguments.
const LINE_MAX: usize = 64 << 10;
/// Most arguments of a request.
pub const ARGUMENTS_MAX: i64 = 1 << 20;
/// Most arguments of a request before authentication.
const ARGUMENTS_MAX_BEFORE: i64 = 10;
/// Longest argument before authentication.
const BULK_MAX_BEFORE: i64 = 16 << 10;

/// Where an argument stands: from its first byte to behind its last.
pub type Span = (u32, u32);
/// The arguments of a request, in their order; few have more than six.
pub type Spans = SmallVec<[Span; 6]>;

/// What may be asked of whoever sends.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Whether the client has said who it is, if it must.
    pub authenticated: bool,
    /// Bytes of a whole request, and so of any argument; below 4 GiB.
    pub request_max: usize,
}

/// What came of a look at the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The request is not complete.
    More,
    /// So many bytes that ask for nothing: an empty line or array.
    Nothing(usize),
    /// A request of so many bytes, its arguments in them.
    Request(usize, Spans),
    /// An inline command of so many bytes, and its arguments in bytes of their own.
    Inline(usize, Vec<u8>, Spans),
}

/// Why the bytes are no request. The connection cannot go on: nobody knows where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// An inline command longer than a line may be.
    InlineTooBig,
    /// Quotes that do not end, or that end inside a word.
    Quotes,
    /// The number of arguments does not end.
    CountTooBig,
    /// The number of arguments is no number, or too large.
    Count,
    /// The same, before authentication.
    CountBefore,
    /// The length of an argument does not end.
    LengthTooBig,
    /// The length of an argument is no number, negative, or too large.
    Length,
    /// The same, before authentication.
    LengthBefore,
    /// Something else where an argument should begin.
    NotBulk(u8),
    /// All arguments together are more than this many bytes.
    RequestTooBig(usize),
}

impl std::fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match self {
            Self::InlineTooBig => "too big inline request",
            Self::Quotes => "unbalanced quotes in request",
            Self::CountTooBig => "too big mbulk count string",
            Self::Count => "invalid multibulk length",
            Self::CountBefore => "unauthenticated multibulk length",
            Self::LengthTooBig => "too big bulk count string",
            Self::Length => "invalid bulk length",
            Self::LengthBefore => "unauthenticated bulk length",
            Self::NotBulk(byte) => {
                return write!(f, "expected '$', got '{}'", char::from(*byte));
            }
            Self::RequestTooBig(max) => return write!(f, "a request of more than {max} bytes"),
        })
    }
}

impl std::error::Error for ProtocolError {}

/// How far a request has been read.
#[derive(Debug, Default)]
pub struct Parser {
    /// Up to here everything is understood.
    at: usize,
    /// Up to here there is no end of the line that begins at `at`.
    searched: usize,
    /// Arguments still to come; 0 before their number is known.
    left: u32,
    /// Bytes of the argument that begins at `at`, if they are known.
    bulk: Option<u32>,
    spans: Spans,
}

impl Parser {
    /// Looks at `input`, which begins with a request's first byte and holds at least what it held at the last call, if that answered
    /// [`Parsed::More`].
    pub fn parse(&mut self, input: &[u8], bounds: Bounds) -> Result<Parsed, ProtocolError> {
        match input.first() {
            None => Ok(Parsed::More),
            Some(b'*') => self.array(input, bounds),
            Some(_) => self.inline(input),
        }
    }

    fn inline(&mut self, input: &[u8]) -> Result<Parsed, ProtocolError> {
        let Some(end) = input[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = input.len();
            return match input.len() > LINE_MAX {
                true => Err(ProtocolError::InlineTooBig),
                false => Ok(Parsed::More),
            };
        };
        let end = self.searched + end;
        if end > LINE_MAX {
            return Err(ProtocolError::InlineTooBig);
        }
        self.searched = 0;
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        let (bytes, spans) = inline::split(line).ok_or(ProtocolError::Quotes)?;
        Ok(match spans.is_empty() {
            true => Parsed::Nothing(end + 1),
            false => Parsed::Inline(end + 1, bytes, spans),
        })
    }

    fn array(&mut self, input: &[u8], bounds: Bounds) -> Result<Parsed, ProtocolError> {
        if self.left == 0 {
            let Some(line) = self.line(input, ProtocolError::CountTooBig)? else {
                return Ok(Parsed::More);
            };
            let count = integer(&line[1..]).filter(|count| *count <= ARGUMENTS_MAX);
            let count = count.ok_or(ProtocolError::Count)?;
            if count > ARGUMENTS_MAX_BEFORE && !bounds.authenticated {
                return Err(ProtocolError::CountBefore);
            }
            if count <= 0 {
                return Ok(Parsed::Nothing(self.finish().0));
            }
            self.left = count as u32;
        }
        while self.left > 0 {
            let len = match self.bulk {
                Some(len) => len as usize,
                None => match self.length(input, bounds)? {
                    Some(len) => len,
                    None => return Ok(Parsed::More),
                },
            };
            let end = self.at + len;
            if input.len() < end + 2 {
                return Ok(Parsed::More);
            }
            self.spans.push((self.at as u32, end as u32));
            // What stands where the line's end should be is not looked at, as Redis does it.
            self.move_to(end + 2);
            self.bulk = None;
            self.left -= 1;
        }
        let (len, spans) = self.finish();
        Ok(Parsed::Request(len, spans))
    }

    /// The length of the next argument; `None` while it is not there in full.
    fn length(&mut self, input: &[u8], bounds: Bounds) -> Result<Option<usize>, ProtocolError> {
        let begin = self.at;
        let Some(line) = self.line(input, ProtocolError::LengthTooBig)? else { return Ok(None) };
        let length = match line {
            [b'$', length @ ..] => integer(length),
            // An empty line: its end stands where '$' should.
            other => {
                let found = other.first().copied().unwrap_or(input[begin]);
                return Err(ProtocolError::NotBulk(found));
            }
        };
        let fits = |length: &i64| (0..=bounds.request_max as i64).contains(length);
        let length = length.filter(fits).ok_or(ProtocolError::Length)?;
        if length > BULK_MAX_BEFORE && !bounds.authenticated {
            return Err(ProtocolError::LengthBefore);
        }
        if self.at + length as usize > bounds.request_max {
            return Err(ProtocolError::RequestTooBig(bounds.request_max));
        }
        self.bulk = Some(length as u32);
        Ok(Some(length as usize))
    }

    /// The line that begins at `at`, without its end, and moves behind it; `None` while its end is not there.
    fn line<'a>(
        &mut self,
        input: &'a [u8],
        too_big: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let begin = self.at;
        let from = self.searched.max(begin);
        let found = input[from..].iter().position(|byte| *byte == b'\r').map(|found| from + found);
        let end = found.unwrap_or(input.len());
        if end - begin > LINE_MAX {
            return Err(too_big);
        }
        self.searched = end;
        if found.is_none() || input.len() < end + 2 {
            return Ok(None);
        }
        self.move_to(end + 2);
        Ok(Some(&input[begin..end]))
    }

    fn move_to(&mut self, at: usize) {
        self.at = at;
        self.searched = at;
    }

    /// The request's length and arguments; the parser is ready for the next one.
    fn finish(&mut self) -> (usize, Spans) {
        let done = std::mem::take(self);
        (done.at, done.spans)
    }

    /// How many bytes from the request's first one on are needed at least before there is more to understand.
    pub fn needed(&self) -> usize {
        self.at + self.bulk.map_or(1, |len| len as usize + 2)
    }
}

#[cfg(test)]
mod tests;
