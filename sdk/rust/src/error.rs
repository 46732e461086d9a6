//! Why a call failed, with the same codes whichever way it travelled.

use cairn_proto::v1 as proto;
use prost::Message;

/// Why a call failed. The server's codes, and [`Code::Unavailable`] for what the client alone can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// No record has this key.
    NotFound,
    /// The record exists, and the policy says it must not.
    Exists,
    /// The record's generation is not the one asked for.
    Generation,
    /// A key, name, value, policy or message breaks a rule.
    Invalid,
    /// The record would be larger than `max-record-size`.
    RecordTooBig,
    /// An operation does not fit the kind of value its bin has.
    BinType,
    /// No namespace has this name.
    UnknownNamespace,
    /// The namespace is full.
    NoSpace,
    /// The device is behind and the deadline too near.
    Overloaded,
    /// The deadline passed.
    Deadline,
    /// The stored record is damaged. It is never returned and never taken for absent.
    Corruption,
    /// A device failed, and takes no more writes.
    DeviceFailed,
    /// The node is stopping.
    Stopping,
    /// A limit of the server: too many streams, operations or keys at once.
    Limit,
    /// The call or option is not offered.
    Unsupported,
    /// A fault in Cairn itself.
    Internal,
    /// No connection could be made, or the one used broke.
    Unavailable,
}

/// A failed call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Error {
    /// What happened, for programs.
    pub code: Code,
    /// What happened and what to do, for people.
    pub message: String,
    /// The write may have been applied. When false, it surely was not.
    pub in_doubt: bool,
    /// The same call may succeed later.
    pub retryable: bool,
    /// With [`Code::Generation`]: the generation the record has.
    pub generation: Option<u32>,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if self.in_doubt {
            f.write_str(" (the write may have been applied)")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), in_doubt: false, retryable: false, generation: None }
    }

    /// The deadline passed. A write that was sent is in doubt then.
    pub(crate) fn deadline(in_doubt: bool, what: &str) -> Self {
        let message = format!("the deadline passed {what}");
        Self { in_doubt, retryable: true, ..Self::new(Code::Deadline, message) }
    }

    /// The connection could not be made or broke.
    pub(crate) fn unavailable(in_doubt: bool, cause: &str) -> Self {
        Self { in_doubt, retryable: true, ..Self::new(Code::Unavailable, cause) }
    }

    /// The server answered with something that does not fit the question.
    pub(crate) fn unexpected(in_doubt: bool) -> Self {
        let message =
            "the server's answer does not fit the request: is it a newer or older version?";
        Self { in_doubt, ..Self::new(Code::Internal, message) }
    }

    pub(crate) fn from_failure(failure: proto::Failure) -> Self {
        let code = code_from_proto(failure.code());
        Self {
            code,
            message: failure.message,
            in_doubt: failure.in_doubt,
            retryable: failure.retryable,
            generation: (code == Code::Generation).then_some(failure.generation),
        }
    }

    /// The failure in a gRPC status. `write` says whether the call could have changed something: without a
    /// [`proto::Failure`] in its details, a status says little, and such a call is then in doubt.
    pub(crate) fn from_status(status: &tonic::Status, write: bool) -> Self {
        if let Some(failure) = failure_in(status) {
            return Self::from_failure(failure);
        }
        let (code, refused) = match status.code() {
            tonic::Code::DeadlineExceeded => (Code::Deadline, false),
            tonic::Code::Unimplemented => (Code::Unsupported, true),
            tonic::Code::InvalidArgument => (Code::Invalid, true),
            // Perhaps it was the answer that was too large.
            tonic::Code::ResourceExhausted | tonic::Code::OutOfRange => (Code::Limit, false),
            tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled => {
                (Code::Unavailable, false)
            }
            _ => (Code::Internal, false),
        };
        // Without a connection nothing was sent.
        let refused = refused || never_connected(status);
        let retryable = matches!(code, Code::Unavailable | Code::Deadline);
        let message = cause_of(status);
        Self { in_doubt: write && !refused, retryable, ..Self::new(code, message) }
    }
}

