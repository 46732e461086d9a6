//! A node over gRPC: the SDK's pipeline, or one unary call for each operation.

use std::time::Duration;

use cairn_proto::v1::{self as proto, records_client::RecordsClient};
use cairn_sdk::{Client, Durability, Key, Value};
use futures::{StreamExt, stream};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use super::{
    closed, load,
    measure::{Outcome, Tally},
    options::{Args, Mode},
    plan::Plan,
    store::Store,
    workers::{self, Signals},
};
use crate::failure::{Doing, Failure, Result};

const SET: &str = "bench";
const BIN: &str = "v";
/// Keys looked at to see whether the node holds them already.
const SAMPLE: u64 = 64;

/// Runs every depth.
pub fn run(args: &Args) -> Result<Vec<Outcome>> {
    if load_wanted(args)? {
        let plan = args.plan(1);
        let buffered =
            Args { durability: Durability::Buffer, mode: Mode::Pipeline, ..args.clone() };
        load::all(&plan, |job, signals| {
            on_thread(&buffered, async |node| load::job(&node, &plan, job, signals).await)
        })?;
    }
    args.depth.iter().map(|depth| measure(args, &args.plan(*depth))).collect()
}

fn load_wanted(args: &Args) -> Result<bool> {
    if args.load || args.no_load || args.read_pct == 0 {
        return Ok(args.load);
    }
    let there = on_thread(args, async |node| {
        let step = (args.keys / SAMPLE).max(1);
        let keys = stream::iter((0..args.keys).step_by(step as usize).chain([args.keys - 1]));
        let right =
            |value: Option<&[u8]>| value.is_some_and(|value| value.len() as u64 == args.value_size);
        keys.map(|key| node.read(key, right)).buffer_unordered(16).collect::<Vec<_>>().await
    })?;
    let there: Result<Vec<bool>, String> = there.into_iter().collect();
    Ok(!there.map_err(Failure::new)?.into_iter().all(|there| there))
}

fn measure(args: &Args, plan: &Plan) -> Result<Outcome> {
    let name = match args.mode {
        Mode::Unary => "grpc unary",
        Mode::Pipeline => "grpc pipeline",
    };
    let before = server_cpu(args)?;
    let asked = std::time::Instant::now();
    let measured =
        workers::run(name, plan, |job, signals| job_on_thread(args, plan, job, signals))?;
    let (spent, asked) = (server_cpu(args)?.saturating_sub(before), asked.elapsed());
    // The node's clock cannot be read at the very ends of the measured time: its share of the whole is taken.
    let share = measured.took.as_secs_f64() / asked.as_secs_f64().max(1e-9);
    let server_cpu = Some(spent.mul_f64(share.min(1.0)));
    let workers::Measured { total, took, cpu } = measured;
    Ok(Outcome { name: name.into(), plan: plan.clone(), total, took, cpu, server_cpu })
}

fn job_on_thread(args: &Args, plan: &Plan, job: u32, signals: &Signals) -> Result<Tally> {
    on_thread(args, async |node| closed::job(&node, plan, job, signals).await)
}

/// Runs `work` on this thread with a connection of its own.
pub fn on_thread<T>(args: &Args, work: impl AsyncFnOnce(Node) -> T) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.doing("starting")?.block_on(async { Ok(work(Node::connect(args).await?).await) })
}

fn server_cpu(args: &Args) -> Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.doing("starting")?.block_on(async {
        let client = Client::builder().connections(1).connect(&args.host).await?;
        Ok(Duration::from_micros(client.admin().node().await?.cpu_us))
    })
}

/// A node as something to measure.
#[derive(Clone, Debug)]
pub struct Node {
    way: Way,
    namespace: String,
    durability: Durability,
}

#[derive(Clone, Debug)]
enum Way {
    Pipeline(Client),
    Unary(RecordsClient<Channel>),
}

impl Node {
    async fn connect(args: &Args) -> Result<Self> {
        let way = match args.mode {
            Mode::Pipeline => {
                let client = Client::builder()
                    .connections(args.connections.into())
                    .in_flight(1_000_000)
                    .connect(&args.host);
                Way::Pipeline(client.await?)
            }
            Mode::Unary => {
                let endpoint = Endpoint::from_shared(format!("http://{}", args.host))
                    .doing("the address")?
                    .tcp_nodelay(true)
                    .initial_connection_window_size(16 << 20)
                    .initial_stream_window_size(1 << 20);
                let channel = endpoint.connect().await;
                Way::Unary(RecordsClient::new(
                    channel.doing(format_args!("connecting to {}", args.host))?,
                ))
            }
        };
        Ok(Self { way, namespace: args.namespace.clone(), durability: args.durability })
    }

    fn key(&self, number: u64) -> Key {
        Key::new(self.namespace.as_str(), SET, number as i64)
    }

    fn proto_key(&self, number: u64) -> Option<proto::Key> {
        let user_key = Some(proto::key::UserKey::Number(number as i64));
        Some(proto::Key { namespace: self.namespace.clone(), set: SET.into(), user_key })
    }

    fn policy(&self) -> Option<proto::WritePolicy> {
        let durability = match self.durability {
            Durability::Device => proto::Durability::Device,
            Durability::Buffer => proto::Durability::Buffer,
        };
        let exists = proto::ExistsPolicy::Replace as i32;
        Some(proto::WritePolicy { exists, durability: durability as i32, ..Default::default() })
    }
}

impl Store for Node {
    async fn read<R>(&self, key: u64, look: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, String> {
        match &self.way {
            Way::Pipeline(client) => {
                let record = client.get(&self.key(key)).await.map_err(|error| error.to_string())?;
                Ok(look(
                    record.as_ref().and_then(|record| record.get(BIN)).and_then(Value::as_bytes),
                ))
            }
            Way::Unary(records) => {
                let request = proto::GetRequest { key: self.proto_key(key), ..Default::default() };
                match records.clone().get(request).await {
                    Ok(response) => Ok(look(bytes_of(response.get_ref()))),
                    Err(status) if status.code() == Code::NotFound => Ok(look(None)),
                    Err(status) => Err(status.message().to_string()),
                }
            }
        }
    }

    async fn write(&self, key: u64, value: Vec<u8>) -> Result<(), String> {
        match &self.way {
            Way::Pipeline(client) => {
                let key = self.key(key);
                let put = client.put(&key, [(BIN, value)]).replace().durability(self.durability);
                put.await.map(drop).map_err(|error| error.to_string())
            }
            Way::Unary(records) => {
                let value = proto::Value { kind: Some(proto::value::Kind::Bytes(value)) };
                let bins = vec![proto::Bin { name: BIN.into(), value: Some(value) }];
                let request =
                    proto::PutRequest { key: self.proto_key(key), bins, policy: self.policy() };
                let put = records.clone().put(request).await;
                put.map(drop).map_err(|status| status.message().to_string())
            }
        }
    }

    async fn delete(&self, key: u64) -> Result<(), String> {
        match &self.way {
            Way::Pipeline(client) => {
                let key = self.key(key);
                client.delete(&key).await.map(drop).map_err(|error| error.to_string())
            }
            Way::Unary(records) => {
                let request =
                    proto::DeleteRequest { key: self.proto_key(key), policy: self.policy() };
                match records.clone().delete(request).await {
                    Err(status) if status.code() != Code::NotFound => {
                        Err(status.message().to_string())
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

fn bytes_of(response: &proto::GetResponse) -> Option<&[u8]> {
    let bin = response.record.as_ref()?.bins.iter().find(|bin| bin.name == BIN)?;
    match bin.value.as_ref()?.kind.as_ref()? {
        proto::value::Kind::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}
