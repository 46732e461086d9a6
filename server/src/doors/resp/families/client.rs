//! `CLIENT`: who is connected, and what this connection wants.

use std::{
    fmt::Write,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use super::super::{
    clients::{Client, End, NAME_MAX},
    command::{Command, Flags, Group, Handler, OnSession},
    door::Door,
    fail::{Done, Fail, SYNTAX},
    number::integer,
    reply::Reply,
    request::Request,
    session::{Answers, Session},
    table,
};

const FLAGS: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = FLAGS.and(Flags::ADMIN);

/// The subcommands.
pub const SUBCOMMANDS: &[Command] = &[
    new("client|id", 2, FLAGS, id).about("5.0.0", "Answers the connection's number"),
    new("client|info", 2, FLAGS, info).about("6.2.0", "Answers the connection's line of the list"),
    new("client|list", -2, ADMIN, list).about("2.4.0", "Lists connections"),
    new("client|setname", 3, FLAGS, set_name).about("2.6.9", "Names the connection"),
    new("client|getname", 2, FLAGS, get_name).about("2.6.9", "Answers the connection's name"),
    new("client|setinfo", 4, FLAGS, set_info).about("7.2.0", "Names the client's library"),
    new("client|kill", -3, ADMIN.and(Flags::ONCE), kill).about("2.4.0", "Ends connections"),
    new("client|no-evict", 3, ADMIN, on_or_off)
        .about("7.0.0", "Nothing: connections are not evicted here"),
    new("client|no-touch", 3, FLAGS, on_or_off)
        .about("7.2.0", "Nothing: reads are not remembered here"),
    new("client|reply", 3, FLAGS, reply_mode).about("3.2.0", "Says whether answers are wanted"),
    new("client|help", 2, FLAGS, super::commands::help)
        .about("5.0.0", "Tells of these subcommands"),
];

const fn new(name: &'static str, arity: isize, flags: Flags, handler: OnSession) -> Command {
    Command::new(name, arity, flags, Group::Connection, Handler::Session(handler))
}

/// A name a client gives itself; empty takes it away.
pub fn name_of(bytes: &[u8]) -> Result<Box<str>, Fail> {
    plain(bytes).ok_or(Fail::text(
        "ERR Client names cannot contain spaces, newlines or special characters.",
    ))
}

fn plain(bytes: &[u8]) -> Option<Box<str>> {
    let fine = bytes.len() <= NAME_MAX && bytes.iter().all(|byte| (b'!'..=b'~').contains(byte));
    fine.then(|| String::from_utf8_lossy(bytes).into())
}

fn id(session: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    reply.int(session.client.id as i64);
    Ok(())
}

fn info(session: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    show(session);
    reply.verbatim("txt", &line(&session.client, Instant::now()));
    Ok(())
}

/// The session's own line tells of this very moment.
fn show(session: &Session) {
    session.client.db.store(session.db, Relaxed);
    session.client.resp3.store(session.resp3, Relaxed);
}

fn list(session: &mut Session, door: &Door, request: &Request, reply: &mut Reply) -> Done {
    show(session);
    let wanted: Option<Vec<i64>> = match request.len() {
        2 => None,
        4 if request.is(2, "TYPE") => {
            let empty = !check_type(request.arg(3))?;
            empty.then(Vec::new)
        }
        _ if request.len() > 3 && request.is(2, "ID") => {
            Some(request.args(3).map(number_of).collect::<Result<_, _>>()?)
        }
        _ => return Err(SYNTAX),
    };
    let now = Instant::now();
    let all = door.shared.clients.list();
    let shown =
        all.iter().filter(|c| wanted.as_ref().is_none_or(|wanted| wanted.contains(&(c.id as i64))));
    let text: String = shown.map(|client| line(client, now)).collect();
    reply.verbatim("txt", &text);
    Ok(())
}

fn number_of(text: &[u8]) -> Result<i64, Fail> {
    integer(text).ok_or(Fail::text("ERR Invalid client ID"))
}

/// Whether this is the one type of client there is here; refused when Redis has no such type.
fn check_type(text: &[u8]) -> Result<bool, Fail> {
    let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
    if is("normal") {
        return Ok(true);
    }
    if ["master", "replica", "slave", "pubsub"].into_iter().any(is) {
        return Ok(false);
    }
    let mut error = b"ERR Unknown client type '".to_vec();
    error.extend_from_slice(Fail::shown(text, usize::MAX));
    error.push(b'\'');
    Err(Fail::new(error))
}

fn line(client: &Client, now: Instant) -> String {
    let names = client.names.lock().clone().unwrap_or_default();
    let age = now.saturating_duration_since(client.since).as_secs();
    let command = table::all().get(usize::from(client.command.load(Relaxed)));
    let (queued, output) = (client.queued.load(Relaxed), client.output.load(Relaxed));
    let mut out = String::with_capacity(320);
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "id={} addr={} laddr={} fd={} name={} age={age} idle={} flags={} db={} sub=0 psub=0 ssub=0 \
         multi={} watch={} qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={output} oll=0 \
         omem={output} tot-mem={} events=r cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={}",
        client.id,
        client.peer,
        client.local,
        client.descriptor,
        names.name,
        client.idle_ms(now) / 1000,
        if queued > 0 { "x" } else { "N" },
        client.db.load(Relaxed),
        i64::from(queued) - 1,
        client.watched.load(Relaxed),
        client.input.load(Relaxed),
        output + client.input.load(Relaxed),
        command.map_or("NULL", |command| command.name),
        if client.resp3.load(Relaxed) { 3 } else { 2 },
        names.lib_name,
        names.version,
    );
    out
}

