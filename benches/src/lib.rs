//! What the benchmarks and scenarios share: keys, values that prove themselves, an open engine to work on, the process's own use of
//! resources. The programs are in `benches/`; the comparison with other engines is a crate of its own, `compare/`.

pub mod keys;
pub mod process;
pub mod sizes;
pub mod subject;
pub mod values;
pub mod versions;
