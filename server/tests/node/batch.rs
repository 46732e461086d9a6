//! Batch.

use cairn_proto::v1::{
    BatchRequest, Code, DeleteRequest, OperateRequest, Operation, ReadAll, Request, Response,
    operation::Operation as Op, request::Request as Kind, response::Response as Answer,
};

use crate::support::*;

fn failed(response: &Response) -> Code {
    match &response.response {
        Some(Answer::Failure(failure)) => failure.code(),
        other => panic!("no failure: {other:?}"),
    }
}

/// Each request of a batch succeeds or fails on its own, and the answers stand in the order of the requests.
#[tokio::test(flavor = "multi_thread")]
async fn answers_stand_in_order() {
    let node = TestNode::start();
    let mut client = node.records().await;
    let count = 2000;
    let puts = (0..count).map(|i| any(Kind::Put(put(&format!("k{i}"), vec![int("i", i)]))));
    let answer = client.batch(BatchRequest { requests: puts.collect() }).await.unwrap();
    assert_eq!(answer.into_inner().responses.len(), count as usize);
    let mut gets: Vec<_> = (0..count).map(|i| any(Kind::Get(get(&format!("k{i}"))))).collect();
    gets[7] = any(Kind::Get(get("none")));
    gets[8] = Request::default();
    gets[9] = any(Kind::Delete(DeleteRequest { key: key("none"), policy: None }));
    gets[10] = any(Kind::Exists(exists("none")));
    let responses =
        client.batch(BatchRequest { requests: gets }).await.unwrap().into_inner().responses;
    assert_eq!(failed(&responses[7]), Code::NotFound);
    assert_eq!(failed(&responses[8]), Code::Invalid);
    assert_eq!(failed(&responses[9]), Code::NotFound);
    assert!(
        matches!(&responses[10].response, Some(Answer::Exists(answer)) if answer.metadata.is_none())
    );
    for (i, response) in responses.iter().enumerate().skip(11) {
        let Some(Answer::Get(answer)) = &response.response else { panic!("{i}: {response:?}") };
        assert_eq!(answer.record.as_ref().unwrap().bins, [int("i", i as i64)]);
    }
}

/// An answer that would be larger than a message may be gives up reads with a code, and loses no answer of a write.
#[tokio::test(flavor = "multi_thread")]
async fn too_large_an_answer_gives_up_reads_only() {
    let node = TestNode::start();
    let mut client = node.records().await;
    client.put(put("big", vec![text("b", &"x".repeat(900 << 10))])).await.unwrap();
    let mut requests: Vec<_> = (0..10).map(|_| any(Kind::Get(get("big")))).collect();
    requests.push(any(Kind::Put(put("small", vec![int("a", 1)]))));
    let answer = client.batch(BatchRequest { requests }).await.unwrap().into_inner();
    let got = |response: &&Response| matches!(response.response, Some(Answer::Get(_)));
    assert_eq!(answer.responses.iter().filter(got).count(), 4);
    let given_up = answer.responses[..10].iter().filter(|response| !got(response));
    for response in given_up {
        assert_eq!(failed(response), Code::Limit);
    }
    assert!(matches!(answer.responses[10].response, Some(Answer::Put(_))));
}

fn operate(name: &str, steps: Vec<Op>) -> Request {
    let operations = steps.into_iter().map(|step| Operation { operation: Some(step) }).collect();
    any(Kind::Operate(OperateRequest { key: key(name), operations, policy: None }))
}

/// Operates that read large records would make an answer that no client takes, and all of it would be lost: those that do not fit
/// are refused, and one that was refused has changed nothing.
#[tokio::test(flavor = "multi_thread")]
async fn large_operates_are_refused_before_they_write() {
    let node = TestNode::start();
    let mut client = node.records().await;
    client.put(put("big", vec![text("b", &"x".repeat(900 << 10)), int("n", 0)])).await.unwrap();
    let all = Op::ReadAll(ReadAll {});
    let requests: Vec<_> =
        (0..10).map(|_| operate("big", vec![Op::Add(int("n", 1)), all.clone()])).collect();
    let answer = client.batch(BatchRequest { requests }).await.unwrap().into_inner();
    let got = |response: &&Response| matches!(response.response, Some(Answer::Operate(_)));
    let done = answer.responses.iter().filter(got).count();
    assert!((1..=4).contains(&done), "{done}");
    for response in answer.responses.iter().filter(|response| !got(response)) {
        assert_eq!(failed(response), Code::Limit);
    }
    let record = client.get(get("big")).await.unwrap().into_inner().record.unwrap();
    assert!(record.bins.contains(&int("n", done as i64)));

    let requests = (0..10).map(|_| operate("big", vec![all.clone()])).collect();
    let answer = client.batch(BatchRequest { requests }).await.unwrap().into_inner();
    assert_eq!(answer.responses.iter().filter(got).count(), 4);
}

/// Many small operates are all done, whatever large answers they might have had: what is set aside for an answer is given back.
#[tokio::test(flavor = "multi_thread")]
async fn many_small_operates_are_done() {
    let node = TestNode::start();
    let mut client = node.records().await;
    let all = Op::ReadAll(ReadAll {});
    let steps = |i: usize| match i % 2 {
        0 => vec![Op::Add(int("n", 1)), all.clone()],
        _ => vec![all.clone()],
    };
    let requests = (0..1000).map(|i| operate(&format!("k{}", i / 2 * 2), steps(i))).collect();
    let answer = client.batch(BatchRequest { requests }).await.unwrap().into_inner();
    for response in answer.responses.iter().step_by(2) {
        let Some(Answer::Operate(answer)) = &response.response else { panic!("{response:?}") };
        assert_eq!(answer.bins, [int("n", 1)]);
    }
    assert!(answer.responses.iter().all(|response| match &response.response {
        Some(Answer::Failure(failure)) => failure.code() == Code::NotFound,
        _ => true,
    }));
}
