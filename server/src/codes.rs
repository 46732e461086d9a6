//! What went wrong, said the same way through every door: the one table from failures to codes.
//!
//! A [`Problem`] is everything an operation can fail with. [`Problem::failure`] gives the message that batches and pipelines
//! answer with; the status of a unary call is made from that same message, so the three cannot disagree.

use std::borrow::Cow;

use cairn_engine::{Error, model::InvalidKey, model::InvalidValue};
use cairn_proto::v1::{Code, Failure};

/// Why an operation was not done.
#[derive(Clone, Debug)]
pub enum Problem {
    /// No record has this key.
    NotFound,
    /// The record exists, and the policy says it must not.
    Exists,
    /// The record has this generation, which is not the one asked for.
    Generation(u16),
    /// The request breaks a rule.
    Invalid(Cow<'static, str>),
    /// No namespace has this name.
    UnknownNamespace(Box<str>),
    /// The deadline passed.
    Deadline {
        /// Whether the operation may have been applied: a write that had started.
        in_doubt: bool,
    },
    /// The worker has as many operations in flight as it may.
    Busy,
    /// The node is stopping; the operation was not started.
    Stopping,
    /// A limit of the door.
    Limit(Cow<'static, str>),
    /// The call or option is not offered here.
    Unsupported(Cow<'static, str>),
    /// A fault in Cairn itself.
    Internal(Cow<'static, str>),
    /// The engine failed.
    Engine(Error),
}

/// What a code means to clients: one row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The status code of a unary call.
    pub status: tonic::Code,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

/// The table: the status and the retry advice of each code.
pub const fn meaning(code: Code) -> Meaning {
    use tonic::Code as Status;
    let (status, retryable) = match code {
        Code::Ok => (Status::Ok, false),
        Code::NotFound => (Status::NotFound, false),
        Code::Exists => (Status::AlreadyExists, false),
        Code::Generation => (Status::Aborted, false),
        Code::Invalid => (Status::InvalidArgument, false),
        Code::RecordTooBig => (Status::InvalidArgument, false),
        Code::BinType => (Status::FailedPrecondition, false),
        // Not NOT_FOUND: a client that sees only the status must not take a wrong name for an absent record.
        Code::UnknownNamespace => (Status::FailedPrecondition, false),
        Code::NoSpace => (Status::ResourceExhausted, true),
        Code::Overloaded => (Status::Unavailable, true),
        Code::Deadline => (Status::DeadlineExceeded, true),
        Code::Corruption => (Status::DataLoss, false),
        Code::DeviceFailed => (Status::Internal, false),
        Code::Stopping => (Status::Unavailable, true),
        Code::Limit => (Status::ResourceExhausted, false),
        Code::Unsupported => (Status::Unimplemented, false),
        Code::Internal => (Status::Internal, false),
    };
    Meaning { status, retryable }
}

impl Problem {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound => Code::NotFound,
            Self::Exists => Code::Exists,
            Self::Generation(_) => Code::Generation,
            Self::Invalid(_) => Code::Invalid,
            Self::UnknownNamespace(_) => Code::UnknownNamespace,
            Self::Deadline { .. } => Code::Deadline,
            Self::Busy => Code::Overloaded,
            Self::Stopping => Code::Stopping,
            Self::Limit(_) => Code::Limit,
            Self::Unsupported(_) => Code::Unsupported,
            Self::Internal(_) => Code::Internal,
            Self::Engine(error) => engine_code(error),
        }
    }

    /// Whether the operation may have been applied all the same.
    pub fn in_doubt(&self) -> bool {
        match self {
            Self::Deadline { in_doubt } => *in_doubt,
            Self::Engine(error) => error.in_doubt(),
            _ => false,
        }
    }

    /// The failure as clients get it.
    pub fn failure(&self) -> Failure {
        let code = self.code();
        Failure {
            code: code.into(),
            message: self.to_string(),
            in_doubt: self.in_doubt(),
            retryable: meaning(code).retryable,
            generation: match self {
                Self::Generation(generation) => u32::from(*generation),
                _ => 0,
            },
        }
    }
}

fn engine_code(error: &Error) -> Code {
    match error {
        Error::InvalidKey(_) | Error::InvalidValue(_) | Error::InvalidRequest(_) => Code::Invalid,
        Error::RecordTooBig { .. } | Error::TransactionTooBig { .. } => Code::RecordTooBig,
        Error::BinType { .. } => Code::BinType,
        Error::NoSpace { .. } => Code::NoSpace,
        Error::Corruption { .. } => Code::Corruption,
        Error::ReadFailed { .. } | Error::DeviceFailed { .. } => Code::DeviceFailed,
        Error::Stopping { .. } => Code::Stopping,
        Error::TooManyTruncations(_) => Code::Overloaded,
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound => f.write_str("no record has this key"),
            Self::Exists => f.write_str("the record exists"),
            Self::Generation(generation) => write!(f, "the record's generation is {generation}"),
            Self::UnknownNamespace(name) => write!(f, "no namespace is named {name:?}"),
            Self::Deadline { in_doubt: false } => {
                f.write_str("the deadline passed; nothing was applied")
            }
            Self::Deadline { in_doubt: true } => {
                f.write_str("the deadline passed while the write was under way; it may be applied")
            }
            Self::Busy => f.write_str("the node has too much in flight; try again"),
            Self::Stopping => f.write_str("the node is stopping; the operation was not started"),
            Self::Invalid(what)
            | Self::Limit(what)
            | Self::Unsupported(what)
            | Self::Internal(what) => f.write_str(what),
            Self::Engine(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Problem {}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<InvalidKey> for Problem {
    fn from(error: InvalidKey) -> Self {
        Self::Engine(error.into())
    }
}

impl From<InvalidValue> for Problem {
    fn from(error: InvalidValue) -> Self {
        Self::Engine(error.into())
    }
}
