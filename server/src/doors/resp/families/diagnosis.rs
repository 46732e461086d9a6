//! `SLOWLOG` and `LATENCY`: what took long.

use std::time::Duration;

use super::super::{
    command::{Command, Flags, Group, Handler, OnSession},
    door::Door,
    fail::{Done, Fail},
    number::integer,
    reply::Reply,
    request::Request,
    session::Session,
};

const FLAGS: Flags = Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE);
/// Entries that `SLOWLOG GET` answers unless told.
const USUAL: usize = 10;

/// The subcommands of `SLOWLOG`.
pub const SLOWLOG: &[Command] = &[
    new("slowlog|get", -2, slow_get).about("2.2.12", "Answers the newest slow commands"),
    new("slowlog|len", 2, slow_len).about("2.2.12", "Answers how many slow commands are kept"),
    Command {
        flags: FLAGS.and(Flags::ONCE),
        ..new("slowlog|reset", 2, slow_reset).about("2.2.12", "Forgets the slow commands")
    },
    new("slowlog|help", 2, super::commands::help).about("5.0.0", "Tells of these subcommands"),
];

/// The subcommands of `LATENCY`. Nothing is monitored by event here: `SLOWLOG`, the metrics and `INFO commandstats` tell.
pub const LATENCY: &[Command] = &[
    new("latency|latest", 2, nothing).about("2.8.13", "Answers nothing: no events are monitored"),
    new("latency|history", 3, nothing).about("2.8.13", "Answers nothing: no events are monitored"),
    new("latency|reset", -2, none_reset).about("2.8.13", "Answers 0: no events are monitored"),
    new("latency|doctor", 2, doctor).about("2.8.13", "Says where latencies are to be found"),
    new("latency|help", 2, super::commands::help).about("5.0.0", "Tells of these subcommands"),
];

const fn new(name: &'static str, arity: isize, handler: OnSession) -> Command {
    Command::new(name, arity, FLAGS, Group::Server, Handler::Session(handler))
}

fn slow_get(_: &mut Session, door: &Door, request: &Request, reply: &mut Reply) -> Done {
    let count = match request.len() {
        2 => USUAL,
        3 => match integer(request.arg(2)) {
            Some(-1) => usize::MAX,
            Some(count @ 0..) => count as usize,
            _ => return Err(Fail::text("ERR count should be greater than or equal to -1")),
        },
        _ => {
            let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
            text.extend_from_slice(Fail::shown(request.arg(1), 128));
            text.extend_from_slice(b"'. Try SLOWLOG HELP.");
            return Err(Fail::new(text));
        }
    };
    let newest = door.shared.slow.newest(count);
    reply.array(newest.len());
    for slow in newest {
        reply.array(6);
        reply.int(slow.id as i64);
        reply.int(slow.at as i64);
        reply.int(micros(slow.took));
        reply.array(slow.arguments.len());
        slow.arguments.iter().for_each(|argument| reply.bulk(argument));
        reply.bulk(slow.peer.to_string());
        reply.bulk(&*slow.name);
    }
    Ok(())
}

fn micros(took: Duration) -> i64 {
    i64::try_from(took.as_micros()).unwrap_or(i64::MAX)
}

fn slow_len(_: &mut Session, door: &Door, _: &Request, reply: &mut Reply) -> Done {
    reply.int(door.shared.slow.len() as i64);
    Ok(())
}

fn slow_reset(_: &mut Session, door: &Door, _: &Request, reply: &mut Reply) -> Done {
    door.shared.slow.clear();
    reply.ok();
    Ok(())
}

fn nothing(_: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    reply.array(0);
    Ok(())
}

fn none_reset(_: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    reply.int(0);
    Ok(())
}

fn doctor(_: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    reply.verbatim(
        "txt",
        "Latency events are not monitored. SLOWLOG GET shows slow commands, INFO commandstats \
         what each command takes, and /metrics of the HTTP door the rest.\n",
    );
    Ok(())
}
