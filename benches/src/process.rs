//! What this process uses: memory, processor time, bytes written. Linux only, as the engine is.

use std::{fs, time::Duration};

/// Resident memory of this process, in bytes.
pub fn resident_bytes() -> u64 {
    field("/proc/self/status", "VmRSS:") * 1024
}

/// The most that [`resident_bytes`] ever was.
pub fn peak_resident_bytes() -> u64 {
    field("/proc/self/status", "VmHWM:") * 1024
}

/// Bytes that this process, all its threads, caused to be written: direct writes, and pages it made dirty.
pub fn written_bytes() -> u64 {
    field("/proc/self/io", "write_bytes:")
}

/// User and system time of this process, all its threads, I/O workers of its rings included.
pub fn cpu_time() -> Duration {
    // SAFETY: the kernel fills the struct; all zeros is a valid one.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// The number behind `name` in a file of `/proc`; 0 where there is none.
fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
