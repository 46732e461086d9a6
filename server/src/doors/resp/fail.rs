//! What commands fail with, in the words that clients of Redis know: a code word, then text.

use std::borrow::Cow;

use cairn_engine::Error;

/// Why a command was not done: the error's line without the '-' in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fail(Cow<'static, [u8]>);

/// What commands answer with.
pub type Done = Result<(), Fail>;

/// Options that do not fit each other or are not known.
pub const SYNTAX: Fail = Fail::text("ERR syntax error");
/// An argument that should be a whole number.
pub const NOT_AN_INTEGER: Fail = Fail::text("ERR value is not an integer or out of range");
/// An argument that should be a number.
pub const NOT_A_FLOAT: Fail = Fail::text("ERR value is not a valid float");
/// The key holds another kind of value.
pub const WRONG_TYPE: Fail =
    Fail::text("WRONGTYPE Operation against a key holding the wrong kind of value");
/// A result that would not fit.
pub const OVERFLOW: Fail = Fail::text("ERR increment or decrement would overflow");
/// A string longer than can be.
pub const TOO_LONG: Fail =
    Fail::text("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
/// The key that must be there is not.
pub const NO_SUCH_KEY: Fail = Fail::text("ERR no such key");
/// A database that there is not.
pub const NO_DATABASE: Fail = Fail::text("ERR DB index is out of range");
/// A command before authentication.
pub const NO_AUTH: Fail = Fail::text("NOAUTH Authentication required.");
/// An answer longer than can be.
pub const TOO_LONG_ANSWER: Fail =
    Fail::text("ERR the answer is more than 64 MiB; ask for less at once");
/// The keys of the command were changed by others at every attempt.
pub const CONTENDED: Fail =
    Fail::text("BUSY others changed these keys at every attempt; nothing was applied, try again");

impl Fail {
    /// A fixed error: code word and text.
    pub const fn text(text: &'static str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }

    /// An error put together.
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    /// The error's line without the '-' in front.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The code word in front.
    pub fn code(&self) -> &[u8] {
        self.0.split(|byte| *byte == b' ').next().unwrap_or(&[])
    }

    /// An expiry that makes no sense for this command.
    pub fn expire_time(command: &str) -> Self {
        Self::new(format!("ERR invalid expire time in '{command}' command"))
    }

    /// EXEC that is refused itself: what was queued is gone.
    pub fn exec_aborted(why: &Self) -> Self {
        let mut text = b"EXECABORT Transaction discarded because of: ".to_vec();
        text.extend_from_slice(why.0.strip_prefix(b"ERR ").unwrap_or(&why.0));
        Self::new(text)
    }

    /// What a client sent as an error shows it: up to a zero byte, as text ends in C, and at most `most` bytes.
    pub fn shown(bytes: &[u8], most: usize) -> &[u8] {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
        &text[..text.len().min(most)]
    }

    /// The failure of a later part, when earlier ones are done.
    pub fn half_way(&self) -> Self {
        Self::new([self.bytes(), b"; a part of it is done"].concat())
    }

    /// Too few or too many arguments.
    pub fn arity(command: &str) -> Self {
        Self::new(format!("ERR wrong number of arguments for '{command}' command"))
    }
}

/// The engine's failures. The code word `INDOUBT` is Cairn's own: the write may have been applied.
impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        let word = match &error {
            _ if error.in_doubt() => "INDOUBT",
            Error::NoSpace { .. } => return Self::new(format!("OOM command not allowed: {error}")),
            Error::Corruption { .. } | Error::ReadFailed { .. } => "IOERR",
            Error::DeviceFailed { .. } => "MISCONF",
            Error::Stopping { .. } => "LOADING",
            Error::TooManyTruncations(_) => "BUSY",
            _ => "ERR",
        };
        Self::new(format!("{word} {error}"))
    }
}
