//! Keys of sessions: nothing is stored. The secret half is derived from the public half, and everything else (whose session
//! it is, what it is limited to, until when) travels sealed in the session token, which only this cluster can make.
//!
//! ```text
//! access key   "ASIA" and 16 characters of base 32 (80 random bits)
//! secret       base64 of HMAC-SHA256 under a derived key over the access key, 40 characters
//! token        base64url of the sealed claims (postcard), with the access key as context
//! ```
//! Roles are looked up at each use: when one is changed or removed, its sessions change at once.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use holdfast_wire::handshake::ClusterSecret;
use holdfast_wire::seal::Seal;
use holdfast_wire::seam::Random;
use http::StatusCode;
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::directory::Directory;
use super::keys::Secret;
use super::who::Who;
use crate::error::custom;
use crate::policy::Policy;

/// What the public halves of session keys begin with. No other key may.
pub const PREFIX: &str = "ASIA";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The role.
    pub role: String,
    /// What the session calls itself.
    pub session: String,
    /// What it is limited to: IAM's JSON.
    pub policy: Option<String>,
    /// Until when, Unix milliseconds.
    pub expires_ms: u64,
}

/// A session's key.
pub struct SessionKey {
    /// Public half.
    pub access_key: String,
    /// Secret half.
    pub secret: Secret,
    /// Token.
    pub token: String,
}

/// Makes and reads session keys.
pub struct Sessions {
    seal: Seal,
    secrets: [u8; 32],
}

impl Sessions {
    /// Under the cluster's secret.
    pub fn new(secret: &ClusterSecret) -> Self {
        Self { seal: Seal::new(secret, "session tokens"), secrets: secret.derive("session secrets") }
    }

    /// Whether `access_key` is a session's.
    pub fn is_one(&self, access_key: &str) -> bool {
        access_key.len() == 20 && access_key.starts_with(PREFIX)
    }

    /// The secret half of a session's key.
    pub fn secret(&self, access_key: &str) -> Secret {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.secrets).expect("HMAC takes keys of any length");
        mac.update(access_key.as_bytes());
        let mut text = STANDARD.encode(mac.finalize().into_bytes());
        text.truncate(40);
        Secret::new(text)
    }

    /// A new key for what `claims` say.
    pub fn issue(&self, random: &dyn Random, claims: &Claims) -> SessionKey {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        let rest: String = bytes.iter().map(|byte| LETTERS[usize::from(byte % 32)] as char).collect();
        let access_key = format!("{PREFIX}{rest}");
        let plain = postcard::to_stdvec(claims).expect("claims are always encodable");
        let token = URL_SAFE_NO_PAD.encode(self.seal.seal(random, access_key.as_bytes(), &plain));
        SessionKey { secret: self.secret(&access_key), access_key, token }
    }

    /// What the token says that came with a key.
    fn claims(&self, access_key: &str, token: &str) -> Option<Claims> {
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        postcard::from_bytes(&self.seal.open(access_key.as_bytes(), &sealed).ok()?).ok()
    }

    /// Whose session a verified key is.
    pub fn identify(&self, access_key: &str, token: Option<&str>, directory: &Directory, now_ms: u64) -> S3Result<Who> {
        let token = token.ok_or_else(|| S3Error::new(S3ErrorCode::InvalidAccessKeyId))?;
        let claims = self.claims(access_key, token).ok_or_else(invalid_token)?;
        if now_ms >= claims.expires_ms {
            return Err(custom("ExpiredToken", StatusCode::BAD_REQUEST, "The provided token has expired."));
        }
        let role = directory.roles.get(&claims.role).ok_or_else(|| S3Error::new(S3ErrorCode::AccessDenied))?;
        let limits = match &claims.policy {
            None => Vec::new(),
            Some(text) => vec![("session".to_owned(), Arc::new(Policy::identity(text).map_err(|_| invalid_token())?))],
        };
        Ok(Who::Session {
            role: claims.role.into(),
            session: claims.session.into(),
            access_key: access_key.into(),
            policies: role.policies.clone(),
            limits: Arc::new(limits),
        })
    }
}

/// 400 `InvalidToken`.
pub fn invalid_token() -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidToken, crate::guard::credentials::invalid_token().message)
}
