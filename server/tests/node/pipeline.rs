//! Pipeline.

use std::collections::HashMap;

use cairn_proto::v1::{
    Bin, Code, List, Map, MapEntry, OperateRequest, Operation, PipelineItem, PipelineRequest,
    PipelineResponse, Response, Value, operation::Operation as Op, request::Request as Kind,
    response::Response as Answer, value,
};
use futures::{StreamExt, channel::mpsc, stream};
use tonic::Streaming;

use crate::support::*;

async fn run(node: &TestNode, messages: Vec<Vec<PipelineItem>>) -> HashMap<u64, Response> {
    let mut client = node.records().await;
    let requests = messages.into_iter().map(|items| PipelineRequest { items });
    let answers = client.pipeline(stream::iter(requests)).await.unwrap().into_inner();
    collect(answers).await
}

async fn collect(mut answers: Streaming<PipelineResponse>) -> HashMap<u64, Response> {
    let mut all = HashMap::new();
    while let Some(message) = answers.next().await {
        for answer in message.unwrap().answers {
            let earlier = all.insert(answer.id, answer.response.unwrap());
            assert!(earlier.is_none(), "{} is answered twice", answer.id);
        }
    }
    all
}

/// Every item of every message is answered once, by its id, and a failure is only its own.
#[tokio::test(flavor = "multi_thread")]
async fn every_item_is_answered_once() {
    let node = TestNode::start();
    let item_of = |id: u64| match id % 5 {
        0 => item(id, Kind::Put(put(&format!("k{id}"), vec![int("i", id as i64)]))),
        1 => item(id, Kind::Get(get("none"))),
        2 => item(id, Kind::Exists(exists("none"))),
        3 => PipelineItem { id, ..PipelineItem::default() },
        _ => item(id, Kind::Put(put("", vec![int("i", 1)]))),
    };
    let messages = (0..50u64).map(|m| (m * 100..(m + 1) * 100).map(item_of).collect()).collect();
    let answers = run(&node, messages).await;
    assert_eq!(answers.len(), 5000);
    for (id, response) in answers {
        let response = response.response.unwrap();
        match id % 5 {
            0 => assert!(matches!(response, Answer::Put(_)), "{id}: {response:?}"),
            1 => assert!(matches!(response, Answer::Failure(f) if f.code() == Code::NotFound)),
            2 => assert!(matches!(response, Answer::Exists(e) if e.metadata.is_none())),
            _ => assert!(matches!(response, Answer::Failure(f) if f.code() == Code::Invalid)),
        }
    }
}

/// A client that sends much and reads nothing meets back-pressure, no loss: all is answered once it reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_loses_nothing() {
    let node = TestNode::start();
    let mut client = node.records().await;
    client.put(put("k", vec![text("b", &"x".repeat(100))])).await.unwrap();
    let (mut send, receive) = mpsc::channel(1);
    let answers = client.pipeline(receive).await.unwrap().into_inner();
    let (messages, each) = (3000u64, 100u64);
    let sender = tokio::spawn(async move {
        for message in 0..messages {
            let items = (message * each..(message + 1) * each)
                .map(|id| item(id, Kind::Get(get("k"))))
                .collect();
            futures::future::poll_fn(|context| send.poll_ready(context)).await.unwrap();
            send.start_send(PipelineRequest { items }).unwrap();
        }
    });
    // 300 000 requests and their answers fit no window and no bound on what is held: while nothing is read the sender must be
    // held up, and the node serves others.
    for _ in 0..100 {
        node.records().await.get(get("k")).await.unwrap();
    }
    assert!(!sender.is_finished());
    assert_eq!(collect(answers).await.len() as u64, messages * each);
    sender.await.unwrap();
}

/// The longest deadline that can be said is taken as it is.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_deadline_is_taken() {
    let node = TestNode::start();
    let put = item(1, Kind::Put(put("a", vec![int("i", 1)])));
    let answers = run(&node, vec![vec![PipelineItem { deadline_ms: u32::MAX, ..put }]]).await;
    assert!(matches!(answers[&1].response, Some(Answer::Put(_))));
}

fn nested(depth: usize, list: bool) -> Value {
    (0..depth).fold(value(value::Kind::Int(1)).unwrap(), |inner, _| {
        let kind = if list {
            value::Kind::List(List { values: vec![inner] })
        } else {
            let key = value(value::Kind::Int(1));
            value::Kind::Map(Map { entries: vec![MapEntry { key, value: Some(inner) }] })
        };
        Value { kind: Some(kind) }
    })
}

/// The deepest value that may be written can be written and read through the call whose messages nest most, and one level more
/// is refused by the rule, not by the protocol.
#[tokio::test(flavor = "multi_thread")]
async fn the_deepest_values_pass_everywhere() {
    let node = TestNode::start();
    for list in [true, false] {
        let bin = |depth| Bin { name: "deep".into(), value: Some(nested(depth, list)) };
        let write = |id, depth| {
            let operations = vec![
                Operation { operation: Some(Op::Write(bin(depth))) },
                Operation { operation: Some(Op::ReadAll(Default::default())) },
            ];
            item(id, Kind::Operate(OperateRequest { key: key("k"), operations, policy: None }))
        };
        let answers = run(&node, vec![vec![write(1, 30)], vec![write(2, 31)]]).await;
        let Some(Answer::Operate(answer)) = &answers[&1].response else { panic!("{answers:?}") };
        assert_eq!(answer.bins, [bin(30)]);
        assert!(
            matches!(&answers[&2].response, Some(Answer::Failure(f)) if f.code() == Code::Invalid)
        );
    }
}

/// Operates that read large records would fill memory when all of a message ran at once: they run as far as there is room, each is
/// answered all the same, those whose id comes twice too, and no message holds more than a client takes.
#[tokio::test(flavor = "multi_thread")]
async fn large_operates_are_run_as_there_is_room() {
    let node = TestNode::start();
    let mut client = node.records().await;
    client.put(put("big", vec![text("b", &"x".repeat(900 << 10))])).await.unwrap();
    let all = |times| vec![Operation { operation: Some(Op::ReadAll(Default::default())) }; times];
    let item_of = |id: u64| {
        let operations = all(if id.is_multiple_of(40) { 30 } else { 1 });
        item(id / 2, Kind::Operate(OperateRequest { key: key("big"), operations, policy: None }))
    };
    let message = PipelineRequest { items: (0..80).map(item_of).collect() };
    let mut answers = client.pipeline(stream::iter([message])).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(message) = answers.next().await {
        let message = message.unwrap();
        assert!(message.answers.len() == 1, "{} large answers in one", message.answers.len());
        for answer in message.answers {
            let Some(Answer::Operate(answer)) = answer.response.unwrap().response else { panic!() };
            assert!(matches!(answer.bins.len(), 1 | 30));
            count += 1;
        }
    }
    assert_eq!(count, 80);
}
