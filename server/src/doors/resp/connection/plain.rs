//! Plain commands: a run of them at the front of what was read that each read or replace one string, and need not wait. Their keys are looked up
//! together; what they read is answered from where it lies, what they write goes from where it was received into the write buffer: no request is
//! kept of them, no view and no future.
//!
//! Whatever is more than that, or turns out to be, goes the way of all commands, and so do those behind it.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Context,
    time::Duration,
};

use bytes::{Buf, Bytes};
use cairn_engine::{
    Expected, Found,
    format::ValueRef,
    model::{KeyRef, NEVER},
};
use smallvec::SmallVec;

use super::{
    super::{
        ahead::{AHEAD, Ahead},
        command::{OnString, Plain},
        counters,
        door::Door,
        item::{STRING, string_of},
        parse::{Bounds, Parsed, Spans},
        reply::Reply,
        request::Request,
        run::{Ended, Job},
        table::{self, Entry},
    },
    Connection,
};

/// Where commands that take so long are slow, each is measured by itself: none is plain.
const SLOW: Duration = Duration::from_millis(1);

/// A plain command in what was read.
struct Simple {
    entry: Entry,
    plain: Plain,
    spans: Spans,
    /// Where its bytes begin and end.
    frame: (usize, usize),
    expected: Expected,
}

/// Plain commands one behind the other: all read, or all write, so that none of them sees another.
type Run = SmallVec<[Simple; AHEAD]>;

impl Simple {
    fn key<'a>(&self, set: &'static str, input: &'a [u8]) -> Option<KeyRef<'a>> {
        key_at(set, &input[self.frame.0..], &self.spans)
    }

    /// The argument behind its key.
    fn value<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        argument(&input[self.frame.0..], &self.spans, 2).unwrap_or_default()
    }

    /// The same as a request of its own.
    fn request(&self, input: &[u8]) -> Request {
        Request::new(Bytes::copy_from_slice(&input[self.frame.0..self.frame.1]), self.spans.clone())
    }
}

