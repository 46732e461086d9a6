//! When a value is to end, as commands say it.

use cairn_engine::model::VoidTime;

use super::{
    fail::{Fail, NOT_AN_INTEGER},
    number::integer,
};

/// How a command counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Whether in seconds; in milliseconds otherwise.
    pub seconds: bool,
    /// Whether since 1970; from now on otherwise.
    pub absolute: bool,
}

impl Unit {
    /// Seconds from now.
    pub const EX: Self = Self { seconds: true, absolute: false };
    /// Milliseconds from now.
    pub const PX: Self = Self { seconds: false, absolute: false };
    /// Seconds since 1970.
    pub const EXAT: Self = Self { seconds: true, absolute: true };
    /// Milliseconds since 1970.
    pub const PXAT: Self = Self { seconds: false, absolute: true };

    /// The instant in milliseconds since 1970, perhaps long past; `None` when no 64-bit number holds it.
    pub fn instant(self, number: i64, now_ms: u64) -> Option<i64> {
        let ms = if self.seconds { number.checked_mul(1000)? } else { number };
        if self.absolute { Some(ms) } else { ms.checked_add_unsigned(now_ms) }
    }

    /// When a value that `command` writes ends: in the future or not, but told by a number above 0.
    pub fn end(self, text: &[u8], now_ms: u64, command: &str) -> Result<VoidTime, Fail> {
        let number = integer(text).ok_or(NOT_AN_INTEGER)?;
        let instant = (number > 0).then(|| self.instant(number, now_ms)).flatten();
        instant.and_then(void_time).ok_or_else(|| Fail::expire_time(command))
    }
}

/// An instant as records keep it; later ones than can be kept are the latest that can. `None` when it is not after 1970.
pub fn void_time(ms: i64) -> Option<VoidTime> {
    let ms = u64::try_from(ms).ok().filter(|ms| *ms > 0)?;
    Some(VoidTime(ms.min(VoidTime::MAX_MS)))
}
