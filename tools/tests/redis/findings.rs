//! Owns what a run found: each difference with what led to it, told so that it can be typed again.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use crate::{
    command::{Command, quoted},
    coverage::Coverage,
    generate::pools::is_key,
    wire::Reply,
};

/// How many earlier commands a difference shows.
const BEFORE: usize = 10;

/// The same for a command that names no key.
const BEFORE_ON_ALL: usize = 40;

/// The differences of a run.
pub struct Findings {
    pub seed: u64,
    history: Vec<(usize, Command)>,
    /// Where in the history both servers were empty last.
    anew: usize,
    /// The kind (command, and how the two replies begin), and all there is to say.
    differences: Vec<(String, String)>,
    pub coverage: Coverage,
}

impl Findings {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            history: Vec::new(),
            anew: 0,
            differences: Vec::new(),
            coverage: Coverage::default(),
        }
    }

    /// How many commands were sent.
    pub fn sent(&self) -> usize {
        self.history.len()
    }

    pub fn count(&self) -> usize {
        self.differences.len()
    }

    pub fn sends(&mut self, connection: usize, command: &Command) {
        self.history.push((connection, command.clone()));
    }

    /// Notes that both answered alike.
    pub fn answered(&mut self, command: &Command, reply: &Reply) {
        self.coverage.add(command, reply);
    }

    pub fn begin_anew(&mut self) {
        self.anew = self.history.len();
    }

    /// Notes that the last command that was sent was answered differently.
    pub fn add(
        &mut self,
        command: &Command,
        difference: &str,
        answers: [Result<Vec<u8>, String>; 2],
    ) {
        let begin = answers.each_ref().map(|answer| match answer {
            Ok(bytes) => quoted(&bytes[..bytes.len().min(30)]),
            Err(trouble) => trouble.clone(),
        });
        let kind = format!("{} {begin:?}", command.name());
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.describe(&mut text, command, difference, answers);
        self.differences.push((kind, text));
    }

    fn describe(
        &self,
        out: &mut String,
        command: &Command,
        difference: &str,
        answers: [Result<Vec<u8>, String>; 2],
    ) -> fmt::Result {
        let index = self.history.len().saturating_sub(1);
        let connection = self.history.last().map_or(0, |(connection, _)| *connection);
        writeln!(out, "command {index}, connection {connection}: {command}\n  {difference}")?;
        for (who, answer) in ["reference", "subject"].iter().zip(&answers) {
            match answer {
                Ok(bytes) => {
                    let cut = &bytes[..bytes.len().min(2000)];
                    let dots = if cut.len() < bytes.len() { "..." } else { "" };
                    writeln!(out, "  {who:9} {}{dots}", quoted(cut))?;
                }
                Err(trouble) => writeln!(out, "  {who:9} {trouble}")?,
            }
        }
        // What a command on all keys shows may be anybody's doing.
        let on_keys = command.0.iter().skip(1).any(|argument| is_key(argument));
        let concerns = |(other, before): &(usize, Command)| {
            if !on_keys {
                return true;
            }
            let shared = before.0.iter().skip(1).any(|a| is_key(a) && command.0[1..].contains(a));
            let state = ["MULTI", "EXEC", "DISCARD", "WATCH", "SELECT", "HELLO", "RESET", "QUIT"];
            let everything = ["SWAPDB", "FLUSHALL", "FLUSHDB"].contains(&before.name().as_str());
            shared
                || everything
                || (*other == connection && state.contains(&before.name().as_str()))
        };
        let earlier = self.history[self.anew.min(index)..index].iter().enumerate();
        let earlier: Vec<_> = earlier.filter(|(_, sent)| concerns(sent)).collect();
        let shown = if on_keys { BEFORE } else { BEFORE_ON_ALL };
        for (n, (connection, command)) in &earlier[earlier.len().saturating_sub(shown)..] {
            writeln!(out, "    before: {}, connection {connection}: {command}", self.anew + n)?;
        }
        Ok(())
    }
}

/// All differences, those of one kind together.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, found, seed) = (self.sent(), self.count(), self.seed);
        writeln!(
            f,
            "{sent} commands, {found} differences, seed {seed} (CAIRN_SEED={seed} replays)"
        )?;
        writeln!(f, "{}", self.coverage)?;
        let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (kind, text) in &self.differences {
            all.entry(kind).or_default().push(text);
        }
        for texts in all.values() {
            // The shortest is the easiest to type again.
            let shortest = texts.iter().min_by_key(|text| text.len()).unwrap_or(&"");
            write!(f, "\n{} times like this: {shortest}", texts.len())?;
        }
        Ok(())
    }
}