fn set_name(session: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    let name = name_of(request.arg(2))?;
    session.client.rename(|names| names.name = name);
    reply.ok();
    Ok(())
}

fn get_name(session: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    match &*session.client.name() {
        "" => reply.null(),
        name => reply.bulk(name),
    }
    Ok(())
}

fn set_info(session: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    let what = request.arg(2);
    let is = |name: &str| what.eq_ignore_ascii_case(name.as_bytes());
    let refused = |name: &str| {
        Fail::new(format!("ERR {name} cannot contain spaces, newlines or special characters."))
    };
    if is("lib-name") {
        let name = plain(request.arg(3)).ok_or_else(|| refused("lib-name"))?;
        session.client.rename(|names| names.lib_name = name);
    } else if is("lib-ver") {
        let version = plain(request.arg(3)).ok_or_else(|| refused("lib-ver"))?;
        session.client.rename(|names| names.version = version);
    } else {
        let mut text = b"ERR Unrecognized option '".to_vec();
        text.extend_from_slice(what);
        text.push(b'\'');
        return Err(Fail::new(text));
    }
    reply.ok();
    Ok(())
}

fn on_or_off(_: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    if !request.is(2, "ON") && !request.is(2, "OFF") {
        return Err(SYNTAX);
    }
    reply.ok();
    Ok(())
}

fn reply_mode(session: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    if request.is(2, "ON") {
        session.answers = Answers::On;
        reply.ok();
    } else if request.is(2, "OFF") {
        session.answers = Answers::Off;
    } else if !request.is(2, "SKIP") {
        return Err(SYNTAX);
    } else if session.answers != Answers::Off {
        session.answers = Answers::SkipNext;
    }
    Ok(())
}

/// Which connections are to be ended.
#[derive(Default)]
struct Which {
    id: Option<u64>,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    /// No connection is of the type or user that was named.
    nobody: bool,
    spare_own: bool,
    /// At least so many seconds old.
    age: Option<u64>,
}

impl Which {
    fn read(request: &Request) -> Result<Self, Fail> {
        let mut which = Self { spare_own: true, ..Self::default() };
        for at in (2..request.len()).step_by(2) {
            if at + 1 == request.len() {
                return Err(SYNTAX);
            }
            let value = request.arg(at + 1);
            // An address that is none fits nobody.
            let address = || std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            if request.is(at, "ID") {
                let id = integer(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
                which.id = Some(id.ok_or(Fail::text("ERR client-id should be greater than 0"))?);
            } else if request.is(at, "ADDR") {
                which.peer = address();
                which.nobody |= which.peer.is_none();
            } else if request.is(at, "LADDR") {
                which.local = address();
                which.nobody |= which.local.is_none();
            } else if request.is(at, "TYPE") {
                which.nobody |= !check_type(value)?;
            } else if request.is(at, "USER") {
                if value != b"default" {
                    let mut text = b"ERR No such user '".to_vec();
                    text.extend_from_slice(value);
                    text.push(b'\'');
                    return Err(Fail::new(text));
                }
            } else if request.is(at, "SKIPME") {
                which.spare_own = match () {
                    () if request.is(at + 1, "YES") => true,
                    () if request.is(at + 1, "NO") => false,
                    () => return Err(SYNTAX),
                };
            } else if request.is(at, "MAXAGE") {
                let age = integer(value).and_then(|age| u64::try_from(age).ok());
                which.age = Some(age.ok_or(super::super::fail::NOT_AN_INTEGER)?);
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(which)
    }

    fn is(&self, client: &Client) -> bool {
        !self.nobody
            && client.ending().is_none()
            && self.id.is_none_or(|id| id == client.id)
            && self.peer.is_none_or(|peer| peer == client.peer)
            && self.local.is_none_or(|local| local == client.local)
            && self.age.is_none_or(|age| client.since.elapsed().as_secs() >= age)
    }
}

/// `CLIENT KILL address`, or with filters: the answer is `OK`, or how many there were.
fn kill(session: &mut Session, door: &Door, request: &Request, reply: &mut Reply) -> Done {
    let one = request.len() == 3;
    let which = match one {
        true => {
            let text = std::str::from_utf8(request.arg(2)).ok();
            let peer = text.and_then(|text| text.parse().ok());
            Which { peer, nobody: peer.is_none(), ..Which::default() }
        }
        false => Which::read(request)?,
    };
    let mut ended = 0;
    for client in door.shared.clients.list().iter().filter(|client| which.is(client)) {
        if !Arc::ptr_eq(client, &session.client) {
            client.end(End::Now);
        } else if which.spare_own {
            continue;
        } else {
            // It is still told.
            session.closing = true;
        }
        ended += 1;
    }
    match (one, ended) {
        (true, 0) => return Err(Fail::text("ERR No such client")),
        (true, _) => reply.ok(),
        (false, _) => reply.int(ended),
    }
    Ok(())
}
