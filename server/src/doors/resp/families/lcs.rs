//! `LCS`: what two strings have in common.

use super::super::{
    command::{Command, Flags, Group, Handler, Keys},
    fail::{Fail, NOT_AN_INTEGER, SYNTAX, WRONG_TYPE},
    number::integer,
    reply::Reply,
    request::Request,
    subsequence::{self, Run},
    view::{Halt, View},
};

/// Cells of the table that Redis works out, whatever is asked for: four bytes each are no more than its longest string.
const CELLS_MAX: u64 = (512 << 20) / 4;

const NOT_STRINGS: Fail = Fail::text("ERR The specified keys must contain string values");
const BOTH: Fail = Fail::text("ERR If you want both the length and indexes, please just use IDX.");
const TOO_MUCH: Fail =
    Fail::text("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");

/// The family's row.
pub const COMMANDS: &[Command] = &[Command::new(
    "lcs",
    -3,
    Flags::READONLY.and(Flags::PREFETCH),
    Group::String,
    Handler::Keys(lcs),
)
.keys(Keys::Range { first: 1, last: 2, step: 1 })
.about("7.0.0", "Finds the longest common subsequence of two strings")];

#[derive(Default)]
struct Options {
    only_len: bool,
    places: bool,
    with_len: bool,
    min_len: i64,
}

impl Options {
    fn read(request: &Request) -> Result<Self, Fail> {
        let mut options = Self::default();
        let mut at = 3;
        while at < request.len() {
            if request.is(at, "IDX") {
                options.places = true;
            } else if request.is(at, "LEN") {
                options.only_len = true;
            } else if request.is(at, "WITHMATCHLEN") {
                options.with_len = true;
            } else if request.is(at, "MINMATCHLEN") && at + 1 < request.len() {
                at += 1;
                options.min_len = integer(request.arg(at)).ok_or(NOT_AN_INTEGER)?;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        match options.only_len && options.places {
            true => Err(BOTH),
            false => Ok(options),
        }
    }
}

fn lcs(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let (a, b) = (string(view, request.arg(1))?, string(view, request.arg(2))?);
    let options = Options::read(request)?;
    if (a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1) > CELLS_MAX {
        return Err(TOO_MUCH.into());
    }
    if options.only_len {
        reply.int(subsequence::length(a, b) as i64);
        return Ok(());
    }
    let runs = subsequence::runs(a, b);
    if options.places {
        answer_places(&runs, &options, reply);
    } else {
        let mut common = Vec::new();
        for run in runs.iter().rev() {
            common.extend_from_slice(&a[run.a.clone()]);
        }
        reply.bulk(common);
    }
    Ok(())
}

fn string<'v>(view: &'v View<'_>, key: &[u8]) -> Result<&'v [u8], Halt> {
    match view.get(key)? {
        Some(item) => item.string().map_err(|fail| match fail == WRONG_TYPE {
            true => NOT_STRINGS.into(),
            false => fail.into(),
        }),
        None => Ok(&[]),
    }
}

fn answer_places(runs: &[Run], options: &Options, reply: &mut Reply) {
    let shown = |run: &&Run| run.a.len() as i64 >= options.min_len;
    reply.map(2);
    reply.bulk("matches");
    reply.array(runs.iter().filter(shown).count());
    for run in runs.iter().filter(shown) {
        reply.array(if options.with_len { 3 } else { 2 });
        for place in [&run.a, &run.b] {
            reply.array(2);
            reply.int(place.start as i64);
            reply.int(place.end as i64 - 1);
        }
        if options.with_len {
            reply.int(run.a.len() as i64);
        }
    }
    reply.bulk("len");
    reply.int(runs.iter().map(|run| run.a.len() as i64).sum());
}
