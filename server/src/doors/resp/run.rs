//! Running commands: looking at keys, running the handler, applying what it staged, and again if somebody was faster.
//!
//! [`run`] is one future for everything that may wait, so that a connection keeps all of them in boxes of one kind. What a command
//! answers and what its answer must still wait for are told apart: the first is known when it is applied, the second when it is durable.

use std::sync::Arc;

use cairn_engine::{Receipt, Sight};
use smallvec::SmallVec;

use super::{
    ahead::Known,
    command::{Flags, Handler, OnKeys},
    door::Door,
    exec,
    fail::{CONTENDED, Fail},
    reply::Reply,
    request::Request,
    session::Session,
    table::Entry,
    view::{Committed, Halt, View},
};

/// Attempts of one command before it gives up; every lost one means that another writer got on.
pub const ATTEMPTS: usize = 1000;
/// Attempts before a command lets others of its worker run in between.
pub const EAGER_ATTEMPTS: usize = 4;

/// What to do.
#[derive(Debug)]
pub enum Job {
    /// A command on keys of a database.
    Keys(Entry, OnKeys, Request, u8),
    /// A command by itself, which needs the session meanwhile.
    Alone(Entry, Request, Box<Session>),
    /// Waits until an answer may leave.
    Settle(Wait),
}

/// What an answer must wait for.
#[derive(Debug)]
pub enum Wait {
    /// Nothing.
    Nothing,
    /// These writes must be durable.
    Written(Receipt),
    /// What was seen must be durable.
    Seen(SmallVec<[Sight; 1]>),
    /// All of these.
    All(Vec<Wait>),
}

impl Wait {
    /// Whether it is over. One that has failed is not: whoever waits is told.
    pub fn is_over(&self, door: &Door) -> bool {
        match self {
            Self::Nothing => true,
            Self::Written(receipt) => receipt.is_durable(),
            Self::Seen(sights) => sights.iter().all(|sight| sight.is_settled(door.namespace())),
            Self::All(all) => all.iter().all(|wait| wait.is_over(door)),
        }
    }

    /// This one and the other.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, other) => other,
            (this, Self::Nothing) => this,
            (Self::All(mut all), other) => {
                all.push(other);
                Self::All(all)
            }
            (this, other) => Self::All(vec![this, other]),
        }
    }
}

/// What came of a job.
#[derive(Debug)]
pub struct Ended {
    /// The answer.
    pub reply: Reply,
    /// Why it failed, if it did; the answer says it, too.
    pub failed: Option<Fail>,
    /// What the answer must wait for.
    pub wait: Wait,
    /// The session, if the job had it.
    pub session: Option<Box<Session>>,
    /// What was asked, if it was a command.
    pub request: Option<Request>,
}

/// Does a command on one key at once, if it need not wait for anything; `None` if it must: then nothing was done. `reply` is empty, and is
/// again if nothing was done. Most commands are done so, and cost no future.
pub fn at_once(
    door: &Door,
    (entry, handler): (Entry, OnKeys),
    request: &Request,
    (db, known): (u8, Option<Known>),
    reply: &mut Reply,
) -> Option<Result<Wait, Fail>> {
    if !entry.command.keys.is_one() {
        return None;
    }
    let done = try_at_once(door, (entry, handler), request, (db, known), reply);
    match &done {
        Some(Ok(_)) => {}
        Some(Err(fail)) => {
            reply.truncate(0);
            reply.error(fail.bytes());
        }
        None => reply.truncate(0),
    }
    done
}

fn try_at_once(
    door: &Door,
    (entry, handler): (Entry, OnKeys),
    request: &Request,
    (db, known): (u8, Option<Known>),
    reply: &mut Reply,
) -> Option<Result<Wait, Fail>> {
    let mut view = View::new(door, db);
    if let Some(known) = known.filter(|known| view.is_place(&known.place)) {
        // Who reads its key in any case has it looked at before it asks.
        let looks = entry.command.flags.has(Flags::READONLY);
        let looked = view.expect(known, looks)?;
        if let Err(fail) = looked {
            return Some(Err(fail));
        }
    }
    for _ in 0..EAGER_ATTEMPTS {
        loop {
            match handler(&mut view, request, reply) {
                Ok(()) => break,
                Err(Halt::Look(place)) => {
                    if let Err(fail) = view.look_now(place)? {
                        return Some(Err(fail));
                    }
                }
                Err(Halt::Fail(fail)) => return Some(Err(fail)),
            }
            reply.truncate(0);
            view.unstage();
        }
        if let Err(fail) = reply.complete() {
            return Some(Err(fail));
        }
        match view.commit_now()? {
            Ok(Committed::Changed) => {
                reply.truncate(0);
                view.clear();
            }
            Ok(committed) => return Some(Ok(wait_of(door, entry, committed, view))),
            Err(fail) => return Some(Err(fail)),
        }
    }
    None
}

