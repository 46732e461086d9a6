//! Service Cluster on a single node: it is the only member, and master of every partition.

use std::{pin::Pin, sync::Arc};

use cairn_engine::model::PARTITIONS;
use cairn_proto::v1::{
    Member, MembersRequest, MembersResponse, PartitionMapRequest, PartitionMapResponse,
    PartitionRun, WatchRequest, cluster_server,
};
use futures::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};

use crate::{codes::Problem, operations::Operations};

/// Service Cluster of one worker.
#[derive(Clone, Debug)]
pub struct Cluster {
    operations: Arc<Operations>,
}

impl Cluster {
    /// The service over `operations`.
    pub fn new(operations: Arc<Operations>) -> Self {
        Self { operations }
    }

    fn member(&self) -> Member {
        let state = &self.operations.state;
        Member { name: state.name.clone(), address: state.advertised() }
    }

    fn map(&self, namespace: String) -> Result<PartitionMapResponse, Problem> {
        let partition_kind = self.operations.namespace(&namespace)?.engine.partition_kind() as u32;
        let all = PartitionRun { first: 0, count: PARTITIONS as u32, ..PartitionRun::default() };
        Ok(PartitionMapResponse {
            namespace,
            version: 1,
            members: vec![self.member()],
            runs: vec![all],
            partition_kind,
        })
    }
}

#[tonic::async_trait]
impl cluster_server::Cluster for Cluster {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<PartitionMapResponse, Status>> + Send>>;

    async fn members(
        &self,
        _request: Request<MembersRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        Ok(Response::new(MembersResponse { members: vec![self.member()] }))
    }

    async fn partition_map(
        &self,
        request: Request<PartitionMapRequest>,
    ) -> Result<Response<PartitionMapResponse>, Status> {
        Ok(Response::new(self.map(request.into_inner().namespace)?))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let map = self.map(request.into_inner().namespace)?;
        let stopped = self.operations.state.stopped();
        // A single node's map never changes: the stream stays open until the node stops.
        let changes = stream::once(stopped).map(|()| Err(Problem::Stopping.into()));
        Ok(Response::new(Box::pin(stream::iter([Ok(map)]).chain(changes))))
    }
}
