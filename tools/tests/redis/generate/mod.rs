//! Owns what is sent: a sequence of steps that follows from the seed alone, never from a reply, so that a seed replays it.

mod bits;
mod connection;
mod keys;
mod lives;
pub mod pools;
mod strings;

use crate::{chance::Chance, command::Command};

/// How many connections a run has.
pub const CONNECTIONS: usize = 4;

/// One of a batch of commands that are sent at once.
pub struct Sent {
    pub command: Command,
    /// Typed as a line, not sent as an array.
    pub inline: bool,
    /// Without an answer, by CLIENT REPLY.
    pub silent: bool,
}

/// One thing to do on both servers.
pub enum Step {
    /// Commands sent at once, the first bytes (`cut`) by themselves. Ends with QUIT if there is one.
    Batch { commands: Vec<Sent>, cut: usize },
    /// A command that gives `key` a life of moments; then both servers are asked until neither knows the key.
    Moment { command: Command, key: Vec<u8> },
    /// SCAN with these options from cursor 0 to cursor 0; duplicates are allowed, missing keys are not.
    Scan { options: Command },
    /// What DUMP gives on either server, restored on the other.
    Exchange { from: Vec<u8>, to: Vec<u8> },
}

/// The generator.
pub struct Generator {
    chance: Chance,
    /// Which connections are between MULTI and its end, as far as the sender can tell.
    multi: [bool; CONNECTIONS],
    newer: bool,
    /// Which commands alone to send; all if empty.
    only: Vec<String>,
}

impl Generator {
    /// With `newer` the subject is also asked what Redis 7.0 does not know yet.
    pub fn new(seed: u64, newer: bool) -> Self {
        let only = std::env::var("CAIRN_ONLY").unwrap_or_default().to_ascii_uppercase();
        let only = only.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self { chance: Chance::new(seed), multi: [false; CONNECTIONS], newer, only }
    }

