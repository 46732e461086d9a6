//! An inline command's words: what a person types into `nc`.

use super::parse::Spans;

/// The words of a line, quotes and escapes taken off: their bytes one behind the other, and where each is. `None` when quotes do not
/// end, or end inside a word.
///
/// In double quotes `\n`, `\r`, `\t`, `\b`, `\a`, `\xHH` and an escaped other byte are understood, in single quotes only `\'`.
pub fn split(line: &[u8]) -> Option<(Vec<u8>, Spans)> {
    let mut bytes = Vec::with_capacity(line.len());
    let mut spans = Spans::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        // C calls the vertical tab a space, too.
        while let [0x0b, after @ ..] = rest {
            rest = after.trim_ascii_start();
        }
        // A zero byte ends the line, as it ends text in C.
        if rest.first().is_none_or(|byte| *byte == 0) {
            return Some((bytes, spans));
        }
        let begin = bytes.len();
        rest = word(rest, &mut bytes)?;
        spans.push((begin as u32, bytes.len() as u32));
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Appends the first word to `out` and answers what is behind it.
fn word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] | [0, ..] => return Some(&[]),
            [byte, ..] if is_space(*byte) => return Some(rest),
            [b'"', inner @ ..] => return quoted(inner, out),
            [b'\'', inner @ ..] => return single(inner, out),
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        };
    }
}

/// Behind the closing quote a word must be over.
fn ended(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|byte| is_space(*byte)).then_some(rest)
}

fn quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] | [0, ..] => return None,
            [b'"', after @ ..] => return ended(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        };
    }
}

fn single<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] | [0, ..] => return None,
            [b'\'', after @ ..] => return ended(after),
            [b'\\', b'\'', after @ ..] => {
                out.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        };
    }
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or(0) as u8
}
