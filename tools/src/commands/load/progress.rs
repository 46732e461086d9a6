//! Which lines of a load are done, and the state file that lets it go on where it stopped.
//!
//! Writes are acknowledged in any order. The state is the last line below which every line is either acknowledged
//! or listed as failed; what was acknowledged above it is loaded again by a resumed load, which does no harm.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Failure, Result};

/// A load with more failed lines than this stops: something is wrong with all of it.
const FAILED_MAX: usize = 10_000;

/// What the state file holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// Bytes of the file that was loaded.
    size: u64,
    /// When it was last changed, in milliseconds since 1970.
    modified_ms: u64,
    /// Every line up to this one is acknowledged or in `failed`.
    line: u64,
    /// Lines that failed.
    failed: BTreeSet<u64>,
}

/// The lines that are to be loaded.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    after: u64,
    failed: BTreeSet<u64>,
}

impl Wanted {
    /// Whether this line is to be loaded.
    pub fn includes(&self, line: u64) -> bool {
        line > self.after || self.failed.contains(&line)
    }

    /// How many lines were done before.
    pub fn done_before(&self) -> u64 {
        self.after - self.failed.len() as u64
    }
}

/// The progress of one load.
#[derive(Debug)]
pub struct Progress {
    path: PathBuf,
    state: State,
    /// Which of the lines behind `state.line` are done: the first one is `state.line + 1`, and is not.
    done: VecDeque<bool>,
    wanted: Wanted,
    writable: bool,
}

/// Where the state of a load of `file` lies unless told otherwise.
pub fn state_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".cairn-load");
    path.into()
}

impl Progress {
    /// The progress of a load of `file`: from the start, or with `resume` as the state file tells.
    pub fn start(file: &Path, path: PathBuf, resume: bool) -> Result<Self> {
        let metadata = fs::metadata(file).doing(format_args!("opening {}", file.display()))?;
        let modified =
            metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ms = modified.map_or(0, |time| time.as_millis() as u64);
        let fresh = State { size: metadata.len(), modified_ms, ..State::default() };
        let state = if resume { resumed(&path, &fresh)? } else { fresh };
        let wanted = Wanted { after: state.line, failed: state.failed.clone() };
        let mut progress = Self { path, state, done: VecDeque::new(), wanted, writable: true };
        progress.save();
        Ok(progress)
    }

    /// The lines that are to be loaded.
    pub fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// This line is acknowledged.
    pub fn done(&mut self, line: u64) {
        self.state.failed.remove(&line);
        self.pass(line);
    }

    /// This line failed.
    pub fn failed(&mut self, line: u64) -> Result {
        self.state.failed.insert(line);
        self.pass(line);
        if self.state.failed.len() <= FAILED_MAX {
            return Ok(());
        }
        Err(Failure::new(format!("stopped: more than {FAILED_MAX} lines failed"))
            .next("look at the first failures above; --resume goes on when their cause is gone"))
    }

    /// How many lines have failed and were not loaded since.
    pub fn failed_count(&self) -> usize {
        self.state.failed.len()
    }

    fn pass(&mut self, line: u64) {
        let Some(index) = line.checked_sub(self.state.line + 1) else { return };
        let index = index as usize;
        if index >= self.done.len() {
            self.done.resize(index + 1, false);
        }
        self.done[index] = true;
        while self.done.front() == Some(&true) {
            self.done.pop_front();
            self.state.line += 1;
        }
    }

    /// Writes the state file. Where that cannot be, the load goes on and says once that it cannot be resumed.
    pub fn save(&mut self) {
        if !self.writable {
            return;
        }
        if let Err(error) = self.write() {
            self.writable = false;
            let path = self.path.display();
            eprintln!(
                "warning: this load cannot be resumed, its state cannot be written to {path}: {error} (--state names another place)"
            );
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let mut next = self.path.as_os_str().to_owned();
        next.push(".new");
        fs::write(&next, serde_json::to_vec(&self.state)?)?;
        fs::rename(&next, &self.path)
    }

    /// The load is over: removes the state file when nothing is left to do.
    pub fn close(&mut self, complete: bool) -> Result {
        if !complete || !self.state.failed.is_empty() {
            self.save();
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(error) if self.writable && error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).doing(format_args!("removing {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

fn resumed(path: &Path, fresh: &State) -> Result<State> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::new(format!(
                "{} does not exist: there is no load to resume",
                path.display()
            ))
            .next("leave out --resume to load the whole file"));
        }
        Err(error) => return Err(error).doing(format_args!("reading {}", path.display())),
    };
    let state: State =
        serde_json::from_slice(&text).doing(format_args!("reading {}", path.display()))?;
    if (state.size, state.modified_ms) != (fresh.size, fresh.modified_ms) {
        return Err(Failure::new("the file has changed since the load that is to be resumed")
            .next("leave out --resume to load the whole file; records that exist are replaced"));
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(dir: &Path, resume: bool) -> Result<Progress> {
        let file = dir.join("x.jsonl");
        Progress::start(&file, state_path(&file), resume)
    }

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.jsonl"), "lines").unwrap();
        dir
    }

    /// A load that was killed goes on without leaving out a line, whatever order the answers came in.
    #[test]
    fn a_resumed_load_wants_every_line_that_was_not_acknowledged() {
        let dir = folder();
        let mut progress = start(dir.path(), false).unwrap();
        for line in [2, 1, 5, 4, 9] {
            progress.done(line);
        }
        progress.save();
        drop(progress);
        let wanted = start(dir.path(), true).unwrap().wanted();
        let again: Vec<u64> = (1..=10).filter(|line| wanted.includes(*line)).collect();
        assert_eq!(again, [3, 4, 5, 6, 7, 8, 9, 10]);
    }

    /// Failed lines do not hold the rest up, and are tried again; when nothing is left the state file goes.
    #[test]
    fn failed_lines_are_tried_again_until_none_is_left() {
        let dir = folder();
        let mut progress = start(dir.path(), false).unwrap();
        progress.done(1);
        progress.failed(2).unwrap();
        progress.done(3);
        progress.close(true).unwrap();

        let mut progress = start(dir.path(), true).unwrap();
        let wanted = progress.wanted();
        assert_eq!((1..=3).filter(|line| wanted.includes(*line)).collect::<Vec<_>>(), [2]);
        assert_eq!(wanted.done_before(), 2);
        progress.done(2);
        assert_eq!(progress.failed_count(), 0);
        progress.close(true).unwrap();
        assert!(!state_path(&dir.path().join("x.jsonl")).exists());
    }

    /// Line numbers of one file must not be applied to another.
    #[test]
    fn a_changed_file_is_not_resumed() {
        let dir = folder();
        drop(start(dir.path(), false).unwrap());
        fs::write(dir.path().join("x.jsonl"), "other lines").unwrap();
        assert!(start(dir.path(), true).is_err());
        fs::remove_file(state_path(&dir.path().join("x.jsonl"))).unwrap();
        assert!(start(dir.path(), true).is_err());
    }
}
