//! Kernel, I/O engine, limits and huge pages.

use std::fs;

use cairn_engine::device::{IoChoice, IoEngine, IoKind};

use super::check::Check;
use crate::units;

/// Descriptors that a node with many connections needs.
const DESCRIPTORS: u64 = 4096;
/// Locked memory for the registered buffers of a node's rings.
const LOCKED: u64 = 64 << 20;

/// All checks of the system.
pub fn checks() -> Vec<Check> {
    vec![kernel(), io_engine(), locked_memory(), descriptors(), huge_pages(), memory()]
}

fn kernel() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut parts =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let version: (u32, u32) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let what = "kernel";
    if version < (5, 10) {
        Check::fail(what, release, "Cairn needs Linux 5.10 or newer; 6.1 or newer is better")
    } else if version < (6, 1) {
        Check::warn(what, release, "Linux 6.1 or newer makes io_uring cheaper")
    } else {
        Check::ok(what, release)
    }
}

fn io_engine() -> Check {
    let what = "I/O engine";
    match IoEngine::choose(IoChoice::Auto) {
        Ok(engine) if engine.kind == IoKind::Uring => {
            Check::ok(what, format!("{}: {}", engine.kind, engine.reason))
        }
        Ok(engine) => Check::warn(
            what,
            format!("{}: {}", engine.kind, engine.reason),
            "allow io_uring (sysctl kernel.io_uring_disabled=0, and in containers a seccomp profile that \
             permits it): the thread pool costs two to three times the CPU",
        ),
        Err(error) => Check::fail(what, error.to_string(), "see `cairn serve --io-engine pool`"),
    }
}

/// The soft limit of a resource; `None` for no limit.
fn limit(resource: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for one rlimit, and getrlimit writes nothing else.
    let done = unsafe { libc::getrlimit(resource, &raw mut limit) } == 0;
    (!done || limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

fn locked_memory() -> Check {
    let what = "locked memory";
    match limit(libc::RLIMIT_MEMLOCK) {
        Some(bytes) if bytes < LOCKED => Check::warn(
            what,
            format!("limit {}", units::size(bytes)),
            format!(
                "raise it to {} (ulimit -l, LimitMEMLOCK=): registered buffers make large writes cheaper",
                units::size(LOCKED)
            ),
        ),
        Some(bytes) => Check::ok(what, format!("limit {}", units::size(bytes))),
        None => Check::ok(what, "no limit"),
    }
}

fn descriptors() -> Check {
    let what = "open files";
    match limit(libc::RLIMIT_NOFILE) {
        Some(files) if files < DESCRIPTORS => Check::warn(
            what,
            format!("limit {}", units::count(files)),
            format!(
                "raise it to {DESCRIPTORS} or more (ulimit -n, LimitNOFILE=): each connection takes one"
            ),
        ),
        Some(files) => Check::ok(what, format!("limit {}", units::count(files))),
        None => Check::ok(what, "no limit"),
    }
}

fn huge_pages() -> Check {
    let what = "transparent huge pages";
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    let Ok(text) = fs::read_to_string(path) else {
        return Check::warn(
            what,
            "not in this kernel",
            "reads pay a few more cache misses in the index",
        );
    };
    let chosen = text.split(['[', ']']).nth(1).unwrap_or("unknown").to_string();
    if chosen == "never" {
        let todo = format!("echo madvise > {path}: the index then lies on huge pages");
        return Check::warn(what, chosen, todo);
    }
    Check::ok(what, chosen)
}

fn memory() -> Check {
    let what = "memory";
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    let (Some(total), Some(free)) = (field("MemTotal:"), field("MemAvailable:")) else {
        return Check::warn(what, "unknown", "/proc/meminfo could not be read");
    };
    // 24 bytes a record, and half of the memory left to buffers, connections and the system.
    let records = free / 2 / 24 / 1_000_000;
    let found = format!(
        "{} of {} available: room for the index of {records} million records",
        units::size(free),
        units::size(total)
    );
    Check::ok(what, found)
}
