//! Keys that say what is run on what: targets, operations, sizes, keys.

use super::{Key, key};
use crate::bench::job::{Rw, kinds, mix, sizes, units, ycsb};

/// These keys, in the order in which they are explained.
pub static KEYS: &[Key] = &[
    key(
        &["ioengine"],
        "ENGINE",
        "What to measure: cairn-embedded, cairn-grpc (pipelined), cairn-grpc-unary, resp, raw/io_uring (or io_uring)",
        into!(engine, kinds::Engine::parse),
    ),
    key(
        &["target"],
        "TARGET",
        "The same in short: embedded, grpc, resp (any server that speaks it), raw",
        into!(engine, kinds::Engine::parse),
    ),
    key(&["mode"], "MODE", "With grpc: pipeline or unary", |job, text| {
        job.unary = match text {
            "unary" => true,
            "pipeline" => false,
            _ => return Err(format!("{text:?} is neither pipeline nor unary")),
        };
        Ok(())
    }),
    key(
        &["filename", "path"],
        "FILE[:FILE]",
        "The file or device; several for an embedded engine make one namespace. A file that does not exist is created",
        |job, text| {
            job.filenames =
                text.split(':').filter(|name| !name.is_empty()).map(Into::into).collect();
            if job.filenames.is_empty() { Err("no file is named".into()) } else { Ok(()) }
        },
    ),
    key(
        &["size", "filesize"],
        "SIZE",
        "Bytes of a file that is created (4g), and of a raw file or device that are used (all)",
        |job, text| {
            job.size = Some(units::bytes(text)?);
            Ok(())
        },
    ),
    key(
        &["rw", "readwrite"],
        "RW",
        "read, write, rw: keys or blocks in order; randread (default), randwrite, randrw: at random",
        |job, text| {
            (job.rw, job.sequential) = match text {
                "read" => (Rw::Read, true),
                "write" => (Rw::Write, true),
                "rw" | "readwrite" => (Rw::Mixed, true),
                "randread" => (Rw::Read, false),
                "randwrite" => (Rw::Write, false),
                "randrw" => (Rw::Mixed, false),
                _ => {
                    return Err(format!(
                        "{text:?} is none of read, write, rw, randread, randwrite, randrw"
                    ));
                }
            };
            Ok(())
        },
    ),
    key(
        &["rwmixread", "read_pct"],
        "PERCENT",
        "Share of reads of a mixed job (50)",
        |job, text| {
            job.read_pct = Some(units::within(text, 0, 100)? as u8);
            Ok(())
        },
    ),
    key(&["rwmixwrite"], "PERCENT", "Share of writes of a mixed job (50)", |job, text| {
        job.read_pct = Some(100 - units::within(text, 0, 100)? as u8);
        Ok(())
    }),
    key(
        &["mix"],
        "OP:PERCENT,...",
        "Shares of read, scan, write, update, insert, rmw, delete; 100 together",
        |job, text| {
            job.mix = Some(mix::Mix::parse(text)?);
            Ok(())
        },
    ),
    key(
        &["ycsb"],
        "A..F",
        "The YCSB workload of this letter: mix, distribution, 10 bins of 100 bytes (over RESP one string of 1000)",
        ycsb::set,
    ),
    key(
        &["bs", "blocksize", "value_size"],
        "SIZE",
        "Bytes of a record's values together (1000), or of a raw transfer (4k)",
        |job, text| {
            let size = units::bytes(text).map_err(|why| {
                if text.contains(',') { "reads and writes have one size here".into() } else { why }
            })?;
            job.sizes = Some(sizes::Sizes::Fixed(size));
            Ok(())
        },
    ),
    key(
        &["bsrange", "blocksize_range"],
        "LOW-HIGH",
        "The same, any size of the range",
        |job, text| {
            job.sizes = Some(sizes::Sizes::parse_range(text)?);
            Ok(())
        },
    ),
    key(
        &["bssplit"],
        "SIZE/PERCENT:...",
        "The same, sizes with their shares, as in 512/60:4k/30:64k/10",
        |job, text| {
            job.sizes = Some(sizes::Sizes::parse_split(text)?);
            Ok(())
        },
    ),
    key(
        &["bins"],
        "N",
        "Bins of a record (1); more than one are called field0, field1, ... and share its bytes",
        |job, text| {
            job.bins = Some(units::within(text, 1, 16)? as u32);
            Ok(())
        },
    ),
    key(&["records", "keys"], "COUNT", "Records there are before the run (1m)", |job, text| {
        job.records = units::within(text, 1, 1 << 40)?;
        Ok(())
    }),
    key(
        &["random_distribution", "distribution"],
        "DISTRIBUTION",
        "Which keys: random, zipf:THETA, pareto:H, latest:THETA, sequential",
        into!(distribution, kinds::Distribution::parse),
    ),
];
