//! From what was read to a command that has begun: understood, admitted, started or queued by MULTI.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Context,
};

use bytes::Bytes;

use super::{
    super::{
        ahead::{self, AHEAD, Ahead, Known},
        command::{Flags, Handler},
        door::Door,
        fail::Fail,
        parse::{Bounds, Parsed},
        queue::Turn,
        reply::Reply,
        request::Request,
        run::{Ended, Job},
        session::Session,
        table::{self, Entry},
    },
    Connection,
};

impl<R, F> Connection<R, F>
where
    R: Fn(Arc<Door>, Job, Reply) -> F,
    F: Future<Output = Ended>,
{
    /// Takes the next commands from what was read; how many there were.
    pub(super) fn take(&mut self, cx: &mut Context<'_>) -> usize {
        if self.ahead.is_empty() && self.broken.is_none() {
            let done = self.do_plain(cx);
            if done == 0 || !self.ahead.is_empty() {
                self.understand();
            }
            if done > 0 {
                return done;
            }
        }
        let Some(Ahead { request, named, known }) = self.ahead.pop() else {
            if let (Some(error), Some(session)) = (self.broken, &mut self.session) {
                session.closing = true;
                self.hang_up();
                self.fail(None, &Fail::new(format!("ERR {error}")));
            }
            return 0;
        };
        match self.admit(named, &request) {
            Ok(Some(entry)) => self.start(entry, request, known, cx),
            Ok(None) => {}
            Err((entry, fail)) => self.fail(entry, &fail),
        }
        1
    }

    /// Takes requests from what was read: several at once, so that what they will read is on its way to the CPU meanwhile. Whoever is
    /// not authenticated is understood one request at a time: the next one may be allowed more.
    fn understand(&mut self) {
        let Some(session) = &self.session else { return };
        let authenticated = session.authenticated;
        let request_max = self.door.shared.config.request_max as usize;
        let most = if authenticated { AHEAD } else { 1 };
        while self.broken.is_none() && self.ahead.len() < most {
            let request =
                match self.parser.parse(&self.input, Bounds { authenticated, request_max }) {
                    Ok(Parsed::More) => break,
                    Ok(Parsed::Nothing(len)) => {
                        let _ = self.input.split_to(len);
                        continue;
                    }
                    Ok(Parsed::Request(len, spans)) => {
                        Request::new(self.input.split_to(len).freeze(), spans)
                    }
                    Ok(Parsed::Inline(len, bytes, spans)) => {
                        let _ = self.input.split_to(len);
                        Request::new(Bytes::from(bytes), spans)
                    }
                    Err(error) => {
                        self.broken = Some(error);
                        break;
                    }
                };
            self.ahead.push(Ahead::new(request));
        }
        if self.ahead.len() > 1 {
            ahead::fetch(&self.door, session.db, &mut self.ahead);
        }
        self.ahead.reverse();
    }

    /// The command a request is, if it is to be done now; `None` when it was queued.
    fn admit(
        &mut self,
        named: Option<Entry>,
        request: &Request,
    ) -> Result<Option<Entry>, (Option<Entry>, Fail)> {
        let Some(session) = &mut self.session else { return Ok(None) };
        let found = table::find(named, request);
        let allowed = match &found {
            Ok(entry) => session.may(*entry),
            Err(fail) => Err(fail.clone()),
        };
        if let Err(fail) = allowed {
            let named = found.ok().or(named);
            if named.is_some_and(|entry| matches!(entry.command.handler, Handler::Exec)) {
                session.leave_multi();
                session.unwatch();
                return Err((named, Fail::exec_aborted(&fail)));
            }
            session.refuse();
            if named.is_none() && (request.is(0, "POST") || request.is(0, "HOST:")) {
                // A web page that has a browser talk to us: it learns nothing, and what follows is not looked at.
                session.closing = true;
                self.hang_up();
                (self.output, self.sent) = (Vec::new(), 0);
                return Ok(None);
            }
            return Err((named, fail));
        }
        let Ok(entry) = found else { return Ok(None) };
        session.client.command.store(entry.number as u16, Relaxed);
        let flags = entry.command.flags;
        if session.multi.is_none() || flags.has(Flags::NOT_QUEUED) {
            return Ok(Some(entry));
        }
        if flags.has(Flags::NO_MULTI) {
            session.refuse();
            let fail = Fail::text("ERR Command not allowed inside a transaction");
            return Err((Some(entry), fail));
        }
        let most = self.door.shared.config.request_max as usize;
        if let Err(fail) = session.queue(entry, request, most) {
            session.refuse();
            return Err((Some(entry), fail));
        }
        self.answer(|_, reply| reply.simple("QUEUED"));
        Ok(None)
    }

    /// Begins a command, or has it wait for those before it.
    pub(super) fn start(
        &mut self,
        entry: Entry,
        request: Request,
        known: Option<Known>,
        cx: &mut Context<'_>,
    ) {
        let Some(session) = &mut self.session else { return };
        match entry.command.handler {
            Handler::Session(handler) => {
                let mut reply = Reply::new(session.resp3);
                let done = handler(session, &self.door, &request, &mut reply);
                let done = done.and_then(|()| reply.complete());
                if let Err(fail) = &done {
                    reply.truncate(0);
                    reply.error(fail.bytes());
                    self.door.counters.error(fail);
                }
                let turn = Turn { entry, wanted: true, began: self.queue.now };
                self.queue.count(&turn, Some(&request), done.is_err());
                if session.answered() {
                    self.queue.push_ready(reply, &mut self.output);
                }
            }
            _ if self.queue.conflicts(entry, &request) => {
                self.stalled = Some((entry, request));
            }
            Handler::Keys(handler) => {
                let (db, resp3, wanted) = (session.db, session.resp3, session.answered());
                let turn = Turn { entry, wanted, began: self.queue.now };
                let job = Job::Keys(entry, handler, request, db);
                self.queue.start(turn, job, known, resp3, cx, &mut self.output);
            }
            Handler::Alone(_) | Handler::Exec => {
                let (resp3, wanted) = (session.resp3, session.answered());
                let turn = Turn { entry, wanted, began: self.queue.now };
                if let Some(session) = self.session.take() {
                    let job = Job::Alone(entry, request, session);
                    self.queue.start(turn, job, None, resp3, cx, &mut self.output);
                    self.session = self.queue.session();
                }
            }
            Handler::Container => {}
        }
    }

    /// Answers a command that was refused.
    pub(super) fn fail(&mut self, entry: Option<Entry>, fail: &Fail) {
        self.door.counters.error(fail);
        if let Some(entry) = entry {
            self.door.counters.rejected(entry.number);
        }
        self.answer(|_, reply| reply.error(fail.bytes()));
    }

    fn answer(&mut self, write: impl FnOnce(&mut Session, &mut Reply)) {
        let Some(session) = &mut self.session else { return };
        let mut reply = Reply::new(session.resp3);
        write(session, &mut reply);
        if session.answered() {
            self.queue.push_ready(reply, &mut self.output);
        }
    }
}
