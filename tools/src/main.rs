//! `cairn`: the one binary. It starts nodes, reads and writes records, loads, measures, inspects and checks.
//!
//! * `cli`: the commands and what each of them takes. `commands`: one file for each command.
//! * `bench`: the latency tool.
//! * `client`, `key`, `json`, `output`, `units`: what several commands share.
//! * `failure`: how a command fails: a sentence, what to do next, and a status that is not 0.

mod bench;
mod cli;
mod client;
mod commands;
mod failure;
mod json;
mod key;
mod output;
mod units;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    if cli.only_prints() {
        // A reader that has enough (`cairn scan ... | head`) ends the program, as it does other tools, and is no error. Not so
        // where sockets matter more than the output: a client that goes away must not end a node.
        // SAFETY: nothing else has set a handler yet, and SIG_DFL needs no code of ours.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprint!("{failure}");
            ExitCode::FAILURE
        }
    }
}
