//! The bare file or device: the limit that everything else is compared with.
//!
//! It does not go through the engine's own I/O, so that a weakness there cannot make the limit look lower than it is.
//!
//! * `file`: opens it, lays a new file out, refuses to write over what may be worth something.
//! * `ring`: a plain loop on one ring for each thread.

mod file;
mod ring;

pub use file::RawFile;
pub use ring::run;
