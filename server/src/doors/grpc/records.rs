//! Service Records: which method a call is for, and the calls of one message each way. [`scan`] and [`pipeline`] have files of
//! their own.
//!
//! Its messages are read and written by this door itself, not by generated code: see [`framing`] and [`call`](super::call).

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use bytes::Bytes;
use cairn_proto::v1::Code;
use futures::stream;
use http::{Request, Response};
use tonic::{Status, body::Body};

use super::{
    ahead::Gathered,
    batch,
    call::{Call, decode},
    execute::execute,
    framing::{self, Messages, ROOM, framed},
    pipeline,
    receiving::Receiving,
    scan, timeout,
};
use crate::{
    codes::Problem,
    metrics::Kind,
    operations::{Operations, within},
};

/// Service Records of one worker.
#[derive(Clone, Debug)]
pub struct Records {
    operations: Arc<Operations>,
    gathered: Arc<Gathered>,
}

/// A call under way.
pub type Called = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A method of the service.
#[derive(Clone, Copy, Debug)]
pub enum Method {
    /// An operation on one record.
    One(Kind),
    /// Many in one call.
    Batch,
    /// All records.
    Scan,
    /// Many a message, both ways.
    Pipeline,
    /// None of this service.
    Unknown,
}

impl Method {
    /// The method of this name.
    pub fn named(name: &str) -> Self {
        match name {
            "Get" => Self::One(Kind::Get),
            "Put" => Self::One(Kind::Put),
            "Delete" => Self::One(Kind::Delete),
            "Touch" => Self::One(Kind::Touch),
            "Exists" => Self::One(Kind::Exists),
            "Operate" => Self::One(Kind::Operate),
            "Batch" => Self::Batch,
            "Scan" => Self::Scan,
            "Pipeline" => Self::Pipeline,
            _ => Self::Unknown,
        }
    }
}

impl Records {
    /// The service over `operations`.
    pub fn new(operations: Arc<Operations>) -> Self {
        Self { operations, gathered: Arc::default() }
    }

    /// Serves a call of `method`.
    pub fn call(&self, method: Method, request: Request<Receiving>) -> Called {
        match method {
            Method::One(kind) => answered(self.clone().unary(kind, request)),
            Method::Batch => answered(self.clone().batch(request)),
            Method::Scan => Box::pin(self.clone().scan(request)),
            Method::Pipeline => {
                let requests = self.messages(request.into_body());
                let answers = pipeline::pipeline(Arc::clone(&self.operations), requests);
                Box::pin(std::future::ready(framing::answer(answers)))
            }
            Method::Unknown => {
                let problem = Problem::Unsupported("service Records has no such method".into());
                Box::pin(std::future::ready(Status::from(problem).into_http()))
            }
        }
    }

    /// An operation on one record.
    async fn unary(self, kind: Kind, request: Request<Receiving>) -> Result<Bytes, Status> {
        let operations = &self.operations;
        let (head, body) = request.into_parts();
        let message = self.messages(body).only().await?;
        let started = Instant::now();
        let deadline = operations.deadline(started, timeout::requested(&head.headers));
        let call = Call::read(&operations.state, kind, &message);
        // What it was read from may be much larger than what is left of it.
        drop(message);
        if let Ok(call) = &call {
            self.gathered.fetch(call, &operations.state).await;
        }
        let namespace = call.as_ref().ok().map(|call| call.namespace);
        let result = match (call, InFlight::enter(operations)) {
            (Err(problem), _) | (_, Err(problem)) => Err(problem),
            (Ok(call), Ok(_in_flight)) => {
                within(deadline, kind.writes(), execute(operations, call)).await
            }
        };
        let code = result.as_ref().map_or_else(Problem::code, |_| Code::Ok);
        operations.metrics.count(namespace, kind, code, started.elapsed());
        let answer = result?;
        let mut message = Vec::with_capacity(ROOM.len() + answer.len());
        message.extend_from_slice(&ROOM);
        answer.put(&mut message);
        Ok(framed(message))
    }

    async fn batch(self, request: Request<Receiving>) -> Result<Bytes, Status> {
        let (head, body) = request.into_parts();
        let message = self.messages(body).only().await?;
        let timeout = timeout::requested(&head.headers);
        let deadline = self.operations.deadline(Instant::now(), timeout);
        Ok(batch::batch(&self.operations, &message, deadline).await?)
    }

    async fn scan(self, request: Request<Receiving>) -> Response<Body> {
        let scan = async {
            let message = self.messages(request.into_body()).only().await?;
            Ok::<_, Status>(scan::scan(Arc::clone(&self.operations), decode(&message)?)?)
        };
        match scan.await {
            Ok(messages) => framing::answer(messages),
            Err(status) => status.into_http(),
        }
    }

    fn messages(&self, body: Receiving) -> Messages {
        Messages::new(body, self.operations.state.message_bytes)
    }
}

/// A call answered with one message.
fn answered(message: impl Future<Output = Result<Bytes, Status>> + Send + 'static) -> Called {
    Box::pin(async move {
        match message.await {
            Ok(message) => framing::answer(stream::iter([Ok(message)])),
            Err(status) => status.into_http(),
        }
    })
}

/// Counts one unary operation as in flight until it is dropped.
struct InFlight<'a>(&'a Operations);

impl<'a> InFlight<'a> {
    fn enter(operations: &'a Operations) -> Result<Self, Problem> {
        if !operations.has_room() {
            return Err(Problem::Busy);
        }
        operations.metrics.in_flight.fetch_add(1, Relaxed);
        Ok(Self(operations))
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight.fetch_sub(1, Relaxed);
    }
}
