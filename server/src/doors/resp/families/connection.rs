//! Of the connection: `PING`, `HELLO`, `AUTH`, `SELECT` and their like.

use super::super::{
    command::{Command, Flags, Group, Handler, OnSession},
    databases,
    door::Door,
    fail::{Done, Fail, NO_DATABASE, NOT_AN_INTEGER},
    number::integer,
    reply::Reply,
    request::Request,
    session::{Answers, Session},
};

/// The version of Redis whose commands these are.
pub const REDIS_VERSION: &str = "7.0.15";
/// The one user there is.
const USER: &[u8] = b"default";

const WRONG_PASSWORD: Fail =
    Fail::text("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD: Fail = Fail::text(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
);
const HELLO_FIRST: Fail = Fail::text(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
);

const ALWAYS: Flags = Flags::LOADING.and(Flags::STALE).and(Flags::FAST);
const BEFORE: Flags = ALWAYS.and(Flags::NO_AUTH).and(Flags::NOSCRIPT);

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    new("ping", -1, Flags::FAST, ping).about("1.0.0", "Answers PONG, or what it was given"),
    new("echo", 2, ALWAYS, echo).about("1.0.0", "Answers what it was given"),
    new("auth", -2, BEFORE, auth).about("1.0.0", "Says who the client is"),
    new("hello", -1, BEFORE, hello).about("6.0.0", "Begins with RESP2 or RESP3"),
    new("select", 2, ALWAYS, select).about("1.0.0", "Chooses the database"),
    Command::container("client", Group::Connection, super::client::SUBCOMMANDS)
        .about("2.4.0", "Tells of connections, and what this one wants"),
    new("quit", -1, BEFORE.and(Flags::NOT_QUEUED), quit).about("1.0.0", "Ends the connection"),
    new("reset", 1, BEFORE.and(Flags::NOT_QUEUED), reset)
        .about("6.2.0", "Puts the connection back to how it began"),
];

const fn new(name: &'static str, arity: isize, flags: Flags, handler: OnSession) -> Command {
    Command::new(name, arity, flags, Group::Connection, Handler::Session(handler))
}

fn ping(_: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    match request.len() {
        1 => reply.simple("PONG"),
        2 => reply.bulk(request.arg(1)),
        _ => return Err(Fail::arity("ping")),
    }
    Ok(())
}

fn echo(_: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    reply.bulk(request.arg(1));
    Ok(())
}

fn select(session: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    let text = request.arg(1);
    let number = integer(text).filter(|number| i32::try_from(*number).is_ok());
    number.ok_or(NOT_AN_INTEGER)?;
    session.db = databases::number(text).ok_or(NO_DATABASE)?;
    reply.ok();
    Ok(())
}

fn quit(session: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    session.closing = true;
    reply.ok();
    Ok(())
}

fn reset(session: &mut Session, door: &Door, _: &Request, reply: &mut Reply) -> Done {
    session.leave_multi();
    session.unwatch();
    session.db = 0;
    session.resp3 = false;
    session.answers = Answers::On;
    session.authenticated = door.shared.config.password.is_none();
    session.client.rename(|names| names.name = Box::default());
    reply.set_resp3(false);
    reply.simple("RESET");
    Ok(())
}

fn auth(session: &mut Session, door: &Door, request: &Request, reply: &mut Reply) -> Done {
    let (user, password) = match request.len() {
        2 if door.shared.config.password.is_none() => return Err(NO_PASSWORD),
        2 => (USER, request.arg(1)),
        3 => (request.arg(1), request.arg(2)),
        _ => return Err(super::super::fail::SYNTAX),
    };
    authenticate(session, door, user, password)?;
    reply.ok();
    Ok(())
}

fn authenticate(session: &mut Session, door: &Door, user: &[u8], password: &[u8]) -> Done {
    let right = match &door.shared.config.password {
        Some(wanted) => wanted.is(password),
        // As Redis has it: the default user without a password takes any.
        None => true,
    };
    if user != USER || !right {
        return Err(WRONG_PASSWORD);
    }
    session.authenticated = true;
    Ok(())
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`. Who is authenticated stays so, whatever else is wrong.
fn hello(session: &mut Session, door: &Door, request: &Request, reply: &mut Reply) -> Done {
    let mut version = None;
    if request.len() > 1 {
        version = Some(
            integer(request.arg(1))
                .ok_or(Fail::text("ERR Protocol version is not an integer or out of range"))?,
        );
        if !matches!(version, Some(2 | 3)) {
            return Err(Fail::text("NOPROTO unsupported protocol version"));
        }
    }
    // Each option is done before the next one is looked at.
    let mut at = 2;
    while at < request.len() {
        let more = request.len() - 1 - at;
        if request.is(at, "AUTH") && more >= 2 {
            authenticate(session, door, request.arg(at + 1), request.arg(at + 2))?;
            at += 3;
        } else if request.is(at, "SETNAME") && more >= 1 {
            let name = super::client::name_of(request.arg(at + 1))?;
            session.client.rename(|names| names.name = name);
            at += 2;
        } else {
            let mut text = b"ERR Syntax error in HELLO option '".to_vec();
            text.extend_from_slice(Fail::shown(request.arg(at), usize::MAX));
            text.push(b'\'');
            return Err(Fail::new(text));
        }
    }
    if !session.authenticated {
        return Err(HELLO_FIRST);
    }
    if let Some(version) = version {
        session.resp3 = version == 3;
        reply.set_resp3(session.resp3);
    }
    reply.map(7);
    reply.bulk("server");
    reply.bulk("redis");
    reply.bulk("version");
    reply.bulk(REDIS_VERSION);
    reply.bulk("proto");
    reply.int(if session.resp3 { 3 } else { 2 });
    reply.bulk("id");
    reply.int(session.client.id as i64);
    reply.bulk("mode");
    reply.bulk("standalone");
    reply.bulk("role");
    reply.bulk("master");
    reply.bulk("modules");
    reply.array(0);
    Ok(())
}
