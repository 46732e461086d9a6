//! Every call of the client against a real node.

mod support;

use std::{collections::BTreeSet, time::Duration};

use cairn_sdk::{Client, Code, ExistsPolicy, Key, Op, Ttl, UserKey, Value, batch::Answered, bins};
use futures::TryStreamExt;
use support::TestNode;

/// A user gets back what was put, under every kind of key, and `None` where there is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_come_back_as_they_were_put() {
    let node = TestNode::start();
    let client = node.client().await;
    let map = Value::Map(vec![
        ("k".into(), vec![1u8, 2].into()),
        (3.into(), Value::List(vec![Value::Nil])),
    ]);
    let bins =
        bins! { "text" => "é", "int" => i64::MIN, "double" => 0.1, "yes" => true, "map" => map };
    for key in
        [Key::new("test", "s", "k"), Key::new("test", "", -7), Key::new("test", "s", vec![0u8])]
    {
        assert_eq!(client.get(&key).await.unwrap(), None);
        assert_eq!(client.exists(&key).await.unwrap(), None);
        assert_eq!(client.touch(&key).await.unwrap(), None);
        assert!(!client.delete(&key).await.unwrap());

        let written = client.put(&key, bins.clone()).await.unwrap();
        let record = client.get(&key).await.unwrap().unwrap();
        assert_eq!((record.metadata, &record.bins), (written, &bins));
        let some = client.get_bins(&key, &["int", "none"]).await.unwrap().unwrap();
        assert_eq!(some.bins, [("int".to_string(), Value::Int(i64::MIN))]);
        assert_eq!(client.exists(&key).await.unwrap(), Some(written));
        assert!(client.delete(&key).await.unwrap());
        assert_eq!(client.get(&key).await.unwrap(), None);
    }
}

/// Conditions protect a record: what does not hold is refused with its code, surely not applied, and not retried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_are_kept() {
    let node = TestNode::start();
    let client = node.client().await;
    let key = Key::new("test", "s", "k");
    let missing = client.put(&key, [("a", 1)]).update_only().await.unwrap_err();
    assert_eq!((missing.code, missing.in_doubt), (Code::NotFound, false));
    let first = client.put(&key, [("a", 1)]).create_only().await.unwrap();
    let again = client.put(&key, [("a", 2)]).create_only().await.unwrap_err();
    assert_eq!((again.code, again.in_doubt), (Code::Exists, false));
    client.put(&key, [("b", 2)]).generation(first.generation).await.unwrap();
    let stale = client.put(&key, [("b", 3)]).generation(first.generation).await.unwrap_err();
    assert_eq!((stale.code, stale.generation, stale.in_doubt), (Code::Generation, Some(2), false));
    assert_eq!(client.get(&key).await.unwrap().unwrap().bins, bins! { "a" => 1, "b" => 2 });
    client.put(&key, [("c", 3)]).exists(ExistsPolicy::ReplaceOnly).await.unwrap();
    assert_eq!(client.get(&key).await.unwrap().unwrap().bins, bins! { "c" => 3 });
    client.put(&key, bins! { "c" => Value::Nil, "d" => 4 }).await.unwrap();
    assert_eq!(client.get(&key).await.unwrap().unwrap().bins, bins! { "d" => 4 });
}

/// Lifetimes are given, kept and taken away as asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lifetimes_are_given() {
    let node = TestNode::start();
    let client = node.client().await;
    let key = Key::new("test", "s", "k");
    let hour = client.put(&key, [("a", 1)]).ttl(Duration::from_secs(3600)).await.unwrap();
    let left = hour.expires().unwrap().duration_since(std::time::SystemTime::now()).unwrap();
    assert!(left <= Duration::from_secs(3600) && left > Duration::from_secs(3500));
    let kept = client.put(&key, [("a", 2)]).ttl(Ttl::Keep).await.unwrap();
    assert_eq!(kept.void_time_ms, hour.void_time_ms);
    let never = client.touch(&key).ttl(Ttl::Never).await.unwrap().unwrap();
    assert_eq!((never.expires(), never.generation), (None, 3));
}

/// Several operations are one: all applied in order, or, when one cannot be, none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_are_atomic() {
    let node = TestNode::start();
    let client = node.client().await;
    let key = Key::new("test", "s", "k");
    let ops = [
        Op::add("n", 2),
        Op::append("s", "b"),
        Op::prepend("s", "a"),
        Op::read("n"),
        Op::read_all(),
    ];
    let done = client.operate(&key, ops).await.unwrap();
    assert_eq!((done.get("n"), done.get("s")), (Some(&2.into()), Some(&"ab".into())));
    let failed = client.operate(&key, [Op::add("n", 1), Op::add("s", 1)]).await.unwrap_err();
    assert_eq!((failed.code, failed.in_doubt), (Code::BinType, false));
    assert_eq!(client.get(&key).await.unwrap().unwrap().get("n"), Some(&2.into()));
    let gone = client.operate(&key, [Op::delete()]).await.unwrap();
    assert_eq!(gone.metadata, None);
}

