//! What lies under a device, a file or a directory: sectors, write cache, scheduler, file system, room.

use std::{
    ffi::CString,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use super::check::Check;
use crate::units;

/// All checks of one path.
pub fn checks(path: &Path) -> Vec<Check> {
    let name = path.display().to_string();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return vec![Check::fail(
                name,
                error.to_string(),
                "give a device, or a directory or file that exists",
            )];
        }
    };
    let mut checks = Vec::new();
    let raw = metadata.file_type().is_block_device();
    let device = if raw { metadata.rdev() } else { metadata.dev() };
    if raw {
        checks.extend(mounted(&name, path));
    } else {
        checks.push(file_system(&name, path));
        checks.push(room(&name, path));
    }
    match queue_of(device) {
        Some(queue) => checks.extend(block_device(&name, &queue)),
        None => checks
            .push(Check::ok(format!("{name}: disk"), "none of its own (a virtual file system)")),
    }
    checks
}

/// The folder in /sys that describes the queue of a block device; a partition's is its disk's.
fn queue_of(device: u64) -> Option<PathBuf> {
    let (major, minor) = (libc::major(device), libc::minor(device));
    let folder = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let own = folder.join("queue");
    if own.is_dir() {
        return Some(own);
    }
    Some(folder.parent()?.join("queue")).filter(|queue| queue.is_dir())
}

fn attribute(queue: &Path, name: &str) -> String {
    fs::read_to_string(queue.join(name)).map(|text| text.trim().to_string()).unwrap_or_default()
}

fn block_device(name: &str, queue: &Path) -> Vec<Check> {
    let disk =
        queue.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let name = format!("{name}: disk {disk}");
    vec![
        sector(&name, queue),
        write_cache(&name, queue),
        scheduler(&name, queue),
        rotation(&name, queue),
    ]
}

fn sector(name: &str, queue: &Path) -> Check {
    let (logical, physical) =
        (attribute(queue, "logical_block_size"), attribute(queue, "physical_block_size"));
    let what = format!("{name} sectors");
    let found = format!("{logical} bytes logical, {physical} physical");
    match logical.as_str() {
        "512" | "4096" => Check::ok(what, found),
        _ => Check::fail(what, found, "Cairn writes sectors of 512 or 4096 bytes"),
    }
}

fn write_cache(name: &str, queue: &Path) -> Check {
    let (what, cache) = (format!("{name} write cache"), attribute(queue, "write_cache"));
    match cache.as_str() {
        "write through" => Check::ok(what, "write through: a completed write survives power loss"),
        "write back" => {
            let fua = if attribute(queue, "fua") == "1" { ", with forced unit access" } else { "" };
            Check::ok(
                what,
                format!("write back{fua}: durable writes are flushed before they are acknowledged"),
            )
        }
        _ => Check::warn(what, "unknown", "make sure that the disk honours flushes"),
    }
}

fn scheduler(name: &str, queue: &Path) -> Check {
    let (what, text) = (format!("{name} scheduler"), attribute(queue, "scheduler"));
    let chosen = text.split(['[', ']']).nth(1).unwrap_or(&text).to_string();
    match chosen.as_str() {
        "none" | "" => Check::ok(what, "none"),
        "bfq" | "kyber" | "mq-deadline" if attribute(queue, "rotational") == "0" => {
            let todo = format!(
                "echo none > {}: a scheduler only costs CPU here",
                queue.join("scheduler").display()
            );
            Check::warn(what, chosen, todo)
        }
        _ => Check::ok(what, chosen),
    }
}

fn rotation(name: &str, queue: &Path) -> Check {
    let what = format!("{name} kind");
    match attribute(queue, "rotational").as_str() {
        "0" => Check::ok(what, "flash"),
        _ => Check::warn(
            what,
            "says that it rotates",
            "expect milliseconds per read if that is true; virtual disks often say so",
        ),
    }
}

fn mounted(name: &str, path: &Path) -> Option<Check> {
    let path = fs::canonicalize(path).ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let line = mounts
        .lines()
        .find(|line| line.split(' ').next().is_some_and(|source| Path::new(source) == path))?;
    let place = line.split(' ').nth(1).unwrap_or("?");
    Some(Check::fail(
        format!("{name}: use"),
        format!("mounted at {place}"),
        "unmount it, or give another device: Cairn would overwrite the file system",
    ))
}

fn file_system(name: &str, path: &Path) -> Check {
    let what = format!("{name}: file system");
    let Some(stat) = statfs(path) else {
        return Check::warn(what, "unknown", "statfs failed");
    };
    #[allow(clippy::cast_lossless)]
    let kind = stat.f_type as u64;
    match kind {
        0xef53 => Check::ok(what, "ext4"),
        0x5846_5342 => Check::ok(what, "xfs"),
        0x0102_1994 => {
            Check::warn(what, "tmpfs", "fine for tests; its files are gone after a restart")
        }
        0x9123_683e => Check::warn(
            what,
            "btrfs",
            "set chattr +C on the directory first: copy-on-write makes overwrites slow",
        ),
        0x794c_7630 => Check::warn(
            what,
            "overlayfs",
            "put the data on a volume: a container's own layer is slow and goes with it",
        ),
        0x6969 => Check::fail(what, "NFS", "use a local disk: durability cannot be promised here"),
        other => Check::warn(
            what,
            format!("type {other:#x}"),
            "ext4 and xfs are tested; see that O_DIRECT works",
        ),
    }
}

fn room(name: &str, path: &Path) -> Check {
    let what = format!("{name}: room");
    let Some(stat) = statfs(path) else {
        return Check::warn(what, "unknown", "statfs failed");
    };
    let bytes = stat.f_bavail * stat.f_bsize as u64;
    let found = format!(
        "{} free of {}",
        units::size(bytes),
        units::size(stat.f_blocks * stat.f_bsize as u64)
    );
    if bytes < 1 << 30 {
        return Check::fail(
            what,
            found,
            "make room: a node's files are allocated in full when they are created",
        );
    }
    Check::ok(what, found)
}

fn statfs(path: &Path) -> Option<libc::statfs> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: statfs is plain data, for which zeros are valid.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is a C string that lives through the call, and `stat` a valid place for the answer.
    (unsafe { libc::statfs(path.as_ptr(), &raw mut stat) } == 0).then_some(stat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::State;

    /// A path that is not there must fail the check, so that a typing error is not taken for a healthy disk.
    #[test]
    fn a_missing_path_fails() {
        assert_eq!(checks(Path::new("/no/such/place"))[0].state, State::Fail);
    }

    /// Each disk attribute is judged by what it says, from a folder that looks like the one in /sys.
    #[test]
    fn disk_attributes_are_judged() {
        let folder = tempfile::tempdir().unwrap();
        let queue = folder.path().join("nvme0n1").join("queue");
        fs::create_dir_all(&queue).unwrap();
        for (name, text) in [
            ("logical_block_size", "520"),
            ("physical_block_size", "4096"),
            ("write_cache", "write back"),
            ("fua", "1"),
            ("scheduler", "none [mq-deadline] kyber"),
            ("rotational", "0"),
        ] {
            fs::write(queue.join(name), format!("{text}\n")).unwrap();
        }
        let states: Vec<State> =
            block_device("x", &queue).iter().map(|check| check.state).collect();
        assert_eq!(states, [State::Fail, State::Ok, State::Warn, State::Ok]);
    }
}
