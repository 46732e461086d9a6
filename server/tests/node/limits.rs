//! Every bound refuses what is beyond it, and the node keeps serving.

use std::time::Duration;

use cairn_proto::v1::{
    BatchRequest, Code, GetNodeRequest, GetRequest, OperateRequest, Operation, PipelineRequest,
    PutResponse, Request as AnyRequest, ScanRequest, admin_client::AdminClient,
    operation::Operation as Op, request::Request as Kind,
};
use futures::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Request, transport::Channel};

use crate::support::*;

async fn still_serves(node: &TestNode) {
    let mut client = node.records().await;
    client.put(put("alive", vec![int("a", 1)])).await.unwrap();
    client.get(get("alive")).await.unwrap();
}

/// A message larger than allowed is refused with the code of a limit, in a unary call and in a pipeline.
#[tokio::test(flavor = "multi_thread")]
async fn messages_are_bounded() {
    let node = TestNode::start();
    let mut client = node.records().await;
    let large = || put("k", vec![text("b", &"x".repeat(5 << 20))]);
    assert_eq!(code(client.put(large()).await), Code::Limit);
    let message = PipelineRequest { items: vec![item(1, Kind::Put(large()))] };
    let mut answers = client.pipeline(stream::iter([message])).await.unwrap().into_inner();
    assert_eq!(code(answers.next().await.unwrap()), Code::Limit);
    still_serves(&node).await;
}

/// A message that says it has 1 GiB is refused from its first five bytes: nothing is allocated for it, nothing waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_huge_length_is_refused_at_once() {
    let node = TestNode::start();
    let front = [&[0u8][..], &(1u32 << 30).to_be_bytes(), b"x"].concat();
    let status = raw(&node, "Put", &[], front).await;
    assert_eq!(code::<PutResponse>(Err(status)), Code::Limit);
    still_serves(&node).await;
}

/// Bytes that are not the message they should be are the client's mistake, and said to be.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused() {
    let node = TestNode::start();
    let status = raw(&node, "Put", &[], framed(b"\xff\xff\xff")).await;
    assert_eq!(code::<PutResponse>(Err(status)), Code::Invalid);
    still_serves(&node).await;
}

/// Counts are bounded: requests of a batch, items of a pipeline message, operations on a record.
#[tokio::test(flavor = "multi_thread")]
async fn counts_are_bounded() {
    let node = TestNode::start();
    let mut client = node.records().await;
    let requests = vec![AnyRequest::default(); 5001];
    assert_eq!(code(client.batch(BatchRequest { requests }).await), Code::Limit);
    let requests = vec![AnyRequest::default(); 5000];
    client.batch(BatchRequest { requests }).await.unwrap();

    let items = (0..1025).map(|id| item(id, Kind::Get(get("k")))).collect();
    let message = PipelineRequest { items };
    let mut answers = client.pipeline(stream::iter([message])).await.unwrap().into_inner();
    assert_eq!(code(answers.next().await.unwrap()), Code::Limit);

    let operations = vec![Operation { operation: Some(Op::Add(int("n", 1))) }; 4097];
    let request = OperateRequest { key: key("k"), operations, policy: None };
    assert_eq!(code(client.operate(request).await), Code::Limit);
    still_serves(&node).await;
}

/// Values nested too deep are refused, whether the rule sees them or the decoder does.
#[tokio::test(flavor = "multi_thread")]
async fn nesting_is_bounded() {
    use cairn_proto::v1::{Bin, List, value::Kind};
    let node = TestNode::start();
    let mut client = node.records().await;
    for depth in [31, 60, 5000] {
        let deep = (0..depth).fold(value(Kind::Int(1)), |inner, _| {
            value(Kind::List(List { values: inner.into_iter().collect() }))
        });
        let bins = vec![Bin { name: "deep".into(), value: deep }];
        assert_eq!(code(client.put(put("k", bins)).await), Code::Invalid, "{depth}");
    }
    still_serves(&node).await;
}

/// Headers are bounded.
#[tokio::test(flavor = "multi_thread")]
async fn headers_are_bounded() {
    let node = TestNode::start();
    let mut client = node.records().await;
    let mut request = Request::new(get("k"));
    request.metadata_mut().insert("x-large", "x".repeat(20 << 10).parse().unwrap());
    assert!(client.get(request).await.is_err());
    still_serves(&node).await;
}

