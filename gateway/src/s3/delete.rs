//! DeleteObject, DeleteObjects.

use holdfast_wire::condition::WriteCondition;
use holdfast_wire::id::{ObjectKey, Seq};
use holdfast_wire::request::{Refusal, Write, WriteOutcome};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition,
    Error, ObjectIdentifier,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::answer::written;
use super::put::unexpected;
use super::request::{NULL_VERSION, is_version_syntax, key, modes};
use super::{S3Service, condition};
use crate::auth::Forbidden;
use crate::router::RouteError;

/// Keys of one DeleteObjects.
const KEYS_MAX: usize = 1000;

/// What deleting a version means in a bucket that has none but `null`.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// The object.
    Current,
    /// A version that is not there: deleted already.
    Nothing,
}

fn target(version: Option<&str>) -> S3Result<Target> {
    match version {
        None | Some(NULL_VERSION) => Ok(Target::Current),
        Some(id) if is_version_syntax(id) => Ok(Target::Nothing),
        Some(_) => Err(s3_error!(InvalidArgument, "Invalid version id specified")),
    }
}

/// DeleteObject
pub async fn object(s3: &S3Service, mut req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    let target = target(input.version_id.as_deref())?;
    let condition =
        condition::of_delete(input.if_match.as_ref(), input.if_match_last_modified_time.as_ref(), input.if_match_size)?;
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let output = DeleteObjectOutput { version_id: input.version_id.take(), ..Default::default() };
    if target == Target::Nothing {
        return Ok(S3Response::new(output));
    }
    let write = Write::Delete { bucket: bucket.id, keys: vec![(key.clone(), condition)] };
    let answer = s3.router.write(&bucket, &key, modes, write).await?;
    match &answer.outcome {
        WriteOutcome::Deleted { seq, keys } => match keys.first() {
            None | Some(Ok(()) | Err(Refusal::NoSuchKey)) => Ok(written(output, *seq, answer.ack)),
            Some(Err(refusal)) => Err(RouteError::Refused(refusal.clone()).into()),
        },
        WriteOutcome::Stored { .. } | WriteOutcome::Refused(_) => Err(unexpected(&answer)),
    }
}

/// DeleteObjects
pub async fn objects(
    s3: &S3Service,
    mut req: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let named = std::mem::take(&mut input.delete.objects);
    // CDATA text is dropped by s3s's parser: an empty key must never delete anything, nor be passed over in silence.
    if named.is_empty() || named.len() > KEYS_MAX || named.iter().any(|object| object.key.is_empty()) {
        return Err(s3_error!(MalformedXML));
    }
    let mut verdicts: Vec<Option<S3Result<()>>> = Vec::with_capacity(named.len());
    let mut asked = Vec::with_capacity(named.len());
    for object in &named {
        if let Some(refused) = Forbidden::refuses(&req.extensions, object) {
            verdicts.push(Some(Err(refused)));
            continue;
        }
        verdicts.push(match plan(object) {
            Ok(Some(one)) => {
                asked.push(one);
                None
            }
            Ok(None) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        });
    }
    let mut answers = s3.router.delete_many(&bucket, modes, asked).await.into_iter();
    let mut output = DeleteObjectsOutput::default();
    let quiet = input.delete.quiet.unwrap_or(false);
    for (object, verdict) in named.into_iter().zip(verdicts) {
        match verdict.unwrap_or_else(|| outcome(answers.next())) {
            Ok(()) if quiet => {}
            Ok(()) => output.deleted.get_or_insert_default().push(DeletedObject {
                key: Some(object.key),
                version_id: object.version_id,
                ..Default::default()
            }),
            Err(error) => output.errors.get_or_insert_default().push(Error {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(object.key),
                version_id: object.version_id,
            }),
        }
    }
    Ok(S3Response::new(output))
}

/// What is to be asked for one object; `None` when there is nothing to delete.
fn plan(object: &ObjectIdentifier) -> S3Result<Option<(ObjectKey, WriteCondition)>> {
    let key = key(object.key.clone())?;
    let tag = object.e_tag.clone().map(ETagCondition::ETag);
    let condition = condition::of_delete(tag.as_ref(), object.last_modified_time.as_ref(), object.size)?;
    Ok(match target(object.version_id.as_deref())? {
        Target::Current => Some((key, condition)),
        Target::Nothing => None,
    })
}

fn outcome(answer: Option<Result<Option<Seq>, RouteError>>) -> S3Result<()> {
    match answer {
        Some(Ok(_) | Err(RouteError::Refused(Refusal::NoSuchKey))) => Ok(()),
        Some(Err(error)) => Err(error.into()),
        None => Err(S3Error::from(RouteError::Unknown("a delete was not answered".to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use s3s::S3ErrorCode;

    use super::*;

    #[test]
    fn versions_that_cannot_be_there_are_deleted_already() {
        assert_eq!(target(None).unwrap(), Target::Current);
        assert_eq!(target(Some("null")).unwrap(), Target::Current);
        assert_eq!(target(Some("abc")).unwrap(), Target::Nothing);
        assert_eq!(target(Some("/")).unwrap_err().code(), &S3ErrorCode::InvalidArgument);
    }

    #[test]
    fn one_bad_key_is_its_own_error() {
        let object = |key: &str| ObjectIdentifier { key: key.to_owned(), ..Default::default() };
        assert!(plan(&object("a")).unwrap().is_some());
        assert_eq!(plan(&object(&"k".repeat(1025))).unwrap_err().code(), &S3ErrorCode::KeyTooLongError);
        let conditional = ObjectIdentifier { size: Some(3), ..object("a") };
        assert_eq!(plan(&conditional).unwrap().unwrap().1.if_size, Some(3));
    }

    #[test]
    fn outcomes() {
        assert!(outcome(Some(Ok(None))).is_ok());
        assert_eq!(outcome(None).unwrap_err().code(), &S3ErrorCode::SlowDown);
    }
}
