//! Owns the commands on keys of any kind, and on databases.

use super::{
    lives::{Unit, life},
    pools::{cased, key, keys, long_key, some, value, whole},
};
use crate::{chance::Chance, command::Command, payload};

const PATTERNS: &[&str] = &[
    "*", "k*", "k?", "[ab]", "[^ab]", "[a-c]*", "[c-a]", "{tag}*", "*tag*", "**", "?", "\\*",
    "[a-", "[", "[]", "\\", "num", "", "u*r:[12]", "*\\", "[^", "K1", "[\\a]",
];

pub fn command(chance: &mut Chance) -> Command {
    let named = |name: &str| Command::default().arg(name);
    match chance.below(42) {
        0 | 1 => named(chance.pick(&["DEL", "UNLINK"])).args(keys(chance, 4)),
        2 => named(chance.pick(&["DEL", "UNLINK", "STRLEN", "EXISTS"])).arg(long_key(chance)),
        3 => named("EXISTS").args(keys(chance, 4)),
        4 => named("TYPE").arg(key(chance)),
        5 => named("TOUCH").args(keys(chance, 3)),
        6..=8 => named(chance.pick(&["RENAME", "RENAMENX"])).arg(key(chance)).arg(key(chance)),
        9..=11 => copy(chance),
        12..=18 => expire(chance),
        19..=22 => {
            let name = chance.pick(&["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]);
            named(name).arg(key(chance))
        }
        23 => named("PERSIST").arg(key(chance)),
        24 => named("KEYS").arg(chance.pick(PATTERNS)),
        25 => named("RANDOMKEY"),
        26 => scan(chance),
        27..=29 => {
            let word = chance
                .pick(&["ENCODING", "REFCOUNT", "IDLETIME", "FREQ", "HELP", "encoding", "NONE"]);
            let object = named("OBJECT").arg(word);
            if word == "HELP" { object } else { object.arg(key(chance)) }
        }
        30 => {
            let usage = named("MEMORY").arg(cased(chance, "USAGE")).arg(key(chance));
            if chance.one_in(3) { usage.arg("SAMPLES").arg(whole(chance)) } else { usage }
        }
        31 | 32 => named("DUMP").arg(key(chance)),
        33..=36 => restore(chance),
        37 | 38 => named("DBSIZE"),
        39 => emptying(chance),
        40 => {
            let (one, other) = (database(chance), database(chance));
            if chance.one_in(4) {
                named("SWAPDB").arg(one).arg(other)
            } else {
                named("SELECT").arg(one)
            }
        }
        _ => named("SELECT").arg(chance.pick(&["0", "0", "0", "1", "2"])),
    }
}

fn copy(chance: &mut Chance) -> Command {
    let copy = Command::default().arg("COPY").arg(key(chance)).arg(key(chance));
    let mut options = some(chance, &["REPLACE", "NONE"], 4);
    if chance.one_in(3) {
        let at = chance.below(options.len() as u64 + 1) as usize;
        options.insert(at, database(chance).into());
        options.insert(at, cased(chance, "DB").into());
    }
    copy.args(options)
}

fn expire(chance: &mut Chance) -> Command {
    let (name, unit) = match chance.below(4) {
        0 => ("EXPIRE", Unit::Seconds),
        1 => ("PEXPIRE", Unit::Milliseconds),
        2 => ("EXPIREAT", Unit::At),
        _ => ("PEXPIREAT", Unit::AtMilliseconds),
    };
    let expire = Command::default().arg(name).arg(key(chance)).arg(life(chance, unit));
    match chance.below(3) {
        0 => expire.args(some(chance, &["NX", "XX", "GT", "LT", "KEEP"], 4)),
        1 => {
            let option = chance.pick(&["NX", "XX", "GT", "LT"]);
            expire.arg(cased(chance, option))
        }
        _ => expire,
    }
}

fn scan(chance: &mut Chance) -> Command {
    let mut scan = Command::default().arg("SCAN").arg(chance.pick(&["0", "0", "0", "x", "-1", ""]));
    for option in some(chance, &["MATCH", "COUNT", "TYPE", "NONE"], 3) {
        let argument = match option.to_ascii_uppercase().as_slice() {
            b"MATCH" => chance.pick(PATTERNS),
            b"COUNT" => chance.pick(&["1", "10", "1000", "0", "-1", "x"]),
            _ => chance.pick(&["string", "STRING", "hash", "zset", "none"]),
        };
        scan = scan.arg(option).arg(argument);
    }
    scan
}

fn restore(chance: &mut Chance) -> Command {
    let restore = Command::default().arg("RESTORE").arg(key(chance));
    let absolute = chance.one_in(4);
    let life = match chance.below(3) {
        0 => "0".into(),
        _ if absolute => life(chance, Unit::AtMilliseconds),
        _ => life(chance, Unit::Milliseconds),
    };
    let mut options = some(chance, &["REPLACE", "REPLACE", "NONE"], 3);
    if absolute {
        options.push(cased(chance, "ABSTTL").into());
    }
    if chance.one_in(6) {
        let word = chance.pick(&["IDLETIME", "FREQ"]);
        options.extend([
            cased(chance, word).into(),
            chance.pick(&["5", "0", "-1", "256", "x"]).into(),
        ]);
    }
    restore.arg(life).arg(restorable(chance)).args(options)
}

/// A payload: of every form a string may have, or broken in one of a few ways.
fn restorable(chance: &mut Chance) -> Vec<u8> {
    let mut payload = match chance.below(5) {
        0 => payload::number(chance.next() as i32 >> chance.below(32)),
        1 => payload::compressed(b'z', 10 + chance.below(900) as usize),
        _ => payload::plain(&value(chance)),
    };
    let at = chance.below(payload.len() as u64) as usize;
    match chance.below(16) {
        0 => payload[at] ^= 1 << chance.below(8),
        1 => payload.truncate(at),
        2 => payload = payload::closed(payload, payload::VERSION + 100 + chance.below(3) as u16),
        3 => payload = payload::closed(vec![0, 5, b'a'], payload::VERSION),
        4 => payload = payload::closed(vec![0, 1, b'a'], chance.below(10) as u16),
        _ => {}
    }
    payload
}

fn emptying(chance: &mut Chance) -> Command {
    let name = if chance.one_in(4) { "FLUSHALL" } else { "FLUSHDB" };
    let empty = Command::default().arg(name);
    match chance.below(4) {
        0 => empty.arg(cased(chance, "SYNC")),
        1 => empty.arg(chance.pick(&["LAZY", "ASYNC SYNC", ""])),
        _ => empty,
    }
}

fn database(chance: &mut Chance) -> &'static str {
    chance.pick(&["0", "0", "1", "1", "2", "15", "16", "-1", "x", "", "99999999999999999999"])
}
