//! Conformance of files and block devices, and what only they can show: locks, creation, ends that are too early.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use tempfile::TempDir;

use super::{
    super::{FileDevice, IoChoice, IoEngine, IoKind, OpenMode},
    SIZE, Subject, check, pattern,
};
use crate::device::{
    AlignedBuf, Device, Region,
    reactor::{self, Reactor, block_on},
};

fn pool() -> IoEngine {
    IoEngine::choose(IoChoice::Pool).expect("the pool needs nothing")
}

/// The engines this machine has.
fn engines() -> Vec<IoEngine> {
    let mut engines = vec![pool()];
    match IoEngine::choose(IoChoice::Uring) {
        Ok(engine) => engines.push(engine),
        Err(error) => eprintln!("skipped: {error}"),
    }
    engines
}

fn new_file(
    directory: &Path,
    engine: &IoEngine,
    sector: Option<u32>,
) -> io::Result<Arc<FileDevice>> {
    let (path, mode) = (directory.join("device"), OpenMode::Create { size: SIZE });
    match sector {
        Some(sector) => FileDevice::open_with_sector(&path, mode, engine, sector),
        None => FileDevice::open(&path, mode, engine),
    }
}

/// Checks a device that has its own file, in both ways of doing I/O and with every reactor that a thread may have.
fn check_files(engine: &IoEngine, sector: Option<u32>) {
    let mine = Some(engine.kind);
    for (reactor, polled) in
        [(None, false), (Some(IoKind::Pool), false), (mine, false), (mine, true)]
    {
        let directory = TempDir::new().expect("a directory");
        match new_file(directory.path(), engine, sector) {
            Ok(device) => check(&Subject { polled, ..Subject::real(device, reactor) }),
            Err(error) => eprintln!("skipped: {error}"),
        }
    }
}

/// Shows that files do what devices must do, through a ring and through the pool, with both sectors.
#[test]
fn files_conform() {
    for engine in engines() {
        check_files(&engine, None);
        check_files(&engine, Some(512));
        check_files(&engine, Some(4096));
    }
}

/// A loop device over a file. It detaches itself when the last descriptor is closed, even if the test is killed.
struct Loop {
    path: PathBuf,
    _device: File,
    _directory: TempDir,
}

impl Loop {
    // By system calls, like the mount below, and not by a command: a process that is just being started holds a
    // copy of every descriptor for a moment, and with it the locks that other tests have just let go.
    fn new(sector: u32) -> io::Result<Loop> {
        let directory = TempDir::new()?;
        let read_write = |path: &Path| fs::OpenOptions::new().read(true).write(true).open(path);
        let backing = directory.path().join("backing");
        File::create(&backing)?.set_len(SIZE)?;
        let (backing, control) =
            (read_write(&backing)?, read_write(Path::new("/dev/loop-control"))?);
        // SAFETY: no memory is involved.
        let number = ok(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = read_write(&path)?;
        let mut config = [0_u32; LOOP_CONFIG_WORDS];
        config[0] = backing.as_raw_fd().cast_unsigned();
        config[1] = sector;
        config[LOOP_FLAGS_WORD] = LO_FLAGS_AUTOCLEAR;
        // SAFETY: the kernel reads a `struct loop_config` of as many bytes as the array has.
        ok(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, config.as_ptr()) })?;
        Ok(Loop { path, _device: device, _directory: directory })
    }
}

const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// `struct loop_config` has 304 bytes: descriptor, block size, `struct loop_info64` (232 bytes), 64 reserved ones.
const LOOP_CONFIG_WORDS: usize = 304 / 4;
/// `lo_flags` is at byte 52 of `struct loop_info64`.
const LOOP_FLAGS_WORD: usize = (8 + 52) / 4;

fn ok(returned: i32) -> io::Result<i32> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// Shows that raw block devices conform, with the sector they have, and are taken by one opener only.
#[test]
fn block_devices_conform() {
    for sector in [512, 4096] {
        let device = match Loop::new(sector) {
            Ok(device) => device,
            Err(error) => {
                eprintln!("skipped: no loop device: {error}");
                continue;
            }
        };
        for engine in engines() {
            let opened = FileDevice::open(&device.path, OpenMode::ReadWrite, &engine)
                .expect("a block device");
            assert!(opened.is_block_device() && opened.direct());
            assert_eq!((opened.geometry().sector, opened.geometry().size), (sector, SIZE));
            let again = FileDevice::open(&device.path, OpenMode::ReadWrite, &engine);
            assert_eq!(again.expect_err("it is in use").kind(), io::ErrorKind::ResourceBusy);
            check(&Subject::real(opened, Some(engine.kind)));
        }
    }
}

