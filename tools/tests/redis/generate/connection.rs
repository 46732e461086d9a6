//! Owns the commands on the connection and the server, and commands that do not exist.

use super::pools::{cased, key, keys, some, value};
use crate::{chance::Chance, command::Command};

pub fn command(chance: &mut Chance) -> Command {
    let named = |name: &str| Command::default().arg(name);
    match chance.below(34) {
        0 => named("PING"),
        1 => named("PING").arg(value(chance)),
        2 => named("ECHO").arg(value(chance)),
        3..=6 => hello(chance),
        7 => auth(chance),
        8..=13 => client(chance),
        14..=17 => commands(chance),
        18 | 19 => config(chance),
        20 => named("INFO").args(some(
            chance,
            &["SERVER", "keyspace", "everything", "all", "nothing"],
            4,
        )),
        21 => named("TIME"),
        22 => named("LOLWUT").args(some(chance, &["VERSION", "5"], 5)),
        23 | 24 => slowlog(chance),
        25 => latency(chance),
        26 => wait(chance),
        27 => named("RESET"),
        _ => unknown(chance),
    }
}

fn hello(chance: &mut Chance) -> Command {
    let hello = Command::default().arg("HELLO");
    match chance.below(8) {
        0 => hello,
        1 => hello.arg(chance.pick(&["1", "4", "x", "", "-3", "3.0", "99999999999999999999"])),
        2 => {
            hello.arg(chance.pick(&["2", "3"])).args(some(chance, &["AUTH", "SETNAME", "NONE"], 2))
        }
        3 => {
            let name = chance.pick(&["one", "two words", "", "line\nbreak"]);
            hello.arg("3").arg(cased(chance, "SETNAME")).arg(name)
        }
        4 => {
            let hello = hello.arg("2").arg(cased(chance, "AUTH"));
            hello.arg(chance.pick(&["default", "nobody"])).arg("secret")
        }
        _ => hello.arg(chance.pick(&["2", "3"])),
    }
}

fn auth(chance: &mut Chance) -> Command {
    let auth = Command::default().arg("AUTH");
    match chance.below(3) {
        0 => auth.arg("secret"),
        1 => auth.arg("default").arg("secret"),
        _ => auth.arg("nobody").arg(value(chance)),
    }
}

fn client(chance: &mut Chance) -> Command {
    let client = Command::default().arg("CLIENT");
    match chance.below(16) {
        0 => client.arg(cased(chance, "ID")),
        1 => client.arg(cased(chance, "INFO")),
        2 => client.arg("LIST"),
        3 => client
            .arg("LIST")
            .arg("TYPE")
            .arg(chance.pick(&["normal", "none", "replica", "PUBSUB"])),
        4 => client.arg("LIST").arg("ID").arg(chance.pick(&["999999", "x", "-1", ""])),
        5..=7 => client.arg(cased(chance, "SETNAME")).arg(chance.pick(&[
            "one",
            "two words",
            "",
            "\u{e9}",
            "a",
        ])),
        8 | 9 => client.arg(cased(chance, "GETNAME")),
        10 => client.arg("NO-EVICT").arg(chance.pick(&["ON", "off", "none"])),
        11 => client.arg("REPLY").arg(chance.pick(&["ON", "none", ""])),
        12 => client.arg("KILL").args(
            [
                &["ID", "999999"][..],
                &["ID", "x"],
                &["127.0.0.1:1"],
                &["USER", "nobody"],
                &["ADDR", "127.0.0.1:1"],
                &["SKIPME", "maybe"],
                &["ID", "0"],
                &["TYPE", "none"],
            ][chance.below(8) as usize],
        ),
        13 => client.arg("HELP"),
        14 => client,
        _ => client.arg(chance.pick(&["NONE", "ID2", ""])),
    }
}

