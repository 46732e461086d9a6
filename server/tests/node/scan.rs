//! Scan.

use std::collections::BTreeMap;

use cairn_proto::v1::{
    BatchRequest, Code, Record, ScanRequest, ScanResponse, key::UserKey,
    records_client::RecordsClient, request::Request as Kind,
};
use prost::Message;
use tonic::transport::Channel;

use crate::support::*;

const COUNT: usize = 5000;

async fn filled() -> (TestNode, RecordsClient<Channel>) {
    let node = TestNode::start();
    let mut client = node.records().await;
    for chunk in (0..COUNT).collect::<Vec<_>>().chunks(1000) {
        let put = |i: &usize| {
            any(Kind::Put(put(&format!("k{i}"), vec![int("i", *i as i64), text("t", "x")])))
        };
        let requests = chunk.iter().map(put).collect();
        client.batch(BatchRequest { requests }).await.unwrap();
    }
    (node, client)
}

fn everything() -> ScanRequest {
    ScanRequest { namespace: "test".into(), ..ScanRequest::default() }
}

fn name(record: &Record) -> String {
    match record.key.as_ref().and_then(|key| key.user_key.as_ref()) {
        Some(UserKey::Text(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

/// Reads until the end, or `stop` says that it is enough.
async fn read(
    client: &mut RecordsClient<Channel>,
    request: ScanRequest,
    stop: impl Fn(usize) -> bool,
) -> (BTreeMap<String, Record>, ScanResponse) {
    let mut stream = client.scan(request).await.unwrap().into_inner();
    let (mut all, mut last) = (BTreeMap::new(), ScanResponse::default());
    while let Some(mut message) = stream.message().await.unwrap() {
        for record in message.records.drain(..) {
            let twice = all.insert(name(&record), record);
            assert!(twice.is_none(), "{twice:?} came twice");
        }
        last = message;
        if stop(all.len()) {
            break;
        }
    }
    (all, last)
}

/// A scan returns every record once, with key and bins, and says that it has been through every partition.
#[tokio::test(flavor = "multi_thread")]
async fn every_record_comes_once() {
    let (_node, mut client) = filled().await;
    let (all, last) = read(&mut client, everything(), |_| false).await;
    assert_eq!(all.len(), COUNT);
    assert_eq!(last.partitions_done, 4096);
    assert_eq!(all["k77"].bins, [int("i", 77), text("t", "x")]);
    assert_eq!(all["k77"].key, key("k77"));
}

/// A scan that was broken off goes on behind its last cursor: nothing is missing and nothing comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_resumes() {
    let (_node, mut client) = filled().await;
    let (mut all, mut request) = (BTreeMap::new(), everything());
    loop {
        let (part, last) = read(&mut client, request.clone(), |got| got > 0).await;
        for (name, record) in part {
            assert!(all.insert(name, record).is_none());
        }
        if last.partitions_done == 4096 {
            break;
        }
        request.cursor = last.cursor;
    }
    assert_eq!(all.len(), COUNT);
    let other = ScanRequest { set: Some("set".into()), ..request };
    assert_eq!(code(client.scan(other).await), Code::Invalid);
}

/// Set, bins and partitions narrow a scan down to what was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn scans_are_narrowed() {
    let (_node, mut client) = filled().await;
    let none = ScanRequest { set: Some("none".into()), ..everything() };
    assert_eq!(read(&mut client, none, |_| false).await.0.len(), 0);
    let keys = ScanRequest { no_bins: true, set: Some("set".into()), ..everything() };
    let (all, _) = read(&mut client, keys, |_| false).await;
    assert!(all.len() == COUNT && all.values().all(|record| record.bins.is_empty()));
    let bins = ScanRequest { bins: vec!["t".into()], ..everything() };
    let (all, _) = read(&mut client, bins, |_| false).await;
    assert!(all.values().all(|record| record.bins == [text("t", "x")]));
    let mut parts = 0;
    for start in 0..4u32 {
        let partitions: Vec<_> = (start * 1024..(start + 1) * 1024).rev().collect();
        let request = ScanRequest { partitions, ..everything() };
        let (part, last) = read(&mut client, request, |_| false).await;
        assert_eq!(last.partitions_done, 1024);
        parts += part.len();
    }
    assert_eq!(parts, COUNT);
    let beyond = ScanRequest { partitions: vec![4096], ..everything() };
    assert_eq!(code(client.scan(beyond).await), Code::Invalid);
    let unknown = ScanRequest { namespace: "other".into(), ..ScanRequest::default() };
    assert_eq!(code(client.scan(unknown).await), Code::UnknownNamespace);
}

/// A scan with a rate is no faster than that, and does not hold up its worker: another call on the same connection is answered
/// while it waits.
#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_kept() {
    let (_node, mut client) = filled().await;
    let request = ScanRequest { records_per_second: 1000, ..everything() };
    let started = std::time::Instant::now();
    let mut stream = client.scan(request).await.unwrap().into_inner();
    let mut got = 0;
    while got < 500 {
        got += stream.message().await.unwrap().unwrap().records.len();
        client.get(get("k1")).await.unwrap();
    }
    // The last message is sent before its records are waited for, and one more may be on its way.
    assert!(started.elapsed().as_millis() >= 300, "{got} in {:?}", started.elapsed());
}

/// Large records behind small ones do not make a message that fills memory or that a client refuses: each is about 1 MiB and one
/// record at most, and nothing is left out.
#[tokio::test(flavor = "multi_thread")]
async fn messages_are_bounded_in_bytes() {
    let (_node, mut client) = filled().await;
    for i in 0..60 {
        let large = vec![text("t", &"x".repeat(500 << 10))];
        client.put(put(&format!("large{i}"), large)).await.unwrap();
    }
    let mut stream = client.scan(everything()).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(message) = stream.message().await.unwrap() {
        assert!(message.encoded_len() <= 2 << 20, "{}", message.encoded_len());
        count += message.records.len();
    }
    assert_eq!(count, COUNT + 60);
}
