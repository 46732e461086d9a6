//! Owns what arguments are made of: few keys, so that commands meet, and values and numbers with many at the edges of what is legal.

use crate::{chance::Chance, command::Command};

/// Keys of values that may be long; they are used where a long value costs nothing.
const LONG_KEYS: &[&[u8]] = &[b"long1", b"long2"];

const KEYS: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"k1",
    b"k2",
    b"k3",
    b"num",
    b"num2",
    b"float",
    b"bits",
    b"bits2",
    b"{tag}1",
    b"{tag}2",
    b"x{tag}y",
    b"{}z",
    b"user:1",
    b"user:2",
    b"",
    b"\x00\xff\r\n ",
    b"sp ace",
    b"A",
];

const WHOLE: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "10",
    "42",
    "100",
    "-100",
    "255",
    "256",
    "1000",
    "65536",
    "2147483647",
    "-2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775806",
];

/// What is not a whole number of 64 bits, though some servers may think so.
const BROKEN: &[&str] = &[
    "",
    "abc",
    "1.5",
    " 1",
    "1 ",
    "+1",
    "01",
    "-0",
    "0x10",
    "1e3",
    "--1",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999999",
    "nan",
    "\u{0}1",
];

const FRACTIONS: &[&str] = &[
    "0.1",
    "-0.1",
    "1.5",
    "3.0",
    "3.14159",
    "1e3",
    "1E-2",
    "5.0e3",
    "-7.25",
    "0.3",
    "1e17",
    "100000000000000000000",
    "1e-10",
    "0.00000000000000001",
    "123456789.123456789",
    "inf",
    "-inf",
    "nan",
    "+2",
    "1e400",
    "0x1p3",
    "",
    " 1",
    "1 ",
    "abc",
    "1e",
    ".5",
    "5.",
    "-0",
    "17179869184.5",
];

pub fn key(chance: &mut Chance) -> Vec<u8> {
    match chance.below(60) {
        0 => vec![b'L'; 300],
        1 => format!("rare{}", chance.below(50)).into_bytes(),
        _ => chance.pick(KEYS).to_vec(),
    }
}

pub fn long_key(chance: &mut Chance) -> Vec<u8> {
    chance.pick(LONG_KEYS).to_vec()
}

pub fn keys(chance: &mut Chance, most: u64) -> Vec<Vec<u8>> {
    (0..=chance.below(most)).map(|_| key(chance)).collect()
}

/// Whether commands that have `argument` in common concern each other.
pub fn is_key(argument: &[u8]) -> bool {
    KEYS.contains(&argument)
        || LONG_KEYS.contains(&argument)
        || argument.len() == 300
        || argument.starts_with(b"rare")
}

pub fn value(chance: &mut Chance) -> Vec<u8> {
    match chance.below(12) {
        0..=2 => chance.between(-20, 300).to_string().into_bytes(),
        3 => chance.pick(WHOLE).into(),
        4 => chance.pick(BROKEN).into(),
        5 => chance.pick(FRACTIONS).into(),
        6 => Vec::new(),
        7 | 8 => (0..chance.below(30)).map(|_| b'a' + chance.below(4) as u8).collect(),
        9 => {
            let len = chance.below(24) as usize;
            chance.bytes(len)
        }
        10 => {
            let len = chance.below(300) as usize;
            chance.bytes(len)
        }
        _ => vec![b'x'; [43, 44, 45, 64, 1000][chance.below(5) as usize]],
    }
}

pub fn long_value(chance: &mut Chance) -> Vec<u8> {
    let len = [4000, 16_384, 70_000, 100_000][chance.below(4) as usize] + chance.below(50) as usize;
    chance.bytes(len)
}

/// A whole number, mostly.
pub fn whole(chance: &mut Chance) -> String {
    match chance.below(10) {
        0 => chance.pick(BROKEN).into(),
        1..=3 => chance.pick(WHOLE).into(),
        _ => chance.between(-50, 120).to_string(),
    }
}

pub fn fraction(chance: &mut Chance) -> String {
    match chance.below(3) {
        0 => chance.pick(FRACTIONS).into(),
        1 => format!("{}.{}", chance.between(-30, 30), chance.below(1000)),
        _ => whole(chance),
    }
}

/// A place in a short string, mostly.
pub fn place(chance: &mut Chance) -> String {
    match chance.below(12) {
        0 => chance.pick(BROKEN).into(),
        1 => chance.pick(WHOLE).into(),
        2 => chance.between(-400, 400).to_string(),
        _ => chance.between(-12, 12).to_string(),
    }
}

/// An argument that fits nowhere, and that as a life would be over at once.
pub fn junk(chance: &mut Chance) -> Vec<u8> {
    match chance.below(4) {
        0 => chance.pick(BROKEN).into(),
        1 => chance
            .pick(&["NX", "XX", "GET", "KEEPTTL", "WITHVALUES", "0", "-1", "'", "COUNT"])
            .into(),
        2 => b"\xff\x00\n".to_vec(),
        _ => b"surplus".to_vec(),
    }
}

/// A word in some mixture of small and capital letters.
pub fn cased(chance: &mut Chance, word: &str) -> String {
    match chance.below(6) {
        0 => word.to_ascii_lowercase(),
        1 => word
            .chars()
            .map(|c| if chance.one_in(2) { c.to_ascii_lowercase() } else { c })
            .collect(),
        _ => word.to_owned(),
    }
}

/// Each of `options` with the chance of one in `n`, in any order.
pub fn some(chance: &mut Chance, options: &[&str], n: u64) -> Vec<Vec<u8>> {
    let mut chosen = Vec::new();
    for option in options {
        if chance.one_in(n) {
            let at = chance.below(chosen.len() as u64 + 1) as usize;
            chosen.insert(at, cased(chance, option).into_bytes());
        }
    }
    chosen
}

/// Makes a command wrong, in one of a few ways. Never moves arguments: a value must not become a life of a few seconds.
pub fn spoil(chance: &mut Chance, command: &mut Command) {
    let arguments = &mut command.0;
    let last = arguments.len() - 1;
    match chance.below(5) {
        0 | 1 if last > 0 => drop(arguments.pop()),
        2 if last > 0 => arguments.push(arguments[last].clone()),
        3 if last > 0 => {
            let at = 1 + chance.below(last as u64) as usize;
            arguments[at] = junk(chance);
        }
        _ => arguments.push(junk(chance)),
    }
}
