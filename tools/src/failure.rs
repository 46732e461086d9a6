//! How a command fails: what happened, and what to do next.

use std::fmt;

use cairn_sdk::{Code, Error};

/// The result of a command or a part of one.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// A failed command. Printed to standard error; the exit status is not 0.
#[derive(Debug)]
pub struct Failure {
    message: String,
    next: Option<String>,
}

impl Failure {
    /// What happened.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), next: None }
    }

    /// What was being done when it happened stands before it.
    pub fn during(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// What to do next.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

/// Adds what was being done to an error of the operating system or a library.
pub trait Doing<T> {
    /// `what` reads as in "reading a.json".
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        match &self.next {
            Some(next) => writeln!(f, "next:  {next}"),
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let next = match error.code {
            Code::Unavailable => {
                "is a node running there? `cairn serve --dev` starts one; `--host` names another"
            }
            Code::UnknownNamespace => "`cairn status` lists the namespaces of the node",
            Code::NoSpace => {
                "`cairn status` shows what takes the space; `cairn truncate` removes a whole set"
            }
            Code::Exists => "leave out --create-only to change the record",
            Code::Generation => "read the record again: somebody wrote it meanwhile",
            Code::Corruption => "`cairn inspect PATH --verify` tells the extent of the damage",
            Code::DeviceFailed => {
                "see the node's log and `cairn status`; the device takes no more writes"
            }
            Code::Deadline if error.in_doubt => {
                "read the record to see whether the write was applied"
            }
            Code::Deadline | Code::Overloaded => {
                "the node is busy or not reachable: try again, or see `cairn status`"
            }
            _ if error.in_doubt => "read the record to see whether the write was applied",
            _ => "",
        };
        let failure = Self::new(error.to_string());
        if next.is_empty() { failure } else { failure.next(next) }
    }
}
