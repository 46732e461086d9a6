//! One finding of the doctor.

use serde::Serialize;

/// How serious it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// A node runs, but slower or less safely than it could.
    Warn,
    /// A node would not run, or would lose data.
    Fail,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// How serious the finding is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

impl Check {
    /// As it should be.
    pub fn ok(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Ok, found: found.into(), todo: None }
    }

    /// Worth a look.
    pub fn warn(
        what: impl Into<String>,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self { state: State::Warn, todo: Some(todo.into()), ..Self::ok(what, found) }
    }

    /// In the way.
    pub fn fail(
        what: impl Into<String>,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self { state: State::Fail, todo: Some(todo.into()), ..Self::ok(what, found) }
    }

    /// Prints the finding for people.
    pub fn print(&self) {
        let mark = match self.state {
            State::Ok => "ok  ",
            State::Warn => "warn",
            State::Fail => "fail",
        };
        println!("{mark}  {}: {}", self.what, self.found);
        if let Some(todo) = &self.todo {
            println!("      -> {todo}");
        }
    }
}
