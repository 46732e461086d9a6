//! What a caller asks of a read or a write, besides its data.

use std::time::Duration;

use cairn_proto::v1 as proto;

/// The lifetime a write gives its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ttl {
    /// The namespace's `default-ttl`.
    #[default]
    Default,
    /// Expires this long after the write; at least a millisecond.
    In(Duration),
    /// Never expires.
    Never,
    /// Keeps the void time the record has; as `Default` where there is none.
    Keep,
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self::In(duration)
    }
}

/// What must be true of the record for a write to be applied, and whether bins not named stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ExistsPolicy {
    /// Create the record, or set the bins named and keep the others (the default).
    #[default]
    Update,
    /// As `Update`, but only if the record exists.
    UpdateOnly,
    /// Create the record, or put this one in its place: bins not named are gone.
    Replace,
    /// As `Replace`, but only if the record exists.
    ReplaceOnly,
    /// Only if the record does not exist.
    CreateOnly,
}

/// Where an acknowledged write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On flash: survives power loss.
    Device,
    /// In RAM; on flash after `flush-max-ms` at the latest.
    Buffer,
}

/// Which replicas have an acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitLevel {
    /// Every in-sync replica.
    All,
    /// The master alone.
    Master,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Consistency {
    /// The newest committed value (the default).
    #[default]
    Linearizable,
    /// Whatever the replica has committed.
    Eventual,
}

/// Which copy a read may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Replica {
    /// The master (the default).
    #[default]
    Master,
    /// Any in-sync replica.
    Any,
}

/// What a write asks for, gathered by the builders.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WritePolicy {
    pub exists: ExistsPolicy,
    pub generation_equal: Option<u32>,
    pub generation_greater: Option<u32>,
    pub ttl: Ttl,
    pub commit_level: Option<CommitLevel>,
    pub durability: Option<Durability>,
}

impl WritePolicy {
    pub(crate) fn to_proto(self) -> proto::WritePolicy {
        proto::WritePolicy {
            exists: match self.exists {
                ExistsPolicy::Update => proto::ExistsPolicy::Update,
                ExistsPolicy::UpdateOnly => proto::ExistsPolicy::UpdateOnly,
                ExistsPolicy::Replace => proto::ExistsPolicy::Replace,
                ExistsPolicy::ReplaceOnly => proto::ExistsPolicy::ReplaceOnly,
                ExistsPolicy::CreateOnly => proto::ExistsPolicy::CreateOnly,
            } as i32,
            generation_equal: self.generation_equal,
            generation_greater: self.generation_greater,
            ttl: ttl_to_proto(self.ttl),
            commit_level: match self.commit_level {
                None => proto::CommitLevel::Default,
                Some(CommitLevel::All) => proto::CommitLevel::All,
                Some(CommitLevel::Master) => proto::CommitLevel::Master,
            } as i32,
            durability: match self.durability {
                None => proto::Durability::Default,
                Some(Durability::Device) => proto::Durability::Device,
                Some(Durability::Buffer) => proto::Durability::Buffer,
            } as i32,
        }
    }
}

fn ttl_to_proto(ttl: Ttl) -> Option<proto::Ttl> {
    use proto::ttl::Kind;
    let kind = match ttl {
        Ttl::Default => return None,
        Ttl::In(duration) => {
            Kind::Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1))
        }
        Ttl::Never => Kind::Never(true),
        Ttl::Keep => Kind::Keep(true),
    };
    Some(proto::Ttl { kind: Some(kind) })
}

/// What a read asks for, gathered by the builders.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadPolicy {
    pub consistency: Consistency,
    pub replica: Replica,
}

impl ReadPolicy {
    pub(crate) fn to_proto(self) -> proto::ReadPolicy {
        proto::ReadPolicy {
            consistency: match self.consistency {
                Consistency::Linearizable => proto::ReadConsistency::Linearizable,
                Consistency::Eventual => proto::ReadConsistency::Eventual,
            } as i32,
            replica: match self.replica {
                Replica::Master => proto::ReadReplica::Master,
                Replica::Any => proto::ReadReplica::Any,
            } as i32,
        }
    }
}