/// Shows that a second opener is kept away, as long as the first one or a request of his lives; two engines on
/// one device would destroy each other's records.
#[test]
fn a_device_is_locked() {
    let directory = TempDir::new().expect("a directory");
    let device = new_file(directory.path(), &pool(), None).expect("a new file");
    for mode in [OpenMode::ReadWrite, OpenMode::ReadOnly] {
        let error = FileDevice::open(device.path(), mode, &pool()).expect_err("it is in use");
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    }
    let path = device.path().to_owned();
    drop(device);
    let reader = FileDevice::open(&path, OpenMode::ReadOnly, &pool()).expect("it is free");
    let other = FileDevice::open(&path, OpenMode::ReadOnly, &pool()).expect("readers share");
    let error =
        FileDevice::open(&path, OpenMode::ReadWrite, &pool()).expect_err("readers are there");
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    drop((reader, other));
    FileDevice::open(&path, OpenMode::ReadWrite, &pool()).expect("it is free");
}

/// Shows that whoever has the last answer can open the device anew at once: a restart inside one process must
/// not find its own lock.
#[test]
fn an_answered_device_is_free() {
    for engine in engines() {
        let directory = TempDir::new().expect("a directory");
        let path = new_file(directory.path(), &engine, None).expect("a new file").path().to_owned();
        let kind = engine.kind;
        let reopen = move || {
            let _guard = Reactor::install(kind).expect("a fresh thread takes a reactor");
            for _ in 0..500 {
                let device =
                    FileDevice::open(&path, OpenMode::ReadWrite, &engine).expect("it is free");
                block_on(device.read(AlignedBuf::new(4096), 4096, 0)).expect("a read");
            }
        };
        thread::spawn(reopen).join().expect("the test passes");
    }
}

/// Shows that a device opened for reading changes nothing: `cairn inspect` must be safe on the only copy.
#[test]
fn read_only_refuses_writes() {
    let directory = TempDir::new().expect("a directory");
    let device = new_file(directory.path(), &pool(), None).expect("a new file");
    let path = device.path().to_owned();
    block_on(device.write(&Region::from_bytes(&pattern(1, 4096)), 0, 4096, 0, true))
        .expect("a write");
    drop(device);
    for engine in engines() {
        let device = FileDevice::open(&path, OpenMode::ReadOnly, &engine).expect("a reader");
        let write = block_on(device.write(&Region::new(4096), 0, 4096, 0, false));
        assert_eq!(write.expect_err("refused").kind(), io::ErrorKind::ReadOnlyFilesystem);
        block_on(device.discard(0, 4096)).expect_err("refused");
        block_on(device.sync()).expect("nothing to do");
        let found = block_on(device.read(AlignedBuf::new(4096), 4096, 0)).expect("a read");
        assert!(found[..] == pattern(1, 4096));
    }
}

/// Shows that a creation allocates everything, refuses what is there, and leaves nothing behind when it fails.
#[test]
fn creation_is_whole_or_nothing() {
    use std::os::unix::fs::MetadataExt;

    let directory = TempDir::new().expect("a directory");
    let device = new_file(directory.path(), &pool(), None).expect("a new file");
    let metadata = fs::metadata(device.path()).expect("the file is there");
    assert_eq!(metadata.len(), SIZE);
    assert!(metadata.blocks() * 512 >= SIZE, "a sparse file would run out of space later");
    let again = new_file(directory.path(), &pool(), None).expect_err("it is there");
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);

    let path = directory.path().join("bad");
    for (size, sector) in [(0, 512), (SIZE, 1024), (1 << 62, 4096)] {
        FileDevice::open_with_sector(&path, OpenMode::Create { size }, &pool(), sector)
            .expect_err("refused");
        assert!(!path.exists());
    }
}

/// A file system of 1 MiB.
struct SmallMount {
    directory: TempDir,
    path: CString,
}

impl SmallMount {
    fn new() -> io::Result<SmallMount> {
        let directory = TempDir::new()?;
        let path = CString::new(directory.path().as_os_str().as_encoded_bytes())?;
        let (kind, options) = (c"tmpfs", c"size=1m");
        // SAFETY: every string ends with a zero byte and outlives the call.
        let result = unsafe {
            libc::mount(kind.as_ptr(), path.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast())
        };
        ok(result).map(|_| SmallMount { directory, path })
    }
}

impl Drop for SmallMount {
    fn drop(&mut self) {
        // SAFETY: the path ends with a zero byte.
        unsafe { libc::umount2(self.path.as_ptr(), libc::MNT_DETACH) };
    }
}

