//! A control group that bounds the memory of one child, page cache included: the only bound that engines without direct I/O have.
//!
//! The group is made below this process's own, so that whatever bounds that one goes on doing so, and is removed at the end.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A group for one child.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// A group of at most `bytes`; `None` where this process may not make one.
    pub fn make(bytes: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        own.lines().filter_map(place).find_map(|(parent, limit)| {
            let group = Self(parent.join(format!("cairn-compare-{}", std::process::id())));
            fs::create_dir(&group.0).ok()?;
            // From here on the group is removed if it cannot serve.
            fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            Some(group)
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Nothing depends on it.
        let _ = fs::remove_dir(&self.0);
    }
}

/// The folder of a hierarchy that has memory, from a line of `/proc/self/cgroup`, and the name of its limit.
fn place(line: &str) -> Option<(PathBuf, &'static str)> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
    match controllers {
        "" => Some((Path::new("/sys/fs/cgroup").join(path), "memory.max")),
        _ if controllers.split(',').any(|name| name == "memory") => {
            Some((Path::new("/sys/fs/cgroup/memory").join(path), "memory.limit_in_bytes"))
        }
        _ => None,
    }
}

/// Puts this process into a group.
///
/// # Errors
///
/// Those of the kernel: the group may be gone, or not ours.
pub fn enter(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), std::process::id().to_string())
}
