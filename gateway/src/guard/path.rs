//! What a path names: the service, a bucket or an object, read exactly as s3s reads it (percent-decoded first).

use percent_encoding::percent_decode_str;

/// What the path of a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/` without a bucket in the host name.
    Service,
    /// A bucket.
    Bucket,
    /// An object.
    Object,
}

impl Kind {
    /// As CORS errors name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "SERVICE",
            Self::Bucket => "BUCKET",
            Self::Object => "OBJECT",
        }
    }
}

/// Classifies `path` (still percent-encoded); `bucket_in_host`: the bucket is the first label of the host.
pub fn kind(path: &str, bucket_in_host: bool) -> Kind {
    if path.contains('%') {
        decoded(&percent_decode_str(path).decode_utf8_lossy(), bucket_in_host)
    } else {
        decoded(path, bucket_in_host)
    }
}

/// The first segment of a path-style `path` (still percent-encoded).
pub fn bucket(path: &str) -> Option<String> {
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let first = path.strip_prefix('/').unwrap_or(&path).split('/').next()?;
    (!first.is_empty()).then(|| first.to_owned())
}

/// The key that `path` (still percent-encoded) names, if it names one.
pub fn key(path: &str, bucket_in_host: bool) -> Option<String> {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let rest = path.strip_prefix('/').unwrap_or(&path);
    let key = if bucket_in_host { rest } else { rest.split_once('/')?.1 };
    (!key.is_empty()).then(|| key.to_owned())
}

fn decoded(path: &str, bucket_in_host: bool) -> Kind {
    let rest = path.strip_prefix('/').unwrap_or(path);
    match (rest.is_empty(), bucket_in_host) {
        (true, false) => Kind::Service,
        (true, true) => Kind::Bucket,
        (false, true) => Kind::Object,
        (false, false) => match rest.split_once('/') {
            None | Some((_, "")) => Kind::Bucket,
            Some(_) => Kind::Object,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_classified_after_decoding() {
        for (path, in_host, expected) in [
            ("/", false, Kind::Service),
            ("/", true, Kind::Bucket),
            ("/b", false, Kind::Bucket),
            ("/b/", false, Kind::Bucket),
            ("/b/k", false, Kind::Object),
            ("/b//", false, Kind::Object),
            ("/b%2Fk", false, Kind::Object),
            ("/b%2F", false, Kind::Bucket),
            ("/b", true, Kind::Object),
            ("/b/", true, Kind::Object),
            ("/%2F", false, Kind::Bucket),
        ] {
            assert_eq!(kind(path, in_host), expected, "{path} {in_host}");
        }
    }

    proptest::proptest! {
        #[test]
        fn our_reading_is_that_of_s3s(path in "/[a-c%2Ff/]{0,12}", in_host: bool) {
            let decoded = percent_decode_str(&path).decode_utf8_lossy().into_owned();
            let bucket = in_host.then_some("bucket");
            if let Ok(theirs) = s3s::path::parse_virtual_hosted_style_with_validation(bucket, &decoded, &AnyName) {
                let their_key = theirs.as_object().map(|(_, key)| key.to_owned());
                proptest::prop_assert_eq!(key(&path, in_host), their_key);
                let expected = match theirs {
                    s3s::path::S3Path::Root => Kind::Service,
                    s3s::path::S3Path::Bucket { .. } => Kind::Bucket,
                    s3s::path::S3Path::Object { .. } => Kind::Object,
                };
                proptest::prop_assert_eq!(kind(&path, in_host), expected);
            }
        }
    }

    struct AnyName;
    impl s3s::validation::NameValidation for AnyName {
        fn validate_bucket_name(&self, _: &str) -> bool {
            true
        }
    }
}
