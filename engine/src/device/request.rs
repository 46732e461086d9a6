//! One request on its way to a file: what to do, the memory it needs, how far it has come, and who waits.
//!
//! Owns: the checks that every device makes before it starts, and the rule how transfers are continued. A
//! request owns its buffer or a share of its region until [`Request::finish`], which is what makes dropping a
//! completion safe.
//!
//! Invariants: `moved <= len`, and `moved` is a multiple of the sector until the end, so that a continued
//! transfer is aligned. Concurrency: a request has one owner at a time, the ring or a thread of the pool.

use std::{io, sync::Arc};

use super::{AlignedBuf, Completer, Geometry, Region, open_file::OpenFile};

/// A request. Whoever holds it must call `finish` or drop it; either way the waiter gets an answer.
pub(super) struct Request {
    pub(super) file: OpenFile,
    pub(super) sector: u32,
    pub(super) offset: u64,
    pub(super) len: usize,
    /// Bytes of `len` that are done.
    pub(super) moved: usize,
    pub(super) work: Work,
}

/// What a request does, and the end of its completion.
pub(super) enum Work {
    Read { buffer: AlignedBuf, done: Completer<AlignedBuf> },
    Write { source: Arc<Region>, start: usize, durable: bool, done: Completer<()> },
    Sync { done: Completer<()> },
    Discard { done: Completer<()> },
}

/// What is left of a request after one attempt.
pub(super) enum Progress {
    /// Try again, for the rest.
    More,
    /// Nothing is left to do.
    Done(io::Result<()>),
}

impl Request {
    /// Takes the outcome of one attempt, which moved so many bytes, into account.
    pub(super) fn advance(&mut self, result: io::Result<usize>) -> Progress {
        let moved = match result {
            Ok(moved) => moved,
            Err(error) if is_retryable(&error) => return Progress::More,
            Err(error) => return Progress::Done(Err(error)),
        };
        if matches!(self.work, Work::Sync { .. } | Work::Discard { .. }) {
            return Progress::Done(Ok(()));
        }
        self.moved += moved;
        assert!(self.moved <= self.len, "the kernel moved more than it was asked to");
        if self.moved == self.len {
            return Progress::Done(Ok(()));
        }
        // A transfer that stopped inside a sector is continued from that sector's start: direct I/O wants it
        // aligned, and to move some bytes twice does no harm.
        let back = self.moved % self.sector as usize;
        self.moved -= back;
        if moved <= back { Progress::Done(Err(self.no_progress())) } else { Progress::More }
    }

    /// The error of a transfer that moves nothing though there is more: the file ends before its device does.
    fn no_progress(&self) -> io::Error {
        match self.work {
            Work::Read { .. } => io::Error::from(io::ErrorKind::UnexpectedEof),
            _ => io::Error::from(io::ErrorKind::WriteZero),
        }
    }

    /// Lets file and memory go and answers the waiter, in this order: who has the answer may open the file anew
    /// at once, and its lock goes with the last share of it.
    pub(super) fn finish(self, result: io::Result<()>) {
        drop(self.file);
        match self.work {
            Work::Read { buffer, done } => done.complete(result.map(|()| buffer)),
            Work::Write { source, done, .. } => {
                drop(source);
                done.complete(result);
            }
            Work::Sync { done } | Work::Discard { done } => done.complete(result),
        }
    }
}

/// Errors that say "again", not "no".
fn is_retryable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
}

/// Refuses a range that is not inside the device or not made of whole sectors.
pub(super) fn check_range(geometry: Geometry, offset: u64, len: u64) -> io::Result<()> {
    let sector = u64::from(geometry.sector);
    if !offset.is_multiple_of(sector) || !len.is_multiple_of(sector) {
        return Err(invalid(format!("{len} bytes at {offset} are not whole sectors of {sector}")));
    }
    match offset.checked_add(len) {
        Some(end) if end <= geometry.size => Ok(()),
        _ => Err(invalid(format!(
            "{len} bytes at {offset} are outside a device of {}",
            geometry.size
        ))),
    }
}

/// Refuses a read that its buffer cannot hold, or that `check_range` refuses.
pub(super) fn check_read(
    geometry: Geometry,
    buffer: &[u8],
    len: usize,
    offset: u64,
) -> io::Result<()> {
    if buffer.len() < len {
        return Err(invalid(format!("a read of {len} bytes into a buffer of {}", buffer.len())));
    }
    let geometry = Geometry { sector: geometry.read_sector, ..geometry };
    check_range(geometry, offset, len as u64)
}

/// Refuses a write whose source is outside its region or not aligned, or that `check_range` refuses.
pub(super) fn check_write(
    geometry: Geometry,
    source: &Region,
    start: usize,
    len: usize,
    offset: u64,
) -> io::Result<()> {
    if !source.holds(start, len) || !start.is_multiple_of(geometry.sector as usize) {
        let region = source.len();
        return Err(invalid(format!(
            "{len} bytes at {start} of a region of {region}: outside or unaligned"
        )));
    }
    check_range(geometry, offset, len as u64)
}

/// An error for requests that no device could serve.
pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::device::Completion;

    fn read_of(len: usize) -> (Request, Completion<AlignedBuf>) {
        let (done, completion) = Completion::pair();
        let file =
            OpenFile::new(Arc::new(File::open("/dev/null").expect("every machine has /dev/null")));
        let work = Work::Read { buffer: AlignedBuf::new(len), done };
        (Request { file, sector: 512, offset: 0, len, moved: 0, work }, completion)
    }

    /// Shows that a short transfer goes on at a sector boundary and ends exactly at its length; a wrong rest
    /// would leave a hole of stale bytes in a record.
    #[test]
    fn short_transfers_are_continued_at_a_sector() {
        let (mut request, _completion) = read_of(2048);
        assert!(matches!(request.advance(Ok(700)), Progress::More));
        assert_eq!(request.moved, 512);
        assert!(matches!(
            request.advance(Err(io::Error::from_raw_os_error(libc::EINTR))),
            Progress::More
        ));
        assert!(matches!(request.advance(Ok(512)), Progress::More));
        assert!(matches!(request.advance(Ok(1024)), Progress::Done(Ok(()))));
    }

    /// Shows that the end of a file is an error and not an endless loop, even when it lies inside a sector.
    #[test]
    fn no_progress_is_an_error() {
        for moved in [0, 100, 511] {
            let (mut request, _completion) = read_of(1024);
            let Progress::Done(Err(error)) = request.advance(Ok(moved)) else {
                panic!("moved {moved}")
            };
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    /// Shows that errors of the medium pass with their code, which is how the engine tells a full disk from a
    /// dead one.
    #[test]
    fn errors_keep_their_code() {
        for code in [libc::EIO, libc::ENOSPC] {
            let (mut request, _completion) = read_of(512);
            let outcome = request.advance(Err(io::Error::from_raw_os_error(code)));
            let Progress::Done(Err(error)) = outcome else { panic!("code {code}") };
            assert_eq!(error.raw_os_error(), Some(code));
        }
    }

    /// Shows that ranges at the limits of arithmetic are refused, not wrapped around to the front of the device.
    #[test]
    fn ranges_are_checked_without_overflow() {
        let geometry = Geometry { size: 1 << 20, sector: 512, read_sector: 512 };
        assert!(check_range(geometry, (1 << 20) - 512, 512).is_ok());
        for (offset, len) in
            [(1 << 20, 512), (1, 512), (0, 100), (u64::MAX - 511, 512), (512, u64::MAX - 511)]
        {
            let error = check_range(geometry, offset, len).expect_err("outside or unaligned");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