    fn sends(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// All connections are new.
    pub fn forget(&mut self) {
        self.multi = [false; CONNECTIONS];
    }

    /// The next step, and the connection it is for.
    pub fn step(&mut self) -> (usize, Step) {
        let at = self.chance.below(CONNECTIONS as u64) as usize;
        let step = match self.chance.below(60) {
            0 if !self.multi[at] && self.only.is_empty() => self.moment(),
            1 if !self.multi[at] && self.sends("SCAN") => self.scan(),
            2 if !self.multi[at] && self.sends("DUMP") => self.exchange(),
            3 if !self.multi[at] && self.only.is_empty() => self.silence(),
            4 if !self.multi[at] && self.newer && self.only.is_empty() => self.newer(),
            _ => self.batch(at),
        };
        (at, step)
    }

    fn batch(&mut self, at: usize) -> Step {
        let count = match self.chance.below(6) {
            0 | 1 => 1,
            5 => 1 + self.chance.below(60),
            _ => 1 + self.chance.below(12),
        };
        let mut commands = Vec::new();
        for _ in 0..count {
            let command = self.next(at);
            if command.name() == "WATCH" && !self.multi[at] {
                // A key that is there: see `rules::AVOIDED`.
                for key in &command.0[1..] {
                    let command = Command::words("SETNX").arg(key).arg("watched");
                    commands.push(Sent { command, inline: false, silent: false });
                }
            }
            let quits = command.name() == "QUIT";
            let short = command.0.iter().map(Vec::len).sum::<usize>() < 1000;
            let inline = short && self.chance.one_in(30);
            commands.push(Sent { command, inline, silent: false });
            if quits {
                break;
            }
        }
        let cut = if self.chance.one_in(4) { self.chance.below(400) as usize } else { 0 };
        Step::Batch { commands, cut }
    }

    fn next(&mut self, at: usize) -> Command {
        loop {
            let before = self.multi;
            let command = self.command(at);
            if self.sends(&command.name()) {
                return command;
            }
            self.multi = before;
        }
    }

    fn command(&mut self, at: usize) -> Command {
        let chance = &mut self.chance;
        let one_of = if self.multi[at] { 5 } else { 20 };
        if chance.one_in(one_of) {
            return self.transaction(at);
        }
        let mut command = match chance.below(20) {
            0..=8 => strings::command(chance),
            9..=12 => bits::command(chance),
            13..=18 => keys::command(chance),
            _ => connection::command(chance),
        };
        if chance.one_in(12) {
            pools::spoil(chance, &mut command);
            if command.name() == "WAIT" && command.0.len() == 3 {
                // More replicas than none would be waited for: see `rules::AVOIDED`.
                command.0[1] = String::from("0").into();
            }
        }
        if chance.one_in(5) {
            let name = String::from_utf8_lossy(&command.0[0]).into_owned();
            if name.is_ascii() {
                command.0[0] = pools::cased(chance, &name).into();
            }
        }
        if command.name() == "RESET" && command.0.len() == 1 {
            self.multi[at] = false;
        }
        command
    }

    fn transaction(&mut self, at: usize) -> Command {
        let chance = &mut self.chance;
        let mut command = match (self.multi[at], chance.below(20)) {
            (false, 0..=8) => Command::default().arg("WATCH").args(pools::keys(chance, 2)),
            (false, 9..=16) => Command::words("MULTI"),
            (false, 17) => Command::words("QUIT"),
            (true, 0..=13) => Command::words("EXEC"),
            (true, 14) => Command::words("MULTI"),
            (true, 15) => Command::words("WATCH a"),
            (_, 18) => Command::words("UNWATCH"),
            (_, 16 | 19) => Command::words("DISCARD"),
            _ => Command::words("EXEC"),
        };
        if chance.one_in(15) {
            pools::spoil(chance, &mut command);
        }
        match (command.name().as_str(), command.0.len()) {
            ("MULTI", 1) => self.multi[at] = true,
            ("EXEC" | "DISCARD", 1) | ("QUIT", _) => self.multi[at] = false,
            _ => {}
        }
        command
    }

    fn moment(&mut self) -> Step {
        let chance = &mut self.chance;
        let key = pools::key(chance);
        let moments = chance.between(1, 15).to_string();
        let command = Command::default();
        let command = match chance.below(7) {
            0 => command.arg("SET").arg(&key).arg("v").arg("PX").arg(moments),
            1 => command.arg("SET").arg(&key).arg("v").arg("PXAT").arg(moments),
            2 => command.arg("SET").arg(&key).arg("v").arg("EXAT").arg("1"),
            3 => command.arg("PSETEX").arg(&key).arg(moments).arg(pools::value(chance)),
            4 => command.arg("GETEX").arg(&key).arg("PX").arg(moments),
            5 => command.arg("GETEX").arg(&key).arg("EXAT").arg("1"),
            _ => command.arg("PEXPIRE").arg(&key).arg(moments),
        };
        Step::Moment { command, key }
    }

    fn scan(&mut self) -> Step {
        let chance = &mut self.chance;
        let mut options = Command::default();
        if chance.one_in(2) {
            options = options.arg("COUNT").arg(chance.pick(&["1", "3", "10", "100"]));
        }
        if chance.one_in(3) {
            options = options.arg("MATCH").arg(chance.pick(&["k*", "*{tag}*", "[ab]", "*"]));
        }
        if chance.one_in(4) {
            options = options.arg("TYPE").arg(chance.pick(&["string", "list"]));
        }
        Step::Scan { options }
    }

    fn exchange(&mut self) -> Step {
        Step::Exchange { from: pools::key(&mut self.chance), to: pools::key(&mut self.chance) }
    }

    /// Commands whose answers a client does not want.
    fn silence(&mut self) -> Step {
        let chance = &mut self.chance;
        let sent = |command, silent| Sent { command, inline: false, silent };
        let mut commands = Vec::new();
        if chance.one_in(2) {
            commands.push(sent(Command::words("CLIENT REPLY OFF"), true));
            for _ in 0..chance.below(5) {
                commands.push(sent(strings::command(chance), true));
            }
            commands.push(sent(Command::words("CLIENT REPLY ON"), false));
        } else {
            commands.push(sent(Command::words("CLIENT REPLY SKIP"), true));
            commands.push(sent(strings::command(chance), true));
            commands.push(sent(strings::command(chance), false));
        }
        Step::Batch { commands, cut: 0 }
    }

    /// What Redis 7.0 does not have; never in a transaction, which it would spoil on one side only.
    fn newer(&mut self) -> Step {
        let text = self.chance.pick(&[
            "WAITAOF 0 0 0",
            "WAITAOF 1 0 0",
            "CLIENT SETINFO LIB-NAME test",
            "CLIENT SETINFO lib-ver 1.0",
            "CLIENT NO-TOUCH ON",
            "CLIENT NO-TOUCH OFF",
        ]);
        let sent = Sent { command: Command::words(text), inline: false, silent: false };
        Step::Batch { commands: vec![sent], cut: 0 }
    }
}
