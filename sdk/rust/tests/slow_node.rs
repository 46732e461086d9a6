//! A batch on a node whose devices are slow for some keys only. No real node can be made so, hence a node that only says so.
#![allow(missing_docs)]

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use cairn_proto::v1::{
    BatchRequest, BatchResponse, Code as WireCode, DeleteRequest, DeleteResponse, ExistsRequest,
    ExistsResponse, Failure, GetRequest, GetResponse, Metadata, OperateRequest, OperateResponse,
    PipelineRequest, PipelineResponse, PutRequest, PutResponse, Response as Any, ScanRequest,
    ScanResponse, TouchRequest, TouchResponse,
    records_server::{Records, RecordsServer},
    request::Request as Asked,
    response::Response as Answer,
};
use cairn_sdk::{Client, Code, Key, batch::Answered};
use futures::{Stream, stream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

/// Gives up all requests of a batch but the first, and counts batches.
#[derive(Clone, Default)]
struct SlowNode {
    batches: Arc<AtomicUsize>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn absent<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("no test calls this"))
}

#[tonic::async_trait]
impl Records for SlowNode {
    type ScanStream = Answers<ScanResponse>;
    type PipelineStream = Answers<PipelineResponse>;

    async fn batch(
        &self,
        request: Request<BatchRequest>,
    ) -> Result<Response<BatchResponse>, Status> {
        self.batches.fetch_add(1, SeqCst);
        let answers =
            request.into_inner().requests.into_iter().enumerate().map(|(index, asked)| {
                let writes = matches!(asked.request, Some(Asked::Put(_)));
                let done =
                    PutResponse { metadata: Some(Metadata { generation: 1, void_time_ms: 0 }) };
                let slow = Failure {
                    code: WireCode::Deadline.into(),
                    message: "the deadline passed".into(),
                    in_doubt: writes,
                    retryable: true,
                    generation: 0,
                };
                let answer = if index == 0 { Answer::Put(done) } else { Answer::Failure(slow) };
                Any { response: Some(answer) }
            });
        Ok(Response::new(BatchResponse { responses: answers.collect() }))
    }

    async fn pipeline(
        &self,
        _: Request<Streaming<PipelineRequest>>,
    ) -> Result<Response<Self::PipelineStream>, Status> {
        Ok(Response::new(Box::pin(stream::pending())))
    }

    async fn get(&self, _: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        absent()
    }

    async fn put(&self, _: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        absent()
    }

    async fn delete(&self, _: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        absent()
    }

    async fn touch(&self, _: Request<TouchRequest>) -> Result<Response<TouchResponse>, Status> {
        absent()
    }

    async fn exists(&self, _: Request<ExistsRequest>) -> Result<Response<ExistsResponse>, Status> {
        absent()
    }

    async fn operate(
        &self,
        _: Request<OperateRequest>,
    ) -> Result<Response<OperateResponse>, Status> {
        absent()
    }

    async fn scan(&self, _: Request<ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        absent()
    }
}

/// Requests of a batch that the node gave up at the deadline are told apart from those it carried out, each with its own doubt;
/// and the batch is not sent again behind the user's back, which would carry out the others twice.
#[tokio::test]
async fn single_requests_of_a_batch_time_out() {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let node = SlowNode::default();
    let server = Server::builder().add_service(RecordsServer::new(node.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));

    let client = Client::connect(address.to_string()).await.unwrap();
    let key = |n| Key::new("test", "s", n);
    let batch = client.batch().put(&key(1), [("n", 1)]).get(&key(2)).put(&key(3), [("n", 3)]);
    let answers = batch.send().await;
    assert!(matches!(&answers[0], Ok(Answered::Put(_))), "{answers:?}");
    let doubts: Vec<_> = answers[1..]
        .iter()
        .map(|answer| answer.as_ref().map_err(|error| (error.code, error.in_doubt)).unwrap_err())
        .collect();
    assert_eq!(doubts, [(Code::Deadline, false), (Code::Deadline, true)]);
    assert_eq!(node.batches.load(SeqCst), 1);
}
