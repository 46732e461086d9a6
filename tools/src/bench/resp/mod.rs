//! A server that speaks RESP: Cairn's own door, Redis, or another.
//!
//! * `reply`: the protocol. `connection`: one connection. `places`: what is in flight on it. `turn`: the loop of a thread.
//!
//! A record is one string, its key `SET:NUMBER`. Commands are pipelined: each thread has `connections` of its own, and a command goes to the one with the least in
//! flight. As many connections as operations in flight make one command at a time on each; one connection carries all of them at once.

mod connection;
mod places;
mod reply;
mod turn;

use std::{cell::Cell, io::Write, time::Duration};

use super::{
    alarm::Alarm,
    job::Job,
    load, payload,
    store::{How, NewBin, Scanned, Shown, Store, Wrote},
};
use crate::failure::{Doing, Failure, Result};
use connection::{Asked, Connection};
use reply::{Answer, command};

/// The environment variable with the password: the one that `redis-cli` takes.
const PASSWORD: &str = "REDISCLI_AUTH";

/// Runs `work` on this thread with connections of its own.
pub fn on_thread<T>(job: &Job, work: impl AsyncFnOnce(&Server, &Alarm) -> T) -> Result<T> {
    let (server, alarm) = (Server::connect(job)?, Alarm::default());
    turn::run(&server.connections, &alarm, async {
        server.greet(job).await?;
        Ok(work(&server, &alarm).await)
    })?
}

/// Whether the records of a job seem to be there.
pub fn has_records(job: &Job) -> Result<bool> {
    on_thread(job, async |server, _| load::seem_to_be_there(server, job).await)?
        .map_err(Failure::new)
}

/// CPU time that the server has used so far, by its own account.
pub fn server_cpu(job: &Job) -> Result<Duration> {
    let job = Job { connections: 1, ..job.clone() };
    let info = on_thread(&job, async |server, _| {
        server.call(|out| command(out, &[b"INFO", b"cpu"])).await
    })?;
    let Ok(Answer::Value(info)) = info else { return Err(Failure::new("INFO has no answer")) };
    let info = String::from_utf8_lossy(&info);
    let seconds = |name: &str| -> Option<f64> {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
    };
    let both = seconds("used_cpu_user").zip(seconds("used_cpu_sys"));
    let sum = both.and_then(|(user, system)| Duration::try_from_secs_f64(user + system).ok());
    sum.ok_or_else(|| Failure::new("INFO does not tell the CPU time"))
}

/// A server as something to measure.
#[derive(Debug)]
pub struct Server {
    host: String,
    connections: Vec<Connection>,
    /// The connection that is looked at first.
    turn: Cell<usize>,
    /// What stands before the numbers of keys.
    prefix: String,
}

impl Server {
    fn connect(job: &Job) -> Result<Self> {
        let connections: Result<_> =
            (0..job.connections).map(|_| Connection::open(job.host())).collect();
        let prefix = if job.set().is_empty() { String::new() } else { format!("{}:", job.set()) };
        Ok(Self { host: job.host().into(), connections: connections?, turn: Cell::new(0), prefix })
    }

    /// Makes each connection ready: who we are, which database, and whether the server takes commands at all.
    async fn greet(&self, job: &Job) -> Result {
        let password = password(job)?;
        if job.user.is_some() && password.is_none() {
            return Err(Failure::new("a user without a password")
                .next(format!("a password is taken from {PASSWORD} or --password-file")));
        }
        for connection in &self.connections {
            if let Some((password, from)) = &password {
                let user = job.user.as_ref().map(String::as_bytes);
                let parts: Vec<&[u8]> = [Some(&b"AUTH"[..]), user, Some(password.as_bytes())]
                    .into_iter()
                    .flatten()
                    .collect();
                let next = format!("the password is that of {from}");
                let asked = connection.ask(|out| command(out, &parts));
                self.accept(asked, next).await?;
            }
            let db = job.db.to_string();
            let select: [&[u8]; 2] = [b"SELECT", db.as_bytes()];
            let first: &[&[u8]] = if job.db == 0 { &[b"PING"] } else { &select };
            let next = format!(
                "a password is taken from {PASSWORD} or --password-file, the database from --db"
            );
            self.accept(connection.ask(|out| command(out, first)), next).await?;
        }
        Ok(())
    }

    /// A greeting; where the server refuses it, `next` is what may help.
    async fn accept(&self, asked: Asked<'_>, next: String) -> Result {
        match asked.await.map_err(|why| Failure::new(why).during(&self.host))? {
            Answer::Error(words) => Err(Failure::new(words).during(&self.host).next(next)),
            _ => Ok(()),
        }
    }

    /// Asks on the connection with the least in flight; of those with as little, on the next in turn.
    fn ask(&self, write: impl FnOnce(&mut Vec<u8>)) -> Asked<'_> {
        let count = self.connections.len();
        let turn = self.turn.get();
        let order = (turn..count).chain(0..turn);
        let least = order.min_by_key(|at| self.connections[*at].in_flight()).unwrap_or_default();
        self.turn.set((least + 1) % count);
        self.connections[least].ask(write)
    }

    async fn call(&self, write: impl FnOnce(&mut Vec<u8>)) -> Result<Answer, String> {
        match self.ask(write).await {
            Ok(Answer::Error(words)) => Err(words),
            Ok(answer) => Ok(answer),
            Err(why) => Err(format!("{}: {why}", self.host)),
        }
    }

    fn key(&self, number: u64) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.prefix.len() + 20);
        write!(key, "{}{number}", self.prefix).expect("a vector takes everything");
        key
    }
}

impl Store for Server {
    async fn read<R>(
        &self,
        key: u64,
        look: impl FnOnce(Option<Shown<'_>>) -> R,
    ) -> Result<R, String> {
        match self.call(|out| command(out, &[b"GET", &self.key(key)])).await? {
            Answer::Value(value) => {
                // A string has no generation: how it is written says what that means for a read-modify-write.
                Ok(look(Some(Shown { bins: &[(payload::BIN, &value)], generation: 0 })))
            }
            Answer::Nothing => Ok(look(None)),
            answer => Err(unexpected("GET", &answer)),
        }
    }

    async fn write(&self, key: u64, bins: Vec<NewBin>, _: How) -> Result<Wrote, String> {
        let [(_, value)] = &bins[..] else { return Err("a string is one value".into()) };
        match self.call(|out| command(out, &[b"SET", &self.key(key), value])).await? {
            Answer::Status(status) if status == "OK" => Ok(Wrote::Done),
            answer => Err(unexpected("SET", &answer)),
        }
    }

    async fn delete(&self, key: u64) -> Result<(), String> {
        match self.call(|out| command(out, &[b"DEL", &self.key(key)])).await? {
            Answer::Integer(_) => Ok(()),
            answer => Err(unexpected("DEL", &answer)),
        }
    }

    async fn scan(&self, _: u16, _: usize) -> Result<Scanned, String> {
        Err("RESP has no scan of records".into())
    }
}

fn unexpected(name: &str, answer: &Answer) -> String {
    match answer {
        Answer::Value(value) => {
            format!("{name} was answered with a string of {} bytes", value.len())
        }
        other => format!("{name} was answered with {other:?}"),
    }
}

/// The password, if there is one, and where it came from.
fn password(job: &Job) -> Result<Option<(String, String)>> {
    let Some(file) = &job.password_file else {
        return Ok(std::env::var(PASSWORD).ok().map(|password| (password, PASSWORD.into())));
    };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).doing(format_args!("reading {name}"))?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Some((line.to_owned(), name)))
}
