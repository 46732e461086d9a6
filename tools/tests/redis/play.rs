//! Owns a run: every step goes to both servers, reply by reply compared. After a difference both begin anew, empty and with new connections, so
//! that the next difference is one of its own.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    command::Command,
    compare::compare,
    findings::Findings,
    generate::{CONNECTIONS, Generator, Sent, Step},
    link::{Answer, Link},
    server::Server,
    wire::Reply,
};

/// A pair of connections, one to the reference and one to the subject.
struct Session {
    links: [Link; 2],
    /// What an EXEC would run.
    queued: Vec<Command>,
}

/// A run of one seed on two servers.
pub struct Play<'a> {
    servers: [&'a Server; 2],
    sessions: Vec<Session>,
    pub findings: Findings,
}

/// Why a step was left: the difference is in the findings.
struct Differs;

impl<'a> Play<'a> {
    pub fn new(reference: &'a Server, subject: &'a Server, seed: u64) -> Self {
        let servers = [reference, subject];
        let sessions = (0..CONNECTIONS).map(|_| Session::open(servers)).collect();
        Self { servers, sessions, findings: Findings::new(seed) }
    }

    /// Sends at least `commands` commands, or ends when there are `most` differences. With `newer` the subject is also asked what the
    /// reference does not know.
    pub fn run(mut self, commands: usize, most: usize, newer: bool) -> Findings {
        let mut generator = Generator::new(self.findings.seed, newer);
        while self.findings.sent() < commands && self.findings.count() < most {
            let (at, step) = generator.step();
            if self.step(at, step).is_err() {
                self.begin_anew();
                generator.forget();
            }
        }
        self.findings
    }

    fn begin_anew(&mut self) {
        let sessions = (0..CONNECTIONS).map(|_| Session::open(self.servers)).collect();
        for session in std::mem::replace(&mut self.sessions, sessions) {
            // Until the servers have done all they were sent: nothing of it may happen after the emptying.
            for link in session.links {
                let _ = link.rest();
            }
        }
        for link in &mut self.sessions[0].links {
            let emptied = link.send(b"FLUSHALL\r\n", 0).and_then(|()| link.answer());
            emptied.expect("a server that can be emptied");
        }
        self.findings.begin_anew();
    }

    fn step(&mut self, at: usize, step: Step) -> Result<(), Differs> {
        match step {
            Step::Batch { commands, cut } => self.batch(at, &commands, cut),
            Step::Moment { command, key } => {
                self.one(at, command)?;
                self.wait_until_gone(at, &key)
            }
            Step::Scan { options } => self.scan(at, &options),
            Step::Exchange { from, to } => self.exchange(at, &from, &to),
        }
    }

    fn batch(&mut self, at: usize, commands: &[Sent], cut: usize) -> Result<(), Differs> {
        let mut bytes = Vec::new();
        for sent in commands {
            match sent.inline {
                true => sent.command.encode_inline(&mut bytes),
                false => sent.command.encode(&mut bytes),
            }
        }
        for link in &mut self.sessions[at].links {
            // A send that fails shows as an answer that does not come.
            let _ = link.send(&bytes, cut);
        }
        for sent in commands {
            self.findings.sends(at, &sent.command);
            if !sent.silent {
                self.compare_next(at, &sent.command)?;
            }
        }
        Ok(())
    }

    /// Sends one command and compares; what both answered.
    fn one(&mut self, at: usize, command: Command) -> Result<[Reply; 2], Differs> {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        for link in &mut self.sessions[at].links {
            let _ = link.send(&bytes, 0);
        }
        self.findings.sends(at, &command);
        self.compare_next(at, &command)
    }

    fn compare_next(&mut self, at: usize, command: &Command) -> Result<[Reply; 2], Differs> {
        let session = &mut self.sessions[at];
        let answers = session.links.each_mut().map(Link::answer);
        let (expected, found) = match answers {
            [Ok(expected), Ok(found)] => (expected, found),
            broken => {
                let broken = broken.map(|answer| answer.map(|answer| answer.bytes));
                return Err(self.differs(command, "a reply is missing", broken));
            }
        };
        if let Err(difference) = compare(command, &session.queued, &expected, &found) {
            let both = [Ok(expected.bytes), Ok(found.bytes)];
            return Err(self.differs(command, &difference, both));
        }
        self.findings.answered(command, &expected.reply);
        session.remember(command, &expected);
        if command.name() == "QUIT" {
            self.sessions[at] = Session::open(self.servers);
        }
        Ok([expected.reply, found.reply])
    }

