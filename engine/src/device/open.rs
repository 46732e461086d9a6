//! How a block device or a file is opened, created, locked and measured.
//!
//! Owns: every system call that `FileDevice` makes before its first request.
//!
//! Sectors: a block device has its logical sector, or 4096 if its physical one is 4096, because a smaller write
//! would be a read-modify-write inside the device, and would put neighbours at risk. A file has what its file
//! system asks of direct I/O, but 4096 if that is its block. Invariants: `O_DIRECT` wherever the file system
//! can; a file that could not be created whole is removed again. Concurrency: `flock` keeps two processes, and
//! two opens in one, apart.

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    mem::MaybeUninit,
    os::{
        fd::AsRawFd,
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
        },
    },
    path::Path,
};

use super::{Geometry, OpenMode, request::invalid};

/// `_IOR(0x12, 114, size_t)`: the size of a block device in bytes.
const BLKGETSIZE64: libc::Ioctl = 0x8008_1272;

const SMALL_SECTOR: u32 = 512;
const LARGE_SECTOR: u32 = 4096;

/// An open device, locked.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) geometry: Geometry,
    pub(super) direct: bool,
    pub(super) block_device: bool,
}

/// Opens or creates; `sector` overrides the device's own.
pub(super) fn open(path: &Path, mode: OpenMode, sector: Option<u32>) -> io::Result<Opened> {
    let OpenMode::Create { size } = mode else {
        return open_existing(path, mode, sector);
    };
    create(path, size)?;
    open_existing(path, OpenMode::ReadWrite, sector).inspect_err(|_| remove(path))
}

fn open_existing(path: &Path, mode: OpenMode, sector: Option<u32>) -> io::Result<Opened> {
    let kind = fs::metadata(path).map_err(|error| at(path, &error))?.file_type();
    let block_device = kind.is_block_device();
    if !block_device && !kind.is_file() {
        return Err(unsupported(format!(
            "{} is neither a block device nor a file",
            path.display()
        )));
    }
    let (file, direct) = open_direct(path, mode, block_device)?;
    lock(&file, path, mode)?;
    let found =
        if block_device { measure_block_device(&file)? } else { measure_file(&file, direct)? };
    // A sector of one's own choice is the device's for everything; its own may be larger than what reads need.
    let own_read_sector = if sector.is_none() { found.smallest } else { u32::MAX };
    let sector = choose_sector(path, &found, sector)?;
    let read_sector = own_read_sector.clamp(SMALL_SECTOR, sector);
    let size = found.size / u64::from(sector) * u64::from(sector);
    Ok(Opened { file, geometry: Geometry { size, sector, read_sector }, direct, block_device })
}

/// Opens with `O_DIRECT`, or without it where the file system refuses.
fn open_direct(path: &Path, mode: OpenMode, block_device: bool) -> io::Result<(File, bool)> {
    let writable = mode != OpenMode::ReadOnly;
    // On a block device O_EXCL means that nobody has it mounted.
    let exclusive = if block_device && writable { libc::O_EXCL } else { 0 };
    let with = |flags| {
        OpenOptions::new().read(true).write(writable).custom_flags(exclusive | flags).open(path)
    };
    match with(libc::O_DIRECT) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            with(0).map(|file| (file, false)).map_err(|error| at(path, &error))
        }
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Err(busy(path)),
        Err(error) => Err(at(path, &error)),
    }
}

/// Takes the lock that says who uses the device. It goes with the last descriptor.
fn lock(file: &File, path: &Path, mode: OpenMode) -> io::Result<()> {
    let how = if mode == OpenMode::ReadOnly { libc::LOCK_SH } else { libc::LOCK_EX };
    // SAFETY: no memory is involved.
    if unsafe { libc::flock(file.as_raw_fd(), how | libc::LOCK_NB) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Err(busy(path)),
        error => Err(at(path, &error)),
    }
}

/// What a device says about itself.
struct Measured {
    /// The sector to use.
    sector: u32,
    /// The smallest that works.
    smallest: u32,
    size: u64,
}

/// Asks a block device.
fn measure_block_device(file: &File) -> io::Result<Measured> {
    let (mut logical, mut physical, mut size) = (0_i32, 0_u32, 0_u64);
    let fd = file.as_raw_fd();
    // SAFETY: each request writes one value of the type that its pointer has.
    let failed = unsafe {
        libc::ioctl(fd, libc::BLKSSZGET, &raw mut logical) < 0
            || libc::ioctl(fd, libc::BLKPBSZGET, &raw mut physical) < 0
            || libc::ioctl(fd, BLKGETSIZE64, &raw mut size) < 0
    };
    if failed {
        return Err(io::Error::last_os_error());
    }
    let logical = logical.cast_unsigned();
    let sector =
        if logical == SMALL_SECTOR && physical == LARGE_SECTOR { physical } else { logical };
    Ok(Measured { sector, smallest: logical, size })
}

