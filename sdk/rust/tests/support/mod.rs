//! What the tests share: a real node in this process, and a proxy that can hold answers back and cut connections.
#![allow(dead_code, missing_docs)]

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use cairn_sdk::{Client, Error, Key, Metadata};
use cairn_server::{Config, Node, Options};
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinHandle,
};

/// A node on a small file of its own.
pub struct TestNode {
    pub node: Node,
    _folder: tempfile::TempDir,
}

impl TestNode {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the node");
        let file = folder.path().join("test.dat");
        let text = format!(
            "[node]\ngrpc-port = 0\nhttp-port = 0\n[resp]\nport = 0\n[[namespace]]\nname = \"test\"\n\
             [namespace.storage]\nfiles = [{{ path = {file:?}, size = \"256MiB\" }}]\n"
        );
        let config = Config::parse(&text).expect("the configuration is sound");
        let node = Node::start(config, Options::default()).expect("the node starts");
        Self { node, _folder: folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.node.addresses().grpc
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address().to_string()).await.expect("the node takes connections")
    }
}

/// A node, a client of it, and a proxy to it for a client that meets trouble.
pub async fn node_and_proxy() -> (TestNode, Client, Proxy) {
    let node = TestNode::start();
    let (direct, proxy) = (node.client().await, Proxy::start(node.address()).await);
    (node, direct, proxy)
}

/// Puts all these keys at once, in a task of its own.
pub fn put_all(client: &Client, keys: &[Key]) -> JoinHandle<Vec<Result<Metadata, Error>>> {
    let (client, keys) = (client.clone(), keys.to_vec());
    tokio::spawn(async move {
        join_all(keys.iter().map(|key| client.put(key, [("n", 1)]).into_future())).await
    })
}

/// How many writes the node has applied.
pub async fn writes(client: &Client) -> u64 {
    client.admin().namespaces().await.expect("the node answers")[0].stats.writes
}

/// Stands between a client and a node.
pub struct Proxy {
    address: SocketAddr,
    control: watch::Sender<Control>,
    upstream: Arc<AtomicU64>,
    downstream: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Control {
    /// The node's answers stay in the proxy.
    hold: bool,
    /// Connections are cut, and new ones too.
    down: bool,
    /// Raised to cut the connections there are.
    cuts: u64,
}

impl Proxy {
    pub async fn start(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (control, watched) = watch::channel(Control::default());
        let (upstream, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let downstream = Arc::new(AtomicU64::new(0));
        let (bytes, count) = ([upstream.clone(), downstream.clone()], connections.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if watched.borrow().down {
                    continue;
                }
                count.fetch_add(1, SeqCst);
                tokio::spawn(forward(client, node, watched.clone(), bytes.clone()));
            }
        });
        Self { address, control, upstream, downstream, connections }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Keeps the node's answers back, or lets them go.
    pub fn hold(&self, hold: bool) {
        self.control.send_modify(|control| control.hold = hold);
    }

    /// Cuts all connections; new ones are taken.
    pub fn cut(&self) {
        self.control.send_modify(|control| {
            control.cuts += 1;
            control.hold = false;
        });
    }

    /// Cuts all connections and takes no new ones, or takes them again.
    pub fn down(&self, down: bool) {
        self.control.send_modify(|control| {
            control.cuts += u64::from(down);
            control.down = down;
        });
    }

    /// Bytes that clients sent to the node so far.
    pub fn upstream(&self) -> u64 {
        self.upstream.load(SeqCst)
    }

    /// Bytes that clients got from the node so far.
    pub fn downstream(&self) -> u64 {
        self.downstream.load(SeqCst)
    }

    /// Connections made so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(SeqCst)
    }
}

async fn forward(
    client: TcpStream,
    node: SocketAddr,
    mut control: watch::Receiver<Control>,
    [sent, got]: [Arc<AtomicU64>; 2],
) {
    let cuts = control.borrow().cuts;
    let Ok(node) = TcpStream::connect(node).await else { return };
    let (client_read, client_write) = client.into_split();
    let (node_read, node_write) = node.into_split();
    let answers = control.clone();
    tokio::select! {
        _ = control.wait_for(|control| control.cuts > cuts) => {}
        () = up(client_read, node_write, sent) => {}
        () = down(node_read, client_write, answers, cuts, got) => {}
    }
}

async fn up(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, bytes: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(got @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..got]).await.is_err() {
            return;
        }
        bytes.fetch_add(got as u64, SeqCst);
    }
}

async fn down(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut control: watch::Receiver<Control>,
    cuts: u64,
    bytes: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(got @ 1..) = from.read(&mut buffer).await {
        let go = control.wait_for(|control| !control.hold || control.cuts > cuts).await;
        // An answer that was held back must not slip through with the cut.
        if go.map_or(true, |control| control.cuts > cuts) {
            return;
        }
        if to.write_all(&buffer[..got]).await.is_err() {
            return;
        }
        bytes.fetch_add(got as u64, SeqCst);
    }
}

/// Waits until something is true; a test that waits for ever fails by its own time limit.
pub async fn until<F: Future<Output = bool>>(mut check: impl FnMut() -> F) {
    let wait = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it became true in time");
}
