//! The client when connections break, answers do not come, or too much is asked at once.

mod support;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use cairn_sdk::{Client, Code, Key, Op, bins};
use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use support::{Proxy, TestNode, node_and_proxy, put_all, until, writes};

async fn through(proxy: &Proxy) -> Client {
    Client::builder()
        .connections(2)
        .connect(proxy.address())
        .await
        .expect("the proxy takes connections")
}

async fn count(client: &Client, key: &Key) -> i64 {
    let record = client.get(key).await.unwrap();
    record.and_then(|record| record.get("n").and_then(cairn_sdk::Value::as_int)).unwrap_or(0)
}

/// Many tasks share a client, and each gets its own answer: counters add up to exactly what was added.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_a_client() {
    let node = TestNode::start();
    let client = node.client().await;
    let tasks = (0..64).map(|task| {
        let client = client.clone();
        tokio::spawn(async move {
            for round in 0..100 {
                let key = Key::new("test", "counters", (task + round) % 16);
                client.operate(&key, [Op::add("n", 1)]).await.unwrap();
                let own = Key::new("test", "own", task);
                client.put(&own, [("round", round)]).await.unwrap();
                let record = client.get(&own).await.unwrap().unwrap();
                assert_eq!(record.bins, bins! { "round" => round });
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let counters = stream::iter(0..16).map(|n| Key::new("test", "counters", n));
    let sum =
        counters.then(async |key| count(&client, &key).await).fold(0, async |a, b| a + b).await;
    assert_eq!(sum, 6400);
}

/// A write whose answer is lost with the connection is reported in doubt, and not made again behind the user's back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_cut_off_is_in_doubt_and_made_once() {
    let (_node, direct, proxy) = node_and_proxy().await;
    let client = through(&proxy).await;
    let key = Key::new("test", "s", "n");
    until(async || proxy.connections() == 2).await;
    proxy.hold(true);
    let adding = tokio::spawn({
        let (client, key) = (client.clone(), key.clone());
        async move { client.operate(&key, [Op::add("n", 1)]).await }
    });
    until(async || count(&direct, &key).await == 1).await;
    proxy.cut();
    let error = adding.await.unwrap().unwrap_err();
    assert_eq!((error.code, error.in_doubt), (Code::Unavailable, true));
    // Both connections are made anew, and what went over the old ones was not sent again.
    until(async || proxy.connections() == 4).await;
    client.operate(&key, [Op::add("n", 10)]).await.unwrap();
    assert_eq!(count(&client, &key).await, 11);
}

/// A read whose connection breaks is made again: the user sees nothing but a longer wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_survive_a_cut() {
    let (_node, _, proxy) = node_and_proxy().await;
    let client = through(&proxy).await;
    let keys: Vec<_> = (0..200).map(|n| Key::new("test", "s", n)).collect();
    for key in &keys {
        client.put(key, [("n", 1)]).await.unwrap();
    }
    proxy.hold(true);
    let before = proxy.upstream();
    let reading = tokio::spawn({
        let (client, keys) = (client.clone(), keys.clone());
        async move { join_all(keys.iter().map(|key| client.get(key).into_future())).await }
    });
    until(async || proxy.upstream() > before).await;
    proxy.cut();
    for record in reading.await.unwrap() {
        assert_eq!(record.unwrap().unwrap().bins, bins! { "n" => 1 });
    }
}

/// A write that could not be sent is not lost and not in doubt: it goes out when there is a connection again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_wait_for_a_connection() {
    let (_node, direct, proxy) = node_and_proxy().await;
    let client = through(&proxy).await;
    let key = Key::new("test", "s", "n");
    client.operate(&key, [Op::add("n", 1)]).await.unwrap();
    proxy.down(true);
    // The break shows itself to calls in flight first; when a write can no longer be sent, it ends by its deadline, not in doubt.
    until(async || {
        let add = client.operate(&key, [Op::write("x", 1)]).deadline(Duration::from_millis(50));
        add.await.is_err_and(|error| !error.in_doubt)
    })
    .await;
    let waiting = tokio::spawn({
        let (client, key) = (client.clone(), key.clone());
        async move { client.operate(&key, [Op::add("n", 1)]).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(count(&direct, &key).await, 1);
    proxy.down(false);
    waiting.await.unwrap().unwrap();
    assert_eq!(count(&direct, &key).await, 2);
}

/// A call ends by its deadline, says whether a write may have been applied, and leaves the connection in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_are_kept() {
    let (_node, _, proxy) = node_and_proxy().await;
    let client = through(&proxy).await;
    let key = Key::new("test", "s", "n");
    client.put(&key, [("n", 1)]).await.unwrap();
    proxy.hold(true);
    let limit = Duration::from_millis(100);
    let start = Instant::now();
    let put = client.put(&key, [("n", 2)]).deadline(limit).into_future();
    let get = client.get(&key).deadline(limit).into_future();
    let batch = client.batch().put(&key, [("n", 3)]).deadline(limit).send();
    let (put, get, batch) = futures::join!(put, get, batch);
    let took = start.elapsed();
    assert!(took >= limit && took < Duration::from_secs(5), "{took:?}");
    let (put, get, batch) = (put.unwrap_err(), get.unwrap_err(), batch[0].clone().unwrap_err());
    assert_eq!((put.code, put.in_doubt), (Code::Deadline, true));
    assert_eq!((get.code, get.in_doubt), (Code::Deadline, false));
    assert_eq!((batch.code, batch.in_doubt), (Code::Deadline, true));
    // The late answers find nobody, and do not reach the calls that come after.
    proxy.hold(false);
    for n in 10..50 {
        client.put(&key, [("n", n)]).await.unwrap();
        assert_eq!(count(&client, &key).await, n);
    }
}

/// No more calls are on their way than were allowed: the others wait in the program, not on the node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_bounded() {
    let (_node, direct, proxy) = node_and_proxy().await;
    let client =
        Client::builder().connections(2).in_flight(8).connect(proxy.address()).await.unwrap();
    let keys: Vec<_> = (0..100).map(|n| Key::new("test", "s", n)).collect();
    proxy.hold(true);
    let putting = put_all(&client, &keys);
    until(async || writes(&direct).await == 8).await;
    // One more that cannot be admitted ends by its deadline, and surely was not applied.
    let extra =
        client.put(&keys[0], [("n", 2)]).deadline(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!((extra.code, extra.in_doubt), (Code::Deadline, false));
    assert_eq!(writes(&direct).await, 8);
    proxy.hold(false);
    assert!(putting.await.unwrap().into_iter().all(|put| put.is_ok()));
    assert_eq!(writes(&direct).await, 100);
}

/// A scan goes on after a break: every record is returned, and none twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_survive_cuts() {
    let (_node, direct, proxy) = node_and_proxy().await;
    let keys: Vec<_> = (0..20_000i64).map(|n| Key::new("test", "s", n)).collect();
    let load =
        keys.iter().fold(direct.batch(), |batch, key| batch.put(key, [("v", vec![7u8; 200])]));
    assert!(load.send().await.iter().all(Result::is_ok));
    let client = through(&proxy).await;
    let mut scan = client.scan("test").start();
    let mut seen = BTreeSet::new();
    let mut connections = 0;
    while let Some(record) = scan.try_next().await.unwrap() {
        assert!(seen.insert(record.key.unwrap().to_string()), "a record came twice");
        if seen.len() % 5000 == 1 {
            connections = proxy.connections();
            proxy.cut();
        }
    }
    assert_eq!(seen.len(), keys.len());
    until(async || proxy.connections() > connections).await;
}
