//! Starts a child for each engine, one after another, and prints what came of it.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode, Stdio},
};

use crate::{
    cgroup::Group,
    engines,
    failure::{Doing, Failure, Result},
    options::Options,
    result::Outcome,
    table, watchdog,
};

/// Runs all engines asked for.
pub fn run(options: &Options) -> Result<ExitCode> {
    if let Some(stranger) = options.engines.iter().find(|e| !engines::NAMES.contains(&&***e)) {
        return Err(Failure::new(format!(
            "there is no engine {stranger:?}; there are {}",
            engines::NAMES.join(", ")
        )));
    }
    fs::create_dir_all(&options.dir).doing("making the directory")?;
    let setup = options.setup("");
    println!(
        "{} records of {} bytes, {} MiB of data; {} MiB of memory for each engine; {} in flight; {} s a phase",
        setup.records,
        setup.value_bytes,
        setup.data_bytes() >> 20,
        setup.budget >> 20,
        setup.depth,
        setup.seconds
    );
    if setup.data_bytes() < 4 * setup.budget {
        println!("beware: the data is less than four times the memory, so caches answer much");
    }
    let outcomes: Vec<_> = options.engines.iter().map(|engine| one(engine, options)).collect();
    println!("\n{}", table::render(&outcomes));
    if let Some(path) = &options.json {
        let json = serde_json::to_vec_pretty(&outcomes).doing("writing the outcomes")?;
        fs::write(path, json).doing("writing the JSON file")?;
    }
    let sound = outcomes.iter().all(|outcome| outcome.failure.is_none());
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One engine, from an empty folder. A failure is an outcome too.
fn one(engine: &str, options: &Options) -> Outcome {
    let outcome = bounded(engine, options).unwrap_or_else(|ended| failed(engine, &ended));
    if !options.keep {
        let _ = fs::remove_dir_all(options.folder(engine));
    }
    outcome
}

/// Runs an engine within its memory; where it does not keep to it, within four times as much, and then without a bound.
fn bounded(engine: &str, options: &Options) -> Result<Outcome, Ended> {
    let budget = options.setup(engine).budget;
    // A quarter and 96 MiB more, for what no engine counts: stacks, histograms, buffers of compactions.
    let bound = budget + budget / 4 + (96 << 20);
    for times in [1, 4] {
        let Some(group) = Group::make(times * bound) else {
            eprintln!(
                "{engine:>8}  no control group can be made here: the page cache is not bounded"
            );
            return child(engine, options, None);
        };
        match child(engine, options, Some(&group)) {
            Err(Ended::Killed) => {
                eprintln!("{engine:>8}  did not get on within {} MiB", (times * bound) >> 20);
            }
            Ok(outcome) if times > 1 => {
                return Ok(beyond(outcome, &format!("within {times} times the bound")));
            }
            other => return other,
        }
    }
    Ok(beyond(child(engine, options, None)?, "without a bound"))
}

/// What an engine did that had not kept to its memory.
fn beyond(mut outcome: Outcome, how: &str) -> Outcome {
    outcome.notes.push(format!(
        "it did not get on within the memory it was given and told to use; these figures are of another run, {how}"
    ));
    outcome
}

/// How a child ended without an outcome.
enum Ended {
    /// By SIGKILL, which is how the kernel enforces a group's bound, or by its own watchdog, since a group that is just too small makes all
    /// work stand still.
    Killed,
    /// In another way.
    Otherwise(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Otherwise(failure)
    }
}

fn failed(engine: &str, ended: &Ended) -> Outcome {
    let failure = match ended {
        Ended::Killed => "its process was killed, or made no progress".into(),
        Ended::Otherwise(failure) => failure.to_string(),
    };
    Outcome { engine: engine.into(), failure: Some(failure), ..Outcome::default() }
}

fn child(engine: &str, options: &Options, group: Option<&Group>) -> Result<Outcome, Ended> {
    let folder = options.folder(engine);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).doing("making the engine's folder")?;
    let program = std::env::current_exe().doing("finding this program")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).args(["--child", engine]);
    if let Some(group) = group {
        command.arg("--group").arg(group.path());
    }
    let output = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).output();
    let output = output.doing("running the engine's process")?;
    let stalled = output.status.code() == Some(watchdog::STALLED);
    if stalled || output.status.signal() == Some(libc::SIGKILL) {
        return Err(Ended::Killed);
    }
    if !output.status.success() {
        return Err(Failure::new(format!("its process ended early: {}", output.status)).into());
    }
    let last = output.stdout.split(|b| *b == b'\n').rfind(|line| !line.is_empty());
    Ok(serde_json::from_slice(last.unwrap_or_default()).doing("reading the engine's outcome")?)
}