/// More connections than allowed are closed at once, those there already go on, and a place that is free again is given.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded() {
    let node = TestNode::with(|config| config.limits.connections = 1);
    let mut client = node.records().await;
    client.put(put("k", vec![int("a", 1)])).await.unwrap();
    let mut second = TcpStream::connect(node.addresses().grpc).await.unwrap();
    assert_eq!(second.read(&mut [0; 1]).await.unwrap_or(0), 0);
    client.get(get("k")).await.unwrap();
    drop(client);
    // The place is free once the node has seen the connection go; until then new ones are refused.
    loop {
        let uri = format!("http://{}", node.addresses().grpc);
        let Ok(channel) = Channel::from_shared(uri).unwrap().connect().await else { continue };
        let mut client = cairn_proto::v1::records_client::RecordsClient::new(channel);
        if client.get(get("k")).await.is_ok() {
            break;
        }
    }
}

/// A connection that says nothing, or only half of what a client says first, does not stay.
#[tokio::test(flavor = "multi_thread")]
async fn silence_is_bounded() {
    let node = TestNode::with(|config| {
        config.limits.handshake_timeout = Duration::from_millis(200);
    });
    for start in ["", "PRI * HTTP"] {
        let mut silent = TcpStream::connect(node.addresses().grpc).await.unwrap();
        silent.write_all(start.as_bytes()).await.unwrap();
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
    still_serves(&node).await;
}

/// A worker with as many operations in flight as it may refuses unary calls in a way that is safe to retry; a pipeline goes on
/// one by one.
#[tokio::test(flavor = "multi_thread")]
async fn operations_in_flight_are_bounded() {
    let node = TestNode::with(|config| config.limits.worker_in_flight = 0);
    let mut client = node.records().await;
    let status = client.put(put("k", vec![int("a", 1)])).await.unwrap_err();
    let failure = failure(&status);
    assert_eq!(failure.code(), Code::Overloaded);
    assert!(failure.retryable && !failure.in_doubt);
    let item = |id| item(id, Kind::Put(put(&format!("k{id}"), vec![int("a", 1)])));
    let message = PipelineRequest { items: (0..100).map(item).collect() };
    let mut answers = client.pipeline(stream::iter([message])).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(message) = answers.next().await {
        count += message.unwrap().answers.len();
    }
    assert_eq!(count, 100);
}

/// A small message of very many empty requests would fill memory while it is decoded: it is refused before that, in a batch and
/// in a pipeline.
#[tokio::test(flavor = "multi_thread")]
async fn entries_are_counted_before_decoding() {
    let node = TestNode::start();
    let status = raw(&node, "Batch", &[], framed(&[0x0a, 0].repeat(2 << 20))).await;
    assert_eq!(code::<PutResponse>(Err(status)), Code::Limit);
    let mut client = node.records().await;
    let message = PipelineRequest { items: vec![Default::default(); 1 << 20] };
    let mut answers = client.pipeline(stream::iter([message])).await.unwrap().into_inner();
    assert_eq!(code(answers.next().await.unwrap()), Code::Limit);
    let status = raw(&node, "Batch", &[], framed(b"\xff\xff\xff")).await;
    assert_eq!(code::<PutResponse>(Err(status)), Code::Invalid);
    still_serves(&node).await;
}

/// Names of bins are as many and as long as a record's may be: more would make a read of one record take any time and memory.
#[tokio::test(flavor = "multi_thread")]
async fn named_bins_are_bounded() {
    let node = TestNode::start();
    let mut client = node.records().await;
    let bins = (0..40).map(|i| int(&format!("b{i}"), i)).collect();
    client.put(put("k", bins)).await.unwrap();
    let named = |bins: Vec<String>| GetRequest { bins, ..get("k") };
    for bad in [vec!["b".into(); 32_768], vec!["b".repeat(64)], vec![String::new()]] {
        let scan =
            ScanRequest { namespace: "test".into(), bins: bad.clone(), ..ScanRequest::default() };
        assert_eq!(code(client.get(named(bad)).await), Code::Invalid);
        assert_eq!(code(client.scan(scan).await), Code::Invalid);
    }
    for count in [1, 16, 17, 30] {
        let names = (0..count).map(|i| format!("b{}", i + 20)).collect();
        let record = client.get(named(names)).await.unwrap().into_inner().record.unwrap();
        assert_eq!(record.bins.len(), count.min(20));
    }
}

/// Scans each hold messages, so that a worker serves only so many: one more is refused in a way that is safe to retry, and the
/// place of one that was given up is free again.
#[tokio::test(flavor = "multi_thread")]
async fn scans_are_bounded() {
    let node = TestNode::with(|config| config.node.workers = 1);
    let mut client = node.records().await;
    for i in 0..100 {
        client.put(put(&format!("k{i}"), vec![int("a", 1)])).await.unwrap();
    }
    // At one record a second they are all under way until they are dropped.
    let slow =
        || ScanRequest { namespace: "test".into(), records_per_second: 1, ..Default::default() };
    let mut scans = Vec::new();
    for _ in 0..256 {
        scans.push(client.scan(slow()).await.unwrap());
    }
    let refused = failure(&client.scan(slow()).await.unwrap_err());
    assert_eq!(refused.code(), Code::Overloaded);
    assert!(refused.retryable && !refused.in_doubt);
    still_serves(&node).await;
    drop(scans.pop());
    // Its place is free once the node has seen it go.
    while client.scan(slow()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// Clients that send the greater part of a message and stop cannot fill memory: what a worker holds for all of them is bounded, and
/// who goes beyond is refused in a way that is safe to retry.
#[tokio::test(flavor = "multi_thread")]
async fn half_messages_are_bounded() {
    let node = TestNode::with(|config| {
        config.node.workers = 1;
        config.limits.worker_receiving = 100_000;
    });
    let part = [&[0u8][..], &90_000u32.to_be_bytes(), &[0; 60_000]].concat();
    // Which of the two comes first does not matter: they do not fit together.
    let (one, other) = (half(&node, "Put", part.clone()), half(&node, "Put", part.clone()));
    let status = tokio::select! { status = one => status, status = other => status };
    let refused = failure(&status);
    assert_eq!(refused.code(), Code::Overloaded);
    assert!(refused.retryable && !refused.in_doubt);
    // With them their bytes are gone: one that is whole, and large, is read and found to be nonsense.
    let whole = [&part[..], &[0; 30_000]].concat();
    while code::<PutResponse>(Err(raw(&node, "Put", &[], whole.clone()).await)) != Code::Invalid {
        tokio::task::yield_now().await;
    }
    still_serves(&node).await;
}

/// A call that does not end behind its message is answered all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_an_end_is_answered() {
    let node = TestNode::start();
    let status = half(&node, "Put", framed(&[0xff])).await;
    assert_eq!(failure(&status).code(), Code::Invalid);
}

/// A message whose end does not come is given up, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_message_is_given_up() {
    let node = TestNode::with(|config| config.limits.request_timeout = Duration::from_millis(100));
    let part = [&[0u8][..], &9000u32.to_be_bytes(), &[0; 600]].concat();
    for method in ["Put", "Batch", "Pipeline"] {
        let status = half(&node, method, part.clone()).await;
        let late = failure(&status);
        assert_eq!(late.code(), Code::Deadline, "{method}");
        assert!(!late.in_doubt);
    }
}

/// Very many small calls at once on one connection, of which each brings small frames, are all answered, and the connection stays:
/// the protocol's guards against floods are not for clients that only have much to do.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_share_a_connection() {
    let node = TestNode::with(|config| config.node.workers = 1);
    let client = node.records().await;
    client.clone().put(put("k", vec![int("a", 1)])).await.unwrap();
    let calls = (0..10_000).map(|_| {
        let mut client = client.clone();
        async move {
            for _ in 0..3 {
                client.get(get("k")).await.unwrap();
            }
        }
    });
    futures::future::join_all(calls).await;
    let messages = (0..100u64).map(|message| {
        let items = (0..100).map(|id| item(message * 100 + id, Kind::Get(get("k")))).collect();
        PipelineRequest { items }
    });
    let streams = (0..10).map(|_| {
        let (mut client, messages) = (client.clone(), messages.clone());
        async move {
            let mut answers = client.pipeline(stream::iter(messages)).await.unwrap().into_inner();
            let mut count = 0;
            while let Some(message) = answers.next().await {
                count += message.unwrap().answers.len();
            }
            assert_eq!(count, 10_000);
        }
    });
    futures::future::join_all(streams).await;
    let about = AdminClient::new(node.channel().await).get_node(GetNodeRequest {}).await.unwrap();
    // This one and the one that all of that went over.
    assert_eq!(about.into_inner().connections, 2);
}
