//! Looking for keys: `SCAN`, `KEYS`, `RANDOMKEY`.
//!
//! Keys lie on the device with their values, so all of these read it, page by page; between two pages others of the worker get on. A key that
//! is there all the time is met; one that comes or goes meanwhile, perhaps. A record that is damaged is left out: nobody knows its key.

use cairn_engine::{Namespace, Record, model::Key};
use futures::future::BoxFuture;

use super::super::{
    command::{Command, Flags, Group, Handler},
    databases::{redis_key, user_key},
    door::Door,
    fail::{Done, Fail, NOT_AN_INTEGER, SYNTAX},
    glob,
    item::Item,
    number::integer,
    reply::Reply,
    request::Request,
    session::Session,
};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    new("scan", -2, scan).about("2.8.0", "Answers some keys, and where to go on"),
    new("keys", 2, keys).about("1.0.0", "Answers all keys that fit a pattern"),
    new("randomkey", 1, random_key).about("1.0.0", "Answers a key at random"),
];

const fn new(name: &'static str, arity: isize, handler: super::super::command::Alone) -> Command {
    Command::new(name, arity, Flags::READONLY, Group::Generic, Handler::Alone(handler))
}

/// Entries of the index that are looked at in one go, and bytes on the device that are read for them: what a page may hold. Others of the
/// worker wait for a page that is all in memory, so it is small, though a `KEYS` alone would be done sooner with larger ones.
const PAGE: usize = 256;
const PAGE_BYTES: u64 = 4 << 20;
/// A `SCAN` looks at so many entries at least, and so many for every key it was asked for, before it answers fewer keys than that:
/// other databases have their entries in between.
const LOOKED_LEAST: usize = 256;
const LOOKED_PER_KEY: usize = 16;
/// A `SCAN` reads at most about so many bytes.
const SCAN_BYTES: usize = 8 << 20;
/// Keys that a `KEYS` may answer, in bytes, each counted with what it takes to keep it.
const KEYS_BYTES: usize = 32 << 20;
const KEPT: usize = 48;
/// Bytes of pattern times bytes of keys that are compared before others have their turn: a pattern can be made to cost so much.
const COMPARED: usize = 1 << 20;
/// Records drawn for a `RANDOMKEY` before it searches from a random place on.
const DRAWS: usize = 32;

const CURSOR: Fail = Fail::text("ERR invalid cursor");
const TOO_MANY: Fail =
    Fail::text("ERR the keys that fit are more than 32 MiB together; use SCAN instead of KEYS");

struct Options<'r> {
    pattern: &'r [u8],
    count: usize,
    kind: Option<&'r [u8]>,
}

impl<'r> Options<'r> {
    fn read(request: &'r Request) -> Result<Self, Fail> {
        let (mut options, mut at) = (Self { pattern: b"*", count: 10, kind: None }, 2);
        while at < request.len() {
            if at + 1 == request.len() {
                return Err(SYNTAX);
            }
            if request.is(at, "COUNT") {
                let count = integer(request.arg(at + 1)).ok_or(NOT_AN_INTEGER)?;
                options.count = usize::try_from(count).ok().filter(|c| *c > 0).ok_or(SYNTAX)?;
            } else if request.is(at, "MATCH") {
                options.pattern = glob::pattern(request.arg(at + 1))?;
            } else if request.is(at, "TYPE") {
                options.kind = Some(request.arg(at + 1));
            } else {
                return Err(SYNTAX);
            }
            at += 2;
        }
        Ok(options)
    }

    fn wants(&self, key: &[u8], record: &Record) -> bool {
        let kind =
            |wanted: &[u8]| Item::of(record).kind().name().as_bytes().eq_ignore_ascii_case(wanted);
        glob::matches(self.pattern, key, false) && self.kind.is_none_or(kind)
    }
}

/// Lets others of the worker get on when comparing keys has taken long.
async fn pause(compared: &mut usize, pattern: &[u8], key: &[u8]) {
    *compared += pattern.len() * key.len();
    if *compared > COMPARED {
        *compared = 0;
        tokio::task::yield_now().await;
    }
}

