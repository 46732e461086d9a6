//! `cairn load`: loads records from JSON lines, plain or gzip; many at once, in bounded memory, resumable.
//!
//! * `line`: one line as a record. `source`: the file as batches of lines, read by a thread of its own.
//! * `progress`: which lines are done, and the state file that lets a load go on where it stopped.
//! * `report`: the progress bar, and what is printed of failures.

mod line;
mod progress;
mod report;
mod source;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use cairn_sdk::{Client, Durability};
use futures::{StreamExt, stream::FuturesUnordered};

use self::{
    line::Defaults,
    progress::Progress,
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
    #[command(flatten)]
    host: HostArg,
}

impl Args {
    /// Loads the file.
    pub fn run(self) -> Result {
        let state = self.state.clone().unwrap_or_else(|| progress::state_path(&self.file));
        let progress = Progress::start(&self.file, state, self.resume)?;
        let defaults = Defaults { namespace: self.namespace.clone(), set: self.set.clone() };
        let source = Source::open(&self.file, defaults, progress.wanted(), self.limit)?;
        block_on(self.load(source, progress))
    }

    async fn load(&self, source: Source, progress: Progress) -> Result {
        let client = Client::builder()
            .connections(2)
            .in_flight(self.concurrency.saturating_mul(4).min(1_000_000))
            .deadline(self.host.timeout)
            .connect(&self.host.host)
            .await?;
        let report = Report::start(&source, &progress);
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
        let mut saved = Instant::now();
        let mut more = true;
        while more || !flying.is_empty() {
            let room = flying.len() < self.args.concurrency as usize;
            tokio::select! {
                biased;
                Some((line, result)) = flying.next(), if !flying.is_empty() => {
                    self.written(line, result)?;
                }
                next = source.next(), if more && room => match next.transpose()? {
                    None => more = false,
                    Some(Item { line, record: Ok(Some(record)) }) => {
                        flying.push(record.put(client, line, self.args.durability));
                    }
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
