//! Bytes on the disk: what a folder takes, and what the disk wrote.

use std::{
    fs::{self, File},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
};

/// Bytes that the files of a folder take, as allocated.
pub fn allocated(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => allocated(&entry.path()),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// Bytes that the disk of `dir` has written since the machine started, by anybody's doing; `None` where it is no disk of its own.
pub fn disk_written(dir: &Path) -> Option<u64> {
    let device = fs::metadata(dir).ok()?.dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    stat.split_whitespace().nth(6)?.parse::<u64>().ok().map(|sectors| sectors * 512)
}

/// Brings what the page cache holds of this file system to the disk, so that it counts where it belongs.
pub fn sync(dir: &Path) {
    if let Ok(dir) = File::open(dir) {
        // SAFETY: no memory is involved.
        unsafe { libc::syncfs(dir.as_raw_fd()) };
    }
}