/// What the answer of a command must wait for that has done this.
fn wait_of(door: &Door, entry: Entry, committed: Committed, view: View<'_>) -> Wait {
    match committed {
        Committed::Applied(receipt) => wait_for(receipt),
        Committed::Nothing | Committed::Changed => {
            if !entry.command.writes() {
                view.count();
            }
            seen(door, view)
        }
    }
}

/// Does a job. `reply` is empty.
pub async fn run(door: Arc<Door>, job: Job, mut reply: Reply) -> Ended {
    let (mut session, mut asked) = (None, None);
    let result = match job {
        Job::Keys(entry, handler, request, db) => {
            let result = on_keys(&door, entry, handler, &request, db, &mut reply).await;
            asked = Some(request);
            result
        }
        Job::Alone(entry, request, mut own) => {
            let result = Box::pin(alone(&door, entry, &request, &mut own, &mut reply)).await;
            (session, asked) = (Some(own), Some(request));
            result
        }
        Job::Settle(wait) => settle(&door, wait).await.map(|()| Wait::Nothing),
    };
    let (failed, wait) = match result {
        Ok(wait) => (None, wait),
        Err(fail) => {
            reply.truncate(0);
            reply.error(fail.bytes());
            (Some(fail), Wait::Nothing)
        }
    };
    Ended { reply, failed, wait, session, request: asked }
}

async fn alone(
    door: &Door,
    entry: Entry,
    request: &Request,
    session: &mut Session,
    reply: &mut Reply,
) -> Result<Wait, Fail> {
    match entry.command.handler {
        Handler::Alone(handler) => {
            handler(session, door, request, reply).await?;
            reply.complete().map(|()| Wait::Nothing)
        }
        Handler::Exec => exec::exec(session, door, reply).await,
        Handler::Keys(_) | Handler::Session(_) | Handler::Container => {
            Err(Fail::text("ERR this command is not done alone"))
        }
    }
}

async fn on_keys(
    door: &Door,
    entry: Entry,
    handler: OnKeys,
    request: &Request,
    db: u8,
    reply: &mut Reply,
) -> Result<Wait, Fail> {
    let mut view = View::new(door, db);
    for attempt in 0..ATTEMPTS {
        if entry.command.flags.has(Flags::PREFETCH) {
            let keys = entry.command.keys.of(request);
            let values = !entry.command.flags.has(Flags::KEYS_ONLY);
            let looks = view.look_all(keys.iter().map(|at| request.arg(*at)), values);
            Box::pin(looks).await?;
        }
        loop {
            match handler(&mut view, request, reply) {
                Ok(()) => break,
                Err(Halt::Look(place)) => view.look(place).await?,
                Err(Halt::Fail(fail)) => return Err(fail),
            }
            reply.truncate(0);
            view.unstage();
        }
        reply.complete()?;
        match view.commit().await? {
            Committed::Changed => {
                reply.truncate(0);
                view.clear();
                if attempt >= EAGER_ATTEMPTS {
                    tokio::task::yield_now().await;
                }
            }
            committed => return Ok(wait_of(door, entry, committed, view)),
        }
    }
    Err(CONTENDED)
}

/// What an answer about writes must wait for.
pub fn wait_for(receipt: Receipt) -> Wait {
    match receipt.is_promised() && !receipt.is_durable() {
        true => Wait::Written(receipt),
        false => Wait::Nothing,
    }
}

/// What an answer about what was seen must wait for: mostly nothing, and then nothing is kept.
pub fn seen(door: &Door, view: View<'_>) -> Wait {
    let namespace = door.namespace();
    let waits = |sight: &Sight| !sight.is_settled(namespace);
    let sights = view.into_sights().filter(waits).map(Sight::without_record);
    let sights: SmallVec<[Sight; 1]> = sights.collect();
    match sights.is_empty() {
        true => Wait::Nothing,
        false => Wait::Seen(sights),
    }
}

async fn settle(door: &Door, wait: Wait) -> Result<(), Fail> {
    let mut all = SmallVec::<[Wait; 1]>::from_iter([wait]);
    while let Some(wait) = all.pop() {
        match wait {
            Wait::Nothing => {}
            Wait::Written(receipt) => receipt.durable().await?,
            Wait::Seen(sights) => {
                for sight in &sights {
                    sight.settled(door.namespace()).await?;
                }
            }
            Wait::All(more) => all.extend(more),
        }
    }
    Ok(())
}
