//! One request of any kind: from protobuf through [`Operations`] to protobuf. Unary calls, batches and pipelines all end here.

use cairn_proto::v1::{
    self, DeleteResponse, ExistsResponse, GetResponse, OperateResponse, PutResponse, Response,
    TouchResponse, request::Request as Kinds, response::Response as Answers,
};

use super::{answer, request};
use crate::{codes::Problem, metrics::Kind, operations::Operations};

/// The kind of a request; `None` when it is empty.
pub fn kind(request: &v1::Request) -> Option<Kind> {
    Some(match request.request.as_ref()? {
        Kinds::Get(_) => Kind::Get,
        Kinds::Put(_) => Kind::Put,
        Kinds::Delete(_) => Kind::Delete,
        Kinds::Touch(_) => Kind::Touch,
        Kinds::Exists(_) => Kind::Exists,
        Kinds::Operate(_) => Kind::Operate,
    })
}

/// Executes a request of any kind.
pub async fn any(operations: &Operations, request: v1::Request) -> Result<Answers, Problem> {
    Ok(match request.request {
        Some(Kinds::Get(request)) => Answers::Get(get(operations, request).await?),
        Some(Kinds::Put(request)) => Answers::Put(put(operations, request).await?),
        Some(Kinds::Delete(request)) => Answers::Delete(delete(operations, request).await?),
        Some(Kinds::Touch(request)) => Answers::Touch(touch(operations, request).await?),
        Some(Kinds::Exists(request)) => Answers::Exists(exists(operations, request).await?),
        Some(Kinds::Operate(request)) => Answers::Operate(operate(operations, request).await?),
        None => return Err(Problem::Invalid("the request is empty".into())),
    })
}

/// The answer of a batch or a pipeline.
pub fn response(result: Result<Answers, Problem>) -> Response {
    let answer = result.unwrap_or_else(|problem| Answers::Failure(problem.failure()));
    Response { response: Some(answer) }
}

/// Reads a record.
pub async fn get(operations: &Operations, request: v1::GetRequest) -> Result<GetResponse, Problem> {
    let (namespace, key) = request::key(request.key)?;
    let policy = request::read_policy(request.policy)?;
    let wanted = answer::Wanted::named(request.bins)?;
    let record = operations.get(&namespace, &key, &policy).await?;
    let record = answer::record(&record, &wanted)?;
    Ok(GetResponse { record: Some(record) })
}

/// Writes bins.
pub async fn put(operations: &Operations, request: v1::PutRequest) -> Result<PutResponse, Problem> {
    let (namespace, key) = request::key(request.key)?;
    let policy = request::write_policy(request.policy)?;
    let bins = request::bins(request.bins)?;
    let metadata = operations.put(&namespace, &key, &bins, &policy).await?;
    Ok(PutResponse { metadata: Some(answer::metadata(metadata)) })
}

/// Deletes a record.
pub async fn delete(
    operations: &Operations,
    request: v1::DeleteRequest,
) -> Result<DeleteResponse, Problem> {
    let (namespace, key) = request::key(request.key)?;
    let policy = request::write_policy(request.policy)?;
    operations.delete(&namespace, &key, &policy).await?;
    Ok(DeleteResponse {})
}

/// Gives a record a new lifetime.
pub async fn touch(
    operations: &Operations,
    request: v1::TouchRequest,
) -> Result<TouchResponse, Problem> {
    let (namespace, key) = request::key(request.key)?;
    let policy = request::write_policy(request.policy)?;
    let metadata = operations.touch(&namespace, &key, &policy).await?;
    Ok(TouchResponse { metadata: Some(answer::metadata(metadata)) })
}

/// Whether a record exists.
pub async fn exists(
    operations: &Operations,
    request: v1::ExistsRequest,
) -> Result<ExistsResponse, Problem> {
    let (namespace, key) = request::key(request.key)?;
    let policy = request::read_policy(request.policy)?;
    let metadata = operations.exists(&namespace, &key, &policy).await?;
    Ok(ExistsResponse { metadata: metadata.map(answer::metadata) })
}

/// Several operations on one record.
pub async fn operate(
    operations: &Operations,
    request: v1::OperateRequest,
) -> Result<OperateResponse, Problem> {
    let (namespace, key) = request::key(request.key)?;
    let policy = request::write_policy(request.policy)?;
    let steps = request::operations(request.operations)?;
    let operated = operations.operate(&namespace, &key, &steps, &policy).await?;
    Ok(OperateResponse {
        metadata: operated.metadata.map(answer::metadata),
        bins: answer::bins(operated.bins),
    })
}
