//! Of the node as a whole: `TIME`, `SWAPDB`, `WAIT`, `WAITAOF`, `LOLWUT`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future::BoxFuture;

use super::super::{
    command::{Command, Flags, Group, Handler},
    databases,
    door::Door,
    fail::{Done, Fail, NO_DATABASE, NOT_AN_INTEGER},
    number::integer,
    reply::Reply,
    request::Request,
    session::Session,
};

const STOPPED: Fail = Fail::text("INDOUBT the node stops");

const FLAGS: Flags = Flags::LOADING.and(Flags::STALE);

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    new("time", 1, FLAGS.and(Flags::FAST), Handler::Session(time))
        .about("2.6.0", "Answers the node's time in seconds and microseconds"),
    new("swapdb", 3, Flags::WRITE.and(Flags::FAST), Handler::Alone(swap))
        .about("4.0.0", "Exchanges two databases"),
    new("wait", 3, Flags::BLOCKING, Handler::Session(wait))
        .about("3.0.0", "Answers how many replicas have what was written: there are none"),
    new("waitaof", 4, Flags::BLOCKING, Handler::Alone(wait_aof))
        .about("7.2.0", "Waits until what was written survives a loss of power"),
    new("lolwut", -1, Flags::READONLY.and(Flags::FAST), Handler::Session(lolwut))
        .about("5.0.0", "Shows a cairn"),
];

const fn new(name: &'static str, arity: isize, flags: Flags, handler: Handler) -> Command {
    Command::new(name, arity, flags, Group::Server, handler)
}

fn time(_: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    reply.array(2);
    reply.bulk(now.as_secs().to_string());
    reply.bulk(now.subsec_micros().to_string());
    Ok(())
}

fn swap<'a>(
    _: &'a mut Session,
    door: &'a Door,
    request: &'a Request,
    reply: &'a mut Reply,
) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let index = |at: usize, what: &'static str| {
            let number = integer(request.arg(at)).filter(|db| i32::try_from(*db).is_ok());
            number.ok_or(Fail::text(what)).map(|_| databases::number(request.arg(at)))
        };
        let first = index(1, "ERR invalid first DB index")?;
        let second = index(2, "ERR invalid second DB index")?;
        let (Some(first), Some(second)) = (first, second) else { return Err(NO_DATABASE) };
        // A task of its own: it comes to its end also when the client does not wait for it.
        let (shared, namespace) = (Arc::clone(&door.shared), Arc::clone(door.namespace()));
        let swap = async move { shared.databases.swap(&namespace, first, second).await };
        tokio::spawn(swap).await.map_err(|_| STOPPED)??;
        reply.ok();
        Ok(())
    })
}

/// There are no replicas, and none can come while it waits.
fn wait(_: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    integer(request.arg(1)).ok_or(NOT_AN_INTEGER)?;
    timeout(request.arg(2))?;
    reply.int(0);
    Ok(())
}

fn timeout(text: &[u8]) -> Result<Duration, Fail> {
    let ms = integer(text).ok_or(Fail::text("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| Fail::text("ERR timeout is negative"))?;
    Ok(Duration::from_millis(ms))
}

/// `WAITAOF local replicas timeout`: waits for the devices if `local` is 1, and answers what is true then.
fn wait_aof<'a>(
    _: &'a mut Session,
    door: &'a Door,
    request: &'a Request,
    reply: &'a mut Reply,
) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        const RANGE: Fail = Fail::text("ERR value is out of range, must be between 0 and 1");
        let local = integer(request.arg(1)).ok_or(NOT_AN_INTEGER)?;
        if !(0..=1).contains(&local) {
            return Err(RANGE);
        }
        let replicas = integer(request.arg(2)).ok_or(NOT_AN_INTEGER)?;
        if replicas < 0 {
            return Err(Fail::text("ERR value is out of range, must be positive"));
        }
        let most = timeout(request.arg(3))?;
        let durable = match (local, most.is_zero()) {
            (0, _) => false,
            (_, true) => {
                door.namespace().settle_all().await?;
                true
            }
            (_, false) => match tokio::time::timeout(most, door.namespace().settle_all()).await {
                Ok(settled) => {
                    settled?;
                    true
                }
                Err(_) => false,
            },
        };
        reply.array(2);
        reply.int(durable.into());
        reply.int(0);
        Ok(())
    })
}

fn lolwut(_: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    if request.len() > 2 && request.is(1, "VERSION") {
        // The works of old versions took measures of the canvas.
        let measures = match integer(request.arg(2)).ok_or(NOT_AN_INTEGER)? {
            5 => 3,
            6 => 2,
            _ => 0,
        };
        if request.args(3).take(measures).any(|measure| integer(measure).is_none()) {
            return Err(NOT_AN_INTEGER);
        }
    }
    let stones = [3, 5, 4, 8, 9, 13, 17];
    let mut text = String::new();
    for width in stones {
        text.push_str(&" ".repeat(12 - width / 2));
        text.push('(');
        text.push_str(&"_".repeat(width));
        text.push_str(")\n");
    }
    text.push_str("\nA cairn: stones that stay where they were put. Cairn ");
    text.push_str(crate::VERSION);
    text.push('\n');
    reply.verbatim("txt", &text);
    Ok(())
}