/// A batch answers each request on its own and in order, also when it takes several messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_answer_in_order() {
    let node = TestNode::start();
    let client = node.client().await;
    let keys: Vec<_> = (0..2500).map(|n| Key::new("test", "b", n)).collect();
    let puts =
        keys.iter().zip(0i64..).fold(client.batch(), |batch, (key, n)| batch.put(key, [("n", n)]));
    assert!(puts.send().await.into_iter().all(|answer| matches!(answer, Ok(Answered::Put(_)))));
    let other = Key::new("nowhere", "b", 1);
    let gets = keys.iter().rev().fold(client.batch(), |batch, key| batch.get(key)).get(&other);
    let gets = gets.get(&Key::new("test", "b", "none")).delete(&Key::new("test", "b", "none"));
    let mut answers = gets.send().await;
    assert_eq!(answers.pop().unwrap().unwrap(), Answered::Deleted(false));
    assert_eq!(answers.pop().unwrap().unwrap(), Answered::Record(None));
    assert_eq!(answers.pop().unwrap().unwrap_err().code, Code::UnknownNamespace);
    let values =
        answers.into_iter().map(|answer| answer.unwrap().into_record().unwrap().get("n").cloned());
    assert!(values.eq((0i64..2500).rev().map(|n| Some(n.into()))));
}

async fn scanned(scan: cairn_sdk::scan::ScanBuilder) -> BTreeSet<i64> {
    let records: Vec<_> = scan.start().try_collect().await.unwrap();
    let keys: BTreeSet<_> = records.iter().map(|record| number(&record.key)).collect();
    assert_eq!(keys.len(), records.len(), "a record came twice");
    keys
}

fn number(key: &Option<Key>) -> i64 {
    match key.as_ref().map(Key::user_key) {
        Some(UserKey::Int(number)) => number,
        other => panic!("{other:?}"),
    }
}

/// A scan returns every record of what it was asked for once; parts and cursors divide it without loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_are_complete_and_divisible() {
    let node = TestNode::start();
    let client = node.client().await;
    let keys: Vec<_> =
        (0..3000).map(|n| Key::new("test", if n < 2000 { "a" } else { "b" }, n)).collect();
    keys.iter()
        .fold(client.batch(), |batch, key| batch.put(key, [("x", 1), ("y", 2)]))
        .send()
        .await;
    assert_eq!(scanned(client.scan("test").set("a")).await, (0..2000).collect());
    let low = scanned(client.scan("test").partitions(0..2048)).await;
    let high = scanned(client.scan("test").partitions(2048..4096)).await;
    assert!(low.is_disjoint(&high) && low.len() + high.len() == 3000);

    let mut scan = client.scan("test").bins(["y"]).start();
    let mut seen = BTreeSet::new();
    for _ in 0..1500 {
        let record = scan.try_next().await.unwrap().unwrap();
        assert_eq!(record.bins, bins! { "y" => 2 });
        seen.insert(number(&record.key));
    }
    let rest = scanned(client.scan("test").no_bins().cursor(scan.cursor())).await;
    seen.extend(rest);
    assert_eq!(seen, (0..3000).collect());
    let unknown = client.scan("nowhere").start().try_next().await.unwrap_err();
    assert_eq!(unknown.code, Code::UnknownNamespace);
}

/// The node tells of itself, and a truncation empties what it names and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_is_seen_and_steered() {
    let node = TestNode::start();
    let client = node.client().await;
    for n in 0..10 {
        let set = if n < 4 { "a" } else { "b" };
        client.put(&Key::new("test", set, n), [("n", n)]).await.unwrap();
    }
    let admin = client.admin();
    assert!(admin.node().await.unwrap().workers > 0);
    let namespaces = admin.namespaces().await.unwrap();
    assert_eq!((namespaces[0].name.as_str(), namespaces[0].stats.records), ("test", 10));
    let sets = admin.sets("test").await.unwrap();
    assert!(sets.iter().map(|set| (set.name.as_str(), set.records)).eq([("a", 4), ("b", 6)]));
    assert_eq!(admin.truncate("test", Some("b")).await.unwrap(), 6);
    assert_eq!(scanned(client.scan("test")).await, (0..4).collect());
    admin.set_config("test", [("default-ttl", "1h")]).await.unwrap();
    let written = client.put(&Key::new("test", "a", 0), [("n", 0)]).await.unwrap();
    assert!(written.expires().is_some());
    admin.set_config("test", [("max-used-pct", "80"), ("evict-used-pct", "75")]).await.unwrap();
    let nonsense = admin.set_config("test", [("evict-used-pct", "85")]).await.unwrap_err();
    assert_eq!(nonsense.code, Code::Invalid);
    let told = admin.namespaces().await.unwrap().remove(0);
    assert_eq!((told.max_used_pct, told.evict_used_pct), (80, 75));
    assert!(told.stats.used_pct() > 0.0 && told.stats.used_pct() < 1.0, "{:?}", told.stats);
    assert!(told.stats.write_amplification().is_some_and(|times| times >= 1.0), "{:?}", told.stats);
    assert_eq!(told.stats.blocks_by_fill.len(), 10);
    assert!(!admin.config().await.unwrap().is_empty());
    assert_eq!(admin.sets("nowhere").await.unwrap_err().code, Code::UnknownNamespace);
}

/// A wrong address is told at once, not after every deadline.
#[tokio::test]
async fn connecting_fails_early() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = Client::connect(free.to_string()).await.unwrap_err();
    assert_eq!((refused.code, refused.in_doubt), (Code::Unavailable, false));
    for address in ["", "localhost", "https://localhost:7400", "grpc://x:1"] {
        assert_eq!(Client::connect(address).await.unwrap_err().code, Code::Invalid, "{address}");
    }
}
