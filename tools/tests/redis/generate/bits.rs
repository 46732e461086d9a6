//! Owns the commands on bits. Offsets are near, or beyond what is legal: between them lie legal ones that fill half a gigabyte.

use super::pools::{cased, key, keys, place, whole};
use crate::{chance::Chance, command::Command};

pub fn command(chance: &mut Chance) -> Command {
    let named = |name: &str| Command::default().arg(name);
    match chance.below(16) {
        0..=2 => named("SETBIT").arg(key(chance)).arg(offset(chance)).arg(bit(chance)),
        3 | 4 => named("GETBIT").arg(key(chance)).arg(far_offset(chance)),
        5..=7 => {
            let count = named("BITCOUNT").arg(key(chance));
            match chance.below(4) {
                0 => count,
                1 => count.arg(place(chance)).arg(place(chance)),
                _ => count.arg(place(chance)).arg(place(chance)).arg(unit(chance)),
            }
        }
        8..=10 => {
            let position = named("BITPOS").arg(key(chance)).arg(bit(chance));
            match chance.below(4) {
                0 => position,
                1 => position.arg(place(chance)),
                2 => position.arg(place(chance)).arg(place(chance)),
                _ => position.arg(place(chance)).arg(place(chance)).arg(unit(chance)),
            }
        }
        11 | 12 => {
            let operation = chance.pick(&["AND", "OR", "XOR", "NOT", "and", "Not", "DIFF"]);
            let most = if operation.eq_ignore_ascii_case("not") { 1 } else { 3 };
            named("BITOP").arg(operation).arg(key(chance)).args(keys(chance, most))
        }
        13 => {
            let get = named("BITFIELD_RO").arg(key(chance));
            (0..chance.below(4)).fold(get, |get, _| {
                let word = if chance.one_in(15) { "SET" } else { "GET" };
                get.arg(cased(chance, word)).arg(kind(chance)).arg(field(chance))
            })
        }
        _ => bitfield(chance),
    }
}

fn bitfield(chance: &mut Chance) -> Command {
    let start = Command::default().arg("BITFIELD").arg(key(chance));
    (0..chance.below(5)).fold(start, |fields, _| match chance.below(8) {
        0..=2 => fields.arg(cased(chance, "GET")).arg(kind(chance)).arg(field(chance)),
        3 | 4 => {
            fields.arg(cased(chance, "SET")).arg(kind(chance)).arg(field(chance)).arg(whole(chance))
        }
        5 | 6 => fields
            .arg(cased(chance, "INCRBY"))
            .arg(kind(chance))
            .arg(field(chance))
            .arg(whole(chance)),
        _ => {
            let way = chance.pick(&["WRAP", "SAT", "FAIL", "sat", "fail", "NONE"]);
            fields.arg(cased(chance, "OVERFLOW")).arg(way)
        }
    })
}

fn unit(chance: &mut Chance) -> &'static str {
    chance.pick(&["BIT", "BYTE", "bit", "BITS"])
}

fn bit(chance: &mut Chance) -> &'static str {
    chance.pick(&["0", "1", "1", "0", "1", "0", "2", "-1", "x", ""])
}

fn offset(chance: &mut Chance) -> String {
    match chance.below(12) {
        0 => chance.pick(&["-1", "4294967296", "9223372036854775807", "x", "", "1.0", "#1"]).into(),
        1 => chance.between(0, 20_000).to_string(),
        _ => chance.between(0, 80).to_string(),
    }
}

/// An offset for reading: it may also lie far beyond the end.
fn far_offset(chance: &mut Chance) -> String {
    if chance.one_in(8) { "4294967295".into() } else { offset(chance) }
}

fn field(chance: &mut Chance) -> String {
    match chance.below(10) {
        0 => chance
            .pick(&["-1", "4294967296", "x", "#", "#x", "#-1", "", "#9223372036854775807"])
            .into(),
        1..=4 => format!("#{}", chance.below(8)),
        _ => chance.between(0, 100).to_string(),
    }
}

fn kind(chance: &mut Chance) -> String {
    match chance.below(12) {
        0 => chance.pick(&["u64", "i65", "u0", "i0", "x8", "8", "u", "", "u-1", "I8"]).into(),
        1 => chance.pick(&["i64", "u63"]).into(),
        _ => format!("{}{}", chance.pick(&["u", "i"]), chance.between(1, 33)),
    }
}
