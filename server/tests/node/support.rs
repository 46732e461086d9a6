//! A node on a temporary file, and short ways to say keys, values and requests.

use std::convert::Infallible;

use bytes::Bytes;
use cairn_engine::DeviceConfig;
use cairn_proto::v1::{
    self, Bin, Code, Failure, Key, Value, WritePolicy, key::UserKey, records_client::RecordsClient,
    request, value::Kind,
};
use cairn_server::{Addresses, Config, Node, Options};
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::{Status, transport::Channel};

/// A node, and the directory its data is in.
pub struct TestNode {
    node: Option<Node>,
    dir: TempDir,
    change: fn(&mut Config),
}

impl TestNode {
    /// A node with namespace `test`.
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// A node whose configuration `change` has changed.
    pub fn with(change: fn(&mut Config)) -> Self {
        let dir = TempDir::new().unwrap();
        let node = Some(start(&dir, change));
        Self { node, dir, change }
    }

    /// Stops the node; whether it stopped cleanly.
    pub async fn stop(&mut self) -> bool {
        let node = self.node.take().unwrap();
        tokio::task::spawn_blocking(|| node.stop().is_ok()).await.unwrap()
    }

    /// Starts it again on the same data, after a stop.
    pub fn restart(&mut self) {
        assert!(self.node.is_none());
        self.node = Some(start(&self.dir, self.change));
    }

    pub fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    pub fn addresses(&self) -> &Addresses {
        self.node().addresses()
    }

    /// A new connection to it.
    pub async fn channel(&self) -> Channel {
        let uri = format!("http://{}", self.addresses().grpc);
        Channel::from_shared(uri).unwrap().connect().await.unwrap()
    }

    /// A client for records on a new connection.
    pub async fn records(&self) -> RecordsClient<Channel> {
        RecordsClient::new(self.channel().await).max_decoding_message_size(64 << 20)
    }
}

/// The configuration of a test node in `dir`: small, on ports that the operating system chooses.
pub fn config(dir: &TempDir) -> Config {
    let mut config = Config::dev(dir.path());
    config.node.grpc_port = 0;
    config.node.http_port = 0;
    config.resp.port = Some(0);
    config.node.workers = 2;
    for device in &mut config.namespaces[0].engine.devices {
        if let DeviceConfig::File { size, .. } = device {
            *size = 256 << 20;
        }
    }
    config
}

fn start(dir: &TempDir, change: fn(&mut Config)) -> Node {
    let mut config = config(dir);
    change(&mut config);
    Node::start(config, Options::default()).unwrap()
}

pub fn key(text: &str) -> Option<Key> {
    let user_key = Some(UserKey::Text(text.into()));
    Some(Key { namespace: "test".into(), set: "set".into(), user_key })
}

pub fn value(kind: Kind) -> Option<Value> {
    Some(Value { kind: Some(kind) })
}

pub fn int(name: &str, value: i64) -> Bin {
    Bin { name: name.into(), value: self::value(Kind::Int(value)) }
}

pub fn text(name: &str, value: &str) -> Bin {
    Bin { name: name.into(), value: self::value(Kind::String(value.into())) }
}

pub fn put(name: &str, bins: Vec<Bin>) -> v1::PutRequest {
    v1::PutRequest { key: key(name), bins, policy: None }
}

pub fn put_with(name: &str, bins: Vec<Bin>, policy: WritePolicy) -> v1::PutRequest {
    v1::PutRequest { policy: Some(policy), ..put(name, bins) }
}

pub fn get(name: &str) -> v1::GetRequest {
    v1::GetRequest { key: key(name), ..v1::GetRequest::default() }
}

pub fn exists(name: &str) -> v1::ExistsRequest {
    v1::ExistsRequest { key: key(name), policy: None }
}

/// A request of a batch or a pipeline.
pub fn any(request: request::Request) -> v1::Request {
    v1::Request { request: Some(request) }
}

pub fn item(id: u64, request: request::Request) -> v1::PipelineItem {
    v1::PipelineItem { id, request: Some(any(request)), deadline_ms: 0 }
}

/// Calls `method` of service Records with a body and headers as they are, past everything that a gRPC client would do to them,
/// and answers the status it failed with.
pub async fn raw(node: &TestNode, method: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Status {
    call(node, method, headers, Full::<Bytes>::from(body)).await
}

/// The same with a body that goes on behind these bytes, but nothing of it comes.
pub async fn half(node: &TestNode, method: &str, body: Vec<u8>) -> Status {
    let start = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(body)))]);
    call(node, method, &[], StreamBody::new(start.chain(stream::pending()))).await
}

async fn call<B>(node: &TestNode, method: &str, headers: &[(&str, &str)], body: B) -> Status
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = TcpStream::connect(node.addresses().grpc).await.unwrap();
    let io = TokioIo::new(stream);
    let connection = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
    let (mut sender, connection) = connection.unwrap();
    let connection = AbortOnDrop(tokio::spawn(connection));
    let uri = format!("http://{}/cairn.v1.Records/{method}", node.addresses().grpc);
    let mut request = http::Request::post(uri).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    // A stream's status comes behind its messages.
    let status = match Status::from_header_map(&head.headers) {
        Some(status) => Some(status),
        None => body.collect().await.unwrap().trailers().and_then(Status::from_header_map),
    };
    drop(connection);
    status.expect("the call failed")
}

/// Ends a task together with what it is for.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A message with its five bytes in front.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&[0u8][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// The Failure in a status's details, which every failed call must have.
pub fn failure(status: &Status) -> Failure {
    let any = rich(status).details.remove(0);
    assert_eq!(any.type_url, "type.googleapis.com/cairn.v1.Failure");
    Failure::decode(&*any.value).unwrap()
}

/// The code of a failed call.
pub fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    Code::try_from(failure(&result.unwrap_err()).code).unwrap()
}

fn rich(status: &Status) -> Rich {
    assert!(!status.details().is_empty(), "no details: {status:?}");
    Rich::decode(status.details()).unwrap()
}

#[derive(Clone, PartialEq, Message)]
struct Rich {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}
