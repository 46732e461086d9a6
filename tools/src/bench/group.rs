//! Runs the jobs of a group at the same time: their threads, the collecting of what they count, the end.

use std::{
    sync::{atomic::Ordering::Relaxed, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    gate::Gate,
    hdr, interrupt,
    job::{Engine, Job, ycsb},
    keys::Space,
    live::Live,
    outcome::Outcome,
    tally::Tally,
    target::{self, Target, Targets},
    thread::{Clock, Mailbox, Moment, Report, Thread},
    usage::Usage,
    work::Source,
};
use crate::failure::{Doing, Failure, Result};

/// How often what was counted is collected and shown.
const TICK: Duration = Duration::from_secs(1);

/// Where results go while jobs run.
#[derive(Debug)]
pub struct Console {
    /// Whether a line is shown once a second.
    pub live: bool,
    /// The log of histograms.
    pub log: Option<hdr::Log>,
}

/// A job, ready to run.
struct Running<'a> {
    job: &'a Job,
    target: &'a Target,
    space: Space,
    mailboxes: Vec<Mailbox>,
    total: Tally,
    /// Since the last tick.
    recent: Tally,
}

/// Runs a group; opens what its jobs run on, and closes it.
pub fn run(jobs: &[Job], group: usize, console: &mut Console) -> Result<Vec<Outcome>> {
    let targets = Targets::open(jobs)?;
    let outcomes = run_on(&targets, jobs, group, console);
    let closed = targets.close();
    let outcomes = outcomes?;
    // A device that failed cannot be closed in order; what was measured is shown all the same, and the failure with it.
    if let Err(failure) = closed {
        eprint!("{failure}");
    }
    Ok(outcomes)
}

