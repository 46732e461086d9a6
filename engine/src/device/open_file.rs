//! The open file of a device, shared by the requests of all threads.
//!
//! Owns: the descriptor, until the last request has let go of it.
//!
//! Concurrency: every request of every thread holds a share. Counted at one place, the count's cache line would go from
//! core to core with each of them; so each thread has its own count, and the counts together hold the file.

use std::{
    fs::File,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
};

use crossbeam::utils::CachePadded;

use crate::counter::{SHARDS, shard};

/// A share of a device's file.
#[derive(Clone, Debug)]
pub(super) struct OpenFile(Arc<CachePadded<Shared>>);

#[derive(Debug)]
struct Shared {
    fd: RawFd,
    /// Keeps `fd` open.
    _file: Arc<File>,
}

impl OpenFile {
    /// A share whose references are counted apart from those of other shares of `file`.
    pub(super) fn new(file: Arc<File>) -> OpenFile {
        OpenFile(Arc::new(CachePadded::new(Shared { fd: file.as_raw_fd(), _file: file })))
    }
}

impl AsRawFd for OpenFile {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd
    }
}

/// A share for each thread.
#[derive(Debug)]
pub(super) struct OpenFiles([OpenFile; SHARDS]);

impl OpenFiles {
    pub(super) fn new(file: File) -> OpenFiles {
        let file = Arc::new(file);
        OpenFiles(std::array::from_fn(|_| OpenFile::new(Arc::clone(&file))))
    }

    /// The calling thread's share.
    pub(super) fn mine(&self) -> OpenFile {
        self.0[shard()].clone()
    }
}
