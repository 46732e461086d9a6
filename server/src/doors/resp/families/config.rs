//! `CONFIG`: the settings under the names that Redis has for them.
//!
//! Most are answered only: they are set in the configuration file, or cannot be other than they are. A value that is set to what it is
//! already is set.

use std::{ops::RangeInclusive, sync::atomic::Ordering::Relaxed};

use cairn_engine::model::Durability;

use super::super::{
    command::{Command, Flags, Group, Handler, OnSession},
    databases::DATABASES,
    door::Door,
    fail::{Done, Fail, SYNTAX},
    glob,
    number::integer,
    reply::Reply,
    request::Request,
    session::Session,
    slowlog::LENGTH_MAX,
};

const FLAGS: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);

const TOO_LONG: Fail = Fail::text("ERR patterns take at most 4096 bytes together");

/// The subcommands.
pub const SUBCOMMANDS: &[Command] = &[
    new("config|get", -3, get).about("2.0.0", "Answers settings by name or pattern"),
    once("config|set", -4, set).about("2.0.0", "Changes settings until the node stops"),
    once("config|resetstat", 2, reset_stat).about("2.0.0", "Counts from 0 again"),
    new("config|help", 2, super::commands::help).about("5.0.0", "Tells of these subcommands"),
];

const fn new(name: &'static str, arity: isize, handler: OnSession) -> Command {
    Command::new(name, arity, FLAGS, Group::Server, Handler::Session(handler))
}

const fn once(name: &'static str, arity: isize, handler: OnSession) -> Command {
    Command { flags: FLAGS.and(Flags::ONCE), ..new(name, arity, handler) }
}

/// How a setting is changed, and to what it may be.
struct Change {
    range: RangeInclusive<i64>,
    apply: fn(&Door, i64),
}

struct Setting {
    name: &'static str,
    value: fn(&Door) -> String,
    change: Option<Change>,
}

const fn fixed(name: &'static str, value: fn(&Door) -> String) -> Setting {
    Setting { name, value, change: None }
}

/// Every setting: a new one is a line here.
static SETTINGS: &[Setting] = &[
    fixed("appendfsync", |door| if durable(door) { "always" } else { "everysec" }.into()),
    fixed("appendonly", |_| "yes".into()),
    fixed("bind", |door| door.shared.config.listen.to_string()),
    fixed("cluster-enabled", |_| "no".into()),
    fixed("databases", |_| DATABASES.to_string()),
    fixed("dir", |_| String::new()),
    fixed("io-threads", |door| door.state.workers.len().to_string()),
    fixed("latency-monitor-threshold", |_| "0".into()),
    fixed("list-max-listpack-size", |_| "-2".into()),
    fixed("maxclients", |door| door.shared.config.max_connections.to_string()),
    fixed("maxmemory", |_| "0".into()),
    fixed("maxmemory-policy", |_| "noeviction".into()),
    fixed("port", |door| {
        let resp = door.state.addresses.get().and_then(|addresses| addresses.resp);
        resp.map_or(0, |address| address.port()).to_string()
    }),
    fixed("proto-max-bulk-len", |door| door.shared.config.request_max.to_string()),
    fixed("save", |_| String::new()),
    Setting {
        name: "slowlog-log-slower-than",
        value: |door| door.shared.slow.slower_than.load(Relaxed).to_string(),
        change: Some(Change {
            range: -1..=i64::MAX,
            apply: |door, micros| door.shared.slow.slower_than.store(micros, Relaxed),
        }),
    },
    Setting {
        name: "slowlog-max-len",
        value: |door| door.shared.slow.length.load(Relaxed).to_string(),
        change: Some(Change {
            range: 0..=LENGTH_MAX,
            apply: |door, length| door.shared.slow.length.store(length as u64, Relaxed),
        }),
    },
    Setting {
        name: "timeout",
        value: |door| (door.shared.idle_ms.load(Relaxed) / 1000).to_string(),
        change: Some(Change {
            range: 0..=i32::MAX as i64,
            apply: |door, seconds| door.shared.idle_ms.store(seconds as u64 * 1000, Relaxed),
        }),
    },
];

fn durable(door: &Door) -> bool {
    door.namespace().config().durability == Durability::Device
}

fn get(_: &mut Session, door: &Door, request: &Request, reply: &mut Reply) -> Done {
    if request.args(2).map(<[u8]>::len).sum::<usize>() > glob::PATTERN_MAX {
        return Err(TOO_LONG);
    }
    let wanted = |setting: &&Setting| {
        request.args(2).any(|pattern| glob::matches(pattern, setting.name.as_bytes(), true))
    };
    let found: Vec<&Setting> = SETTINGS.iter().filter(wanted).collect();
    reply.map(found.len());
    for setting in found {
        reply.bulk(setting.name);
        reply.bulk((setting.value)(door));
    }
    Ok(())
}

/// All of them or none: every name and value is looked at first.
fn set(_: &mut Session, door: &Door, request: &Request, reply: &mut Reply) -> Done {
    if !request.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    let mut changes: Vec<(&Setting, &Change, i64)> = Vec::new();
    for at in (2..request.len()).step_by(2) {
        let (name, value) = (request.arg(at), request.arg(at + 1));
        let known = SETTINGS.iter().find(|s| name.eq_ignore_ascii_case(s.name.as_bytes()));
        let Some(setting) = known else {
            let shown = Fail::shown(name, usize::MAX);
            let text: &[u8] = b"ERR Unknown option or number of arguments for CONFIG SET - '";
            return Err(Fail::new([text, shown, b"'"].concat()));
        };
        // As it was written; it is one that is known.
        let shown = String::from_utf8_lossy(name);
        let failed = |why: &str| {
            Fail::new(format!(
                "ERR CONFIG SET failed (possibly related to argument '{shown}') - {why}"
            ))
        };
        if changes.iter().any(|(other, ..)| std::ptr::eq(*other, setting)) {
            return Err(failed("duplicate parameter"));
        }
        match (&setting.change, integer(value)) {
            (Some(change), Some(value)) if change.range.contains(&value) => {
                changes.push((setting, change, value));
            }
            (Some(Change { range, .. }), Some(_)) => {
                let (least, most) = (range.start(), range.end());
                return Err(failed(&format!(
                    "argument must be between {least} and {most} inclusive"
                )));
            }
            (Some(_), None) => return Err(failed("argument couldn't be parsed into an integer")),
            (None, _) if (setting.value)(door).as_bytes() == value => {}
            (None, _) => return Err(failed("can't set immutable config")),
        }
    }
    for (_, change, value) in changes {
        (change.apply)(door, value);
    }
    reply.ok();
    Ok(())
}

fn reset_stat(_: &mut Session, door: &Door, _: &Request, reply: &mut Reply) -> Done {
    door.shared.counters.iter().for_each(|counters| counters.reset());
    door.shared.refused_connections.store(0, Relaxed);
    reply.ok();
    Ok(())
}
