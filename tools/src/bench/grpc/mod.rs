//! A node over gRPC: the SDK's pipeline, or one unary call for each operation.

mod alarm;

use std::time::Duration;

use cairn_proto::v1::{self as proto, records_client::RecordsClient};
use cairn_sdk::{Client, Durability, Key};
use futures::{StreamExt, TryStreamExt};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use super::{
    job::{Engine, Job},
    load,
    store::{BINS_MAX, How, NewBin, Scanned, Shown, Store, Wrote},
};
use crate::failure::{Doing, Failure, Result};
use alarm::Alarm;

/// Runs `work` on this thread with a connection of its own.
pub fn on_thread<T>(job: &Job, work: impl AsyncFnOnce(&Node, &Alarm) -> T) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.doing("starting")?.block_on(async {
        let (node, alarm) = (Node::connect(job).await?, Alarm::new()?);
        Ok(work(&node, &alarm).await)
    })
}

/// Whether the records of a job seem to be there: some of them are looked at.
pub fn has_records(job: &Job) -> Result<bool> {
    on_thread(job, async |node, _| load::seem_to_be_there(node, job).await)?.map_err(Failure::new)
}

/// CPU time that the node has used so far.
pub fn server_cpu(job: &Job) -> Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.doing("starting")?.block_on(async {
        let client = Client::builder().connections(1).connect(job.host()).await?;
        Ok(Duration::from_micros(client.admin().node().await?.cpu_us))
    })
}

/// A node as something to measure.
#[derive(Clone, Debug)]
pub struct Node {
    way: Way,
    namespace: String,
    set: String,
    durability: Durability,
}

#[derive(Clone, Debug)]
enum Way {
    Pipeline(Client),
    Unary(RecordsClient<Channel>, Client),
}

impl Node {
    async fn connect(job: &Job) -> Result<Self> {
        let client = Client::builder()
            .connections(job.connections.into())
            .in_flight(1_000_000)
            .connect(job.host());
        let client = client.await?;
        let way = match job.engine() {
            Engine::GrpcUnary => {
                let endpoint = Endpoint::from_shared(format!("http://{}", job.host()))
                    .doing("the address")?
                    .tcp_nodelay(true)
                    .initial_connection_window_size(16 << 20)
                    .initial_stream_window_size(1 << 20);
                let channel = endpoint.connect().await;
                let channel = channel.doing(format_args!("connecting to {}", job.host()))?;
                Way::Unary(RecordsClient::new(channel), client)
            }
            _ => Way::Pipeline(client),
        };
        let (namespace, set) = (job.namespace.clone(), job.set().to_owned());
        Ok(Self { way, namespace, set, durability: job.durability() })
    }

    fn key(&self, number: u64) -> Key {
        Key::new(self.namespace.as_str(), self.set.as_str(), number as i64)
    }

    fn proto_key(&self, number: u64) -> Option<proto::Key> {
        let user_key = Some(proto::key::UserKey::Number(number as i64));
        Some(proto::Key { namespace: self.namespace.clone(), set: self.set.clone(), user_key })
    }

    fn policy(&self, how: How) -> Option<proto::WritePolicy> {
        let durability = match self.durability {
            Durability::Device => proto::Durability::Device,
            Durability::Buffer => proto::Durability::Buffer,
        };
        let (exists, generation_equal) = match how {
            How::Replace => (proto::ExistsPolicy::Replace, None),
            How::Update => (proto::ExistsPolicy::Update, None),
            How::UpdateIf(wanted) => (proto::ExistsPolicy::UpdateOnly, Some(wanted)),
        };
        let (exists, durability) = (exists as i32, durability as i32);
        Some(proto::WritePolicy { exists, durability, generation_equal, ..Default::default() })
    }

