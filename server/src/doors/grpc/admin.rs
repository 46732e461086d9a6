//! Service Admin: looking at a node and steering it.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use cairn_engine::{DeviceStats, Namespace, NamespaceConfig, StartKind};
use cairn_proto::v1::{
    DeviceInfo, GetConfigRequest, GetConfigResponse, GetNodeRequest, GetNodeResponse,
    ListNamespacesRequest, ListNamespacesResponse, ListSetsRequest, ListSetsResponse,
    NamespaceInfo, NamespaceStats, SetConfigRequest, SetConfigResponse, SetInfo, TruncateRequest,
    TruncateResponse, admin_server,
};
use tonic::{Request, Response, Status};

use super::timeout;
use crate::{
    codes::Problem,
    config,
    operations::{Operations, within},
    process,
    state::Served,
};

/// Service Admin of one worker.
#[derive(Clone, Debug)]
pub struct Admin {
    operations: Arc<Operations>,
}

impl Admin {
    /// The service over `operations`.
    pub fn new(operations: Arc<Operations>) -> Self {
        Self { operations }
    }

    fn set_config(&self, request: &SetConfigRequest) -> Result<(), Problem> {
        let served = self.operations.namespace(&request.namespace)?;
        let settings = request.settings.iter();
        // All are checked before the first is applied.
        let changes: Vec<_> =
            settings.map(|(name, value)| Change::read(name, value)).collect::<Result<_, _>>()?;
        let mut config = self.operations.state.config.lock();
        let shown = config.namespaces.iter_mut().find(|one| one.engine.name == served.name);
        let shown = shown.ok_or_else(|| Problem::UnknownNamespace(served.name.as_str().into()))?;
        let mut wanted = shown.engine.clone();
        changes.iter().for_each(|change| change.show(&mut wanted));
        config::check_eviction(wanted.evict_used_pct, wanted.max_used_pct)
            .map_err(|message| Problem::Invalid(message.into()))?;
        for change in changes {
            tracing::info!(namespace = served.name, ?change, "setting changed");
            change.apply(&served.engine);
        }
        shown.engine = wanted;
        Ok(())
    }
}

/// A setting that may change at run time.
#[derive(Clone, Copy, Debug)]
enum Change {
    DefaultTtl(u64),
    MaxUsed(u8),
    EvictUsed(u8),
}

impl Change {
    fn read(name: &str, value: &str) -> Result<Self, Problem> {
        let invalid = |what: String| Problem::Invalid(format!("{name}: {what}").into());
        match name {
            "default-ttl" => {
                let ttl = config::parse_duration(value).map_err(invalid)?;
                Ok(Self::DefaultTtl(ttl.as_millis() as u64))
            }
            "max-used-pct" => match value.parse() {
                Ok(pct @ 1..=100) => Ok(Self::MaxUsed(pct)),
                _ => Err(invalid(format!("{value:?}: 1 to 100 are possible"))),
            },
            "evict-used-pct" => match value.parse() {
                Ok(pct @ 0..=100) => Ok(Self::EvictUsed(pct)),
                _ => Err(invalid(format!("{value:?}: 0 to 100 are possible"))),
            },
            _ => Err(invalid(
                "cannot be changed at run time; default-ttl, max-used-pct and evict-used-pct can"
                    .into(),
            )),
        }
    }

    /// Applies it to the running namespace.
    fn apply(self, engine: &Namespace) {
        match self {
            Self::DefaultTtl(ms) => engine.set_default_ttl_ms(ms),
            Self::MaxUsed(pct) => engine.set_max_used_pct(pct),
            Self::EvictUsed(pct) => engine.set_evict_used_pct(pct),
        }
    }

    /// Applies it to the configuration that is shown.
    fn show(self, config: &mut NamespaceConfig) {
        match self {
            Self::DefaultTtl(ms) => config.default_ttl_ms = ms,
            Self::MaxUsed(pct) => config.max_used_pct = pct,
            Self::EvictUsed(pct) => config.evict_used_pct = pct,
        }
    }
}

#[tonic::async_trait]
impl admin_server::Admin for Admin {
    async fn get_node(
        &self,
        _request: Request<GetNodeRequest>,
    ) -> Result<Response<GetNodeResponse>, Status> {
        let state = &self.operations.state;
        Ok(Response::new(GetNodeResponse {
            name: state.name.clone(),
            version: crate::VERSION.into(),
            uptime_ms: state.started.elapsed().as_millis() as u64,
            io_engine: state.io.kind.to_string(),
            io_reason: state.io.reason.to_string(),
            workers: state.workers.len() as u32,
            resident_bytes: process::resident_bytes(),
            cpu_us: process::cpu_micros(),
            connections: state.connections.load(Relaxed) as u64,
        }))
    }