/// Runs a group on targets that are open.
pub fn run_on(
    targets: &Targets,
    jobs: &[Job],
    group: usize,
    console: &mut Console,
) -> Result<Vec<Outcome>> {
    let running: Result<Vec<Running<'_>>> = jobs
        .iter()
        .enumerate()
        .map(|(index, job)| {
            let target = targets.of(index);
            Ok(Running {
                job,
                target,
                space: target.space(job)?,
                mailboxes: (0..job.threads).map(|_| Mailbox::default()).collect(),
                total: Tally::default(),
                recent: Tally::default(),
            })
        })
        .collect();
    let mut running = running?;
    let before: Vec<_> = running.iter().map(|running| running.target.stats()).collect();
    let node = jobs.iter().find(|job| !matches!(job.engine(), Engine::Embedded | Engine::Raw));
    let (spans, server) = threads(&mut running, node, console)?;
    let finish = |((running, spans), before): ((Running<'_>, Vec<(Moment, Moment)>), _)| {
        let (took, threads, process) = span(&spans);
        let mut notes = Vec::new();
        // What jobs side by side cost a node cannot be told apart.
        if let Some(cpu) = server.filter(|_| jobs.len() > 1) {
            notes.push(format!(
                "the node used {:.2} cores for all jobs together",
                cpu.as_secs_f64()
            ));
        }
        if let Target::Raw(file) = running.target
            && !file.direct()
        {
            notes.push("through the page cache: this is not the device's own speed".into());
        }
        notes.extend(ycsb::notes(running.job).map(str::to_owned));
        Outcome {
            job: running.job.clone(),
            group,
            beside: jobs.len(),
            total: running.total,
            took,
            threads,
            process,
            server_cpu: server
                .filter(|_| jobs.len() == 1)
                .map(|cpu| cpu.mul_f64(took.as_secs_f64())),
            stats: Option::zip(before, running.target.stats()),
            interrupted: interrupt::requested(),
            broken: None,
            notes,
        }
    };
    Ok(running.into_iter().zip(spans).zip(before).map(finish).collect())
}

/// Starts all threads, collects until they are through. Gives each job's spans, and the CPU that the node used in a second.
#[expect(clippy::type_complexity, reason = "a list for each job")]
fn threads(
    running: &mut [Running<'_>],
    node: Option<&Job>,
    console: &mut Console,
) -> Result<(Vec<Vec<(Moment, Moment)>>, Option<Duration>)> {
    let gate = Gate::default();
    let (ended, ends) = mpsc::channel();
    let mut totals: Vec<(Tally, Tally)> = Vec::new();
    for running in running.iter_mut() {
        totals.push((std::mem::take(&mut running.total), std::mem::take(&mut running.recent)));
    }
    let jobs = &*running;
    let count: u32 = jobs.iter().map(|running| running.job.threads).sum();
    let outcome = thread::scope(|scope| {
        let mut threads = Vec::new();
        for (index, running) in jobs.iter().enumerate() {
            for number in 0..running.job.threads {
                let (gate, ended) = (&gate, ended.clone());
                let work = move || {
                    let report = one(running, number, gate).inspect_err(|_| {
                        gate.fail();
                        interrupt::request();
                    });
                    // Nobody listens any more when the group has failed.
                    let _ = ended.send(());
                    report
                };
                let name = format!("bench-{index}-{number}");
                let thread = thread::Builder::new().name(name).spawn_scoped(scope, work);
                threads
                    .push((index, thread.doing("starting a thread").inspect_err(|_| gate.fail())?));
            }
        }
        let mut server = None;
        if let Some(start) = gate.open(count) {
            let ramp = jobs.iter().map(|running| running.job.ramp).max().unwrap_or_default();
            let mut live = Live::new(console.live, start + ramp);
            let mut watch = node.map(|job| ServerWatch::new(job, start + ramp));
            let mut left = count;
            // Threads hand over a second after the measured time began, and each second from then on: look a little later.
            let mut tick = start + Duration::from_nanos(ramp.subsec_nanos().into()) + TICK / 5;
            while left > 0 {
                if ends.recv_timeout(tick.saturating_duration_since(Instant::now())).is_ok() {
                    left -= 1;
                    if let Some(watch) = &mut watch {
                        watch.end();
                    }
                    continue;
                }
                tick += TICK;
                if let Some(watch) = &mut watch {
                    watch.begin();
                }
                collect(jobs, &mut totals, &mut live, console);
            }
            gather(jobs, &mut totals);
            live.finish();
            server = watch.and_then(|watch| watch.per_second());
        }
        let mut spans: Vec<Vec<(Moment, Moment)>> = jobs.iter().map(|_| Vec::new()).collect();
        let mut failed = None;
        for (index, thread) in threads {
            let report = thread.join().map_err(|_| Failure::new("a job panicked")).flatten();
            match report {
                Err(failure) => failed = failed.or(Some(failure)),
                Ok(None) => {}
                Ok(Some(report)) => {
                    let (total, recent) = &mut totals[index];
                    total.merge(&report.tally);
                    recent.merge(&report.tally);
                    spans[index].extend(report.span);
                }
            }
        }
        log(jobs, &totals, console);
        failed.map_or(Ok((spans, server)), Err)
    });
    for (running, (total, _)) in running.iter_mut().zip(totals) {
        running.total = total;
    }
    outcome
}

fn one(running: &Running<'_>, number: u32, gate: &Gate) -> Result<Option<Report>> {
    let Running { job, target, space, mailboxes, .. } = running;
    target.run(job, space, || {
        let source = Source::new(job, space, number);
        let clock = Clock::new(job, gate.wait()?);
        Some(Thread::new(job, number, source, clock, &mailboxes[number as usize]))
    })
}

/// Takes what the threads have left in their mailboxes.
fn gather(jobs: &[Running<'_>], totals: &mut [(Tally, Tally)]) {
    for (running, (total, recent)) in jobs.iter().zip(totals) {
        recent.clear();
        for mailbox in &running.mailboxes {
            mailbox.collect(|tally| {
                total.merge(tally);
                recent.merge(tally);
            });
        }
    }
}

/// Writes what was counted since the last time to the log. A log that cannot be written ends, the run goes on.
fn log(jobs: &[Running<'_>], totals: &[(Tally, Tally)], console: &mut Console) {
    let Some(log) = &mut console.log else { return };
    let mut pairs = jobs.iter().zip(totals);
    if let Err(failure) =
        pairs.try_for_each(|(running, (_, recent))| log.add(&running.job.name, recent))
    {
        eprint!("{failure}");
        console.log = None;
    } else {
        log.tick();
    }
}

/// A tick: gathers, logs and shows.
fn collect(
    jobs: &[Running<'_>],
    totals: &mut [(Tally, Tally)],
    live: &mut Live,
    console: &mut Console,
) {
    gather(jobs, totals);
    log(jobs, totals, console);
    live.show(jobs.iter().zip(totals.iter()).map(|(running, (total, recent))| {
        let in_flight =
            running.mailboxes.iter().map(|mailbox| mailbox.in_flight.load(Relaxed)).sum();
        (running.job, total, recent, in_flight)
    }));
}

/// From the first measured start of a job to its end; what its threads and the process used in that time.
pub fn span(spans: &[(Moment, Moment)]) -> (Duration, Usage, Usage) {
    let first = spans.iter().map(|(first, _)| first).min_by_key(|moment| moment.at);
    let last = spans.iter().map(|(_, last)| last).max_by_key(|moment| moment.at);
    let Some((first, last)) = first.zip(last) else { return Default::default() };
    let threads = spans.iter().map(|(first, last)| last.thread.since(&first.thread));
    let threads = threads.fold(Usage::default(), |sum, usage| sum.plus(&usage));
    (last.at - first.at, threads, last.process.since(&first.process))
}

/// How much CPU the node uses: looked at when the measured time begins and when the first thread is through.
struct ServerWatch<'a> {
    job: &'a Job,
    from: Instant,
    begin: Option<(Instant, Duration)>,
    end: Option<(Instant, Duration)>,
}

impl<'a> ServerWatch<'a> {
    fn new(job: &'a Job, from: Instant) -> Self {
        let mut watch = Self { job, from, begin: None, end: None };
        watch.begin();
        watch
    }

    fn look(&self) -> Option<(Instant, Duration)> {
        Some((Instant::now(), target::server_cpu(self.job)?))
    }

    fn begin(&mut self) {
        if self.begin.is_none() && Instant::now() >= self.from {
            self.begin = self.look();
        }
    }

    fn end(&mut self) {
        if self.end.is_none() {
            self.end = self.look();
        }
    }

    fn per_second(&self) -> Option<Duration> {
        let ((from, before), (to, after)) = self.begin.zip(self.end)?;
        let seconds = (to - from).as_secs_f64();
        (seconds > 0.0).then(|| after.saturating_sub(before).div_f64(seconds))
    }
}
