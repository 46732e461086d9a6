//! `cairn serve`: runs a node until it is told to stop.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
};

use cairn_engine::{Progress, device::IoChoice};
use cairn_server::{Config, LogFormat, Node, OpenProgress, Options, StartError};
use clap::{ArgGroup, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    client::block_on,
    failure::{Doing, Failure, Result},
    units,
};

/// The arguments of `cairn serve`.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("source").required(true).args(["dev", "config"]))]
pub struct Args {
    /// A node for trying things out: namespace "test" on a file, loopback only, no configuration
    #[arg(long)]
    dev: bool,
    /// The node's configuration, TOML; `cairn config default` prints one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// With --dev: where the file lies
    #[arg(long, default_value = "cairn-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// With --dev: the gRPC port; 0 for any that is free
    #[arg(long, conflicts_with = "config")]
    grpc_port: Option<u16>,
    /// With --dev: the HTTP port; 0 for any that is free
    #[arg(long, conflicts_with = "config")]
    http_port: Option<u16>,
    /// With --dev: the Redis port; 0 for none
    #[arg(long, conflicts_with = "config")]
    resp_port: Option<u16>,
    /// How to do I/O, instead of what the configuration says
    #[arg(long, value_name = "auto|io_uring|pool")]
    io_engine: Option<IoChoice>,
    /// Listen on an address that is not loopback although there is no authentication
    #[arg(long)]
    insecure: bool,
    /// How log lines look; the environment variable CAIRN_LOG sets what is logged
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormatArg,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum LogFormatArg {
    #[default]
    Text,
    Json,
}

impl Args {
    /// Runs the node.
    pub fn run(self) -> Result {
        let format = match self.log_format {
            LogFormatArg::Text => LogFormat::Text,
            LogFormatArg::Json => LogFormat::Json,
        };
        cairn_server::start_logging(format);
        let config = self.settings()?;
        let options = Options { insecure: self.insecure, progress: Some(progress()) };
        block_on(run(config, options))
    }

    fn settings(&self) -> Result<Config> {
        let mut config = match &self.config {
            Some(file) => super::config::load(file)?,
            None => {
                std::fs::create_dir_all(&self.data_dir)
                    .doing(format_args!("creating {}", self.data_dir.display()))?;
                Config::dev(&self.data_dir)
            }
        };
        let node = &mut config.node;
        node.grpc_port = self.grpc_port.unwrap_or(node.grpc_port);
        node.http_port = self.http_port.unwrap_or(node.http_port);
        node.io_engine = self.io_engine.unwrap_or(node.io_engine);
        if let Some(port) = self.resp_port {
            config.resp.port = (port != 0).then_some(port);
        }
        Ok(config)
    }
}

async fn run(config: Config, options: Options) -> Result {
    // Taken before the start, so that a signal during a long cold start is not lost.
    let mut terminate = signal(SignalKind::terminate()).doing("waiting for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).doing("waiting for signals")?;
    let starting = tokio::task::spawn_blocking(move || Node::start(config, options));
    let node = tokio::select! {
        node = starting => node.doing("starting the node")?.map_err(|error| explain(&error))?,
        // Nothing has been acknowledged yet: leaving at once is as good as a crash, which every start copes with.
        _ = terminate.recv() => std::process::exit(143),
        _ = interrupt.recv() => std::process::exit(130),
    };
    print!("{}", node.banner());
    std::io::stdout().flush().doing("printing the banner")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    eprintln!(
        "stopping: finishing what is in flight and saving the index; once more to leave at once"
    );
    let stopping = tokio::task::spawn_blocking(move || node.stop());
    tokio::select! {
        stopped = stopping => stopped.doing("stopping the node")?.map_err(|error| {
            Failure::new(error.to_string()).next("the next start rebuilds the index from the records; no acknowledged write is lost")
        }),
        _ = terminate.recv() => std::process::exit(143),
        _ = interrupt.recv() => std::process::exit(130),
    }
}

fn explain(error: &StartError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        StartError::PortInUse { .. } => failure.next("another node may be running: see `cairn status`; --dev takes --grpc-port, --http-port and --resp-port"),
        StartError::Open { .. } => failure.next("`cairn inspect PATH` tells what a device holds; `cairn doctor PATH` checks the disk"),
        StartError::Io(_) => failure.next("`cairn doctor` tells why; --io-engine pool works everywhere"),
        _ => failure,
    }
}

/// Shows how far the opening of a namespace is, on one line of a terminal.
fn progress() -> OpenProgress {
    Arc::new(|namespace: &str, step: &Progress| {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let percent = units::percent(step.done, step.total);
        let seconds = step.elapsed.as_secs_f64();
        let left = if step.done == 0 {
            0.0
        } else {
            seconds * (step.total - step.done.min(step.total)) as f64 / step.done as f64
        };
        let rate = (step.records as f64 / seconds.max(1e-3)) as u64;
        let end = if step.done >= step.total { "\n" } else { "\r" };
        eprint!(
            "{namespace}: {} {percent:3.0} %  {} records  {}/s  {left:.0} s left \x1b[K{end}",
            step.phase,
            units::count(step.records),
            units::count(rate)
        );
    })
}