    async fn put(
        &self,
        client: &Client,
        key: u64,
        bins: Vec<NewBin>,
        how: How,
    ) -> Result<Wrote, String> {
        let key = self.key(key);
        let put = client.put(&key, bins).durability(self.durability);
        let put = match how {
            How::Replace => put.replace(),
            How::Update => put,
            How::UpdateIf(wanted) => put.update_only().generation(wanted),
        };
        match put.await {
            Ok(_) => Ok(Wrote::Done),
            Err(error)
                if matches!(how, How::UpdateIf(_))
                    && matches!(
                        error.code,
                        cairn_sdk::Code::Generation | cairn_sdk::Code::NotFound
                    ) =>
            {
                Ok(Wrote::Stale)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn put_unary(
        &self,
        records: &RecordsClient<Channel>,
        key: u64,
        bins: Vec<NewBin>,
        how: How,
    ) -> Result<Wrote, String> {
        let bin = |(name, bytes)| proto::Bin {
            name,
            value: Some(proto::Value { kind: Some(proto::value::Kind::Bytes(bytes)) }),
        };
        let bins = bins.into_iter().map(bin).collect();
        let request =
            proto::PutRequest { key: self.proto_key(key), bins, policy: self.policy(how) };
        match records.clone().put(request).await {
            Ok(_) => Ok(Wrote::Done),
            Err(status)
                if matches!(how, How::UpdateIf(_))
                    && matches!(status.code(), Code::Aborted | Code::NotFound) =>
            {
                Ok(Wrote::Stale)
            }
            Err(status) => Err(status.message().to_string()),
        }
    }
}

impl Store for Node {
    async fn read<R>(
        &self,
        key: u64,
        look: impl FnOnce(Option<Shown<'_>>) -> R,
    ) -> Result<R, String> {
        match &self.way {
            Way::Pipeline(client) => {
                let record = client.get(&self.key(key)).await.map_err(|error| error.to_string())?;
                let Some(record) = record else { return Ok(look(None)) };
                let bins = record.bins.iter().map(|(name, value)| (&name[..], value.as_bytes()));
                show(bins, record.metadata.generation, look)
            }
            Way::Unary(records, _) => {
                let request = proto::GetRequest { key: self.proto_key(key), ..Default::default() };
                let record = match records.clone().get(request).await {
                    Ok(response) => response.into_inner().record,
                    Err(status) if status.code() == Code::NotFound => None,
                    Err(status) => return Err(status.message().to_string()),
                };
                let Some(record) = record else { return Ok(look(None)) };
                let generation = record.metadata.as_ref().map_or(0, |metadata| metadata.generation);
                show(record.bins.iter().map(|bin| (&bin.name[..], bytes_of(bin))), generation, look)
            }
        }
    }

    async fn write(&self, key: u64, bins: Vec<NewBin>, how: How) -> Result<Wrote, String> {
        match &self.way {
            Way::Pipeline(client) => self.put(client, key, bins, how).await,
            Way::Unary(records, _) => self.put_unary(records, key, bins, how).await,
        }
    }

    async fn delete(&self, key: u64) -> Result<(), String> {
        match &self.way {
            Way::Pipeline(client) => {
                let key = self.key(key);
                client.delete(&key).await.map(drop).map_err(|error| error.to_string())
            }
            Way::Unary(records, _) => {
                let policy = self.policy(How::Replace);
                let request = proto::DeleteRequest { key: self.proto_key(key), policy };
                match records.clone().delete(request).await {
                    Err(status) if status.code() != Code::NotFound => {
                        Err(status.message().to_string())
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    async fn scan(&self, partition: u16, limit: usize) -> Result<Scanned, String> {
        let (Way::Pipeline(client) | Way::Unary(_, client)) = &self.way;
        let scan =
            client.scan(self.namespace.as_str()).set(self.set.as_str()).partitions([partition]);
        let mut scanned = Scanned::default();
        let mut records = scan.start().take(limit);
        while let Some(record) = records.try_next().await.map_err(|error| error.to_string())? {
            scanned.records += 1;
            scanned.bytes += record
                .bins
                .iter()
                .filter_map(|(_, v)| v.as_bytes())
                .map(<[u8]>::len)
                .sum::<usize>();
        }
        Ok(scanned)
    }
}

/// Shows a record; one with other bins than the bench writes is somebody else's.
fn show<'a, R>(
    found: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
    generation: u32,
    look: impl FnOnce(Option<Shown<'_>>) -> R,
) -> Result<R, String> {
    let mut bins = [("", &[][..]); BINS_MAX];
    let mut count = 0;
    for (name, bytes) in found {
        let place = bins.get_mut(count).zip(bytes);
        let (place, bytes) = place.ok_or("the record is not one of the bench's")?;
        *place = (name, bytes);
        count += 1;
    }
    Ok(look(Some(Shown { bins: &bins[..count], generation })))
}

fn bytes_of(bin: &proto::Bin) -> Option<&[u8]> {
    match bin.value.as_ref()?.kind.as_ref()? {
        proto::value::Kind::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}
