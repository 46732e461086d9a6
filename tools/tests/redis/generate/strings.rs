//! Owns the commands on strings.

use super::{
    lives::{self, Unit, life},
    pools::{cased, fraction, key, keys, long_key, long_value, place, some, value, whole},
};
use crate::{chance::Chance, command::Command};

pub fn command(chance: &mut Chance) -> Command {
    let named = |name: &str| Command::default().arg(name);
    match chance.below(32) {
        0..=4 => set(chance),
        5 | 6 => named("GET").arg(key(chance)),
        7 => named("GETSET").arg(key(chance)).arg(value(chance)),
        8 => named("GETDEL").arg(key(chance)),
        9 | 10 => getex(chance),
        11 => named("SETEX").arg(key(chance)).arg(life(chance, Unit::Seconds)).arg(value(chance)),
        12 => named("PSETEX")
            .arg(key(chance))
            .arg(life(chance, Unit::Milliseconds))
            .arg(value(chance)),
        13 => named("SETNX").arg(key(chance)).arg(value(chance)),
        14 => named("MGET").args(keys(chance, 6)),
        15 => pairs(chance, named("MSET")),
        16 => pairs(chance, named("MSETNX")),
        17 => named("STRLEN").arg(key(chance)),
        18 | 19 => named("APPEND").arg(key(chance)).arg(value(chance)),
        20 => named(chance.pick(&["INCR", "DECR"])).arg(key(chance)),
        21 | 22 => named(chance.pick(&["INCRBY", "DECRBY"])).arg(key(chance)).arg(whole(chance)),
        23 | 24 => named("INCRBYFLOAT").arg(key(chance)).arg(fraction(chance)),
        25 | 26 => {
            let name = chance.pick(&["GETRANGE", "GETRANGE", "SUBSTR"]);
            named(name).arg(key(chance)).arg(place(chance)).arg(place(chance))
        }
        27 | 28 => named("SETRANGE").arg(key(chance)).arg(offset(chance)).arg(value(chance)),
        29 => long(chance),
        _ => lcs(chance),
    }
}

fn set(chance: &mut Chance) -> Command {
    let set = Command::default().arg("SET").arg(key(chance)).arg(value(chance));
    if chance.one_in(3) {
        return set;
    }
    let mut options = some(chance, &["NX", "XX", "GET", "KEEPTTL", "GET"], 5);
    if chance.one_in(2) {
        let (word, life) = lives::option(chance);
        let at = chance.below(options.len() as u64 + 1) as usize;
        options.insert(at, life.into_bytes());
        options.insert(at, cased(chance, word).into_bytes());
    }
    set.args(options)
}

fn getex(chance: &mut Chance) -> Command {
    let getex = Command::default().arg("GETEX").arg(key(chance));
    match chance.below(5) {
        0 => getex,
        1 => getex.arg(cased(chance, "PERSIST")),
        2 => getex.args(some(chance, &["PERSIST", "KEEPTTL", "NX"], 2)),
        _ => {
            let (word, life) = lives::option(chance);
            getex.arg(cased(chance, word)).arg(life)
        }
    }
}

fn pairs(chance: &mut Chance, command: Command) -> Command {
    (0..=chance.below(4)).fold(command, |command, _| command.arg(key(chance)).arg(value(chance)))
}

/// Where SETRANGE begins: near, or beyond what any string may have.
fn offset(chance: &mut Chance) -> String {
    match chance.below(10) {
        0 => chance
            .pick(&["-1", "536870912", "4294967296", "9223372036854775807", "x", "", "1.0"])
            .into(),
        1 => chance.between(0, 3000).to_string(),
        _ => chance.between(0, 20).to_string(),
    }
}

fn long(chance: &mut Chance) -> Command {
    let named = |name: &str| Command::default().arg(name);
    match chance.below(5) {
        0 => named("SET").arg(long_key(chance)).arg(long_value(chance)),
        1 => named("GET").arg(long_key(chance)),
        2 => named("SETRANGE").arg(long_key(chance)).arg("50000").arg(value(chance)),
        3 => named("GETRANGE").arg(long_key(chance)).arg("3990").arg(place(chance)),
        _ => named("STRLEN").arg(long_key(chance)),
    }
}

fn lcs(chance: &mut Chance) -> Command {
    let mut lcs = Command::default().arg("LCS").arg(key(chance)).arg(key(chance));
    for option in some(chance, &["LEN", "IDX", "IDX", "MINMATCHLEN", "WITHMATCHLEN"], 4) {
        let takes_length = option.eq_ignore_ascii_case(b"MINMATCHLEN");
        lcs = lcs.arg(option);
        if takes_length {
            lcs = lcs.arg(chance.pick(&["0", "1", "2", "4", "-3", "x"]));
        }
    }
    lcs
}
