//! Sizes, counts and times as fio writes them. Pure functions; what is not understood is refused in words.

use std::time::Duration;

/// A size in bytes: `512`, `4k`, `4KiB`, `1.5g`. Every suffix counts in 1024s, as fio's do.
pub fn bytes(text: &str) -> Result<u64, String> {
    let (number, suffix) = split(text);
    let suffix = suffix.to_ascii_lowercase();
    let suffix = suffix.strip_suffix('b').unwrap_or(&suffix);
    let suffix = suffix.strip_suffix('i').unwrap_or(suffix);
    let shift = match suffix {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("{text:?} is not a size, as in 512, 4k, 1m, 2g")),
    };
    scaled(number, (1u64 << shift) as f64)
        .ok_or_else(|| format!("{text:?} is not a size, as in 512, 4k, 1m, 2g"))
}

/// A count: `1000`, `10k`, `2m`. Suffixes count in thousands.
pub fn count(text: &str) -> Result<u64, String> {
    let (number, suffix) = split(text);
    let factor = match suffix.to_ascii_lowercase().as_str() {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        _ => return Err(format!("{text:?} is not a count, as in 1000, 10k, 2m")),
    };
    scaled(number, factor).ok_or_else(|| format!("{text:?} is not a count, as in 1000, 10k, 2m"))
}

/// A time: `30` and `30s` are seconds; `us`, `ms`, `m`, `h` and `d` are known too.
pub fn time(text: &str) -> Result<Duration, String> {
    let (number, suffix) = split(text);
    let factor = match suffix.to_ascii_lowercase().as_str() {
        "us" | "usec" => 1e-6,
        "ms" | "msec" => 1e-3,
        "" | "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(format!("{text:?} is not a time, as in 30, 500ms, 10s, 5m")),
    };
    let seconds: Option<f64> = number.parse().ok();
    seconds
        .map(|seconds| seconds * factor)
        .filter(|seconds| seconds.is_finite() && (0.0..=1e9).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("{text:?} is not a time, as in 30, 500ms, 10s, 5m"))
}

/// A rate a second: a number above 0, with a count's suffixes.
pub fn rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a rate a second, as in 2000 or 10k");
    let (number, suffix) = split(text);
    let factor = match suffix.to_ascii_lowercase().as_str() {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        _ => return Err(wrong()),
    };
    let rate = number.parse::<f64>().map_err(|_| wrong())? * factor;
    if rate > 0.0 && rate <= 1e9 { Ok(rate) } else { Err(wrong()) }
}

/// A whole number within bounds.
pub fn within(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = count(text)?;
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(format!("{text:?} is outside {least} to {most}"))
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(digits)
}

/// Whole numbers exactly, others as near as a double is.
fn scaled(number: &str, factor: f64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor as u64);
    }
    let scaled = number.parse::<f64>().ok()? * factor;
    (scaled.is_finite() && (0.0..1e18).contains(&scaled)).then_some(scaled as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job file that fio reads means the same here.
    #[test]
    fn suffixes_are_those_of_fio() {
        let sizes = ["512", "4k", "4KiB", "4kb", "1m", "1.5g"].map(bytes);
        let wanted = [512, 4096, 4096, 4096, 1 << 20, 3 << 29];
        assert_eq!(sizes, wanted.map(Ok));
        assert_eq!(["1000", "10k", "2m"].map(count), [1000, 10_000, 2_000_000].map(Ok));
        let times = ["30", "500ms", "2m", "1.5"].map(time);
        assert_eq!(times, [30_000, 500, 120_000, 1500].map(|ms| Ok(Duration::from_millis(ms))));
        assert_eq!(rate("23.4"), Ok(23.4));
    }

    /// What is not a number is refused, never taken for 0.
    #[test]
    fn nonsense_is_refused() {
        for text in ["", "k", "-1", "4x", "1e9", "99999999999999999999", "99999999999g", ".", "4 k"]
        {
            assert!(bytes(text).is_err(), "{text:?}");
        }
        for text in ["", "k", "-1", "4x", "1e9", "99999999999999999999", "."] {
            assert!(count(text).is_err() && time(text).is_err(), "{text:?}");
        }
        assert!(rate("0").is_err() && within("0", 1, 9).is_err() && within("10", 1, 9).is_err());
    }
}
