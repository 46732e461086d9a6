//! Sizes such as "1MiB" and durations such as "90s": read, and written back.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// Bytes, written as a number or as text with a unit.
#[derive(Clone, Copy)]
pub struct Size(pub u64);

/// A duration, written as text with a unit, or "0".
#[derive(Clone, Copy)]
pub struct Time(pub Duration);

const SIZES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
    ("", 1),
];

const TIMES: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a size: a whole number and B, kB, MB, GB, TB, KiB, MiB, GiB or TiB; no unit means bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let unit = SIZES.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
    let bytes = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    bytes.ok_or_else(|| {
        format!("{text:?} is not a size: write for instance \"64KiB\", \"1MiB\" or \"4GiB\"")
    })
}

/// Reads a duration: a whole number and ms, s, m, h or d; "0" needs no unit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let unit = match (number, unit) {
        (Some(0), "") => Some(1),
        _ => TIMES.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms),
    };
    let ms = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    ms.map(Duration::from_millis).ok_or_else(|| {
        format!("{text:?} is not a duration: write for instance \"500ms\", \"90s\", \"12h\", \"30d\" or \"0\"")
    })
}

/// Writes a size with the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    let unit = SIZES[..4].iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// Writes a duration with the largest unit that divides it.
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis() as u64;
    let unit = TIMES.iter().rev().find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit));
    unit.map_or_else(|| "0".into(), |(name, unit)| format!("{}{name}", ms / unit))
}

fn split(text: &str) -> (Option<u64>, &str) {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..digits].parse().ok(), text[digits..].trim_start())
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a text such as \"1MiB\" or \"90s\", or a whole number of at least 0"
)]
enum Written {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Written::deserialize(from)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => parse_size(&text).map(Self).map_err(D::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Written::deserialize(from)? {
            Written::Number(0) => Ok(Self(Duration::ZERO)),
            Written::Number(number) => {
                parse_duration(&number.to_string()).map(Self).map_err(D::Error::custom)
            }
            Written::Text(text) => parse_duration(&text).map(Self).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written is read back the same, so that a printed configuration means what the node runs with.
    #[test]
    fn sizes_and_durations_come_back() {
        for bytes in [0, 1, 1000, 1024, 1 << 20, 3 << 30, 1 << 44, 12_345] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
        for ms in [0, 1, 999, 1000, 90_000, 86_400_000, 30 * 86_400_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }

    /// A typing error must not silently become another size or time.
    #[test]
    fn nonsense_is_refused() {
        for text in ["", "MiB", "1 mib", "-1", "1.5GiB", "99999999999GiB", "1MiB2"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for text in ["", "5", "s", "1 week", "-1s", "99999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
