//! DeleteObject, DeleteObjects.

use holdfast_wire::request::{DeleteKey, Deleted, Refusal, Write, WriteOutcome};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition,
    Error, ObjectIdentifier,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::answer::written;
use super::put::unexpected;
use super::request::{Named, key, modes, named_version, no_such_version};
use super::{S3Service, condition};
use crate::auth::{Forbidden, Slot};
use crate::router::RouteError;

/// Keys of one DeleteObjects.
const KEYS_MAX: usize = 1000;

/// DeleteObject
pub async fn object(s3: &S3Service, mut req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    let named = named_version(input.version_id.as_deref())?;
    let bypass_governance = input.bypass_governance_retention.unwrap_or(false);
    let condition =
        condition::of_delete(input.if_match.as_ref(), input.if_match_last_modified_time.as_ref(), input.if_match_size)?;
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let version = match named {
        Named::Current => None,
        Named::Version(version) => Some(version),
        // It is not there: deleted already.
        Named::Foreign => {
            let version_id = input.version_id.take();
            return Ok(S3Response::new(DeleteObjectOutput { version_id, ..Default::default() }));
        }
    };
    let keys = vec![DeleteKey { key: key.clone(), version, condition }];
    let write = Write::Delete { bucket: bucket.id, keys, bypass_governance };
    let answer = s3.router.write(&bucket, &key, modes, write).await?;
    match &answer.outcome {
        WriteOutcome::Deleted { seq, keys } => match keys.first() {
            None | Some(Err(Refusal::NoSuchKey)) => Ok(written(shown(Deleted::default()), *seq, answer.ack)),
            Some(Ok(deleted)) => Ok(written(shown(*deleted), *seq, answer.ack)),
            Some(Err(refusal)) => Err(RouteError::Refused(refusal.clone()).into()),
        },
        WriteOutcome::Stored { .. } | WriteOutcome::Refused(_) => Err(unexpected(&answer)),
    }
}

fn shown(deleted: Deleted) -> DeleteObjectOutput {
    DeleteObjectOutput {
        delete_marker: deleted.marker.then_some(true),
        version_id: deleted.version.map(|version| version.to_string()),
        ..Default::default()
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
    let mut verdicts: Vec<Option<S3Result<Deleted>>> = Vec::with_capacity(named.len());
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
            Ok(None) => Some(Ok(Deleted::default())),
            Err(error) => Some(Err(error)),
        });
    }
    let bypass_governance = input.bypass_governance_retention.unwrap_or(false);
    let mut answers = s3.router.delete_many(&bucket, modes, asked, bypass_governance).await.into_iter();
    let mut output = DeleteObjectsOutput::default();
    let quiet = input.delete.quiet.unwrap_or(false);
    let slot = req.extensions.get::<Slot>();
    for (object, verdict) in named.into_iter().zip(verdicts) {
        let version = object.version_id.as_deref().map(|version| format!("?versionId={version}"));
        let audited = format!("{}{}", object.key, version.unwrap_or_default());
        let verdict = verdict.unwrap_or_else(|| outcome(answers.next()));
        match (&verdict, slot) {
            (Ok(_), Some(slot)) if bypass_governance => slot.note(|found| found.bypassed_keys.push(audited)),
            (Err(error), Some(slot)) if *error.code() == S3ErrorCode::AccessDenied => {
                slot.note(|found| found.refused_keys.push(audited));
            }
            _ => {}
        }
        match verdict {
            Ok(_) if quiet => {}
            Ok(deleted) => output.deleted.get_or_insert_default().push(DeletedObject {
                key: Some(object.key),
                version_id: object.version_id,
                delete_marker: deleted.marker.then_some(true),
                delete_marker_version_id: deleted.version.filter(|_| deleted.marker).map(|version| version.to_string()),
            }),
            Err(error) => {
                output.errors.get_or_insert_default().push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(object.key),
                    version_id: object.version_id,
                });
            }
        }
    }
    Ok(S3Response::new(output))
}

/// What is to be asked for one object; `None` when there is nothing to delete.
fn plan(object: &ObjectIdentifier) -> S3Result<Option<DeleteKey>> {
    let key = key(object.key.clone())?;
    let tag = object.e_tag.clone().map(ETagCondition::ETag);
    let condition = condition::of_delete(tag.as_ref(), object.last_modified_time.as_ref(), object.size)?;
    // Of one key among many S3 says of any version id that it is not there.
    let named = named_version(object.version_id.as_deref().filter(|version| !version.is_empty()));
    Ok(match named.map_err(|_| no_such_version())? {
        Named::Current => Some(DeleteKey::current(key, condition)),
        Named::Version(version) => Some(DeleteKey { key, version: Some(version), condition }),
        Named::Foreign => None,
    })
}

fn outcome(answer: Option<Result<Deleted, RouteError>>) -> S3Result<Deleted> {
    match answer {
        Some(Ok(deleted)) => Ok(deleted),
        Some(Err(RouteError::Refused(Refusal::NoSuchKey))) => Ok(Deleted::default()),
        Some(Err(error)) => Err(error.into()),
        None => Err(S3Error::from(RouteError::Unknown("a delete was not answered".to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_wire::id::VersionId;

    use super::*;

    #[test]
    fn versions_of_elsewhere_are_deleted_already_and_no_versions_are_errors() {
        let of = |version: &str| ObjectIdentifier {
            key: "k".to_owned(),
            version_id: Some(version.to_owned()),
            ..Default::default()
        };
        assert_eq!(plan(&of("null")).unwrap().unwrap().version, Some(VersionId::Null));
        assert_eq!(plan(&of("")).unwrap().unwrap().version, None);
        assert_eq!(plan(&of("3sL4kqtJlcpXroDTDmJ.rmSpXd3_IbrH")).unwrap(), None);
        for malformed in ["/", "nope"] {
            assert_eq!(plan(&of(malformed)).unwrap_err().code(), &S3ErrorCode::NoSuchVersion);
        }
    }

    #[test]
    fn one_bad_key_is_its_own_error() {
        let object = |key: &str| ObjectIdentifier { key: key.to_owned(), ..Default::default() };
        assert!(plan(&object("a")).unwrap().is_some());
        assert_eq!(plan(&object(&"k".repeat(1025))).unwrap_err().code(), &S3ErrorCode::KeyTooLongError);
        let conditional = ObjectIdentifier { size: Some(3), ..object("a") };
        assert_eq!(plan(&conditional).unwrap().unwrap().condition.if_size, Some(3));
    }

    #[test]
    fn outcomes() {
        assert!(outcome(Some(Ok(Deleted::default()))).is_ok());
        assert_eq!(outcome(None).unwrap_err().code(), &S3ErrorCode::SlowDown);
    }
}
