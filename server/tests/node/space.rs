//! A namespace that fills up: what is refused and what still works, eviction, and what is told of it.

use std::{collections::HashMap, time::Duration};

use cairn_engine::DeviceConfig;
use cairn_proto::v1::{
    Code, DeleteRequest, Durability, ListNamespacesRequest, NamespaceStats, SetConfigRequest, Ttl,
    WritePolicy, admin_client::AdminClient, records_client::RecordsClient, ttl, value::Kind,
};
use cairn_server::Config;
use tonic::{Status, transport::Channel};

use crate::support::*;

/// Bytes of a record's value.
const VALUE: usize = 8 << 10;

/// A device of 128 small blocks.
fn small(config: &mut Config) {
    let engine = &mut config.namespaces[0].engine;
    for device in &mut engine.devices {
        if let DeviceConfig::File { size, .. } = device {
            *size = 16 << 20;
        }
    }
    (engine.write_block_size, engine.flush_size) = (128 << 10, 64 << 10);
    engine.flush_max = Duration::from_millis(20);
    engine.max_used_pct = 50;
}

/// Writes a record that lives for `seconds`, or for ever.
async fn write(
    client: &mut RecordsClient<Channel>,
    name: &str,
    seconds: Option<u64>,
) -> Result<(), Status> {
    let ttl = seconds.map_or(ttl::Kind::Never(true), |seconds| ttl::Kind::Millis(seconds * 1000));
    let policy = WritePolicy {
        ttl: Some(Ttl { kind: Some(ttl) }),
        durability: Durability::Buffer.into(),
        ..WritePolicy::default()
    };
    let bins =
        vec![cairn_proto::v1::Bin { name: "b".into(), value: value(Kind::Bytes(vec![7; VALUE])) }];
    client.put(put_with(name, bins, policy)).await.map(drop)
}

fn delete(name: &str) -> DeleteRequest {
    let policy = WritePolicy { durability: Durability::Buffer.into(), ..WritePolicy::default() };
    DeleteRequest { key: key(name), policy: Some(policy) }
}

/// Writes until a write is refused; how many were taken, and the refusal.
async fn fill(client: &mut RecordsClient<Channel>, prefix: &str) -> (usize, Status) {
    let mut written = 0;
    loop {
        if let Err(refused) = write(client, &format!("{prefix}{written}"), None).await {
            return (written, refused);
        }
        written += 1;
    }
}

async fn set(admin: &mut AdminClient<Channel>, settings: &[(&str, &str)]) {
    let settings: HashMap<_, _> =
        settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    admin.set_config(SetConfigRequest { namespace: "test".into(), settings }).await.unwrap();
}

async fn stats(admin: &mut AdminClient<Channel>) -> NamespaceStats {
    let answer = admin.list_namespaces(ListNamespacesRequest {}).await.unwrap().into_inner();
    answer.namespaces[0].stats.clone().unwrap()
}

