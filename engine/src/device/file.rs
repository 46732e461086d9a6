//! A raw block device or a file as a [`Device`].
//!
//! Owns: the open, locked descriptor and what is known about it. Sends each request to the ring of the thread
//! that asks, if there is one and the engine was chosen so, else to the pool.
//!
//! Invariants: nothing reaches the kernel that is outside the device or not aligned; a device opened read-only
//! takes no write; the lock is held until the last request has let go of the file. Concurrency: any thread may
//! use a device; it holds no lock of its own.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    AlignedBuf, Completer, Completion, Device, Geometry, IoEngine, IoKind, Region,
    open::{self, Opened},
    open_file::OpenFiles,
    pool, reactor,
    request::{self, Request, Work},
};

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// To read and write, locked against everybody else.
    ReadWrite,
    /// To read only, next to other readers.
    ReadOnly,
    /// To read and write a new file of this many bytes, all of them allocated.
    Create {
        /// Bytes to allocate.
        size: u64,
    },
}

/// A block device or a file.
#[derive(Debug)]
pub struct FileDevice {
    name: String,
    path: PathBuf,
    files: OpenFiles,
    geometry: Geometry,
    direct: bool,
    block_device: bool,
    writable: bool,
    uring: bool,
}

impl FileDevice {
    /// Opens a block device or a file, or creates a file. The sector is the device's own; see the module
    /// `open`.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` if another process (or another open in this one) uses it; `AlreadyExists` if a file to be
    /// created is there; `StorageFull` if the file system has no room for it; `Unsupported` for sectors other
    /// than 512 and 4096 or for what is neither a block device nor a file; and whatever the system says.
    pub fn open(path: &Path, mode: OpenMode, engine: &IoEngine) -> io::Result<Arc<FileDevice>> {
        Self::open_as(path, mode, engine, None)
    }

    /// As [`FileDevice::open`], with a sector of one's own choice, which the device or file system must allow.
    ///
    /// # Errors
    ///
    /// As [`FileDevice::open`], and `InvalidInput` if the sector is smaller than the device allows.
    pub fn open_with_sector(
        path: &Path,
        mode: OpenMode,
        engine: &IoEngine,
        sector: u32,
    ) -> io::Result<Arc<FileDevice>> {
        Self::open_as(path, mode, engine, Some(sector))
    }

    fn open_as(
        path: &Path,
        mode: OpenMode,
        engine: &IoEngine,
        sector: Option<u32>,
    ) -> io::Result<Arc<FileDevice>> {
        let Opened { file, geometry, direct, block_device } = open::open(path, mode, sector)?;
        Ok(Arc::new(FileDevice {
            name: path.display().to_string(),
            path: path.to_owned(),
            files: OpenFiles::new(file),
            geometry,
            direct,
            block_device,
            writable: mode != OpenMode::ReadOnly,
            uring: engine.kind == IoKind::Uring,
        }))
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether I/O goes past the page cache. Without it the page cache takes RAM and CPU, but promises hold all
    /// the same.
    #[must_use]
    pub fn direct(&self) -> bool {
        self.direct
    }

    /// Whether it is a block device, not a file.
    #[must_use]
    pub fn is_block_device(&self) -> bool {
        self.block_device
    }

    fn request(&self, offset: u64, len: usize, work: Work) -> Request {
        Request {
            file: self.files.mine(),
            sector: self.geometry.sector,
            offset,
            len,
            moved: 0,
            work,
        }
    }

    /// Starts a request that passed its checks.
    fn send<T>(
        &self,
        offset: u64,
        len: usize,
        work: impl FnOnce(Completer<T>) -> Work,
    ) -> Completion<T> {
        let (done, completion) = Completion::pair();
        let request = self.request(offset, len, work(done));
        let left = if self.uring { reactor::submit(request) } else { Err(request) };
        if let Err(request) = left {
            pool::submit(request);
        }
        completion
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem)) }
    }
}

impl Device for FileDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&self, buffer: AlignedBuf, len: usize, offset: u64) -> Completion<AlignedBuf> {
        match request::check_read(self.geometry, &buffer, len, offset) {
            Err(error) => Completion::ready(Err(error)),
            Ok(()) if len == 0 => Completion::ready(Ok(buffer)),
            Ok(()) => self.send(offset, len, |done| Work::Read { buffer, done }),
        }
    }

    fn write(
        &self,
        source: &Arc<Region>,
        start: usize,
        len: usize,
        offset: u64,
        durable: bool,
    ) -> Completion<()> {
        let checked = self
            .check_writable()
            .and_then(|()| request::check_write(self.geometry, source, start, len, offset));
        match checked {
            Err(error) => Completion::ready(Err(error)),
            Ok(()) if len == 0 => Completion::ready(Ok(())),
            Ok(()) => {
                let source = Arc::clone(source);
                self.send(offset, len, |done| Work::Write { source, start, durable, done })
            }
        }
    }

    fn sync(&self) -> Completion<()> {
        if !self.writable {
            return Completion::ready(Ok(()));
        }
        self.send(0, 0, |done| Work::Sync { done })
    }

    fn can_discard(&self) -> bool {
        self.block_device
    }

    fn discard(&self, offset: u64, len: u64) -> Completion<()> {
        let checked =
            self.check_writable().and_then(|()| request::check_range(self.geometry, offset, len));
        // Punching a hole in a file would give away space that was allocated on purpose.
        if checked.is_err() || !self.block_device || len == 0 {
            return Completion::ready(checked);
        }
        let (done, completion) = Completion::pair();
        let len = usize::try_from(len).expect("a device is smaller than the address space");
        pool::submit(self.request(offset, len, Work::Discard { done }));
        completion
    }
}
