//! What a client says about its body before, and in trailers after, it sends it; and holding it to that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_wire::object::{Checksum, ChecksumAlgorithm};
use holdfast_wire::planted::Fault;
use http::HeaderMap;

use super::{DEFAULT, by_header, by_name, decode, full, header, name};

/// Why what a client says about its body makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadClaim {
    /// `Content-MD5` is not the base64 of 16 bytes.
    #[error("The Content-MD5 you specified was invalid.")]
    Md5,
    /// A checksum is not the base64 of the algorithm's length.
    #[error("Value for {} header is invalid.", header(*.0))]
    Value(ChecksumAlgorithm),
    /// More than one checksum.
    #[error("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")]
    Several,
    /// `x-amz-trailer` names something that is no checksum.
    #[error("The value specified in the x-amz-trailer header is not supported")]
    Trailer,
    /// The named algorithm is unknown or not that of the checksum.
    #[error("Value for x-amz-sdk-checksum-algorithm header is invalid.")]
    Algorithm,
    /// An algorithm is named, but no checksum.
    #[error(
        "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were \
         found."
    )]
    NoChecksum,
}

/// Why a body is not what the client said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Not the MD5 of `Content-MD5`.
    #[error("The Content-MD5 you specified did not match what we received.")]
    Md5,
    /// Not the client's checksum.
    #[error("The {} you specified did not match the calculated checksum.", name(*.0))]
    Checksum(ChecksumAlgorithm),
    /// The trailer that was announced did not arrive, or another one did, or it has no sound value.
    #[error("The request contained trailing data that was not well-formed or did not conform to our published schema.")]
    Trailer,
}

/// Where the client's checksum is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claimed {
    Nothing,
    Value(ChecksumAlgorithm, Vec<u8>),
    Trailer(ChecksumAlgorithm),
}

/// What a client says about its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    md5: Option<[u8; 16]>,
    claimed: Claimed,
    /// What to compute when the client names nothing.
    otherwise: ChecksumAlgorithm,
}

impl Claim {
    /// Nothing.
    pub const NONE: Self = Self { md5: None, claimed: Claimed::Nothing, otherwise: DEFAULT };

    /// From the value of `Content-MD5`, the checksums in headers (or a form's fields), and the request's headers
    /// (`x-amz-trailer`, `x-amz-sdk-checksum-algorithm`).
    pub fn new(
        content_md5: Option<&str>,
        values: &[(ChecksumAlgorithm, &str)],
        headers: &HeaderMap,
    ) -> Result<Self, BadClaim> {
        let md5 = content_md5
            .map(|text| STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(BadClaim::Md5))
            .transpose()?;
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let mut claimed = Claimed::Nothing;
        for &(algorithm, value) in values {
            if claimed != Claimed::Nothing {
                return Err(BadClaim::Several);
            }
            claimed = Claimed::Value(algorithm, decode(algorithm, value).ok_or(BadClaim::Value(algorithm))?);
        }
        for trailer in text("x-amz-trailer").into_iter().flat_map(|names| names.split(',')).map(str::trim) {
            if trailer.is_empty() {
                continue;
            }
            if claimed != Claimed::Nothing {
                return Err(BadClaim::Several);
            }
            claimed = Claimed::Trailer(by_header(trailer).ok_or(BadClaim::Trailer)?);
        }
        if let Some(named) = text("x-amz-sdk-checksum-algorithm").filter(|named| !named.is_empty()) {
            let named = by_name(named).ok_or(BadClaim::Algorithm)?;
            match claimed {
                Claimed::Nothing if md5.is_some() => {}
                Claimed::Nothing => return Err(BadClaim::NoChecksum),
                Claimed::Value(algorithm, _) | Claimed::Trailer(algorithm) if algorithm != named => {
                    return Err(BadClaim::Algorithm);
                }
                Claimed::Value(..) | Claimed::Trailer(_) => {}
            }
        }
        Ok(Self { md5, claimed, otherwise: DEFAULT })
    }