/// Asks for the statistics until they are as wanted.
async fn until(
    admin: &mut AdminClient<Channel>,
    wanted: impl Fn(&NamespaceStats) -> bool,
) -> NamespaceStats {
    let asking = async {
        loop {
            let stats = stats(admin).await;
            if wanted(&stats) {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("it comes about")
}

/// A full namespace refuses new records and new values, in a way that is safe to retry and says which setting it is. Reads and deletes go
/// on, more may be allowed at run time, and what deletes free is written again, time after time.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_namespace_refuses_puts_and_takes_deletes() {
    let node = TestNode::with(small);
    let mut records = node.records().await;
    let mut admin = AdminClient::new(node.channel().await);
    let (first, refused) = fill(&mut records, "first").await;
    let failure = failure(&refused);
    assert_eq!((failure.code(), refused.code()), (Code::NoSpace, tonic::Code::ResourceExhausted));
    assert!(failure.retryable && !failure.in_doubt);
    assert!(failure.message.contains("max-used-pct is 50"), "{}", failure.message);
    assert_eq!(code(write(&mut records, "first0", None).await), Code::NoSpace);
    records.get(get("first0")).await.unwrap();

    set(&mut admin, &[("max-used-pct", "80")]).await;
    let (more, _) = fill(&mut records, "more").await;
    assert!(more > first / 2, "{more} more than {first}");
    let (mut there, mut deleted) = (first, 0);
    for round in 0..3 {
        for name in (0..there).map(|n| format!("first{n}")) {
            records.delete(delete(&name)).await.unwrap();
        }
        deleted += there as u64;
        let (again, refused) = fill(&mut records, "first").await;
        assert_eq!(code::<()>(Err(refused)), Code::NoSpace);
        assert!(again.abs_diff(first) <= first / 10, "round {round}: {again}, {first} at first");
        there = again;
    }
    records.get(get("more0")).await.unwrap();

    let stats = stats(&mut admin).await;
    let percent = stats.in_use_bytes * 100 / stats.capacity_bytes;
    assert!((79..=80).contains(&percent), "{percent} per cent in use");
    assert!(stats.refused_full >= 6 && stats.deletes == deleted, "{stats:?}");
    assert!(stats.bytes_written > stats.writes * VALUE as u64, "{stats:?}");
    // What was written last is on its way to the device still.
    let sealed = |stats: &NamespaceStats| stats.blocks_by_fill.iter().sum::<u64>();
    let stats = until(&mut admin, |stats| sealed(stats) > stats.total_blocks / 2).await;
    assert_eq!(stats.blocks_by_fill.len(), 10);
    assert!(sealed(&stats) <= stats.total_blocks, "{stats:?}");
}

/// Eviction that is switched on while the node runs makes room by those records that would have expired first, and by no others.
#[tokio::test(flavor = "multi_thread")]
async fn eviction_is_switched_on_at_run_time() {
    let node = TestNode::with(small);
    let mut records = node.records().await;
    let mut admin = AdminClient::new(node.channel().await);
    let kinds = [("never", None), ("late", Some(30 * 86_400)), ("soon", Some(3600))];
    for (prefix, seconds) in kinds {
        for n in 0..100 {
            write(&mut records, &format!("{prefix}{n}"), seconds).await.unwrap();
        }
    }
    let full = stats(&mut admin).await;
    assert_eq!((full.records, full.evicted), (300, 0));
    let half = full.in_use_bytes * 100 / full.capacity_bytes;

    // Less than the third that expires soon.
    let percent = half * 3 / 4;
    set(&mut admin, &[("evict-used-pct", &percent.to_string())]).await;
    let least = |stats: &NamespaceStats| stats.in_use_bytes * 100 <= stats.capacity_bytes * percent;
    let after = until(&mut admin, |stats| stats.evicted > 0 && least(stats)).await;
    assert!((60..=100).contains(&after.evicted), "{after:?}");
    assert_eq!((after.records, after.expired), (300 - after.evicted, 0));
    for name in
        ["never", "late"].iter().flat_map(|kind| (0..100).map(move |n| format!("{kind}{n}")))
    {
        records.get(get(&name)).await.unwrap();
    }
    set(&mut admin, &[("evict-used-pct", "0")]).await;
    for n in 0..50 {
        write(&mut records, &format!("new{n}"), Some(3600)).await.unwrap();
    }
}

/// What has expired leaves by itself, is counted, and gives its space back.
#[tokio::test(flavor = "multi_thread")]
async fn expired_records_leave() {
    let node = TestNode::with(small);
    let mut records = node.records().await;
    let mut admin = AdminClient::new(node.channel().await);
    for n in 0..100 {
        write(&mut records, &format!("k{n}"), Some(1)).await.unwrap();
    }
    let gone = until(&mut admin, |stats| stats.records == 0).await;
    assert_eq!((gone.expired, gone.in_use_bytes), (100, 0));
}