/// Shows that a full file system is told at creation, as `StorageFull`, and nothing stays there.
#[test]
fn a_full_file_system_is_told_at_creation() {
    let mount = match SmallMount::new() {
        Ok(mount) => mount,
        Err(error) => return eprintln!("skipped: no small tmpfs can be mounted: {error}"),
    };
    let error = new_file(mount.directory.path(), &pool(), None).expect_err("1 MiB is too little");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(fs::read_dir(mount.directory.path()).expect("a directory").count(), 0);
}

/// Shows that a file that ends too early gives an error, not zeros: a truncated device must be noticed.
#[test]
fn a_read_past_the_end_is_an_error() {
    for engine in engines() {
        let directory = TempDir::new().expect("a directory");
        let device = new_file(directory.path(), &engine, None).expect("a new file");
        let shorter = fs::OpenOptions::new().write(true).open(device.path());
        shorter.and_then(|file| file.set_len(8192)).expect("the file can be cut");
        let subject = Subject::real(device, Some(engine.kind));
        let test = |subject: &Subject| {
            let error = subject.read(8192, 4096).expect_err("half of it is gone");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            subject.read(4096, 4096).expect("this half is there");
        };
        subject.on_thread(test).join().expect("the test passes");
    }
}

/// Shows the two ways in which a runtime drives a ring: it polls the ring's descriptor when idle, and only
/// turns when busy. If either stalled, reads would wait for the next unrelated event. A ring that nobody polls
/// must be driven by turns too.
#[test]
fn a_ring_serves_a_runtime() {
    let Ok(engine) = IoEngine::choose(IoChoice::Uring) else {
        return eprintln!("skipped: no io_uring");
    };
    let directory = TempDir::new().expect("a directory");
    let device = new_file(directory.path(), &engine, None).expect("a new file");
    let subject = Subject::real(device, Some(IoKind::Uring));
    let test = |subject: &Subject| {
        let fd = reactor::ring_fd();
        assert_eq!(fd.is_some(), subject.polled);
        for round in 0..400 {
            let mut read = subject.device.read(AlignedBuf::new(65_536), 65_536, round * 4096);
            reactor::turn();
            while read.try_take().is_none() {
                if let Some(fd) = fd.filter(|_| round % 2 == 0) {
                    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
                    // SAFETY: one pollfd, which outlives the call.
                    let ready = unsafe { libc::poll(&raw mut poll, 1, 20_000) };
                    assert_ne!(ready, 0, "the descriptor says nothing");
                }
                reactor::turn();
            }
        }
    };
    for subject in [subject.clone(), subject.polled()] {
        subject.on_thread(test).join().expect("the test passes");
    }
}

/// Shows that a ring with registered read buffers brings the right bytes into them, into those beyond their number and into larger ones, and that a buffer
/// outlives the ring and its thread: a record that a client still holds must not change or vanish.
#[test]
fn registered_read_buffers_hold_what_was_read() {
    let Ok(engine) = IoEngine::choose(IoChoice::Uring) else {
        return eprintln!("skipped: no io_uring");
    };
    let directory = TempDir::new().expect("a directory");
    let device = new_file(directory.path(), &engine, None).expect("a new file");
    let subject = Subject::real(device, Some(IoKind::Uring));
    let (sender, held) = std::sync::mpsc::channel();
    let test = move |subject: &Subject| {
        if let Err(error) = reactor::register_read_buffers() {
            return eprintln!("skipped: registered read buffers: {error}");
        }
        reactor::register_read_buffers().expect("a second time changes nothing");
        let bytes = pattern(3, 4 << 20);
        subject.write(&bytes, 0, false).expect("a write");
        let reads: Vec<_> = (0..600)
            .map(|n| {
                let len = if n % 3 == 0 { 16_384 } else { 4096 };
                (n * 4096, len, subject.device.read(AlignedBuf::new(len), len, n as u64 * 4096))
            })
            .collect();
        for (offset, len, read) in reads {
            let buffer = subject.wait(read).expect("a read");
            assert!(buffer[..] == bytes[offset..offset + len]);
            sender.send((buffer, bytes[offset..offset + len].to_vec())).expect("it is held");
        }
    };
    subject.on_thread(test).join().expect("the check passes");
    for (buffer, bytes) in held {
        assert!(buffer[..] == bytes[..]);
    }
}

/// Shows that neither a directory nor a character device is taken for a device.
#[test]
fn other_kinds_of_files_are_refused() {
    for path in ["/", "/dev/null"] {
        let error =
            FileDevice::open(Path::new(path), OpenMode::ReadOnly, &pool()).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }
}
