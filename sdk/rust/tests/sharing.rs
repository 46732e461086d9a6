//! What the calls of a client share - connections, windows, room - and that it is given back.

mod support;

use std::time::Duration;

use cairn_sdk::{Client, Code, Key, Op};
use futures::{TryStreamExt, future::join_all};
use support::{TestNode, node_and_proxy, put_all, until, writes};
use tokio::sync::watch;

/// Scans that a program leaves unread hold up nothing but scans: puts, batches and the node's answers about itself go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_scans_hold_up_no_other_calls() {
    let (_node, direct, proxy) = node_and_proxy().await;
    let keys: Vec<_> = (0..1500i64).map(|n| Key::new("test", "s", n)).collect();
    let load =
        keys.iter().fold(direct.batch(), |batch, key| batch.put(key, [("v", vec![7u8; 8192])]));
    assert!(load.send().await.iter().all(Result::is_ok));

    let client = Client::builder().connections(1).connect(proxy.address()).await.unwrap();
    let (go_on, waiting) = watch::channel(false);
    let scans = (0..4).map(|_| {
        let (mut scan, mut waiting) = (client.scan("test").set("s").start(), waiting.clone());
        tokio::spawn(async move {
            let first = scan.try_next().await.unwrap();
            waiting.wait_for(|go_on| *go_on).await.unwrap();
            let rest: Vec<_> = scan.try_collect().await.unwrap();
            usize::from(first.is_some()) + rest.len()
        })
    });
    let scans: Vec<_> = scans.collect();
    // A connection's window is 16 MiB, a stream's 8: the scans have filled it.
    until(async || proxy.downstream() > 16 << 20).await;

    for n in 0..100i64 {
        client.put(&Key::new("test", "other", n), [("n", n)]).await.unwrap();
    }
    let answers = client.batch().get(&keys[0]).get(&keys[1]).send().await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().into_record().is_some()));
    assert!(client.admin().node().await.unwrap().connections > 0);
    // And the scans are whole when they are read after all.
    go_on.send(true).unwrap();
    for records in join_all(scans).await {
        assert_eq!(records.unwrap(), keys.len());
    }
}

/// A client that is dropped leaves no connection behind, whatever it was used for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_client_closes_its_connections() {
    let node = TestNode::start();
    let watcher = Client::builder().connections(1).connect(node.address().to_string()).await;
    let watcher = watcher.unwrap();
    let count = async || watcher.admin().node().await.unwrap().connections;
    until(async || count().await == 2).await;

    let client =
        Client::builder().connections(2).connect(node.address().to_string()).await.unwrap();
    let key = Key::new("test", "s", 1);
    client.put(&key, [("n", 1)]).await.unwrap();
    assert!(client.batch().get(&key).get(&key).send().await.iter().all(Result::is_ok));
    let mut scan = client.scan("test").start();
    assert!(scan.try_next().await.unwrap().is_some());
    // Two lanes, one for the scan, one for the batch.
    until(async || count().await == 6).await;
    drop((scan, client));
    until(async || count().await == 2).await;

    // Also one that is dropped while it still connects.
    for _ in 0..20 {
        drop(Client::connect(node.address().to_string()).await.unwrap());
    }
    until(async || count().await == 2).await;
}

/// Calls that were given up count as long as they are on their way: giving up makes no room for more than was allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_given_up_still_take_room() {
    let (_node, direct, proxy) = node_and_proxy().await;
    let client = Client::builder().in_flight(8).connect(proxy.address()).await.unwrap();
    let keys: Vec<_> = (0..8).map(|n| Key::new("test", "s", n)).collect();
    proxy.hold(true);
    let putting = put_all(&client, &keys);
    until(async || writes(&direct).await == 8).await;
    putting.abort();
    assert!(putting.await.unwrap_err().is_cancelled());
    let more = client.put(&keys[0], [("n", 2)]).deadline(Duration::from_millis(100)).await;
    let error = more.unwrap_err();
    assert_eq!((error.code, error.in_doubt, writes(&direct).await), (Code::Deadline, false, 8));
    // Their answers make room again.
    proxy.hold(false);
    client.put(&keys[0], [("n", 3)]).await.unwrap();
}

/// "As long as it takes" is a fair deadline: the longest duration there is breaks nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_times_are_taken() {
    let node = TestNode::start();
    let client = Client::builder()
        .deadline(Duration::MAX)
        .connect_timeout(Duration::MAX)
        .keep_alive(Duration::MAX)
        .connect(node.address().to_string())
        .await
        .unwrap();
    let key = Key::new("test", "s", 1);
    client.put(&key, [("n", 1)]).await.unwrap();
    client.operate(&key, [Op::add("n", 1)]).deadline(Duration::MAX).await.unwrap();
    let answers = client.batch().get(&key).deadline(Duration::MAX).send().await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(client.admin().node().await.is_ok());
}