    async fn list_namespaces(
        &self,
        _request: Request<ListNamespacesRequest>,
    ) -> Result<Response<ListNamespacesResponse>, Status> {
        let namespaces = self.operations.state.namespaces.iter().map(namespace).collect();
        Ok(Response::new(ListNamespacesResponse { namespaces }))
    }

    async fn list_sets(
        &self,
        request: Request<ListSetsRequest>,
    ) -> Result<Response<ListSetsResponse>, Status> {
        let served = self.operations.namespace(&request.get_ref().namespace)?;
        let sets = served.engine.sets().into_iter();
        let sets = sets.map(|set| SetInfo { name: set.name, records: set.records }).collect();
        Ok(Response::new(ListSetsResponse { sets }))
    }

    async fn truncate(
        &self,
        request: Request<TruncateRequest>,
    ) -> Result<Response<TruncateResponse>, Status> {
        // It may take long, and giving it up does not end it: only the client's own deadline counts.
        let timeout = timeout::requested(request.metadata().as_ref());
        let TruncateRequest { namespace, set } = request.into_inner();
        let truncation = self.operations.truncate(&namespace, set.clone());
        let records = match timeout.and_then(|timeout| Instant::now().checked_add(timeout)) {
            Some(deadline) => within(deadline, true, truncation).await?,
            None => truncation.await?,
        };
        tracing::info!(namespace, set, records, "truncated");
        Ok(Response::new(TruncateResponse { records }))
    }

    async fn get_config(
        &self,
        _request: Request<GetConfigRequest>,
    ) -> Result<Response<GetConfigResponse>, Status> {
        let toml = self.operations.state.config.lock().to_toml();
        Ok(Response::new(GetConfigResponse { toml }))
    }

    async fn set_config(
        &self,
        request: Request<SetConfigRequest>,
    ) -> Result<Response<SetConfigResponse>, Status> {
        self.set_config(request.get_ref())?;
        Ok(Response::new(SetConfigResponse {}))
    }
}

fn namespace(served: &Served) -> NamespaceInfo {
    let (config, report) = (served.engine.config(), served.engine.report());
    NamespaceInfo {
        name: served.name.clone(),
        replication_factor: 1,
        commit_level: config::commit_level(config.commit_level).into(),
        durability: config::durability(config.durability).into(),
        stats: Some(stats(&served.engine)),
        devices: served.engine.devices().into_iter().map(device).collect(),
        start_kind: match report.kind {
            StartKind::Fresh => "fresh",
            StartKind::Warm => "warm",
            StartKind::Cold => "cold",
        }
        .into(),
        start_ms: report.took.as_millis() as u64,
        max_used_pct: served.engine.max_used_pct().into(),
        evict_used_pct: served.engine.evict_used_pct().into(),
    }
}

fn stats(engine: &Namespace) -> NamespaceStats {
    let stats = engine.stats();
    NamespaceStats {
        records: stats.records,
        tombstones: stats.tombstones,
        expired: stats.expired,
        index_bytes: stats.index_bytes,
        buffer_bytes: stats.buffer_bytes,
        capacity_bytes: stats.capacity_bytes,
        in_use_bytes: stats.in_use_bytes,
        total_blocks: stats.total_blocks,
        free_blocks: stats.free_blocks,
        reads: stats.reads,
        writes: stats.writes,
        deletes: stats.deletes,
        device_reads: stats.device_reads,
        buffer_hits: stats.buffer_hits,
        shared_reads: stats.shared_reads,
        flushes: stats.flushes,
        bytes_flushed: stats.bytes_flushed,
        damaged: stats.damaged,
        digest_mismatches: stats.digest_mismatches,
        refused_full: stats.refused_full,
        evicted: stats.evicted,
        bytes_written: stats.bytes_written,
        blocks_reclaimed: stats.blocks_reclaimed,
        records_moved: stats.records_moved,
        bytes_moved: stats.bytes_moved,
        blocks_discarded: stats.blocks_discarded,
        blocks_by_fill: engine.fill_histogram().to_vec(),
    }
}

fn device(device: DeviceStats) -> DeviceInfo {
    DeviceInfo {
        path: device.path,
        size_bytes: device.size,
        sector_bytes: device.sector,
        state: device.failed.map_or("serving".into(), |cause| format!("failed: {cause}")),
        total_blocks: device.total_blocks,
        free_blocks: device.free_blocks,
        in_use_bytes: device.in_use_bytes,
    }
}
