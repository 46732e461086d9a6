//! Owns the proof that a run was about something: of every command in the door's list at least one reply that is not an error.

use std::{collections::BTreeMap, fmt};

use crate::{command::Command, wire::Reply};

/// The commands that the door has, but for those that Redis 7.0 does not know, and `CLIENT KILL`, `CONFIG SET` and `LATENCY`'s others,
/// whose legal forms change what is compared.
const LIST: &[&str] = &[
    "PING",
    "ECHO",
    "QUIT",
    "RESET",
    "HELLO",
    "AUTH",
    "SELECT",
    "COMMAND COUNT",
    "COMMAND INFO",
    "COMMAND DOCS",
    "COMMAND LIST",
    "CLIENT ID",
    "CLIENT INFO",
    "CLIENT LIST",
    "CLIENT SETNAME",
    "CLIENT GETNAME",
    "CLIENT NO-EVICT",
    "CLIENT REPLY",
    "CONFIG GET",
    "CONFIG RESETSTAT",
    "INFO",
    "DBSIZE",
    "FLUSHDB",
    "FLUSHALL",
    "TIME",
    "LOLWUT",
    "SWAPDB",
    "SET",
    "GET",
    "GETSET",
    "GETDEL",
    "GETEX",
    "SETEX",
    "PSETEX",
    "SETNX",
    "MGET",
    "MSET",
    "MSETNX",
    "STRLEN",
    "APPEND",
    "INCR",
    "INCRBY",
    "DECR",
    "DECRBY",
    "INCRBYFLOAT",
    "GETRANGE",
    "SETRANGE",
    "SUBSTR",
    "LCS",
    "SETBIT",
    "GETBIT",
    "BITCOUNT",
    "BITPOS",
    "BITOP",
    "BITFIELD",
    "BITFIELD_RO",
    "DEL",
    "UNLINK",
    "EXISTS",
    "TYPE",
    "TOUCH",
    "RENAME",
    "RENAMENX",
    "COPY",
    "EXPIRE",
    "PEXPIRE",
    "EXPIREAT",
    "PEXPIREAT",
    "TTL",
    "PTTL",
    "EXPIRETIME",
    "PEXPIRETIME",
    "PERSIST",
    "SCAN",
    "KEYS",
    "RANDOMKEY",
    "OBJECT ENCODING",
    "OBJECT REFCOUNT",
    "OBJECT IDLETIME",
    "MEMORY USAGE",
    "DUMP",
    "RESTORE",
    "WAIT",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH",
    "UNWATCH",
    "SLOWLOG GET",
    "SLOWLOG LEN",
    "SLOWLOG RESET",
    "LATENCY LATEST",
    "LATENCY RESET",
    "LATENCY HISTORY",
];

/// How often a command was answered, and how often refused.
#[derive(Default)]
pub struct Coverage {
    answered: BTreeMap<String, (u64, u64)>,
}

impl Coverage {
    pub fn add(&mut self, command: &Command, reply: &Reply) {
        let name = command.name();
        let both = format!("{name} {}", command.word(1));
        let name = if LIST.contains(&&*both) { both } else { name };
        let (answered, refused) = self.answered.entry(name).or_default();
        match reply {
            Reply::Error(_) => *refused += 1,
            // Comes with EXEC, if it comes.
            Reply::Simple(text) if text == b"QUEUED" => {}
            _ => *answered += 1,
        }
    }

    /// The commands that were never answered with anything but an error.
    pub fn missing(&self) -> Vec<&'static str> {
        let was = |name: &str| self.answered.get(name).is_some_and(|(answered, _)| *answered > 0);
        LIST.iter().copied().filter(|name| !was(name)).collect()
    }
}

/// Each command of the list with its replies and, after a stroke, its errors.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replies/errors:")?;
        for (name, (answered, refused)) in
            self.answered.iter().filter(|(n, _)| LIST.contains(&&***n))
        {
            write!(f, " {name} {answered}/{refused},")?;
        }
        Ok(())
    }
}
