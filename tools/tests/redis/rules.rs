//! Owns the documented differences: every command whose reply cannot be the same bytes, how it is compared instead, and why. A command that is
//! not in this table is compared byte for byte. The same holds for errors: what one server refuses the other refuses in the same words.

use crate::command::Command;

/// How two replies are compared that need not be equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// Both of one kind (integer, bulk string, array, ...).
    Kind,
    /// Integers that are equal when negative, and else at most `apart`, or both behind `far`.
    Near { apart: i64, far: i64 },
    /// Arrays with the same members in any order.
    AnyOrder,
    /// Maps (flat arrays in RESP2) with the same fields; the values of the named ones are of one kind, all others are equal.
    Fields(&'static [&'static str]),
    /// Members of arrays: the first so many are equal (an array of words in any order), the others are not compared.
    First(usize),
    /// Redis 7.0 does not know it: it says so, and Cairn must not.
    Newer,
}

/// A documented difference.
pub struct Rule {
    /// The command, or command and subcommand.
    pub command: &'static str,
    pub how: How,
    pub why: &'static str,
}

const fn rule(command: &'static str, how: How, why: &'static str) -> Rule {
    Rule { command, how, why }
}

/// Lives are counted from each server's own now; and of those that end behind the year 10,500 it does not matter when: Cairn has none behind 10,889.
const SECONDS: How = How::Near { apart: 2, far: 270_000_000_000 };
const MILLISECONDS: How = How::Near { apart: 2000, far: 270_000_000_000_000 };

/// All of them.
pub const RULES: &[Rule] = &[
    rule("TTL", SECONDS, "lives are counted from each server's own now"),
    rule("PTTL", MILLISECONDS, "lives are counted from each server's own now"),
    rule("EXPIRETIME", SECONDS, "lives are counted from each server's own now"),
    rule("PEXPIRETIME", MILLISECONDS, "lives are counted from each server's own now"),
    rule("KEYS", How::AnyOrder, "the order of keys is nobody's promise"),
    rule(
        "SCAN",
        How::Kind,
        "cursors and order are each server's own; whole scans are compared as sets",
    ),
    rule("RANDOMKEY", How::Kind, "random"),
    rule(
        "DUMP",
        How::Kind,
        "Cairn does not compress; what either dumps is restored into the other and compared",
    ),
    rule(
        "OBJECT ENCODING",
        How::Kind,
        "Cairn tells the form that the value has, Redis how it came about (raw after APPEND)",
    ),
    rule("OBJECT IDLETIME", How::Kind, "seconds since an access"),
    rule("OBJECT FREQ", How::Kind, "an estimate"),
    rule("OBJECT REFCOUNT", How::Kind, "Redis shares small numbers"),
    rule("OBJECT HELP", How::Kind, "the text of another version"),
    rule("MEMORY USAGE", How::Kind, "bytes of RAM there, bytes of flash and index here"),
    rule("MEMORY HELP", How::Kind, "the text of another version"),
    rule(
        "HELLO",
        How::Fields(&["server", "version", "id"]),
        "who the server is, and the connection's number",
    ),
    rule("CLIENT ID", How::Kind, "the connection's number"),
    rule("CLIENT INFO", How::Kind, "figures of the connection"),
    rule("CLIENT LIST", How::Kind, "figures of the connections"),
    rule("CLIENT HELP", How::Kind, "the text of another version"),
    rule("CLIENT SETINFO", How::Newer, "Redis 7.2"),
    rule("CLIENT NO-TOUCH", How::Newer, "Redis 7.2"),
    rule("WAITAOF", How::Newer, "Redis 7.2"),
    rule("CONFIG GET", How::Kind, "each server has its own parameters"),
    rule("CONFIG HELP", How::Kind, "the text of another version"),
    rule("COMMAND", How::Kind, "Redis has more commands"),
    rule("COMMAND COUNT", How::Kind, "Redis has more commands"),
    rule("COMMAND LIST", How::Kind, "Redis has more commands"),
    rule("COMMAND DOCS", How::Kind, "Cairn's summaries are its own"),
    rule(
        "COMMAND INFO",
        How::First(6),
        "tips and key specifications beyond name, arity, flags and key positions are not given",
    ),
    rule("COMMAND HELP", How::Kind, "the text of another version"),
    rule("INFO", How::Kind, "figures of the server"),
    rule("TIME", How::Kind, "the time"),
    rule("LOLWUT", How::Kind, "a work of art, with the version under it"),
    rule("SLOWLOG GET", How::Kind, "what was slow where"),
    rule("SLOWLOG LEN", How::Kind, "what was slow where"),
    rule("SLOWLOG HELP", How::Kind, "the text of another version"),
    rule("LATENCY DOCTOR", How::Kind, "advice on another machine"),
    rule("LATENCY HISTOGRAM", How::Kind, "what took how long where"),
    rule("LATENCY HELP", How::Kind, "the text of another version"),
];

/// What is not sent, since the servers differ in it on purpose: what, and why.
pub const AVOIDED: &[(&str, &str)] = &[
    (
        "WATCH of a missing key that comes and goes before EXEC with FLUSHDB, FLUSHALL or an end in the past",
        "Redis: touched; Cairn: nothing is left that tells of it. What DEL leaves does: see `transactions.rs`",
    ),
    (
        "more than 1,048,576 arguments",
        "Redis 7.0 takes any number that fits an int; Cairn has a bound",
    ),
    ("an inline command with a zero byte", "Redis never answers"),
    (
        "WAIT for replicas without an end, spoilt",
        "Redis waits for ever for replicas that never come; Cairn answers at once that there are none",
    ),
    (
        "values of more than some 100 KiB",
        "Cairn's largest value is a record's; what is beyond is refused with a text of its own",
    ),
    (
        "RESTORE of what a newer Redis or Valkey dumped",
        "Redis 7.0 refuses it; Cairn reads a string of any version it knows",
    ),
    ("values that are not strings", "not there yet"),
];

/// The rule for `command`, if its replies need not be equal.
pub fn rule_of(command: &Command) -> Option<&'static Rule> {
    let name = command.name();
    let both = format!("{name} {}", command.word(1));
    RULES.iter().find(|rule| rule.command == both || rule.command == name)
}

#[test]
fn everything_avoided_has_a_reason() {
    assert!(AVOIDED.iter().all(|(what, why)| !what.is_empty() && !why.is_empty()));
}

#[test]
fn every_rule_has_a_reason_and_a_command_of_its_own() {
    for (n, rule) in RULES.iter().enumerate() {
        assert!(!rule.why.is_empty(), "{}", rule.command);
        assert!(RULES[..n].iter().all(|other| other.command != rule.command), "{}", rule.command);
    }
}