/// Asks a file and its file system.
fn measure_file(file: &File, direct: bool) -> io::Result<Measured> {
    let metadata = file.metadata()?;
    let smallest = if direct { direct_alignment(file).max(SMALL_SECTOR) } else { SMALL_SECTOR };
    let whole_blocks = metadata.blksize() >= u64::from(LARGE_SECTOR);
    let sector = if whole_blocks { smallest.max(LARGE_SECTOR) } else { smallest };
    Ok(Measured { sector, smallest, size: metadata.len() })
}

/// What the file system asks of direct I/O; 0 if it does not say.
fn direct_alignment(file: &File) -> u32 {
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: an empty path with AT_EMPTY_PATH means the descriptor itself; the kernel fills `answer`.
    let result = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            STATX_DIOALIGN,
            answer.as_mut_ptr(),
        )
    };
    // SAFETY: zeroed, and every bit pattern is a valid `statx`.
    let answer = unsafe { answer.assume_init() };
    let told = result == 0 && answer.stx_mask & STATX_DIOALIGN != 0;
    if told { answer.stx_dio_offset_align } else { 0 }
}

/// Asks statx for the alignment of direct I/O (Linux 6.1).
const STATX_DIOALIGN: u32 = 0x2000;

/// The sector to use, given what was found and the caller's wish.
fn choose_sector(path: &Path, found: &Measured, wish: Option<u32>) -> io::Result<u32> {
    let sector = wish.unwrap_or(found.sector);
    if sector != SMALL_SECTOR && sector != LARGE_SECTOR {
        return Err(unsupported(format!(
            "{}: sectors of {sector} bytes, not 512 or 4096",
            path.display()
        )));
    }
    if sector < found.smallest {
        let smallest = found.smallest;
        return Err(invalid(format!(
            "{}: sectors of {sector} bytes, but {smallest} at least",
            path.display()
        )));
    }
    Ok(sector)
}

/// Makes a file with all its space, durably, or nothing.
fn create(path: &Path, size: u64) -> io::Result<()> {
    if size == 0 {
        return Err(invalid(format!("{}: a device file needs a size", path.display())));
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let file = file.map_err(|error| at(path, &error))?;
    let made = allocate(&file, size).map_err(|error| no_room(path, &file, size, error));
    let made = made.and_then(|()| file.sync_all()).and_then(|()| sync_directory(path));
    made.inspect_err(|_| remove(path))
}

/// Allocates the whole file now, so that a full file system shows here and not in the middle of the night.
fn allocate(file: &File, size: u64) -> io::Result<()> {
    let len = libc::off_t::try_from(size).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    loop {
        // SAFETY: no memory is involved.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, len) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => return write_zeros(file, size),
            _ => return Err(error),
        }
    }
}

/// For file systems that cannot allocate ahead.
fn write_zeros(mut file: &File, size: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        let part = left.min(zeros.len() as u64);
        file.write_all(&zeros[..usize::try_from(part).expect("at most the length of a slice")])?;
        left -= part;
    }
    Ok(())
}

/// Makes the new name durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Takes a file away that is of no use. The error that made it so is the one to report.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a half-made file could not be removed");
    }
}

/// Says how much was wanted and how much there is, if that is the trouble.
fn no_room(path: &Path, file: &File, size: u64, error: io::Error) -> io::Error {
    if !matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG)) {
        return at(path, &error);
    }
    // What the attempt took is free again as soon as the file is gone.
    let taken = file.metadata().map_or(0, |metadata| metadata.blocks() * 512);
    let free =
        free_bytes(path).map_or_else(|| "unknown".to_owned(), |free| (free + taken).to_string());
    let message = format!("{}: {size} bytes wanted, {free} free: {error}", path.display());
    io::Error::new(io::ErrorKind::StorageFull, message)
}

/// Bytes that an ordinary user may still allocate on the file system of `path`.
fn free_bytes(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut answer = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends with a zero byte; the kernel fills `answer`.
    if unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: zeroed, and every bit pattern is a valid `statvfs`.
    let answer = unsafe { answer.assume_init() };
    Some(answer.f_bavail * answer.f_frsize)
}

fn busy(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        format!("{} is in use by another process", path.display()),
    )
}

fn unsupported(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, message)
}

/// The system's error with the path it is about.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