/// A cursor as Redis reads it: any number of 64 bits, with a sign or without; nothing is 0.
fn cursor(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() {
        return text.is_empty().then_some(0);
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// Keys and records of a page that are Redis's, each with its key.
fn with_keys(records: &[Record]) -> impl Iterator<Item = (Vec<u8>, &Record)> {
    records.iter().filter_map(|record| {
        let key = record.key().ok()?;
        Some((redis_key(key.user())?.to_vec(), record))
    })
}

fn scan<'a>(
    session: &'a mut Session,
    door: &'a Door,
    request: &'a Request,
    reply: &'a mut Reply,
) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let mut cursor = cursor(request.arg(1)).ok_or(CURSOR)?;
        let options = Options::read(request)?;
        let set = door.set(session.db)?;
        let mut found = Vec::new();
        let (mut met, mut bytes) = (0, 0);
        let (mut looked, mut compared) = (0, 0);
        let may_look = options.count.saturating_mul(LOOKED_PER_KEY).max(LOOKED_LEAST);
        // An empty database is seen to be empty, whatever the others hold.
        let mut ended = door.namespace().set_len(set) == 0;
        while !ended && met < options.count && looked < may_look && bytes < SCAN_BYTES {
            // Ever larger steps where there is little to meet. What is met beyond the count is answered, too.
            let limit = (options.count - met).max(looked).min(PAGE);
            let step = door.namespace().scan_from(cursor, Some(set), limit, PAGE_BYTES).await?;
            looked += limit;
            met += step.records.len();
            for (key, record) in with_keys(&step.records) {
                pause(&mut compared, options.pattern, &key).await;
                bytes += Item::of(record).size() + key.len();
                if options.wants(&key, record) {
                    found.push(key);
                }
            }
            match step.next {
                Some(next) => cursor = next,
                None => ended = true,
            }
            tokio::task::yield_now().await;
        }
        door.settled().await?;
        reply.array(2);
        reply.bulk(if ended { "0".into() } else { cursor.to_string() });
        reply.array(found.len());
        found.iter().for_each(|key| reply.bulk(key));
        Ok(())
    })
}

fn keys<'a>(
    session: &'a mut Session,
    door: &'a Door,
    request: &'a Request,
    reply: &'a mut Reply,
) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let set = door.set(session.db)?;
        let pattern = glob::pattern(request.arg(1))?;
        let mut found = Vec::new();
        if !pattern.iter().any(|byte| b"*?[\\".contains(byte)) {
            if is_there(door.namespace(), set, pattern).await? {
                found.push(pattern.to_vec());
            }
        } else if door.namespace().set_len(set) > 0 {
            found = all_that_fit(door.namespace(), set, pattern).await?;
        }
        door.settled().await?;
        reply.array(found.len());
        found.iter().for_each(|key| reply.bulk(key));
        Ok(())
    })
}

/// A pattern that only one key fits needs no search.
async fn is_there(namespace: &Namespace, set: &'static str, key: &[u8]) -> Result<bool, Fail> {
    let key = Key::new(set, user_key(key)).map_err(cairn_engine::Error::from)?;
    Ok(namespace.look(&key).await?.exists())
}

async fn all_that_fit(
    namespace: &Namespace,
    set: &'static str,
    pattern: &[u8],
) -> Result<Vec<Vec<u8>>, Fail> {
    let (mut found, mut kept, mut compared, mut cursor) = (Vec::new(), 0, 0, Some(0));
    while let Some(from) = cursor {
        let step = namespace.scan_from(from, Some(set), PAGE, PAGE_BYTES).await?;
        for (key, _) in with_keys(&step.records) {
            pause(&mut compared, pattern, &key).await;
            if glob::matches(pattern, &key, false) {
                kept += key.len() + KEPT;
                found.push(key);
            }
        }
        if kept > KEYS_BYTES {
            return Err(TOO_MANY);
        }
        cursor = step.next;
        tokio::task::yield_now().await;
    }
    Ok(found)
}

fn random_key<'a>(
    session: &'a mut Session,
    door: &'a Door,
    _: &'a Request,
    reply: &'a mut Reply,
) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let set = door.set(session.db)?;
        let namespace = door.namespace();
        if namespace.set_len(set) == 0 {
            door.settled().await?;
            reply.null();
            return Ok(());
        }
        let drawn = namespace.sample(set, DRAWS).await?;
        let key =
            match drawn.iter().find_map(|record| with_keys(std::slice::from_ref(record)).next()) {
                Some((key, _)) => Some(key),
                None => searched(namespace, set).await?,
            };
        door.settled().await?;
        reply.bulk_or_null(key.as_deref());
        Ok(())
    })
}

/// A key of a database that is small among others: one of those nearest behind a random place.
async fn searched(namespace: &Namespace, set: &'static str) -> Result<Option<Vec<u8>>, Fail> {
    let begin = random();
    let (mut cursor, mut around) = (begin, false);
    loop {
        let step = namespace.scan_from(cursor, Some(set), PAGE, PAGE_BYTES).await?;
        let keys: Vec<Vec<u8>> = with_keys(&step.records).map(|(key, _)| key).collect();
        if !keys.is_empty() {
            let place = random() as usize % keys.len();
            return Ok(keys.into_iter().nth(place));
        }
        cursor = match step.next {
            Some(next) if !around || next < begin => next,
            None if !around => {
                around = true;
                0
            }
            _ => return Ok(None),
        };
        tokio::task::yield_now().await;
    }
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::cursor;

    /// Clients send back what they got; what Redis takes for a cursor is taken, the rest refused.
    #[test]
    fn cursors_are_read_as_redis_reads_them() {
        let table = [
            ("0", Some(0)),
            ("", Some(0)),
            ("01", Some(1)),
            ("+1", Some(1)),
            ("-1", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            (" 1", None),
            ("1x", None),
            ("x", None),
            ("-", None),
        ];
        for (text, number) in table {
            assert_eq!(cursor(text.as_bytes()), number, "{text}");
        }
    }
}
