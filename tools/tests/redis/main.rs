//! The Redis door against Redis itself: the same random commands go to both, and every reply is compared byte for byte, but for the documented
//! differences in `rules.rs`. Needs `redis-server` 7.0; where it is not installed this is said, and skipped.
//!
//! `CAIRN_COMMANDS` says how many commands (20,000 unless set; the acceptance run takes 100,000), `CAIRN_SEED` replays, `CAIRN_DIFFERENCES`
//! is how many differences are collected before a run ends, `CAIRN_ONLY=GET,SET` sends those commands alone.

mod chance;
mod client;
mod command;
mod compare;
mod coverage;
mod findings;
mod generate;
mod link;
mod page;
mod payload;
mod play;
mod protocol;
mod rules;
mod server;
mod transactions;
mod wire;

use play::Play;
use server::{Server, redis_is_here};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// So many commands are enough for each to have come in a legal form.
const COVERING: usize = 100_000;

/// The same sequence every time unless another is asked for: what a change breaks shows in the run after it, and in every run.
fn seed() -> u64 {
    number("CAIRN_SEED").unwrap_or(1)
}

fn most() -> usize {
    number("CAIRN_DIFFERENCES").unwrap_or(20) as usize
}

/// What a user loses if this fails: a program that works with Redis and does not with Cairn.
#[test]
fn cairn_answers_as_redis_does() {
    if !redis_is_here() {
        return;
    }
    let commands = number("CAIRN_COMMANDS").unwrap_or(20_000) as usize;
    let (redis, cairn) = (Server::redis(&[]), Server::cairn());
    let findings = Play::new(&redis, &cairn, seed()).run(commands, most(), true);
    assert!(findings.count() == 0, "{findings}");
    println!("{findings}");
}

/// Whether the comparison itself is right: Redis is no different from Redis.
#[test]
fn redis_answers_as_redis_does() {
    if !redis_is_here() {
        return;
    }
    let commands = number("CAIRN_COMMANDS").unwrap_or(20_000) as usize;
    let (redis, other) = (Server::redis(&[]), Server::redis(&[]));
    let findings = Play::new(&redis, &other, seed()).run(commands, most(), false);
    assert!(findings.count() == 0, "{findings}");
    println!("{findings}");
    // A short run may pass a rare command by.
    if commands >= COVERING {
        assert_eq!(findings.coverage.missing(), [""; 0], "commands that never had a legal answer");
    }
}

/// Whether the comparison can fail: servers that are wrong in one small thing are found out.
#[test]
fn a_server_that_is_wrong_is_found_out() {
    if !redis_is_here() {
        return;
    }
    let wrongs: [&[&str]; 5] = [
        &["--databases", "15"],
        &["--rename-command", "INCR", "hidden", "--rename-command", "DECR", "INCR"],
        &["--rename-command", "BITPOS", ""],
        &["--rename-command", "EXPIREAT", "hidden", "--rename-command", "PEXPIREAT", "EXPIREAT"],
        &["--rename-command", "PERSIST", "hidden", "--rename-command", "EXISTS", "PERSIST"],
    ];
    let redis = Server::redis(&[]);
    for wrong in wrongs {
        let other = Server::redis(wrong);
        let findings = Play::new(&redis, &other, seed()).run(20_000, 1, false);
        assert_eq!(findings.count(), 1, "nobody noticed {wrong:?}, seed {}", findings.seed);
    }
}
