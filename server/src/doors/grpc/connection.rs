//! From an accepted socket to calls: HTTP/2 with its bounds, and which service a call is for.
//!
//! Service Records is found by the front of the path, without a router; the others go through tonic's. Errors that tonic makes
//! (a message too large, an unknown method) get the same details as ours.

use std::{convert::Infallible, future::Future, pin::pin, sync::Arc, time::Duration};

use cairn_proto::{
    DESCRIPTORS,
    v1::{admin_server::AdminServer, cluster_server::ClusterServer},
};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, time};
use tonic::{Status, body::Body, service::Routes};
use tonic_health::{pb::health_server::HealthServer, server::HealthService};
use tower::Service;

use super::{
    admin::Admin,
    cluster::Cluster,
    lingering::Lingering,
    receiving::Receiving,
    records::{Called, Method, Records},
    status::{CODE_KEY, from_protocol, status},
};
use crate::{
    codes::Problem,
    limits::{CONNECTION_WINDOW, OTHER_CALLS, PENDING_RESETS, SEND_BUFFER, STREAM_WINDOW},
    metrics::Place,
    operations::Operations,
};

const RECORDS: &str = "/cairn.v1.Records/";
/// What every HTTP/2 client sends first.
const PREFACE: usize = 24;

/// The gRPC door of one worker.
#[derive(Clone)]
pub struct Door {
    records: Records,
    others: Routes,
    http2: http2::Builder<TokioExecutor>,
    operations: Arc<Operations>,
}

impl Door {
    /// The door over `operations`.
    pub fn new(
        operations: &Arc<Operations>,
        health: HealthServer<HealthService>,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let bytes = operations.state.message_bytes;
        let records = Records::new(Arc::clone(operations));
        let admin = AdminServer::new(Admin::new(Arc::clone(operations)));
        let cluster = ClusterServer::new(Cluster::new(Arc::clone(operations)));
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let others = Routes::new(admin.max_decoding_message_size(bytes))
            .add_service(cluster.max_decoding_message_size(bytes))
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .prepare();
        Ok(Self { records, others, http2: http2(operations), operations: Arc::clone(operations) })
    }

    /// Serves a connection until its client leaves or the node has stopped.
    pub async fn serve(self, stream: TcpStream) {
        let limits = &self.operations.state.limits;
        let mut stopped = pin!(self.operations.state.stopped());
        tokio::select! {
            biased;
            preface = time::timeout(limits.handshake_timeout, preface(&stream)) => {
                if preface.is_err() {
                    tracing::debug!("a connection did not speak HTTP/2 in time");
                    return;
                }
            }
            // It has asked for nothing.
            () = stopped.as_mut() => return,
        }
        let service = service_fn(|request| self.call(request));
        let connection = self.http2.serve_connection(TokioIo::new(Lingering::new(stream)), service);
        let mut connection = pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = stopped.as_mut() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            // Mostly a client that went without saying so.
            tracing::debug!(%error, "a connection ended");
        }
    }

    fn call(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<> {
        let request = request.map(|body| Receiving::new(body, &self.operations));
        let call: Called = match request.uri().path().strip_prefix(RECORDS).map(Method::named) {
            Some(method) => self.records.call(method, request),
            None => {
                let mut others = self.others.clone();
                let metrics = &self.operations.metrics;
                let place = Place::take(metrics, |metrics| &metrics.other_calls, OTHER_CALLS);
                Box::pin(async move {
                    let Some(_place) = place else { return status(&Problem::Busy).into_http() };
                    let Ok(response) = others.call(request).await;
                    with_details(response)
                })
            }
        };
        async move { Ok(call.await) }
    }
}

/// Gives an error that the protocol made the details that ours have.
fn with_details(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    if !headers.contains_key(Status::GRPC_STATUS) || headers.contains_key(CODE_KEY) {
        return response;
    }
    match Status::from_header_map(headers) {
        Some(status) if status.code() != tonic::Code::Ok => from_protocol(&status).into_http(),
        _ => response,
    }
}

fn http2(operations: &Operations) -> http2::Builder<TokioExecutor> {
    let limits = &operations.state.limits;
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        // No gRPC client looks at the date.
        .auto_date_header(false)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(limits.header_list_size)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    http2
}

/// Waits until the client's preface is there, which is left to be read. One that sends it byte by byte is looked at from time
/// to time: what is there makes the socket readable, so that there is nothing else to wait for.
async fn preface(stream: &TcpStream) {
    let mut seen = [0; PREFACE];
    // On an error or the end of the connection, whoever reads it next is told.
    while let Ok(count @ 1..PREFACE) = stream.peek(&mut seen).await {
        tracing::trace!(count, "part of a preface");
        time::sleep(Duration::from_millis(20)).await;
    }
}
