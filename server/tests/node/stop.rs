//! Stopping: what was answered is true, what is in flight is answered, and nothing waits for ever.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cairn_proto::v1::{
    Code, PipelineRequest, ScanRequest, request::Request as Kind, response::Response as Answer,
};
use futures::{StreamExt, stream};
use tokio::{net::TcpStream, sync::Notify};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::*;

/// A pipeline that never ends on its own: a node that stops answers every item it read, ends the stream with the code for
/// stopping, and what it acknowledged is there after the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_node_answers_its_pipelines() {
    let mut node = TestNode::start();
    let mut client = node.records().await;
    let requests = stream::iter(0u64..).map(|message| PipelineRequest {
        items: (message * 10..(message + 1) * 10)
            .map(|id| item(id, Kind::Put(put(&format!("k{id}"), vec![int("i", id as i64)]))))
            .collect(),
    });
    let mut answers = client.pipeline(requests).await.unwrap().into_inner();
    let busy = Arc::new(Notify::new());
    let reader = tokio::spawn({
        let busy = Arc::clone(&busy);
        async move {
            let mut done = Vec::new();
            while let Some(message) = answers.next().await {
                let message = match message {
                    Ok(message) => message,
                    Err(status) => return (done, status),
                };
                for answer in message.answers {
                    match answer.response.unwrap().response {
                        Some(Answer::Put(_)) => done.push(answer.id),
                        Some(Answer::Failure(failure)) => {
                            assert_eq!(failure.code(), Code::Stopping);
                            assert!(!failure.in_doubt);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                if done.len() > 100 {
                    busy.notify_one();
                }
            }
            panic!("the stream ended without a status");
        }
    });
    busy.notified().await;
    assert!(node.stop().await);
    let (done, status) = reader.await.unwrap();
    assert_eq!(failure(&status).code(), Code::Stopping);
    node.restart();
    let mut client = node.records().await;
    for id in done {
        client.get(get(&format!("k{id}"))).await.unwrap();
    }
}

/// Unary writes under way when a node stops are answered, and what was acknowledged is there after the next start.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_a_stop() {
    let mut node = TestNode::start();
    let client = node.records().await;
    let first = Arc::new(Notify::new());
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (mut client, first) = (client.clone(), Arc::clone(&first));
            tokio::spawn(async move {
                let mut done = Vec::new();
                for i in 0.. {
                    let name = format!("w{writer}-{i}");
                    if client.put(put(&name, vec![int("i", i)])).await.is_err() {
                        break;
                    }
                    done.push(name);
                    first.notify_one();
                }
                done
            })
        })
        .collect();
    first.notified().await;
    assert!(node.stop().await);
    node.restart();
    let mut client = node.records().await;
    for writer in writers {
        for name in writer.await.unwrap() {
            client.get(get(&name)).await.unwrap();
        }
    }
}

/// A client that never leaves and a scan that is never read do not hold up a stop for longer than its bound.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_bounded() {
    let mut node = TestNode::with(|config| config.limits.stop_timeout = Duration::from_millis(300));
    let mut client = node.records().await;
    let (send, receive) = futures::channel::mpsc::channel::<PipelineRequest>(1);
    let _answers = client.pipeline(receive).await.unwrap();
    let request = ScanRequest { namespace: "test".into(), ..ScanRequest::default() };
    let _scan = client.scan(request).await.unwrap();
    let started = Instant::now();
    node.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(send);
}

/// One who watches the node's health and one who says nothing would hold up every stop for as long as it may take: the first is
/// told that the node no longer serves and its stream ends, the second is closed.
#[tokio::test(flavor = "multi_thread")]
async fn watchers_and_the_silent_do_not_hold_up_a_stop() {
    let mut node = TestNode::with(|config| {
        config.limits.stop_timeout = Duration::from_secs(60);
        config.limits.handshake_timeout = Duration::from_secs(60);
    });
    let mut health = HealthClient::new(node.channel().await);
    let request = HealthCheckRequest { service: "cairn.v1.Records".into() };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    drop(health);
    let _silent = TcpStream::connect(node.addresses().grpc).await.unwrap();
    let started = Instant::now();
    let watching = async {
        let last = watch.message().await.unwrap().unwrap();
        assert_eq!(last.status(), ServingStatus::NotServing);
        assert!(watch.message().await.unwrap().is_none());
        drop(watch);
    };
    let (stopped, ()) = tokio::join!(node.stop(), watching);
    assert!(stopped);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}
