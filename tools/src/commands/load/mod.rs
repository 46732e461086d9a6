//! `cairn load`: loads records from JSON lines, plain or gzip; many at once, in bounded memory, resumable.
//!
//! * `line`: one line as a record. `source`: the file as batches of lines, read by a thread of its own.
//! * `progress`: which lines are done, and the state file that lets a load go on where it stopped.
//! * `check`: the way back: reads the records and compares them with the file.
//! * `report`: the progress bar, and what is printed of failures.

mod check;
mod line;
mod progress;
mod report;
mod source;

use std::{
    collections::HashSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use cairn_sdk::{Client, Durability};
use futures::{StreamExt, stream::FuturesUnordered};

use self::{
    line::{Defaults, Line},
    progress::{Progress, Wanted},
    report::Report,
    source::{Item, Source},
};
use super::put::parse_durability;
use crate::{
    client::{HostArg, block_on},
    failure::{Failure, Result},
};

/// How often the state file is written.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// So many writes that fail with no success between them mean that the node is in trouble, not the lines.
const FAILURES_IN_A_ROW: u32 = 1000;

/// The arguments of `cairn load`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each line is one record: {\"namespace\": .., \"set\": .., \"key\": .., \"bins\": {..}, \"ttl\": seconds}. The \
    key is text, a whole number or {\"$bytes\": \"base64\"}; ttl 0 means never, no ttl means the namespace's default.\n\n\
    While it runs, and until every line is in, the state lies in FILE.cairn-load; --resume goes on from there, and tries \
    again the lines that failed. Records that exist are replaced, so loading a line twice does no harm."
)]
pub struct Args {
    /// JSON lines, plain or gzip
    file: PathBuf,
    /// Records in flight at once
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=65536))]
    concurrency: u32,
    /// Stop after this many lines
    #[arg(long)]
    limit: Option<u64>,
    /// Go on where an earlier load of this file stopped
    #[arg(long)]
    resume: bool,
    /// Where the state of the load is kept, instead of FILE.cairn-load
    #[arg(long, value_name = "PATH")]
    state: Option<PathBuf>,
    /// Namespace of lines that name none
    #[arg(long)]
    namespace: Option<String>,
    /// Set of lines that name none
    #[arg(long)]
    set: Option<String>,
    /// Where each record must be before it counts as loaded
    #[arg(long, value_parser = parse_durability, value_name = "device|buffer")]
    durability: Option<Durability>,
    /// Load nothing: read every record back and compare it with the last line of its key
    #[arg(long, conflicts_with_all = ["resume", "state", "durability"])]
    check: bool,
    #[command(flatten)]
    host: HostArg,
}

impl Args {
    /// Loads the file.
    pub fn run(self) -> Result {
        if self.check {
            return self.run_check();
        }
        let state = self.state.clone().unwrap_or_else(|| progress::state_path(&self.file));
        let progress = Progress::start(&self.file, state, self.resume)?;
        let source = self.source(progress.wanted())?;
        block_on(self.load(source, progress))
    }

    fn run_check(self) -> Result {
        let source = self.source(Wanted::default())?;
        let report = Report::start(&source, 0);
        block_on(async {
            let client = self.connect().await?;
            check::check(&client, source, report, self.concurrency as usize).await
        })
    }

    fn source(&self, wanted: Wanted) -> Result<Source> {
        let defaults = Defaults { namespace: self.namespace.clone(), set: self.set.clone() };
        Source::open(&self.file, defaults, wanted, self.limit)
    }

    async fn connect(&self) -> Result<Client> {
        let client = Client::builder()
            .connections(2)
            .in_flight(self.concurrency.saturating_mul(4).min(1_000_000))
            .deadline(self.host.timeout)
            .connect(&self.host.host)
            .await?;
        Ok(client)
    }

    async fn load(&self, source: Source, progress: Progress) -> Result {
        let client = self.connect().await?;
        let report = Report::start(&source, progress.wanted().done_before());
        let mut load = Load { progress, report, failures_in_a_row: 0, args: self };
        let complete = load.all(&client, source).await;
        let Load { mut progress, report, .. } = load;
        report.finish();
        let failed = progress.failed_count();
        progress.close(complete.is_ok())?;
        complete?;
        if failed == 0 {
            return Ok(());
        }
        Err(Failure::new(format!("{failed} lines failed; the others are loaded")).next(
            "mend what is wrong and run the same command with --resume: it tries only those lines",
        ))
    }
}

/// A load while it runs.
struct Load<'a> {
    args: &'a Args,
    progress: Progress,
    report: Report,
    /// Writes that failed with none between them that succeeded.
    failures_in_a_row: u32,
}

impl Load<'_> {
    async fn all(&mut self, client: &Client, mut source: Source) -> Result {
        let mut flying = FuturesUnordered::new();
        let mut flying_keys = HashSet::new();
        let mut held: Option<(u64, Line)> = None;
        let mut saved = Instant::now();
        let mut more = true;
        while more || held.is_some() || !flying.is_empty() {
            // Of two lines with one key the later one must win, so it waits for the other.
            if let Some((line, record)) =
                held.take_if(|(_, line)| !flying_keys.contains(line.key()))
            {
                flying_keys.insert(record.key().clone());
                flying.push(record.put(client, line, self.args.durability));
            }
            let room = flying.len() < self.args.concurrency as usize && held.is_none();
            tokio::select! {
                biased;
                Some((line, key, result)) = flying.next(), if !flying.is_empty() => {
                    flying_keys.remove(&key);
                    self.written(line, result)?;
                }
                next = source.next(), if more && room => match next.transpose()? {
                    None => more = false,
                    Some(Item { line, record: Ok(Some(record)) }) => held = Some((line, record)),
                    Some(Item { line, record: Ok(None) }) => self.progress.done(line),
                    Some(Item { line, record: Err(why) }) => self.failed(line, &why)?,
                },
            }
            if saved.elapsed() >= SAVE_EVERY {
                self.progress.save();
                saved = Instant::now();
            }
        }
        source.finished();
        Ok(())
    }

    fn written(&mut self, line: u64, result: std::result::Result<(), String>) -> Result {
        let Err(why) = result else {
            self.failures_in_a_row = 0;
            self.progress.done(line);
            self.report.loaded();
            return Ok(());
        };
        self.failures_in_a_row += 1;
        self.failed(line, &why)?;
        if self.failures_in_a_row < self.args.concurrency.max(FAILURES_IN_A_ROW) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "stopped: {} writes in a row failed, the last with: {why}",
            self.failures_in_a_row
        ))
        .next("see `cairn status`; then run the same command with --resume"))
    }

    fn failed(&mut self, line: u64, why: &str) -> Result {
        self.report.failed(line, why);
        self.progress.failed(line)
    }
}