    fn differs(
        &mut self,
        command: &Command,
        difference: &str,
        answers: [Result<Vec<u8>, String>; 2],
    ) -> Differs {
        self.findings.add(command, difference, answers);
        Differs
    }

    /// Asks until neither server knows the key, then once more, compared.
    fn wait_until_gone(&mut self, at: usize, key: &[u8]) -> Result<(), Differs> {
        let exists = Command::default().arg("EXISTS").arg(key);
        let mut bytes = Vec::new();
        exists.encode(&mut bytes);
        let deadline = Instant::now() + Duration::from_secs(10);
        for link in &mut self.sessions[at].links {
            while Instant::now() < deadline {
                let gone = link.send(&bytes, 0).and_then(|()| link.answer());
                // A failure shows when the last question is compared; a key that had no life to end stays, on both servers.
                if !gone.is_ok_and(|answer| answer.reply == Reply::Integer(1)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        self.one(at, Command::default().arg("PTTL").arg(key))?;
        // Until it is swept Cairn's DBSIZE counts it: see `rules::AVOIDED`.
        self.one(at, Command::default().arg("SET").arg(key).arg("v"))?;
        self.one(at, Command::default().arg("DEL").arg(key)).map(drop)
    }

    fn scan(&mut self, at: usize, options: &Command) -> Result<(), Differs> {
        let all = Command::default().arg("SCAN").arg("0").args(&options.0);
        self.findings.sends(at, &all);
        let found = self.sessions[at].links.each_mut().map(|link| whole_scan(link, options));
        match found {
            [Ok(expected), Ok(found)] if expected == found => Ok(()),
            [Ok(expected), Ok(found)] => {
                let both = [expected, found].map(|set| Ok(format!("{set:?}").into_bytes()));
                Err(self.differs(&all, "a whole scan finds other keys", both))
            }
            broken => {
                let broken = broken.map(|set| set.map(|set| format!("{set:?}").into_bytes()));
                Err(self.differs(&all, "a scan has no end", broken))
            }
        }
    }

    fn exchange(&mut self, at: usize, from: &[u8], to: &[u8]) -> Result<(), Differs> {
        let [expected, found] = self.one(at, Command::default().arg("DUMP").arg(from))?;
        let (Reply::Bulk(of_reference), Reply::Bulk(of_subject)) = (expected, found) else {
            return Ok(());
        };
        let restore = |payload: &[u8]| {
            Command::default().arg("RESTORE").arg(to).arg("0").arg(payload).arg("REPLACE")
        };
        let each = [restore(&of_subject), restore(&of_reference)];
        for (link, command) in self.sessions[at].links.iter_mut().zip(&each) {
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            let _ = link.send(&bytes, 0);
        }
        self.findings.sends(at, &each[0]);
        self.compare_next(at, &each[0])?;
        self.one(at, Command::default().arg("GET").arg(to)).map(drop)
    }
}

impl Session {
    fn open(servers: [&Server; 2]) -> Self {
        Self { links: servers.map(Server::link), queued: Vec::new() }
    }

    /// Keeps what an EXEC will run, as the reference sees it.
    fn remember(&mut self, command: &Command, answer: &Answer) {
        match command.name().as_str() {
            "EXEC" | "DISCARD" | "RESET" | "QUIT" => self.queued.clear(),
            _ if answer.reply == Reply::Simple(b"QUEUED".to_vec()) => {
                self.queued.push(command.clone());
            }
            _ => {}
        }
    }
}

fn whole_scan(link: &mut Link, options: &Command) -> Result<BTreeSet<Vec<u8>>, String> {
    let mut found = BTreeSet::new();
    let mut cursor = b"0".to_vec();
    for _ in 0..10_000 {
        let mut bytes = Vec::new();
        Command::default().arg("SCAN").arg(&cursor).args(&options.0).encode(&mut bytes);
        link.send(&bytes, 0)?;
        let answer = link.answer()?.reply;
        let [next, keys] = answer.members() else { return Err(format!("{answer:?}")) };
        found.extend(keys.members().iter().map(|key| key.bytes().to_vec()));
        cursor = next.bytes().to_vec();
        if cursor == b"0" {
            return Ok(found);
        }
    }
    Err("10,000 calls and not at the end".into())
}
