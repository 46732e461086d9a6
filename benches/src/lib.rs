//! Micro-benchmarks and scenarios; see the `examples` and `benches` folders.
