//! Keys that say how hard, how long and under which promises.

use cairn_sdk::Durability;

use super::{Key, flag, key, only};
use crate::bench::job::{Load, Sync, units};

/// These keys, in the order in which they are explained.
pub static KEYS: &[Key] = &[
    key(
        &["iodepth", "depth"],
        "N",
        "Operations in flight of each thread (32); with a fixed rate their bound (1024). As a flag several numbers: one run each",
        |job, text| {
            let depths: Result<_, _> =
                text.split(',').map(|n| units::within(n, 1, 65_536).map(|n| n as u32)).collect();
            job.depths = depths?;
            Ok(())
        },
    ),
    key(
        &["numjobs", "jobs"],
        "N",
        "Threads (1), each with `iodepth` in flight and, for raw, a ring of its own",
        |job, text| {
            job.threads = units::within(text, 1, 1024)? as u32;
            Ok(())
        },
    ),
    key(
        &["rate_iops"],
        "RATE",
        "Open loop: so many starts a second of each thread, latency from the intended start",
        |job, text| {
            job.rate = Some(units::rate(text)?);
            Ok(())
        },
    ),
    key(&["rate_process"], "PROCESS", "Open loop: linear (even starts) or poisson", |job, text| {
        job.poisson = match text {
            "poisson" => true,
            "linear" => false,
            _ => return Err(format!("{text:?} is neither linear nor poisson")),
        };
        Ok(())
    }),
    key(&["runtime", "timeout"], "TIME", "How long it is measured (10s)", |job, text| {
        job.runtime = Some(units::time(text)?);
        Ok(())
    }),
    key(
        &["time_based"],
        "",
        "Raw: go on for the whole runtime, though `size` bytes were done",
        into!(time_based, flag),
    ),
    key(
        &["ramp_time", "warmup"],
        "TIME",
        "How long it goes before it is measured (0 in job files, 1s with flags)",
        into!(ramp, units::time),
    ),
    key(&["number_ios"], "COUNT", "Operations of each thread", |job, text| {
        job.number_ios = Some(units::within(text, 1, u64::MAX)?);
        Ok(())
    }),
    key(&["ops"], "COUNT", "Operations of all threads together", |job, text| {
        job.ops = Some(units::within(text, 1, u64::MAX)?);
        Ok(())
    }),
    key(
        &["durability"],
        "device|buffer",
        "Where a write must be before it is acknowledged (device); not over RESP, where the server decides",
        |job, text| {
            job.durability = Some(match text {
                "device" => Durability::Device,
                "buffer" => Durability::Buffer,
                _ => return Err(format!("{text:?} is neither device nor buffer")),
            });
            Ok(())
        },
    ),
    key(
        &["verify"],
        "",
        "Check every value that is read: it carries its key and the number of its write",
        |job, text| {
            job.verify = match text {
                "pattern" => true,
                _ => flag(text).map_err(|why| {
                    format!("{why}; there is one method here, the value's own pattern")
                })?,
            };
            Ok(())
        },
    ),
    key(
        &["bypass_cache"],
        "",
        "Embedded: read past write buffers and post-write cache",
        into!(bypass_cache, flag),
    ),
    key(
        &["load"],
        "",
        "Write the records first in any case (always), never, or where they are missing (auto, the default)",
        |job, text| {
            job.load = match text {
                "auto" => Load::Auto,
                "always" | "1" => Load::Always,
                "never" | "0" => Load::Never,
                _ => return Err(format!("{text:?} is none of auto, always, never")),
            };
            Ok(())
        },
    ),
    key(&["no_load"], "", "Do not write the records first", |job, text| {
        job.load = if flag(text)? { Load::Never } else { Load::Auto };
        Ok(())
    }),
    key(
        &["host", "hostname"],
        "HOST:PORT",
        "The server's address (with grpc 127.0.0.1:7400, with resp 127.0.0.1:6379)",
        |job, text| {
            job.host = Some(text.into());
            Ok(())
        },
    ),
    key(
        &["namespace"],
        "NAME",
        "With grpc: the namespace (test)",
        into!(namespace, |text: &str| Ok::<_, String>(text.to_owned())),
    ),
    key(
        &["set"],
        "NAME",
        "The set of the records (bench on a server, none embedded); with resp their keys are SET:NUMBER",
        |job, text| {
            job.set = Some(text.into());
            Ok(())
        },
    ),
    key(
        &["connections"],
        "N",
        "With grpc and resp: connections of each thread (1); what is in flight is divided among them",
        |job, text| {
            job.connections = units::within(text, 1, 64)? as u16;
            Ok(())
        },
    ),
    key(&["db"], "N", "With resp: the database (0)", |job, text| {
        job.db = units::within(text, 0, u64::from(u32::MAX))? as u32;
        Ok(())
    }),
    key(&["user"], "NAME", "With resp: who to be, if not the default user", |job, text| {
        job.user = Some(text.into());
        Ok(())
    }),
    key(
        &["password_file"],
        "FILE",
        "With resp: the file whose first line is the password; without it the environment variable REDISCLI_AUTH is",
        |job, text| {
            job.password_file = Some(text.into());
            Ok(())
        },
    ),
    key(
        &["device_io", "io_engine"],
        "auto|io_uring|pool",
        "Embedded: how the engine does I/O",
        |job, text| {
            job.device_io = text.parse().map_err(|error| format!("{error}"))?;
            Ok(())
        },
    ),
    key(&["direct"], "", "Raw: past the page cache (1)", into!(direct, flag)),
    key(&["sync"], "none|dsync", "Raw: each write carries RWF_DSYNC", |job, text| {
        job.sync = match text {
            "none" | "0" => Sync::None,
            "dsync" | "sync" | "1" => Sync::Dsync,
            _ => return Err(format!("{text:?} is neither none nor dsync")),
        };
        Ok(())
    }),
    key(
        &["fdatasync", "fsync"],
        "0|1",
        "Raw: each write is followed by fdatasync and is done when that is",
        |job, text| {
            job.sync = match flag(text).map_err(|_| "only 1, after each write, or 0")? {
                true => Sync::Fdatasync,
                false => job.sync,
            };
            Ok(())
        },
    ),
    key(
        &["overwrite"],
        "",
        "Raw: what is on the file or device may be written over",
        into!(overwrite, flag),
    ),
    key(
        &["randseed", "seed"],
        "N",
        "Makes keys, operations and sizes repeatable (1)",
        into!(seed, |text: &str| text
            .parse::<u64>()
            .map_err(|_| format!("{text:?} is not a whole number"))),
    ),
    key(
        &["stonewall", "wait_for_previous"],
        "",
        "Begin when all jobs before this one are over",
        into!(stonewall, flag),
    ),
    key(
        &["name"],
        "NAME",
        "What the job is called in reports",
        into!(name, |text: &str| Ok::<_, String>(text.to_owned())),
    ),
    key(
        &["description"],
        "TEXT",
        "A sentence for the reports",
        into!(description, |text: &str| Ok::<_, String>(text.to_owned())),
    ),
    key(&["group_reporting"], "", "Threads of a job are always reported as one", |_, text| {
        only(text, true, "threads of a job are always reported as one")
    }),
    key(&["thread"], "", "Threads are always threads of this process", |_, text| {
        only(text, true, "there are no processes to fork here")
    }),
    key(&["norandommap"], "", "A block may always be chosen again before all were", |_, text| {
        only(text, true, "blocks are drawn without a map of those that were")
    }),
    key(&["randrepeat"], "", "Runs are always repeatable; `randseed` makes others", |_, text| {
        only(text, true, "runs are always repeatable; set randseed for another")
    }),
];
