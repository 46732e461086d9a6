//! What a job gave.

use std::time::Duration;

use cairn_engine::Stats;

use super::{job::Job, tally::Tally, usage::Usage};

/// A job and what it gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was run.
    pub job: Job,
    /// Which of the groups that ran one after the other it was in.
    pub group: usize,
    /// Jobs that ran at the same time, itself included: they share what the process used.
    pub beside: usize,
    /// What its threads counted together.
    pub total: Tally,
    /// From the first measured start to the end.
    pub took: Duration,
    /// What its threads used in that time.
    pub threads: Usage,
    /// What the process used meanwhile: threads of the engine included, and of other jobs of the group.
    pub process: Usage,
    /// CPU that the node used meanwhile.
    pub server_cpu: Option<Duration>,
    /// The engine's counters before and after.
    pub stats: Option<(Stats, Stats)>,
    /// Whether it was broken off.
    pub interrupted: bool,
    /// Why it is no success though no operation failed: a rule that it broke.
    pub broken: Option<String>,
    /// What a reader of the results must know.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Operations a second.
    pub fn rate(&self) -> f64 {
        self.total.ops() as f64 / self.seconds()
    }

    /// How long it was measured, in seconds.
    pub fn seconds(&self) -> f64 {
        self.took.as_secs_f64().max(1e-9)
    }

    /// Microseconds of `cpu` for each operation.
    pub fn per_op(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.total.ops().max(1) as f64
    }

    /// What it is called where several runs of one job stand side by side.
    pub fn label(&self) -> String {
        let job = &self.job;
        match job.rate {
            Some(rate) => format!("{} {rate}/s x{}", job.name, job.threads),
            None => format!("{} depth {} x{}", job.name, job.depth(), job.threads),
        }
    }
}

/// A job that took two seconds and did nothing.
#[cfg(test)]
pub fn sample(job: Job) -> Outcome {
    Outcome {
        job,
        group: 0,
        beside: 1,
        total: Tally::default(),
        took: Duration::from_secs(2),
        threads: Usage::default(),
        process: Usage::default(),
        server_cpu: None,
        stats: None,
        interrupted: false,
        broken: None,
        notes: Vec::new(),
    }
}
