//! A door without a node: its namespace lies on a simulated device and has no threads, so that nothing becomes durable unless the test
//! drives it. Of one thread; its futures need a runtime of tokio only for the tasks that commands spawn.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use cairn_engine::{
    Namespace, NamespaceConfig, OpenOptions,
    device::{
        Device, IoChoice, IoEngine,
        sim::{CrashPolicy, SimDevice},
    },
    model::Durability,
};

use super::super::{
    clients::{Client, Connected},
    command::Handler,
    connection::{AtRest, Connection},
    door::Door,
    parse::{Bounds, Parsed, Parser},
    reply::Reply,
    request::Request,
    run::{Ended, Job, run},
    session::Session,
    table,
};
use crate::{
    config::Config,
    state::{Served, State},
};

/// Rounds in which nothing that waits may still be waiting.
const ROUNDS: usize = 10_000;

pub struct Rig {
    pub device: Arc<SimDevice>,
    pub door: Arc<Door>,
}

/// A command that has begun.
pub type Running = Pin<Box<dyn Future<Output = Ended>>>;

impl Rig {
    /// A door on an empty device; `seed` decides what its faults leave.
    pub async fn new(durability: Durability, seed: u64) -> Self {
        Self::on(Arc::new(SimDevice::new("sim0", 64 << 20, 512, seed)), durability).await
    }

    async fn on(device: Arc<SimDevice>, durability: Durability) -> Self {
        let mut config = Config::dev(std::path::Path::new("sim"));
        config.resp.port = Some(0);
        let mut settings = NamespaceConfig::new("test", vec![]);
        settings.devices = config.namespaces[0].engine.devices.clone();
        settings.durability = durability;
        let io = IoEngine::choose(IoChoice::Pool).unwrap();
        let devices = vec![Arc::clone(&device) as Arc<dyn Device>];
        let engine =
            Namespace::open_driven(&settings, &OpenOptions::new(io.clone()), devices).unwrap();
        let served = Served {
            name: "test".into(),
            engine,
            truncating: Arc::default(),
            weaker_per_request: false,
        };
        let state = Arc::new(State::new(config, io, vec![served], 1));
        let door = Arc::new(Door::new(&state, 0).unwrap());
        door.shared.load(door.namespace()).await.unwrap();
        Self { device, door }
    }

    /// The door that comes up after the power was lost now.
    pub async fn after_crash(&self, policy: CrashPolicy) -> Self {
        let durability = self.door.namespace().config().durability;
        Self::on(Arc::new(self.device.crash_image(policy)), durability).await
    }

    /// A client whose connection does not matter.
    pub fn client(&self) -> Connected {
        let nowhere = ([127, 0, 0, 1], 0).into();
        let number = self.door.shared.clients.number();
        self.door.shared.clients.add(Client::new(number, (nowhere, nowhere), -1, 0))
    }

    /// A connection on this socket, on which commands of several keys take this long at least.
    pub fn connection(
        &self,
        stream: tokio::net::TcpStream,
        long: Duration,
    ) -> Connection<impl Fn(Arc<Door>, Job, Reply) -> Running + Unpin, Running> {
        let run = move |door, job, reply| {
            std::thread::sleep(long);
            Box::pin(run(door, job, reply)) as Running
        };
        let at_rest = AtRest::new(stream.into_std().unwrap(), &self.door, self.client());
        Connection::new(at_rest, Arc::clone(&self.door), run).unwrap()
    }

    /// Begins a command of a new client in database 0.
    pub fn begin(&self, words: &[&str]) -> Running {
        self.begin_as(words, Session::new(Arc::clone(&self.client().client), true))
    }

    /// Begins a command of this client.
    pub fn begin_as(&self, words: &[&str], session: Session) -> Running {
        let request = request(words);
        let entry = table::find(table::named(request.arg(0)), &request).unwrap();
        let job = match entry.command.handler {
            Handler::Keys(handler) => Job::Keys(entry, handler, request, session.db),
            _ => Job::Alone(entry, request, Box::new(session)),
        };
        Box::pin(run(Arc::clone(&self.door), job, Reply::new(false)))
    }

    /// What a command comes to that need not wait for the device before it is applied.
    pub async fn ask(&self, words: &[&str]) -> String {
        text(&self.begin(words).await)
    }

    /// Runs the flusher and the device beside this future, until it ends.
    pub async fn drive<F: Future + Unpin>(&self, mut future: F) -> F::Output {
        for _ in 0..ROUNDS {
            if let std::task::Poll::Ready(output) = futures::poll!(&mut future) {
                return output;
            }
            self.turn().await;
        }
        panic!("it waits for something that does not come");
    }

    /// Makes everything durable that was written, and lets the tasks of commands end.
    pub async fn settle(&self) {
        let namespace = Arc::clone(self.door.namespace());
        self.drive(Box::pin(async move { namespace.settle_all().await })).await.unwrap();
        for _ in 0..ROUNDS {
            if tokio::runtime::Handle::current().metrics().num_alive_tasks() == 0 {
                return;
            }
            self.turn().await;
        }
        panic!("the door does not come to rest");
    }

    async fn turn(&self) {
        self.door.namespace().drive();
        // What that woke on this runtime has its turn.
        tokio::task::yield_now().await;
    }
}

/// A request of these words.
pub fn request(words: &[&str]) -> Request {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes += &format!("${}\r\n{word}\r\n", word.len());
    }
    let bounds = Bounds { authenticated: true, request_max: 16 << 20 };
    match Parser::default().parse(bytes.as_bytes(), bounds) {
        Ok(Parsed::Request(_, spans)) => Request::new(bytes.into(), spans),
        _ => panic!("no request: {words:?}"),
    }
}

/// The answer of a command, as it is on the wire.
pub fn text(ended: &Ended) -> String {
    String::from_utf8(ended.reply.bytes().to_vec()).unwrap()
}
