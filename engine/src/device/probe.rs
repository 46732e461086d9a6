//! Which way of doing I/O this machine allows, and why, in words for the start banner.
//!
//! Owns: the choice between io_uring and the pool of threads. A choice forced by the user is kept or refused, never
//! replaced. Concurrency: none; a probe makes a ring and closes it.

use std::{fmt, io, str::FromStr};

use io_uring::{IoUring, Probe, opcode};
use thiserror::Error;

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoChoice {
    /// io_uring if it works here, else the pool.
    #[default]
    Auto,
    /// io_uring or an error.
    Uring,
    /// The pool of threads.
    Pool,
}

/// The text names no way of doing I/O.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("unknown I/O engine {0:?}: use auto, io_uring or pool")]
pub struct UnknownIoChoice(pub String);

impl FromStr for IoChoice {
    type Err = UnknownIoChoice;

    fn from_str(text: &str) -> Result<Self, UnknownIoChoice> {
        match text {
            "auto" => Ok(IoChoice::Auto),
            "io_uring" => Ok(IoChoice::Uring),
            "pool" => Ok(IoChoice::Pool),
            other => Err(UnknownIoChoice(other.to_owned())),
        }
    }
}

/// A way of doing I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoKind {
    /// A ring per thread.
    Uring,
    /// A pool of threads that call pread and pwrite.
    Pool,
}

impl fmt::Display for IoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IoKind::Uring => "io_uring",
            IoKind::Pool => "thread pool",
        })
    }
}

/// The way that was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoEngine {
    /// How I/O is done.
    pub kind: IoKind,
    /// Why, as one plain sentence.
    pub reason: String,
}

impl IoEngine {
    /// Tries what this machine allows.
    ///
    /// # Errors
    ///
    /// `Unsupported` if io_uring was asked for and does not work here; the message says why.
    pub fn choose(choice: IoChoice) -> io::Result<IoEngine> {
        let (kind, reason) = match choice {
            IoChoice::Pool => {
                (IoKind::Pool, "The configuration asks for the thread pool.".to_owned())
            }
            IoChoice::Auto => match probe() {
                Ok(()) => {
                    (IoKind::Uring, "The kernel offers io_uring, and it works here.".to_owned())
                }
                Err(why) => (IoKind::Pool, why),
            },
            IoChoice::Uring => {
                probe().map_err(|why| io::Error::new(io::ErrorKind::Unsupported, why))?;
                (
                    IoKind::Uring,
                    "The configuration asks for io_uring, and it works here.".to_owned(),
                )
            }
        };
        Ok(IoEngine { kind, reason })
    }
}

/// Sets a small ring up and asks for every operation in use; the error is the sentence for people.
fn probe() -> Result<(), String> {
    let ring = IoUring::new(8).map_err(|error| refused(&error))?;
    if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
        return Err("The kernel's io_uring is too old: 5.11 or newer is needed.".to_owned());
    }
    let mut probe = Probe::new();
    if let Err(error) = ring.submitter().register_probe(&mut probe) {
        return Err(format!("The kernel does not say what its io_uring can do ({error})."));
    }
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(code, _)| !probe.is_supported(*code))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("The kernel's io_uring cannot do {}.", missing.join(", ")))
}

const NEEDED: [(u8, &str); 6] = [
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::ReadFixed::CODE, "READ_FIXED"),
    (opcode::WriteFixed::CODE, "WRITE_FIXED"),
    (opcode::Fallocate::CODE, "FALLOCATE"),
];

/// Why there is no ring, as far as the error and the kernel's switch tell.
fn refused(error: &io::Error) -> String {
    let switch = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match (error.raw_os_error(), switch.trim()) {
        (Some(libc::ENOSYS), _) => "This kernel has no io_uring.".to_owned(),
        (Some(libc::EPERM), "1" | "2") => {
            format!("io_uring is switched off here (kernel.io_uring_disabled = {}).", switch.trim())
        }
        (Some(libc::EPERM | libc::EACCES), _) => {
            "io_uring is forbidden here, as default containers do (seccomp).".to_owned()
        }
        (Some(libc::ENOMEM), _) => {
            "There is too little lockable memory for io_uring (ulimit -l).".to_owned()
        }
        _ => format!("io_uring cannot be set up here: {error}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows that the three documented words work and a typo is refused with what was written.
    #[test]
    fn choices_are_parsed() {
        assert_eq!("auto".parse(), Ok(IoChoice::Auto));
        assert_eq!("io_uring".parse(), Ok(IoChoice::Uring));
        assert_eq!("pool".parse(), Ok(IoChoice::Pool));
        assert_eq!("uring".parse::<IoChoice>(), Err(UnknownIoChoice("uring".to_owned())));
    }

    /// Shows that asking for the pool always gives the pool, and that "auto" always gives something with a reason.
    #[test]
    fn a_choice_is_explained() {
        let pool = IoEngine::choose(IoChoice::Pool).expect("the pool needs nothing");
        assert_eq!(pool.kind, IoKind::Pool);
        let auto = IoEngine::choose(IoChoice::Auto).expect("auto falls back");
        assert!(!auto.reason.is_empty());
        assert_eq!(auto.kind == IoKind::Uring, IoEngine::choose(IoChoice::Uring).is_ok());
    }
}
