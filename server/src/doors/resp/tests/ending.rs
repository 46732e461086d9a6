//! A node that stops: connections that come meanwhile.

use std::{sync::Arc, time::Duration};

use cairn_engine::model::Durability;
use tokio::{io::AsyncReadExt, time::timeout};

use super::{
    super::serve::{Arrival, look_after, serve},
    rig::Rig,
    turns::sockets,
};

/// A connection that was accepted before the stop and is taken up behind it is told by nobody: it must see by itself that it is too late, or
/// the stop waits for a silent client as long as it may wait at all.
#[tokio::test]
async fn who_comes_while_the_node_stops_is_sent_away() {
    const LONG: Duration = Duration::from_secs(30);
    let rig = Rig::new(Durability::Buffer, 1).await;
    let (mut early, served_early) = sockets().await;
    let served_early = Arrival::New(served_early.into_std().unwrap());
    let served_early = tokio::spawn(serve(served_early, Arc::clone(&rig.door)));
    tokio::task::yield_now().await;
    rig.door.state.stop();
    timeout(LONG, look_after(Arc::clone(&rig.door))).await.unwrap();
    let (mut late, served_late) = sockets().await;
    let served_late = Arrival::New(served_late.into_std().unwrap());
    timeout(LONG, serve(served_late, Arc::clone(&rig.door))).await.unwrap();
    timeout(LONG, served_early).await.unwrap().unwrap();
    for client in [&mut early, &mut late] {
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
    assert!(rig.door.shared.clients.is_empty());
}
