//! What the operating system says about this process.

use std::fs;

const PAGE: u64 = 4096;
/// Linux shows clock ticks to programs as hundredths of a second, on every architecture.
const TICK_MICROS: u64 = 10_000;

/// Resident memory in bytes; 0 when it cannot be told.
pub fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.map_or(0, |pages| pages * PAGE)
}

/// CPU time used so far, user and system, in microseconds; 0 when it cannot be told.
pub fn cpu_micros() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    stat.and_then(|text| cpu_ticks(&text)).map_or(0, |ticks| ticks * TICK_MICROS)
}

/// The same apart: user, then system.
pub fn cpu_split_micros() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let (user, system) = stat.and_then(|text| cpu_split_ticks(&text)).unwrap_or_default();
    (user * TICK_MICROS, system * TICK_MICROS)
}

/// The most memory that was ever resident, in bytes; 0 when it cannot be told.
pub fn peak_bytes() -> u64 {
    kilobytes("/proc/self/status", "VmHWM:")
}

/// The machine's memory in bytes; 0 when it cannot be told.
pub fn machine_bytes() -> u64 {
    kilobytes("/proc/meminfo", "MemTotal:")
}

/// The value in kB that a line of this file begins with, in bytes.
fn kilobytes(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.map_or(0, |kilobytes| kilobytes * 1024)
}

/// Fields 14 and 15, counted behind the program's name, which may itself have spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    cpu_split_ticks(stat).map(|(user, system)| user + system)
}

fn cpu_split_ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program's name cannot move the fields that are read.
    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 1 1 0 -1 4194560 9 0 0 0 30 12 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(42));
    }
}
