//! The protocol: commands into bytes, bytes into answers.
//!
//! Owns: RESP2 as far as a string's commands need it. Refuses what such commands are never answered with (arrays, RESP3's kinds), lines and values beyond
//! their bounds, and everything malformed: where that comes, nothing behind it can be understood. Plain functions, no state.

use std::io::Write;

/// Largest value that is taken: the largest that a job writes.
const VALUE_MAX: usize = 64 << 20;
/// Longest line: a number, a status or the words of an error.
const LINE_MAX: usize = 64 << 10;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status: `OK`, `PONG`.
    Status(String),
    /// A number.
    Integer(i64),
    /// A string.
    Value(Vec<u8>),
    /// No string: there is no such key.
    Nothing,
    /// An error, in the server's words.
    Error(String),
}

/// What the beginning of some bytes is.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// An answer, and how many bytes it was.
    Whole(Answer, usize),
    /// A part of one, which needs so many bytes at least.
    Part(usize),
}

/// Appends a command.
pub fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    head(out, b'*', parts.len());
    for part in parts {
        head(out, b'$', part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

fn head(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    write!(out, "{number}\r\n").expect("a vector takes everything");
}

/// Reads the answer that `bytes` begin with; tells why where none can.
pub fn parse(bytes: &[u8]) -> Result<Found, String> {
    let Some((&kind, rest)) = bytes.split_first() else { return Ok(Found::Part(1)) };
    if !b"+-:$_".contains(&kind) {
        return Err(format!("an answer cannot begin with {:?} here", char::from(kind)));
    }
    let within = &rest[..rest.len().min(LINE_MAX)];
    let Some(end) = within.iter().position(|&byte| byte == b'\n') else {
        let long = rest.len() >= LINE_MAX;
        return if long {
            Err("a line without an end".into())
        } else {
            Ok(Found::Part(bytes.len() + 1))
        };
    };
    let line = rest[..end].strip_suffix(b"\r").ok_or("a line that ends without CR")?;
    let text = || String::from_utf8_lossy(line).into_owned();
    let number = || {
        let parsed = std::str::from_utf8(line).ok().and_then(|line| line.parse::<i64>().ok());
        parsed.ok_or_else(|| format!("{:?} is no number", text()))
    };
    let after = end + 2;
    let answer = match kind {
        b'+' => Answer::Status(text()),
        b'-' => Answer::Error(text()),
        b':' => Answer::Integer(number()?),
        b'_' => Answer::Nothing,
        _ if line == b"-1" => Answer::Nothing,
        _ => return value(bytes, after, number()?),
    };
    Ok(Found::Whole(answer, after))
}

/// The string of so many bytes that begins at `at`.
fn value(bytes: &[u8], at: usize, len: i64) -> Result<Found, String> {
    let len = usize::try_from(len).ok().filter(|len| *len <= VALUE_MAX);
    let len = len.ok_or("a value whose length is out of bounds")?;
    let end = at + len;
    let Some(last) = bytes.get(end..end + 2) else { return Ok(Found::Part(end + 2)) };
    if last != b"\r\n" {
        return Err("a value that does not end where it says".into());
    }
    Ok(Found::Whole(Answer::Value(bytes[at..end].to_vec()), end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::random::Random;

    const ANSWERS: &[u8] = b"+OK\r\n-ERR no\r\n:-7\r\n$5\r\na\r\nbc\r\n$-1\r\n$0\r\n\r\n_\r\n";

    fn all(mut bytes: &[u8]) -> Result<Vec<Answer>, String> {
        let mut answers = Vec::new();
        while let Found::Whole(answer, len) = parse(bytes)? {
            answers.push(answer);
            bytes = &bytes[len..];
        }
        Ok(answers)
    }

    /// Every kind is read as what it is, wherever the bytes were cut: otherwise a run would show misses or errors that the server never had.
    #[test]
    fn answers_are_read_whole() {
        let whole = [
            Answer::Status("OK".into()),
            Answer::Error("ERR no".into()),
            Answer::Integer(-7),
            Answer::Value(b"a\r\nbc".to_vec()),
            Answer::Nothing,
            Answer::Value(Vec::new()),
            Answer::Nothing,
        ];
        assert_eq!(all(ANSWERS).unwrap(), whole);
        for cut in 0..ANSWERS.len() {
            let read = all(&ANSWERS[..cut]).unwrap();
            assert_eq!(read, whole[..read.len()], "{cut}");
        }
    }

    /// What is no answer is refused, and what is only announced takes no room.
    #[test]
    fn what_is_no_answer_is_refused() {
        let long = [b"+".to_vec(), vec![b'x'; LINE_MAX]].concat();
        for bytes in [
            &b"*1\r\n"[..],
            b"HTTP/1.1",
            b":x\r\n",
            b"$-2\r\n",
            b"$99999999999\r\n",
            b"$1\r\nabc",
            b"+a\n",
            &long,
        ] {
            assert!(
                parse(bytes).is_err(),
                "{:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(20)])
            );
        }
        assert_eq!(parse(b"$1000\r\nx"), Ok(Found::Part(1009)));
    }

    /// Bytes that anybody may send never panic. The seed replays.
    #[test]
    fn damage_never_panics() {
        let seed = std::env::var("CAIRN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        println!("CAIRN_SEED={seed}");
        let mut random = Random::new(seed);
        for _ in 0..20_000 {
            let mut bytes = ANSWERS.to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
            let _ = all(&bytes[random.below(bytes.len() as u64) as usize..]);
        }
    }

    /// A command is what servers read, whatever its bytes are.
    #[test]
    fn commands_are_written_with_their_lengths() {
        let mut out = Vec::new();
        command(&mut out, &[b"SET", b"k", b"\r\n"]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n");
    }
}
