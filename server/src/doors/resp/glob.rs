//! Patterns as `KEYS`, `SCAN` and `CONFIG GET` take them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before any of these.
//!
//! Of several stars only the last one met is ever tried again, so that a pattern costs at most its length times the text's.

use super::fail::Fail;

/// Bytes of a pattern.
pub const PATTERN_MAX: usize = 4 << 10;
const TOO_LONG: Fail = Fail::text("ERR a pattern takes at most 4096 bytes");

/// A pattern that is short enough to be tried on many keys.
///
/// # Errors
///
/// When it is longer than [`PATTERN_MAX`].
pub fn pattern(text: &[u8]) -> Result<&[u8], Fail> {
    if text.len() > PATTERN_MAX { Err(TOO_LONG) } else { Ok(text) }
}

/// Whether all of `text` fits `pattern`.
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    // As in Redis, which needs something to try a pattern on.
    if text.is_empty() {
        return matches!(pattern, b"" | b"*");
    }
    let (mut rest, mut left) = (pattern, text);
    // Behind the last star, and the text it has not taken yet.
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', after @ ..] = rest {
            if after.is_empty() {
                return true;
            }
            again = Some((after, left));
            rest = after;
            continue;
        }
        let fits = match left.split_first() {
            None if rest.is_empty() => return true,
            // No star can help: it would only leave less.
            None => return false,
            Some((byte, behind)) => one(rest, *byte, ignore_case).map(|rest| (rest, behind)),
        };
        if let Some((new_rest, behind)) = fits {
            (rest, left) = (new_rest, behind);
            continue;
        }
        match again {
            Some((after, [_, fewer @ ..])) => {
                again = Some((after, fewer));
                (rest, left) = (after, fewer);
            }
            _ => return false,
        }
    }
}

/// What is left of the pattern behind what stands for one byte, if that is this byte.
fn one(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<&[u8]> {
    let same = |other: u8| match ignore_case {
        true => other.eq_ignore_ascii_case(&byte),
        false => other == byte,
    };
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', class @ ..] => {
            let (fits, rest) = class_of(class, byte, ignore_case);
            fits.then_some(rest)
        }
        [b'\\', escaped, rest @ ..] => same(*escaped).then_some(rest),
        [other, rest @ ..] => same(*other).then_some(rest),
    }
}

/// Whether a class takes a byte, and what stands behind the class. One that does not end, ends with the pattern.
fn class_of(class: &[u8], byte: u8, ignore_case: bool) -> (bool, &[u8]) {
    let fold = |byte: u8| if ignore_case { byte.to_ascii_lowercase() } else { byte };
    let (inverted, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let (byte, mut found) = (fold(byte), false);
    loop {
        class = match class {
            [] => return (found != inverted, class),
            [b']', rest @ ..] => return (found != inverted, rest),
            [b'\\', escaped, rest @ ..] => {
                found |= fold(*escaped) == byte;
                rest
            }
            [from, b'-', to, rest @ ..] => {
                let (from, to) = (fold(*from), fold(*to));
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                rest
            }
            [other, rest @ ..] => {
                found |= fold(*other) == byte;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    /// What people look for with KEYS must be found, and nothing else.
    #[test]
    fn patterns_find_what_they_say() {
        let table = [
            ("*", "", true),
            ("**", "", false),
            ("**", "a", true),
            ("a**", "a", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[\\]]", "]", true),
            ("[a", "a", true),
            ("", "", true),
            ("", "a", false),
            ("?", "", false),
        ];
        for (pattern, text, fits) in table {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes(), false),
                fits,
                "{pattern} {text}"
            );
        }
        assert!(matches(b"MAX*", b"maxmemory", true) && !matches(b"MAX*", b"maxmemory", false));
    }

    /// A pattern made to be slow must not hold up a worker: this one would take longer than the universe if every star were tried.
    #[test]
    fn many_stars_cost_little() {
        let pattern = "a*".repeat(1000) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(10_000).as_bytes(), false));
    }
}