    /// From a request's headers alone.
    pub fn of_headers(headers: &HeaderMap) -> Result<Self, BadClaim> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let values: Vec<_> =
            super::ALL.into_iter().filter_map(|algorithm| Some((algorithm, text(header(algorithm))?))).collect();
        Self::new(text("content-md5"), &values, headers)
    }

    /// The same; when it names no algorithm, this one is computed.
    pub fn or(self, otherwise: ChecksumAlgorithm) -> Self {
        Self { otherwise, ..self }
    }

    /// The algorithm of the client's checksum, if it sends one.
    pub fn named(&self) -> Option<ChecksumAlgorithm> {
        match self.claimed {
            Claimed::Nothing => None,
            Claimed::Value(algorithm, _) | Claimed::Trailer(algorithm) => Some(algorithm),
        }
    }

    /// The algorithm to compute and keep.
    pub fn algorithm(&self) -> ChecksumAlgorithm {
        self.named().unwrap_or(self.otherwise)
    }

    /// Holds the client to what it said. `value` is of [`algorithm`](Self::algorithm); `trailers` are those that
    /// arrived behind the body.
    pub fn judge(&self, md5: &[u8], value: &[u8], trailers: Option<&HeaderMap>) -> Result<Checksum, Mismatch> {
        let algorithm = self.algorithm();
        if self.md5.is_some_and(|claimed| claimed != md5) {
            return Err(Mismatch::Md5);
        }
        let arrived = trailers.into_iter().flat_map(HeaderMap::iter);
        let arrived: Vec<_> = arrived.filter_map(|(name, text)| Some((by_header(name.as_str())?, text))).collect();
        match &self.claimed {
            Claimed::Nothing | Claimed::Value(..) if !arrived.is_empty() => return Err(Mismatch::Trailer),
            Claimed::Value(_, claimed) if claimed != value => return Err(Mismatch::Checksum(algorithm)),
            Claimed::Nothing | Claimed::Value(..) => {}
            Claimed::Trailer(_) if arrived.is_empty() && Fault::TrailerUnsigned.is_planted() => {}
            Claimed::Trailer(_) => {
                let sent = match arrived[..] {
                    [(arrived, text)] if arrived == algorithm => text.to_str().ok(),
                    _ => None,
                };
                let sent = sent.and_then(|text| decode(algorithm, text.trim())).ok_or(Mismatch::Trailer)?;
                if sent != value {
                    return Err(Mismatch::Checksum(algorithm));
                }
            }
        }
        Ok(full(algorithm, value))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{encode, of};
    use super::*;

    const CRC: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn judge(claim: &Claim, body: &[u8], trailers: Option<&HeaderMap>) -> Result<Checksum, Mismatch> {
        claim.judge(&of(ChecksumAlgorithm::Md5, body), &of(claim.algorithm(), body), trailers)
    }

    #[test]
    fn without_a_claim_the_default_is_computed() {
        let claim = Claim::of_headers(&headers(&[])).unwrap();
        assert_eq!(claim, Claim::NONE);
        let checksum = judge(&claim, b"x", None).unwrap();
        assert_eq!(checksum, full(DEFAULT, &of(DEFAULT, b"x")));
    }

    #[test]
    fn headers_hold() {
        let md5 = encode(&of(ChecksumAlgorithm::Md5, b"x"));
        let claim = Claim::of_headers(&headers(&[("content-md5", &md5)])).unwrap();
        assert!(judge(&claim, b"x", None).is_ok());
        assert_eq!(judge(&claim, b"y", None), Err(Mismatch::Md5));
        let crc = encode(&of(CRC, b"x"));
        let claim = Claim::of_headers(&headers(&[("x-amz-checksum-crc32", &crc)])).unwrap();
        assert_eq!(judge(&claim, b"x", None).unwrap().value, crc);
        assert_eq!(judge(&claim, b"y", None), Err(Mismatch::Checksum(CRC)));
    }

    #[test]
    fn an_announced_trailer_must_arrive_and_be_the_announced_one() {
        let claim = Claim::of_headers(&headers(&[
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ]))
        .unwrap();
        let crc = encode(&of(CRC, b"x"));
        assert!(judge(&claim, b"x", Some(&headers(&[("x-amz-checksum-crc32", &crc)]))).is_ok());
        assert_eq!(
            judge(&claim, b"y", Some(&headers(&[("x-amz-checksum-crc32", &crc)]))),
            Err(Mismatch::Checksum(CRC))
        );
        assert_eq!(judge(&claim, b"x", None), Err(Mismatch::Trailer));
        assert_eq!(judge(&claim, b"x", Some(&headers(&[]))), Err(Mismatch::Trailer));
        assert_eq!(judge(&claim, b"x", Some(&headers(&[("x-amz-checksum-crc32c", &crc)]))), Err(Mismatch::Trailer));
        assert_eq!(judge(&claim, b"x", Some(&headers(&[("x-amz-checksum-crc32", "AA==")]))), Err(Mismatch::Trailer));
        assert_eq!(
            judge(&Claim::NONE, b"x", Some(&headers(&[("x-amz-checksum-crc32", &crc)]))),
            Err(Mismatch::Trailer)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |pairs: &[(&'static str, &str)]| Claim::of_headers(&headers(pairs)).unwrap_err();
        assert_eq!(refused(&[("content-md5", "short")]), BadClaim::Md5);
        assert_eq!(refused(&[("x-amz-checksum-crc32", "no")]), BadClaim::Value(CRC));
        assert_eq!(
            refused(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")]),
            BadClaim::Several
        );
        assert_eq!(
            refused(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-trailer", "x-amz-checksum-crc32")]),
            BadClaim::Several
        );
        assert_eq!(refused(&[("x-amz-trailer", "x-other")]), BadClaim::Trailer);
        assert_eq!(refused(&[("x-amz-sdk-checksum-algorithm", "CRC32")]), BadClaim::NoChecksum);
        assert_eq!(
            refused(&[("x-amz-sdk-checksum-algorithm", "CRC32C"), ("x-amz-checksum-crc32", "AAAAAA==")]),
            BadClaim::Algorithm
        );
    }
}
