//! What does not go together in a job: refused before anything is opened or written.

use super::{Distribution, Engine, Job, Op, Sync};

/// Largest value.
const VALUE_MAX: u64 = 64 << 20;

/// The first thing about a job that cannot be, in words.
pub fn check(job: &Job) -> Result<(), String> {
    let (engine, mix) = (job.engine(), job.mix());
    let (raw, resp) = (engine == Engine::Raw, engine == Engine::Resp);
    let bins = job.bins();
    let on_file = raw || engine == Engine::Embedded;
    refuse(
        on_file && job.filenames.is_empty(),
        "a filename is missing: --filename, or filename= in the job",
    )?;
    refuse(
        !on_file && !job.filenames.is_empty(),
        "a server has its own files: leave out filename",
    )?;
    refuse(
        raw && job.filenames.len() > 1,
        "a raw job works on one file or device; give each a job of its own",
    )?;
    refuse(
        job.unary && !matches!(job.engine, Engine::Grpc | Engine::GrpcUnary),
        "mode is for a node over gRPC",
    )?;
    refuse(
        job.bypass_cache && engine != Engine::Embedded,
        "bypass_cache is for the embedded engine: a node reads as it is configured",
    )?;
    refuse(raw && job.verify, "verify is for records: raw blocks carry nothing to check")?;
    refuse(raw && bins > 1, "bins are for records")?;
    let plain = mix.share(Op::Read) + mix.share(Op::Write) == 100;
    refuse(raw && !plain, "a raw job reads and writes, nothing else")?;
    refuse(
        !raw && job.sync != Sync::None,
        "sync and fdatasync are for raw jobs; records have durability",
    )?;
    refuse(raw && matches!(job.distribution, Distribution::Latest(_)), "latest is for records")?;
    refuse(
        mix.share(Op::Scan) > 0 && job.verify,
        "what scans read is not verified: leave out verify",
    )?;
    if resp { string(job) } else { other(job) }?;
    let (least, most) = job.sizes().bounds();
    refuse(least == 0, "a size is 0")?;
    refuse(most > VALUE_MAX, "a size is above 64m")?;
    refuse(!raw && least < u64::from(bins), "the bins would be empty: fewer bytes than bins")?;
    refuse(job.runtime.is_some_and(|time| time.is_zero()), "a runtime of 0 measures nothing")
}

/// What a server of strings cannot do, or decides itself.
fn string(job: &Job) -> Result<(), String> {
    refuse(
        job.durability.is_some(),
        "how durable a write is over RESP is the server's setting alone (Cairn: durability of the namespace; Redis: appendfsync): leave out durability",
    )?;
    refuse(
        job.mix().share(Op::Scan) > 0,
        "RESP has no scan of records, with or without an order (SCAN gives names from all of a database): YCSB E and scans cannot be measured over it",
    )?;
    refuse(job.bins.is_some_and(|bins| bins > 1), "a string has no bins: leave out bins")?;
    refuse(
        job.namespace != Job::default().namespace,
        "namespace is for grpc: over RESP there are databases, --db",
    )
}

/// What only a server of strings has.
fn other(job: &Job) -> Result<(), String> {
    let named = job.db != 0 || job.user.is_some() || job.password_file.is_some();
    refuse(named, "db, user and password_file are for a server over RESP")
}

fn refuse(when: bool, why: &str) -> Result<(), String> {
    if when { Err(why.to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::job::keys;

    fn job(pairs: &[(&str, &str)]) -> Job {
        let mut job = Job::default();
        for (name, value) in pairs {
            keys::find(name).unwrap().set(&mut job, Some(value)).unwrap();
        }
        job
    }

    /// What would measure something other than it says is refused.
    #[test]
    fn contradictions_are_refused() {
        for pairs in [
            &[("ioengine", "raw")][..],
            &[("ioengine", "raw"), ("filename", "x"), ("verify", "1")],
            &[("ioengine", "raw"), ("filename", "x"), ("ycsb", "A")],
            &[("ioengine", "cairn-grpc"), ("filename", "x")],
            &[("ioengine", "cairn-grpc"), ("bypass_cache", "1")],
            &[("ioengine", "embedded"), ("filename", "x"), ("sync", "dsync")],
            &[("ioengine", "resp"), ("filename", "x")],
            &[("ioengine", "resp"), ("mode", "unary")],
            &[("ioengine", "resp"), ("durability", "device")],
            &[("ioengine", "resp"), ("ycsb", "E")],
            &[("ioengine", "resp"), ("bins", "2")],
            &[("ioengine", "resp"), ("namespace", "other")],
            &[("ioengine", "cairn-grpc"), ("db", "1")],
            &[("ioengine", "cairn-grpc"), ("password_file", "x")],
            &[("bs", "5"), ("bins", "10")],
            &[("runtime", "0")],
        ] {
            assert!(check(&job(pairs)).is_err(), "{pairs:?}");
        }
        assert_eq!(check(&job(&[("ioengine", "resp"), ("ycsb", "F"), ("db", "1")])), Ok(()));
        assert_eq!(check(&job(&[("ioengine", "io_uring"), ("filename", "x")])), Ok(()));
    }
}