impl<R, F> Connection<R, F>
where
    R: Fn(Arc<Door>, Job, Reply) -> F,
    F: Future<Output = Ended>,
{
    /// Does the plain commands at the front of what was read; how many there were. Requests that were understood meanwhile and are not done stand
    /// ahead then.
    pub(super) fn do_plain(&mut self, cx: &mut Context<'_>) -> usize {
        let Some(session) = &self.session else { return 0 };
        if !session.is_plain() || self.queue.is_running() || self.door.shared.slow.is_slow(SLOW) {
            return 0;
        }
        let (Ok(set), resp3) = (self.door.set(session.db), session.resp3) else { return 0 };
        let mut run = Run::new();
        let (end, other) = self.run_ahead(set, &mut run);
        if run.len() > 1 {
            run.iter().for_each(|command| self.door.namespace().fetch_entry(command.expected));
        }
        let done = match run.first().map(|command| command.plain) {
            Some(Plain::Read(_)) => self.read_run(set, resp3, &run),
            Some(Plain::Replace) => self.write_run(set, resp3, &run, cx),
            None => 0,
        };
        if let Some(last) = run[..done].last() {
            self.connected.client.command.store(last.entry.number as u16, Relaxed);
            let commands = run[..done].iter().map(|command| command.entry);
            self.queue.count_together(commands, || last.request(&self.input));
        }
        // Those behind one that is not plain are understood already.
        let rest = run[done..].iter().map(|command| Ahead::new(command.request(&self.input)));
        self.ahead.extend(rest);
        self.input.advance(end);
        if let Some((len, spans)) = other {
            let request = Request::new(self.input.split_to(len).freeze(), spans);
            self.ahead.push(Ahead::new(request));
        }
        done
    }

    /// Understands plain commands of one kind. Answers where they end, and what stands there if it was understood and is none.
    fn run_ahead(&mut self, set: &'static str, run: &mut Run) -> (usize, Option<(usize, Spans)>) {
        let namespace = self.door.namespace();
        let request_max = self.door.shared.config.request_max as usize;
        let bounds = Bounds { authenticated: true, request_max };
        let mut end = 0;
        while run.len() < AHEAD && self.input.get(end) == Some(&b'*') {
            let input = &self.input[end..];
            let (len, spans) = match self.parser.parse(input, bounds) {
                Ok(Parsed::Request(len, spans)) => (len, spans),
                Ok(Parsed::Nothing(len)) => {
                    end += len;
                    continue;
                }
                Ok(Parsed::More | Parsed::Inline(..)) => break,
                Err(error) => {
                    self.broken = Some(error);
                    break;
                }
            };
            let same = |kind: &Plain| run.first().is_none_or(|first| first.plain.is_like(*kind));
            let plain = named(input, &spans).filter(|(_, plain)| same(plain));
            let (Some((entry, plain)), Some(key)) = (plain, key_at(set, input, &spans)) else {
                return (end, Some((len, spans)));
            };
            let expected = namespace.expect(key);
            run.push(Simple { entry, plain, spans, frame: (end, end + len), expected });
            end += len;
        }
        (end, None)
    }

    /// Answers reads, up to the first that is not plain after all; how many.
    fn read_run(&mut self, set: &'static str, resp3: bool, run: &Run) -> usize {
        let (door, input) = (&self.door, &self.input[..]);
        let find = |command: &Simple| door.namespace().find(command.expected);
        let found: SmallVec<[Found; AHEAD]> = run.iter().map(find).collect();
        let straight = !self.queue.is_waiting();
        let mut reply = match straight {
            true => Reply::behind(std::mem::take(&mut self.output), resp3),
            false => Reply::new(resp3),
        };
        let (mut done, mut hits) = (0, 0);
        for (command, found) in run.iter().zip(&found) {
            let (Plain::Read(tell), Some(key)) = (command.plain, command.key(set, input)) else {
                break;
            };
            let Some(there) = read(door, key, found, tell, &mut reply) else { break };
            (done, hits) = (done + 1, hits + u64::from(there));
        }
        match straight {
            true => self.output = reply.into_all(),
            false => self.queue.push_ready(reply, &mut self.output),
        }
        counters::add(&self.door.counters.hits, hits);
        counters::add(&self.door.counters.misses, done as u64 - hits);
        done
    }

    /// Replaces strings, up to the first that is not plain after all; how many.
    fn write_run(
        &mut self,
        set: &'static str,
        resp3: bool,
        run: &Run,
        cx: &mut Context<'_>,
    ) -> usize {
        let (namespace, input) = (self.door.namespace(), &self.input[..]);
        let (mut receipt, mut reply, mut done) = (namespace.receipt(), Reply::new(resp3), 0);
        for command in run {
            let Some(key) = command.key(set, input) else { break };
            let bins = [(STRING, ValueRef::Bytes(command.value(input)))];
            let at = (key, command.expected);
            // What fails is tried once more, where all that fails is told of.
            if !namespace.replace_now(at, &bins, NEVER, &mut receipt).unwrap_or(false) {
                break;
            }
            reply.ok();
            done += 1;
        }
        if done > 0 {
            self.queue.push_written(reply, done, receipt, cx, &mut self.output);
        }
        done
    }
}

/// The plain command that a request names, if it does.
fn named(frame: &[u8], spans: &Spans) -> Option<(Entry, Plain)> {
    let entry = table::named(argument(frame, spans, 0)?)?;
    let plain = entry.command.plain?;
    (spans.len() == plain.arguments()).then_some((entry, plain))
}

/// The key of a request on one key.
fn key_at<'a>(set: &'static str, frame: &'a [u8], spans: &Spans) -> Option<KeyRef<'a>> {
    KeyRef::of_bytes(set, argument(frame, spans, 1)?)
}

fn argument<'a>(frame: &'a [u8], spans: &Spans, at: usize) -> Option<&'a [u8]> {
    spans.get(at).map(|(from, to)| &frame[*from as usize..*to as usize])
}

/// Answers a read, if it is plain indeed; whether there was a string.
fn read(
    door: &Door,
    key: KeyRef<'_>,
    found: &Found,
    tell: OnString,
    reply: &mut Reply,
) -> Option<bool> {
    door.namespace().glimpse(key, found, |record| {
        let string = record.map(|record| string_of(record.bins())).transpose().ok()?;
        tell(string, reply);
        Some(string.is_some())
    })
}
