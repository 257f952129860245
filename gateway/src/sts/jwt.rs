//! JSON Web Tokens (RFC 7519) and the keys that check them (RFC 7517). Pure: what is signed by whom, and until when.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

/// Clocks of others may be off by so much, seconds.
const LEEWAY_S: i64 = 60;

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not three parts of base64url with JSON in them.
    #[error("the token is malformed")]
    Malformed,
    /// Signed in a way that is not taken.
    #[error("the token's algorithm is not one of RS256, RS384, RS512, ES256, ES384")]
    Algorithm,
    /// No key of the provider's fits.
    #[error("the token was signed by no key of the provider's")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// Another issuer's.
    #[error("the token is of another issuer")]
    Issuer,
    /// For another audience.
    #[error("the token is for another audience")]
    Audience,
    /// Not valid yet.
    #[error("the token is not valid yet")]
    TooEarly,
    /// No longer valid.
    #[error("the token has expired")]
    Expired,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// One key of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    id: Option<String>,
    algorithm: Option<String>,
    public: Public,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Curve, and the point uncompressed.
    Ec(Curve, Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
}

/// A provider's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<RawKey>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys of kinds that are not taken, or not for signatures, are left out.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let raw: RawSet = serde_json::from_slice(text).ok()?;
        Some(Self(raw.keys.into_iter().filter_map(RawKey::key).collect()))
    }
}

impl RawKey {
    fn key(self) -> Option<Key> {
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok();
        let public = match self.kty.as_str() {
            "RSA" => Public::Rsa { n: bytes(self.n)?, e: bytes(self.e)? },
            "EC" => {
                let (curve, len) = match self.crv.as_deref()? {
                    "P-256" => (Curve::P256, 32),
                    "P-384" => (Curve::P384, 48),
                    _ => return None,
                };
                let (x, y) = (bytes(self.x)?, bytes(self.y)?);
                if x.len() != len || y.len() != len {
                    return None;
                }
                Public::Ec(curve, [&[4], &x[..], &y].concat())
            }
            _ => return None,
        };
        Some(Key { id: self.kid, algorithm: self.alg, public })
    }
}

impl Key {
    fn fits(&self, header: &Header) -> bool {
        let same_id = self.id.is_none() || header.kid.is_none() || self.id == header.kid;
        same_id && self.algorithm.as_ref().is_none_or(|algorithm| *algorithm == header.alg)
    }

    /// Whether this key signed `message`; `None`: it is not of the algorithm's kind.
    fn signed(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> Option<bool> {
        Some(match (&self.public, algorithm) {
            (Public::Rsa { n, e }, "RS256" | "RS384" | "RS512") => {
                let parameters = match algorithm {
                    "RS256" => &RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &RSA_PKCS1_2048_8192_SHA384,
                    _ => &RSA_PKCS1_2048_8192_SHA512,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            (Public::Ec(Curve::P256, point), "ES256") => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Public::Ec(Curve::P384, point), "ES384") => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
            }
            _ => return None,
        })
    }
}

/// Whom a token speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `sub`
    pub subject: String,
    /// That of the wanted audiences which it names.
    pub audience: String,
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, BadToken> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| BadToken::Malformed)
}

/// Checks a token: signature first, then what it says.
pub fn verify(
    token: &str,
    keys: &KeySet,
    issuer: &str,
    audiences: &[String],
    now_ms: u64,
) -> Result<Identity, BadToken> {
    let mut parts = token.split('.');
    let (Some(head), Some(body), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BadToken::Malformed);
    };
    let header: Header = part(head)?;
    if !["RS256", "RS384", "RS512", "ES256", "ES384"].contains(&header.alg.as_str()) {
        return Err(BadToken::Algorithm);
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| BadToken::Malformed)?;
    let message = &token.as_bytes()[..head.len() + 1 + body.len()];
    let fitting = keys.0.iter().filter(|key| key.fits(&header));
    let verdicts: Vec<bool> = fitting.filter_map(|key| key.signed(&header.alg, message, &signature)).collect();
    if verdicts.is_empty() {
        return Err(BadToken::UnknownKey);
    }
    if !verdicts.contains(&true) {
        return Err(BadToken::Signature);
    }
    let payload: Payload = part(body)?;
    if payload.iss != issuer {
        return Err(BadToken::Issuer);
    }
    let named = match payload.aud {
        Audience::One(one) => vec![one],
        Audience::Several(several) => several,
    };
    let audience = named.into_iter().find(|one| audiences.contains(one)).ok_or(BadToken::Audience)?;
    let now = (now_ms / 1000) as i64;
    if now >= (payload.exp as i64).saturating_add(LEEWAY_S) {
        return Err(BadToken::Expired);
    }
    let early = |time: Option<f64>| time.is_some_and(|time| (time as i64).saturating_sub(LEEWAY_S) > now);
    if early(payload.nbf) || early(payload.iat) {
        return Err(BadToken::TooEarly);
    }
    Ok(Identity { subject: payload.sub, audience })
}
