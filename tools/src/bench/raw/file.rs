//! A file or device that raw jobs read and write.
//!
//! Held under the lock that the engine's own devices have, so that no namespace is measured, or written over, while it is in use.

use std::{
    fs::{File, OpenOptions},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    sync::Arc,
};

use cairn_engine::device::{
    AlignedBuf, Device, FileDevice, Geometry, IoChoice, IoEngine, IoKind, OpenMode,
};

use crate::{
    bench::{interrupt, job::Job, random::Random},
    failure::{Doing, Failure, Result},
    units,
};

/// Size of a file that is created, if the job does not say.
const FILE_SIZE: u64 = 1 << 30;
/// Written at once when a file is laid out.
const LAYOUT: usize = 1 << 20;

/// An open file or device.
#[derive(Debug)]
pub struct RawFile {
    /// What requests go to.
    pub file: File,
    geometry: Geometry,
    /// Whether it goes past the page cache.
    direct: bool,
    /// Bytes at its front that are used.
    size: u64,
    /// Keeps others away.
    _lock: Arc<FileDevice>,
}

impl RawFile {
    /// Opens it for jobs of which some may write.
    pub fn open(job: &Job, writes: bool) -> Result<Self> {
        let path = job.filename();
        let what = format!("opening {}", path.display());
        let io = IoEngine::choose(IoChoice::Auto).doing("choosing the I/O engine")?;
        if io.kind != IoKind::Uring {
            return Err(Failure::new(
                "a raw job needs io_uring, which this machine does not allow",
            )
            .next("`cairn doctor` tells why; the embedded engine works without it"));
        }
        let created = !path.exists();
        if writes && !created && !job.overwrite {
            return Err(Failure::new(format!(
                "{} exists, and this job would write over it",
                path.display()
            ))
            .next("name a file that does not exist, or say --overwrite (overwrite=1 in the job)"));
        }
        let mode = match (created, writes) {
            (true, _) => {
                OpenMode::Create { size: job.size.unwrap_or(FILE_SIZE).next_multiple_of(4096) }
            }
            (false, true) => OpenMode::ReadWrite,
            (false, false) => OpenMode::ReadOnly,
        };
        let lock = FileDevice::open(path, mode, &io).doing(&what)?;
        let direct = job.direct && lock.direct();
        let flags = if direct { libc::O_DIRECT } else { 0 };
        let file =
            OpenOptions::new().read(true).write(writes || created).custom_flags(flags).open(path);
        let geometry = lock.geometry();
        let size = job.size.unwrap_or(u64::MAX).min(geometry.size);
        let raw = Self { file: file.doing(&what)?, geometry, direct, size, _lock: lock };
        if created {
            raw.lay_out().inspect_err(|_| drop(std::fs::remove_file(path)))?;
        }
        Ok(raw)
    }

    /// Fills a new file with noise: what was never written is read without asking the device.
    fn lay_out(&self) -> Result {
        eprintln!("laying out a file of {}", units::size(self.size));
        let mut buffer = AlignedBuf::new(LAYOUT);
        noise(&mut buffer);
        let mut offset = 0;
        while offset < self.size && !interrupt::requested() {
            let len = (self.size - offset).min(LAYOUT as u64);
            buffer[..8].copy_from_slice(&offset.to_le_bytes());
            // SAFETY: the buffer holds `len` bytes and outlives the call.
            let wrote = unsafe {
                libc::pwrite(
                    self.file.as_raw_fd(),
                    buffer.as_ptr().cast(),
                    len as usize,
                    offset as i64,
                )
            };
            match u64::try_from(wrote) {
                Ok(wrote) if wrote > 0 => offset += wrote,
                _ => return Err(std::io::Error::last_os_error()).doing("laying out the file"),
            }
        }
        self.file.sync_data().doing("laying out the file")
    }

    /// Whether it goes past the page cache.
    pub fn direct(&self) -> bool {
        self.direct
    }

    /// The bytes of a transfer: whole sectors.
    pub fn rounded(&self, size: u64, write: bool) -> u64 {
        let sector = if write { self.geometry.sector } else { self.geometry.read_sector };
        size.max(1).next_multiple_of(sector.into())
    }

    /// How far apart transfers of a job begin.
    pub fn step(&self, job: &Job) -> u64 {
        self.rounded(job.sizes().bounds().0, job.mix().writes())
    }

    /// The longest transfer of a job.
    pub fn longest(&self, job: &Job) -> u64 {
        self.rounded(job.sizes().bounds().1, true)
    }

    /// How many places a transfer of a job may begin at.
    pub fn places(&self, job: &Job) -> Result<u64> {
        match self.size.checked_sub(self.longest(job)) {
            Some(rest) => Ok(rest / self.step(job) + 1),
            None => Err(Failure::new(format!(
                "{}: {} of it are too small for transfers of {}",
                job.filename().display(),
                units::size(self.size),
                units::size(self.longest(job))
            ))),
        }
    }
}

/// Fills memory with bytes that no device can compress.
pub fn noise(buffer: &mut [u8]) {
    let mut random = Random::new(1);
    buffer.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&random.next().to_le_bytes()));
}
