//! What a connection remembers from one command to the next.

use std::sync::Arc;

use cairn_engine::Sight;

use super::{
    clients::Client,
    fail::{Done, Fail, NO_AUTH},
    place::Place,
    request::Request,
    table::Entry,
};

/// Most commands between MULTI and EXEC.
pub const QUEUED_MAX: usize = 65_536;

/// Whether the client wants answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// Yes.
    #[default]
    On,
    /// Not until it says so.
    Off,
    /// Not to the next command.
    SkipNext,
    /// Not to this command.
    Skip,
}

/// What stands between MULTI and EXEC.
#[derive(Debug, Default)]
pub struct Multi {
    /// The commands in their order.
    pub queued: Vec<(Entry, Request)>,
    /// Their bytes together.
    pub bytes: usize,
    /// Whether one was refused, so that EXEC does nothing.
    pub refused: bool,
}

/// A key that must not change before EXEC.
#[derive(Debug)]
pub struct Watched {
    /// The key.
    pub place: Place,
    /// What was seen of it.
    pub sight: Sight,
}

/// What commands of a transaction may change of the connection, and what is taken back when they are done again or not at all.
#[derive(Clone, Copy, Debug)]
pub struct Modes {
    /// The database.
    pub db: u8,
    /// Whether it speaks RESP3.
    pub resp3: bool,
    authenticated: bool,
    closing: bool,
    answers: Answers,
}

/// The state of a connection.
#[derive(Debug)]
pub struct Session {
    /// The database.
    pub db: u8,
    /// Whether it speaks RESP3.
    pub resp3: bool,
    /// Whether it may do what it wants.
    pub authenticated: bool,
    /// Whether the connection ends when everything is answered.
    pub closing: bool,
    /// Whether it wants answers.
    pub answers: Answers,
    /// Between MULTI and EXEC.
    pub multi: Option<Box<Multi>>,
    /// Since WATCH.
    pub watched: Vec<Watched>,
    /// What others see of it.
    pub client: Arc<Client>,
}

impl Session {
    /// A new connection's.
    pub fn new(client: Arc<Client>, authenticated: bool) -> Self {
        Self {
            db: 0,
            resp3: false,
            authenticated,
            closing: false,
            answers: Answers::On,
            multi: None,
            watched: Vec::new(),
            client,
        }
    }

    /// How the connection is now.
    pub fn modes(&self) -> Modes {
        let &Self { db, resp3, authenticated, closing, answers, .. } = self;
        Modes { db, resp3, authenticated, closing, answers }
    }

    /// Makes it what it was.
    pub fn restore(&mut self, modes: Modes) {
        let Modes { db, resp3, authenticated, closing, answers } = modes;
        (self.db, self.resp3, self.authenticated) = (db, resp3, authenticated);
        (self.closing, self.answers) = (closing, answers);
    }

    /// Whether commands are done as they come and answered: it is nothing else than a client that may ask.
    pub fn is_plain(&self) -> bool {
        let asks = self.authenticated && !self.closing && self.multi.is_none();
        asks && self.answers == Answers::On
    }

    /// Whether this command may be done.
    pub fn may(&self, entry: Entry) -> Done {
        match self.authenticated || entry.command.flags.has(super::command::Flags::NO_AUTH) {
            true => Ok(()),
            false => Err(NO_AUTH),
        }
    }

    /// Queues a command between MULTI and EXEC. `bytes_max` bounds all of them together.
    pub fn queue(&mut self, entry: Entry, request: &Request, bytes_max: usize) -> Done {
        let Some(multi) = &mut self.multi else { return Ok(()) };
        multi.bytes += request.bytes_len();
        if multi.queued.len() >= QUEUED_MAX || multi.bytes > bytes_max {
            return Err(Fail::new(format!(
                "ERR a transaction takes at most {QUEUED_MAX} commands of {bytes_max} bytes together"
            )));
        }
        // Small ones arrive many in one buffer, which they would keep alive.
        multi.queued.push((entry, request.detached()));
        self.client
            .queued
            .store(multi.queued.len() as u32 + 1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Notes that a command could not be queued.
    pub fn refuse(&mut self) {
        if let Some(multi) = &mut self.multi {
            multi.refused = true;
        }
    }

    /// Leaves MULTI; what was queued is answered.
    pub fn leave_multi(&mut self) -> Option<Box<Multi>> {
        self.client.queued.store(0, std::sync::atomic::Ordering::Relaxed);
        self.multi.take()
    }

    /// Watches nothing any more.
    pub fn unwatch(&mut self) {
        self.watched = Vec::new();
        self.client.watched.store(0, std::sync::atomic::Ordering::Relaxed);
    }

    /// Whether the answer to the command that was just done is sent, and moves on to the next one.
    pub fn answered(&mut self) -> bool {
        match self.answers {
            Answers::On => true,
            Answers::Off => false,
            Answers::SkipNext => {
                self.answers = Answers::Skip;
                false
            }
            Answers::Skip => {
                self.answers = Answers::On;
                false
            }
        }
    }
}
