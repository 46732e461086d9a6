//! Failures as gRPC statuses: the same [`Failure`] that batches and pipelines answer with, in the status's details.

use bytes::Bytes;
use cairn_proto::v1::{Code, Failure};
use prost::Message;
use tonic::{Status, metadata::MetadataMap, metadata::MetadataValue};

use crate::codes::{Problem, meaning};

/// The metadata key that carries the code's name.
pub const CODE_KEY: &str = "cairn-code";

/// `google.rpc.Status`, which standard clients find in `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// The status of a unary call that failed so.
pub fn status(problem: &Problem) -> Status {
    from_failure(problem.failure())
}

fn from_failure(failure: Failure) -> Status {
    let code = Code::try_from(failure.code).unwrap_or(Code::Internal);
    let mut metadata = MetadataMap::with_capacity(1);
    metadata.insert(CODE_KEY, MetadataValue::from_static(code.as_str_name()));
    let status = meaning(code).status;
    let details = RpcStatus {
        code: status as i32,
        message: failure.message.clone(),
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/cairn.v1.Failure".into(),
            value: failure.encode_to_vec(),
        }],
    };
    let details = Bytes::from(details.encode_to_vec());
    Status::with_details_and_metadata(status, failure.message, details, metadata)
}

/// A status that the protocol made, as one that carries a Failure: a message too large, or one that is not protobuf.
pub fn from_protocol(status: &Status) -> Status {
    let what = status.message().to_owned();
    let problem = match status.code() {
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => Problem::Limit(what.into()),
        tonic::Code::Unimplemented => Problem::Unsupported(what.into()),
        // tonic calls a message that it cannot decode an internal error; it is the client's.
        tonic::Code::Internal | tonic::Code::InvalidArgument => Problem::Invalid(what.into()),
        _ => return status.clone(),
    };
    self::status(&problem)
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        status(&problem)
    }
}

#[cfg(test)]
mod tests {
    use cairn_engine::{Error, model::InvalidKey, model::InvalidValue};

    use super::*;

    fn every_problem() -> Vec<Problem> {
        let engine = [
            Error::InvalidKey(InvalidKey::Empty),
            Error::InvalidValue(InvalidValue::TooDeep),
            Error::InvalidRequest("no"),
            Error::RecordTooBig { size: 2, limit: 1 },
            Error::BinType { bin: "b".into(), operation: "add", found: "map", wanted: "int" },
            Error::NoSpace { used_pct: 91, max_used_pct: 90 },
            Error::Corruption { device: "d".into(), offset: 1, what: "w" },
            Error::ReadFailed { device: "d".into(), offset: 1, cause: "c".into() },
            Error::DeviceFailed { device: "d".into(), cause: "c".into(), in_doubt: true },
            Error::DeviceFailed { device: "d".into(), cause: "c".into(), in_doubt: false },
            Error::Stopping { in_doubt: true },
            Error::Stopping { in_doubt: false },
            Error::TooManyTruncations(3),
        ];
        let own = [
            Problem::NotFound,
            Problem::Exists,
            Problem::Generation(7),
            Problem::Invalid("i".into()),
            Problem::UnknownNamespace("n".into()),
            Problem::Deadline { in_doubt: true },
            Problem::Deadline { in_doubt: false },
            Problem::Busy,
            Problem::Stopping,
            Problem::Limit("l".into()),
            Problem::Unsupported("u".into()),
            Problem::Internal("f".into()),
        ];
        own.into_iter().chain(engine.map(Problem::Engine)).collect()
    }

    /// A unary call, a batch and a pipeline say the same about every failure: the status, its metadata and its details agree
    /// with the Failure that the other two answer with.
    #[test]
    fn every_failure_is_told_the_same_way() {
        for problem in every_problem() {
            let failure = problem.failure();
            let status = status(&problem);
            let code = Code::try_from(failure.code).unwrap();
            assert_ne!(code, Code::Ok, "{problem:?}");
            assert_eq!(status.code(), meaning(code).status, "{problem:?}");
            assert_eq!(status.metadata().get(CODE_KEY).unwrap(), code.as_str_name());
            let details = RpcStatus::decode(status.details()).unwrap();
            assert_eq!(details.code, status.code() as i32);
            assert_eq!(Failure::decode(&*details.details[0].value).unwrap(), failure);
            assert_eq!(failure.retryable, meaning(code).retryable);
        }
    }

    /// Every code that the protocol names can be said, so that none is dead and none is missing from the table.
    #[test]
    fn every_code_is_used() {
        let used: Vec<i32> = every_problem().iter().map(|p| p.failure().code).collect();
        for code in 1..=Code::Internal as i32 {
            assert!(used.contains(&code), "{:?} is never said", Code::try_from(code));
        }
        assert!(Code::try_from(Code::Internal as i32 + 1).is_err());
    }
}