fn commands(chance: &mut Chance) -> Command {
    const KNOWN: &[&str] = &[
        "get",
        "SET",
        "mget",
        "mset",
        "del",
        "bitop",
        "ping",
        "nothing",
        "exec",
        "rename",
        "bitfield_ro",
        "scan",
        "expire",
        "lcs",
        "copy",
        "incrbyfloat",
        "append",
        "setrange",
        "getex",
        "watch",
        "select",
        "hello",
        "dump",
        "restore",
        "auth",
        "echo",
        "quit",
        "reset",
        "bitfield",
        "keys",
        "randomkey",
        "dbsize",
        "flushall",
        "swapdb",
        "wait",
        "touch",
        "unlink",
        "exists",
        "type",
        "persist",
        "pttl",
        "setbit",
        "getbit",
        "bitcount",
        "bitpos",
    ];
    let command = Command::default().arg("COMMAND");
    match chance.below(8) {
        0 => command.arg(cased(chance, "COUNT")),
        1 => command.arg("LIST"),
        2 => command.arg("DOCS").arg(chance.pick(KNOWN)),
        3 => command.arg("HELP"),
        4 => command.arg(chance.pick(&["NONE", "", "INFOS"])),
        _ => command.arg(cased(chance, "INFO")).arg(chance.pick(KNOWN)).arg(chance.pick(KNOWN)),
    }
}

fn config(chance: &mut Chance) -> Command {
    let config = Command::default().arg("CONFIG");
    match chance.below(7) {
        0 | 1 => {
            config.arg("GET").arg(chance.pick(&["maxmemory", "save", "append*", "nothing", "*"]))
        }
        2 => config.arg("SET").arg("nothing").arg("1"),
        3 => config.arg("SET").arg("nothing"),
        4 => config.arg(cased(chance, "RESETSTAT")),
        5 => config,
        _ => config.arg(chance.pick(&["NONE", "HELP"])),
    }
}

fn slowlog(chance: &mut Chance) -> Command {
    let slowlog = Command::default().arg(cased(chance, "SLOWLOG"));
    match chance.below(6) {
        0 => slowlog.arg("LEN"),
        1 => slowlog.arg("RESET"),
        2 => slowlog.arg("GET"),
        3 => slowlog.arg("GET").arg(chance.pick(&["5", "-1", "-2", "x", "0"])),
        4 => slowlog.arg("HELP"),
        _ => slowlog.arg("NONE"),
    }
}

fn latency(chance: &mut Chance) -> Command {
    let latency = Command::default().arg("LATENCY");
    match chance.below(7) {
        0 => latency.arg("LATEST"),
        1 => latency.arg("RESET"),
        2 => latency.arg("HISTORY").arg("command"),
        3 => latency.arg("DOCTOR"),
        4 => latency.arg("HELP"),
        5 => latency.arg("RESET").arg("nothing"),
        _ => latency.arg("NONE"),
    }
}

/// WAIT with a number of replicas that there are at once: with more it waits until its time is over, for ever if that is 0.
fn wait(chance: &mut Chance) -> Command {
    let wait = Command::default().arg("WAIT");
    match chance.below(4) {
        0 => wait.arg("1").arg("2"),
        1 => wait.arg(chance.pick(&["x", "0", "-1"])).arg(chance.pick(&["x", "-1"])),
        _ => wait.arg(chance.pick(&["0", "-1"])).arg(chance.pick(&["0", "5"])),
    }
}

/// What no server knows. Clients decide by the answer, so every letter of it counts.
fn unknown(chance: &mut Chance) -> Command {
    let name: &[u8] = match chance.below(8) {
        0 => b"",
        1 => b"get ",
        2 => b"\xff\x00",
        3 => b"line\r\nbreak",
        4 => &[b'n'; 200],
        5 => b"it's",
        _ => b"nothing",
    };
    let unknown = Command::default().arg(name);
    match chance.below(4) {
        0 => unknown,
        1 => unknown.args(keys(chance, 20)),
        2 => unknown.arg(vec![b'v'; 150]).arg(key(chance)),
        _ => unknown.arg(value(chance)).arg(value(chance)),
    }
}
