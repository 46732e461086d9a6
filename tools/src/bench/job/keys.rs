//! Every key of a job: its names, what it does, what it sets. Job files and flags are both read through this one table.

use cairn_sdk::Durability;

use super::{Job, Load, Rw, Sync, kinds, units, ycsb};

/// A key.
#[derive(Clone, Copy)]
pub struct Key {
    /// Its name, then others it is known by, in a job file; as a flag with `-` for `_`.
    pub names: &'static [&'static str],
    /// How its value is written; empty where it needs none.
    pub value: &'static str,
    /// What it does.
    pub help: &'static str,
    set: fn(&mut Job, &str) -> Result<(), String>,
}

const fn key(
    names: &'static [&'static str],
    value: &'static str,
    help: &'static str,
    set: fn(&mut Job, &str) -> Result<(), String>,
) -> Key {
    Key { names, value, help, set }
}

impl Key {
    /// Whether it may stand without a value.
    pub fn is_bare(&self) -> bool {
        self.value.is_empty()
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.names[0]
    }

    /// Sets it in a job. A missing value means yes.
    pub fn set(&self, job: &mut Job, value: Option<&str>) -> Result<(), String> {
        let given = match value {
            None if !self.is_bare() => {
                return Err(format!("{} needs a value: {}", self.name(), self.value));
            }
            value => value.unwrap_or("1"),
        };
        (self.set)(job, given).map_err(|why| format!("{}: {why}", self.name()))?;
        job.given.retain(|(name, _)| name != self.name());
        job.given.push((self.name().into(), given.into()));
        Ok(())
    }
}

/// Finds a key by any of its names, `-` and `_` being the same.
pub fn find(name: &str) -> Option<&'static Key> {
    let name = name.replace('-', "_");
    KEYS.iter().find(|key| key.names.contains(&name.as_str()))
}

/// The known name that looks most like this one.
pub fn nearest(name: &str) -> Option<&'static str> {
    let all = KEYS.iter().flat_map(|key| key.names.iter().copied());
    let (distance, nearest) = all.map(|known| (distance(known, name), known)).min()?;
    (distance <= 1 + name.len() / 4).then_some(nearest)
}

/// How many letters must be changed, added or left out to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "0" | "false" | "no" => Ok(false),
        "1" | "true" | "yes" => Ok(true),
        _ => Err(format!("{text:?} is neither 0 nor 1")),
    }
}

/// A key that fio has and that changes nothing here, with the one meaning it may have.
fn only(text: &str, wanted: bool, why: &str) -> Result<(), String> {
    if flag(text)? == wanted { Ok(()) } else { Err(why.into()) }
}

/// Puts a value into its field.
macro_rules! into {
    ($field:ident, $read:expr) => {
        |job, text| {
            job.$field = $read(text)?;
            Ok(())
        }
    };
}

/// All keys, in the order in which they are explained.
pub static KEYS: &[Key] = &[
    key(
        &["ioengine"],
        "ENGINE",
        "What to measure: cairn-embedded, cairn-grpc (pipelined), cairn-grpc-unary, raw/io_uring (or io_uring)",
        into!(engine, kinds::Engine::parse),
    ),
    key(
        &["target"],
        "TARGET",
        "The same in short: embedded, grpc, raw",
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
            job.mix = Some(kinds::Mix::parse(text)?);
            Ok(())
        },
    ),
    key(
        &["ycsb"],
        "A..F",
        "The YCSB workload of this letter: mix, distribution, 10 bins of 100 bytes",
        |job, text| ycsb::set(job, text),
    ),
    key(
        &["bs", "blocksize", "value_size"],
        "SIZE",
        "Bytes of a record's values together (1000), or of a raw transfer (4k)",
        |job, text| {
            let size = units::bytes(text).map_err(|why| {
                if text.contains(',') { "reads and writes have one size here".into() } else { why }
            })?;
            job.sizes = Some(kinds::Sizes::Fixed(size));
            Ok(())
        },
    ),
    key(
        &["bsrange", "blocksize_range"],
        "LOW-HIGH",
        "The same, any size of the range",
        |job, text| {
            job.sizes = Some(kinds::Sizes::parse_range(text)?);
            Ok(())
        },
    ),
    key(
        &["bssplit"],
        "SIZE/PERCENT:...",
        "The same, sizes with their shares, as in 512/60:4k/30:64k/10",
        |job, text| {
            job.sizes = Some(kinds::Sizes::parse_split(text)?);
            Ok(())
        },
    ),
    key(
        &["bins"],
        "N",
        "Bins of a record (1); more than one are called field0, field1, ... and share its bytes",
        |job, text| {
            job.bins = units::within(text, 1, 16)? as u32;
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
        "Where a write must be before it is acknowledged (device)",
        |job, text| {
            job.durability = match text {
                "device" => Durability::Device,
                "buffer" => Durability::Buffer,
                _ => return Err(format!("{text:?} is neither device nor buffer")),
            };
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
        "With grpc: the node's address (127.0.0.1:7400)",
        into!(host, |text: &str| Ok::<_, String>(text.to_owned())),
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
        "The set of the records (bench on a node, none embedded)",
        |job, text| {
            job.set = Some(text.into());
            Ok(())
        },
    ),
    key(&["connections"], "N", "With grpc: connections of each thread (1)", |job, text| {
        job.connections = units::within(text, 1, 64)? as u16;
        Ok(())
    }),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// No name means two things, and every key is explained.
    #[test]
    fn names_are_unique_and_explained() {
        let mut names: Vec<_> = KEYS.iter().flat_map(|key| key.names).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(KEYS.iter().all(|key| !key.help.is_empty()));
    }

    /// A key that is misspelt is told with what was probably meant.
    #[test]
    fn a_misspelt_key_has_a_neighbour() {
        assert_eq!(nearest("iodpeth"), Some("iodepth"));
        assert_eq!(nearest("frobnicate"), None);
        assert!(find("io-depth").is_none() && find("rate-iops").is_some());
    }

    /// A value that cannot be is refused by name.
    #[test]
    fn wrong_values_are_refused() {
        for (name, value) in [
            ("iodepth", "0"),
            ("rw", "trim"),
            ("rate_iops", "-1"),
            ("bs", "4k,8k"),
            ("runtime", "soon"),
            ("group_reporting", "0"),
            ("verify", "md5"),
            ("filename", ":"),
        ] {
            let why = find(name).unwrap().set(&mut Job::default(), Some(value)).unwrap_err();
            assert!(why.starts_with(name), "{why}");
        }
        assert!(find("bs").unwrap().set(&mut Job::default(), None).is_err());
    }
}