/// The message of an error and of those below it, each once: transports hide the reason at the bottom.
pub(crate) fn cause_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<tonic::Status>() {
        Some(status) => status.message().to_string(),
        // It says "transport error" and no more.
        None if error.is::<tonic::transport::Error>() && error.source().is_some() => String::new(),
        None => error.to_string(),
    };
    let mut below = error.source();
    while let Some(error) = below {
        let next = error.to_string();
        if !text.contains(&next) {
            text = if text.is_empty() { next } else { format!("{text}: {next}") };
        }
        below = error.source();
    }
    text
}

/// Whether a connection could not even be made.
fn never_connected(status: &tonic::Status) -> bool {
    let mut below = std::error::Error::source(status);
    while let Some(error) = below {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        below = error.source();
    }
    false
}

/// The `cairn.v1.Failure` in a status' details: inside a `google.rpc.Status`, as gRPC does it.
fn failure_in(status: &tonic::Status) -> Option<proto::Failure> {
    let rich = RichStatus::decode(status.details()).ok()?;
    let any = rich.details.into_iter().find(|any| any.type_url.ends_with("cairn.v1.Failure"))?;
    proto::Failure::decode(&any.value[..]).ok()
}

/// `google.rpc.Status`, of which only the details matter here.
#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

fn code_from_proto(code: proto::Code) -> Code {
    match code {
        proto::Code::NotFound => Code::NotFound,
        proto::Code::Exists => Code::Exists,
        proto::Code::Generation => Code::Generation,
        proto::Code::Invalid => Code::Invalid,
        proto::Code::RecordTooBig => Code::RecordTooBig,
        proto::Code::BinType => Code::BinType,
        proto::Code::UnknownNamespace => Code::UnknownNamespace,
        proto::Code::NoSpace => Code::NoSpace,
        proto::Code::Overloaded => Code::Overloaded,
        proto::Code::Deadline => Code::Deadline,
        proto::Code::Corruption => Code::Corruption,
        proto::Code::DeviceFailed => Code::DeviceFailed,
        proto::Code::Stopping => Code::Stopping,
        proto::Code::Limit => Code::Limit,
        proto::Code::Unsupported => Code::Unsupported,
        proto::Code::Ok | proto::Code::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A unary failure must say the same as a pipelined one: the details win over the bare status.
    #[test]
    fn the_details_of_a_status_are_found() {
        let failure = proto::Failure {
            code: proto::Code::Generation as i32,
            generation: 7,
            ..proto::Failure::default()
        };
        let any = prost_types::Any {
            type_url: "type.googleapis.com/cairn.v1.Failure".into(),
            value: failure.encode_to_vec(),
        };
        let details = RichStatus { details: vec![any] }.encode_to_vec();
        let status = tonic::Status::with_details(tonic::Code::Aborted, "x", details.into());
        let error = Error::from_status(&status, true);
        assert_eq!(
            (error.code, error.generation, error.in_doubt),
            (Code::Generation, Some(7), false)
        );
    }

    /// A write whose status says nothing about it may have been applied; a read never is in doubt.
    #[test]
    fn a_bare_status_leaves_a_write_in_doubt() {
        let status = tonic::Status::unavailable("gone");
        assert!(Error::from_status(&status, true).in_doubt);
        assert!(!Error::from_status(&status, false).in_doubt);
        let refused = tonic::Status::invalid_argument("no");
        assert!(!Error::from_status(&refused, true).in_doubt);
        // And what had no connection to go over surely was not applied.
        let connect = tonic::ConnectError("refused".into());
        let never_sent = Error::from_status(&tonic::Status::from_error(Box::new(connect)), true);
        assert_eq!((never_sent.code, never_sent.in_doubt), (Code::Unavailable, false));
        assert!(never_sent.retryable);
    }
}
