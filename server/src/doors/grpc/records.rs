//! Service Records: the unary calls; the others are handed to [`batch`], [`scan`] and [`pipeline`].

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use cairn_proto::v1::{self, Code, records_server};
use futures::Stream;
use hyper::body::Incoming;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    metadata::MetadataMap,
    server::{Grpc, StreamingService, UnaryService},
};

use super::{batch, counted::Counted, execute, pipeline, scan, status::status, timeout};
use crate::{
    codes::Problem,
    metrics::Kind,
    operations::{Operations, within},
};

/// Service Records of one worker.
#[derive(Clone, Debug)]
pub struct Records {
    operations: Arc<Operations>,
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

impl Records {
    /// The service over `operations`.
    pub fn new(operations: Arc<Operations>) -> Self {
        Self { operations }
    }

    async fn unary<T>(
        &self,
        kind: Kind,
        metadata: &MetadataMap,
        call: impl Future<Output = Result<T, Problem>>,
    ) -> Result<Response<T>, Status> {
        let started = Instant::now();
        let timeout = timeout::requested(metadata).unwrap_or_else(|| self.default_timeout());
        let deadline = started.checked_add(timeout).unwrap_or(started + self.default_timeout());
        let result = match InFlight::enter(&self.operations) {
            Ok(_in_flight) => within(deadline, kind.writes(), call).await,
            Err(problem) => Err(problem),
        };
        let code = result.as_ref().map_or_else(Problem::code, |_| Code::Ok);
        self.operations.metrics.count(kind, code, started.elapsed());
        result.map(Response::new).map_err(|problem| status(&problem))
    }

    /// Serves a batch, whose requests are counted before they are decoded.
    pub fn call_batch(&self, request: http::Request<Incoming>) -> Called<http::Response<Body>> {
        let state = &self.operations.state;
        let codec = Counted::new("too many requests in a batch", state.limits.batch_requests);
        let grpc = Grpc::new(codec);
        let mut grpc = grpc.apply_max_message_size_config(Some(state.message_bytes), None);
        let call = BatchCall(self.clone());
        Box::pin(async move { grpc.unary(call, request).await })
    }

    /// Serves a pipeline, whose items are counted before they are decoded.
    pub fn call_pipeline(&self, request: http::Request<Incoming>) -> Called<http::Response<Body>> {
        let state = &self.operations.state;
        let codec = Counted::new("too many items in a message", state.limits.pipeline_items);
        let grpc = Grpc::new(codec);
        let mut grpc = grpc.apply_max_message_size_config(Some(state.message_bytes), None);
        let call = PipelineCall(self.clone());
        Box::pin(async move { grpc.streaming(call, request).await })
    }

    fn default_timeout(&self) -> Duration {
        self.operations.state.limits.request_timeout
    }
}

/// A call under way.
pub type Called<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct BatchCall(Records);

impl UnaryService<v1::BatchRequest> for BatchCall {
    type Response = v1::BatchResponse;
    type Future = Called<Result<Response<v1::BatchResponse>, Status>>;

    fn call(&mut self, request: Request<v1::BatchRequest>) -> Self::Future {
        let records = self.0.clone();
        Box::pin(async move { records_server::Records::batch(&records, request).await })
    }
}

struct PipelineCall(Records);

impl StreamingService<v1::PipelineRequest> for PipelineCall {
    type Response = v1::PipelineResponse;
    type ResponseStream = Answers<v1::PipelineResponse>;
    type Future = Called<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<v1::PipelineRequest>>) -> Self::Future {
        let records = self.0.clone();
        Box::pin(async move { records_server::Records::pipeline(&records, request).await })
    }
}

/// The answers of a streaming call.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl records_server::Records for Records {
    type ScanStream = Answers<v1::ScanResponse>;
    type PipelineStream = Answers<v1::PipelineResponse>;

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::GetResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.unary(Kind::Get, &metadata, execute::get(&self.operations, request)).await
    }

    async fn put(
        &self,
        request: Request<v1::PutRequest>,
    ) -> Result<Response<v1::PutResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.unary(Kind::Put, &metadata, execute::put(&self.operations, request)).await
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.unary(Kind::Delete, &metadata, execute::delete(&self.operations, request)).await
    }

    async fn touch(
        &self,
        request: Request<v1::TouchRequest>,
    ) -> Result<Response<v1::TouchResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.unary(Kind::Touch, &metadata, execute::touch(&self.operations, request)).await
    }

    async fn exists(
        &self,
        request: Request<v1::ExistsRequest>,
    ) -> Result<Response<v1::ExistsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.unary(Kind::Exists, &metadata, execute::exists(&self.operations, request)).await
    }

    async fn operate(
        &self,
        request: Request<v1::OperateRequest>,
    ) -> Result<Response<v1::OperateResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.unary(Kind::Operate, &metadata, execute::operate(&self.operations, request)).await
    }

    async fn batch(
        &self,
        request: Request<v1::BatchRequest>,
    ) -> Result<Response<v1::BatchResponse>, Status> {
        let deadline = self.operations.deadline(timeout::requested(request.metadata()));
        let requests = request.into_inner().requests;
        let responses = batch::batch(&self.operations, requests, deadline).await?;
        Ok(Response::new(v1::BatchResponse { responses }))
    }

    async fn scan(
        &self,
        request: Request<v1::ScanRequest>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let answers = scan::scan(Arc::clone(&self.operations), request.into_inner())?;
        Ok(Response::new(Box::pin(answers)))
    }

    async fn pipeline(
        &self,
        request: Request<Streaming<v1::PipelineRequest>>,
    ) -> Result<Response<Self::PipelineStream>, Status> {
        let answers = pipeline::pipeline(Arc::clone(&self.operations), request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }
}
