//! What the jobs of a group run on: opened once, shared by the jobs that name the same, closed when all are through.

use std::time::Duration;

use cairn_engine::Stats;

use super::{
    drive,
    embedded::Embedded,
    grpc,
    job::{Engine, Job},
    keys::Space,
    load, prepare,
    raw::{self, RawFile},
    resp,
    thread::{Report, Thread},
};
use crate::failure::{Failure, Result};

/// Something to measure.
#[derive(Debug)]
pub enum Target {
    /// The engine in this process.
    Embedded(Embedded),
    /// A node.
    Grpc,
    /// A server that speaks RESP.
    Resp,
    /// A bare file or device.
    Raw(RawFile),
}

/// The targets of a group, each with the index of the first job that runs on it.
#[derive(Debug)]
pub struct Targets {
    targets: Vec<(usize, Target)>,
    /// For each job the index of its target.
    of_job: Vec<usize>,
}

impl Targets {
    /// Opens what the jobs name, and writes the records they need.
    pub fn open(jobs: &[Job]) -> Result<Self> {
        let mut opened = Self { targets: Vec::new(), of_job: Vec::new() };
        for (index, job) in jobs.iter().enumerate() {
            let same = |(first, _): &(usize, Target)| is_same(&jobs[*first], job);
            let found = opened.targets.iter().position(same);
            let at = match found {
                Some(at) => at,
                None => {
                    opened.targets.push((index, Target::open(job, jobs)?));
                    opened.targets.len() - 1
                }
            };
            opened.of_job.push(at);
            opened.targets[at].1.prepare(job)?;
        }
        Ok(opened)
    }

    /// What job number `job` runs on.
    pub fn of(&self, job: usize) -> &Target {
        &self.targets[self.of_job[job]].1
    }

    /// Closes them all.
    pub fn close(self) -> Result {
        let closed = self.targets.iter().map(|(_, target)| match target {
            Target::Embedded(store) => store.close(),
            Target::Grpc | Target::Resp | Target::Raw(_) => Ok(()),
        });
        closed.fold(Ok(()), Result::and)
    }
}

fn is_same(a: &Job, b: &Job) -> bool {
    let kind = |job: &Job| match job.engine() {
        Engine::GrpcUnary => Engine::Grpc,
        engine => engine,
    };
    kind(a) == kind(b) && a.filenames == b.filenames && a.host() == b.host()
}

impl Target {
    fn open(job: &Job, all: &[Job]) -> Result<Self> {
        Ok(match job.engine() {
            Engine::Embedded => Self::Embedded(Embedded::open(job)?),
            Engine::Grpc | Engine::GrpcUnary => Self::Grpc,
            Engine::Resp => Self::Resp,
            Engine::Raw => {
                let writes = |other: &Job| is_same(job, other) && other.mix().writes();
                Self::Raw(RawFile::open(job, all.iter().any(writes))?)
            }
        })
    }

    /// Writes a job's records, if it needs them and they are missing.
    fn prepare(&self, job: &Job) -> Result {
        match self {
            Self::Embedded(store) => {
                let store = store.with(job);
                if !load::is_wanted(job, || store.has_records(job)) {
                    return Ok(());
                }
                prepare::load(job, |number, threads, progress| {
                    let loading = store.for_load();
                    let part = async |store: &Embedded, _: &_| {
                        load::part(store, job, number, threads, progress).await
                    };
                    loading.on_thread(part)?.map_err(Failure::new)
                })?;
                store.settle(job)
            }
            Self::Grpc => {
                let buffered = Job {
                    durability: Some(cairn_sdk::Durability::Buffer),
                    engine: Engine::Grpc,
                    unary: false,
                    ..job.clone()
                };
                fill(job, grpc::has_records(job), |number, threads, progress| {
                    grpc::on_thread(&buffered, async |node, _| {
                        load::part(node, &buffered, number, threads, progress).await
                    })?
                    .map_err(Failure::new)
                })
            }
            Self::Resp => fill(job, resp::has_records(job), |number, threads, progress| {
                resp::on_thread(job, async |server, _| {
                    load::part(server, job, number, threads, progress).await
                })?
                .map_err(Failure::new)
            }),
            Self::Raw(_) => Ok(()),
        }
    }

    /// The keys or places of a job.
    pub fn space(&self, job: &Job) -> Result<Space> {
        Ok(Space::new(match self {
            Self::Raw(file) => file.places(job)?,
            Self::Embedded(_) | Self::Grpc | Self::Resp => job.records,
        }))
    }

    /// Runs one thread of a job on it. `begin` waits for the other threads and gives the thread its clock.
    pub fn run<'a>(
        &self,
        job: &Job,
        space: &Space,
        begin: impl FnOnce() -> Option<Thread<'a>>,
    ) -> Result<Option<Report>> {
        match self {
            Self::Embedded(store) => store.with(job).on_thread(async |store, alarm| {
                let thread = begin()?;
                Some(drive::run(store, space, thread, alarm).await)
            }),
            Self::Grpc => grpc::on_thread(job, async |node, alarm| {
                let thread = begin()?;
                Some(drive::run(node, space, thread, alarm).await)
            }),
            Self::Resp => resp::on_thread(job, async |server, alarm| {
                let thread = begin()?;
                Some(drive::run(server, space, thread, alarm).await)
            }),
            Self::Raw(file) => raw::run(file, job, begin),
        }
    }

    /// The engine's counters, where they can be seen.
    pub fn stats(&self) -> Option<Stats> {
        match self {
            Self::Embedded(store) => Some(store.stats()),
            Self::Grpc | Self::Resp | Self::Raw(_) => None,
        }
    }
}

/// Writes a job's records to a server by `part`, where they are wanted and not `there`.
fn fill(
    job: &Job,
    there: Result<bool>,
    part: impl Fn(u32, u32, &dyn Fn(u64)) -> Result + Sync,
) -> Result {
    if !load::is_wanted(job, || matches!(there, Ok(true))) {
        return there
            .map(drop)
            .or_else(|error| if job.mix().needs_records() { Err(error) } else { Ok(()) });
    }
    there?;
    prepare::load(job, part)
}

/// CPU time that the server of a job has used so far, where it tells.
pub fn server_cpu(job: &Job) -> Option<Duration> {
    match job.engine() {
        Engine::Grpc | Engine::GrpcUnary => grpc::server_cpu(job).ok(),
        Engine::Resp => resp::server_cpu(job).ok(),
        Engine::Embedded | Engine::Raw => None,
    }
}
