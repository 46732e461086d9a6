//! Starts a child for each engine, one after another, and prints what came of it.

use std::{
    fs,
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
    let folder = options.folder(engine);
    let outcome = child(engine, options).unwrap_or_else(|failure| Outcome {
        engine: engine.into(),
        failure: Some(failure.to_string()),
        ..Outcome::default()
    });
    if !options.keep {
        let _ = fs::remove_dir_all(&folder);
    }
    outcome
}

fn child(engine: &str, options: &Options) -> Result<Outcome> {
    let folder = options.folder(engine);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).doing("making the engine's folder")?;
    let budget = options.setup(engine).budget;
    // A quarter and 64 MiB more, for what no engine counts: stacks, histograms, buffers of compactions.
    let group = Group::make(budget + budget / 4 + (64 << 20));
    if group.is_none() {
        eprintln!("{engine:>8}  no control group can be made here: the page cache is not bounded");
    }
    let program = std::env::current_exe().doing("finding this program")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).args(["--child", engine]);
    if let Some(group) = &group {
        command.arg("--group").arg(group.path());
    }
    let output = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).output();
    let output = output.doing("running the engine's process")?;
    if !output.status.success() {
        return Err(Failure::new(format!("its process ended early: {}", output.status)));
    }
    let last = output.stdout.split(|b| *b == b'\n').rfind(|line| !line.is_empty());
    serde_json::from_slice(last.unwrap_or_default()).doing("reading the engine's outcome")
}
