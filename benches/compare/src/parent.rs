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
    table,
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
    let budget = options.setup(engine).budget;
    // A quarter and 96 MiB more, for what no engine counts: stacks, histograms, buffers of compactions.
    let group = Group::make(budget + budget / 4 + (96 << 20));
    if group.is_none() {
        eprintln!("{engine:>8}  no control group can be made here: the page cache is not bounded");
    }
    let outcome = match child(engine, options, group.as_ref()) {
        Ok(outcome) => outcome,
        Err(Ended::Killed) if group.is_some() => {
            eprintln!("{engine:>8}  needs more memory than the bound: once more without one");
            beyond_bound(child(engine, options, None), engine)
        }
        Err(ended) => failed(engine, &ended),
    };
    if !options.keep {
        let _ = fs::remove_dir_all(options.folder(engine));
    }
    outcome
}

/// How a child ended without an outcome.
enum Ended {
    /// By SIGKILL, which is how the kernel enforces a group's bound.
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
        Ended::Killed => "its process was killed".into(),
        Ended::Otherwise(failure) => failure.to_string(),
    };
    Outcome { engine: engine.into(), failure: Some(failure), ..Outcome::default() }
}

/// What an engine did that had not kept to its memory.
fn beyond_bound(second: Result<Outcome, Ended>, engine: &str) -> Outcome {
    let mut outcome = second.unwrap_or_else(|ended| failed(engine, &ended));
    outcome.notes.push("it did not keep to its memory and was killed for that; these are the figures of a second run without a bound".into());
    outcome
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
    if output.status.signal() == Some(libc::SIGKILL) {
        return Err(Ended::Killed);
    }
    if !output.status.success() {
        return Err(Failure::new(format!("its process ended early: {}", output.status)).into());
    }
    let last = output.stdout.split(|b| *b == b'\n').rfind(|line| !line.is_empty());
    Ok(serde_json::from_slice(last.unwrap_or_default()).doing("reading the engine's outcome")?)
}
