//! Sizes, counts and times as people write and read them. Sizes and durations are read as in a node's configuration.

use std::time::Duration;

pub use cairn_server::config::parse_size;

/// Parses a duration as a configuration has it; a bare number counts seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => cairn_server::config::parse_duration(text),
    }
}

const SIZES: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `1.5 GiB`.
pub fn size(bytes: u64) -> String {
    let (unit, factor) = SIZES.into_iter().find(|(_, factor)| bytes >= *factor).unwrap_or(SIZES[4]);
    if factor == 1 {
        return format!("{bytes} B");
    }
    format!("{:.1} {unit}", bytes as f64 / factor as f64)
}

/// `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `2d 3h`, `4m 5s`, `1.5 s`, `12 ms`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `part` of `whole` in per cent; 0 of nothing.
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number without a unit counts seconds on the command line; units are those of the configuration.
    #[test]
    fn durations_are_read_as_written() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("2d"), Ok(Duration::from_secs(172_800)));
        assert!(parse_duration("1w").is_err() && parse_duration("").is_err());
    }

    /// Figures are grouped so that a reader cannot take a million for a hundred thousand.
    #[test]
    fn figures_are_grouped() {
        let counts = [0, 999, 1000, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1023, 3 << 29].map(size), ["0 B", "1023 B", "1.5 GiB"]);
    }
}
