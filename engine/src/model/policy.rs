//! What a caller asks of one read or write.

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

/// A condition on the generation of the record as it is before a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum GenerationCheck {
    /// Any generation, or no record.
    #[default]
    Any,
    /// Exactly this generation: check-and-set.
    Equal(u16),
    /// The record's generation is less than the one given (to restore from a backup).
    Greater(u16),
}

/// The lifetime a write gives its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ttl {
    /// The namespace's `default-ttl`.
    #[default]
    Default,
    /// Never expires.
    Never,
    /// Keep the void time the record has; as `Default` where there is none.
    Keep,
    /// Expires this many milliseconds from now (1 or more).
    Millis(u64),
    /// Expires at this instant, in milliseconds since 1970.
    At(u64),
}

/// Where an acknowledged write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// On flash: survives power loss (the default).
    #[default]
    Device,
    /// In RAM: on flash after `flush-max-ms` at the latest.
    Buffer,
}

/// Which copies have an acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CommitLevel {
    /// Every in-sync replica (the default).
    #[default]
    All,
    /// The master alone.
    Master,
}

/// What a write asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WritePolicy {
    /// Create, update or replace.
    pub exists: ExistsPolicy,
    /// The generation the record must have.
    pub generation: GenerationCheck,
    /// The lifetime given.
    pub ttl: Ttl,
    /// `None` for the namespace's own durability.
    pub durability: Option<Durability>,
    /// `None` for the namespace's own commit level.
    pub commit_level: Option<CommitLevel>,
}

/// What a read asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadPolicy {
    /// Read past the write buffer and the post-write cache once the record is flushed: for measuring the device.
    pub bypass_cache: bool,
}
