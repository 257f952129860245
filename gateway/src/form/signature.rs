//! A form's signature: over its policy, with the key, the date and the scope that its fields name ("Authenticating
//! requests in browser-based uploads using POST", AWS Signature Version 4).

use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use s3s::auth::S3Auth;
use s3s_sigv4::{AmzDate, CredentialV4};
use sha2::Sha256;

use super::fields::Fields;
use super::{Judge, Rejected, invalid, missing};
use crate::auth::{Provider, Who};
use crate::guard::credentials;
use crate::guard::error_xml::iso_8601;
use crate::guard::refusal::{Cause, Refusal};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// A form is signed once and used for as long as its policy says, but no longer than a signing key is good.
const OLDEST_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// How far a client's clock may be ahead.
const AHEAD_MS: u64 = 15 * 60 * 1000;

/// What a form is signed with.
pub struct Signed<'a> {
    /// The policy as it was sent.
    pub policy: &'a str,
    signature: &'a str,
    credential: CredentialV4<'a>,
    date: AmzDate,
    token: Option<&'a str>,
}

/// What a form is signed with; `None`: with nothing.
pub fn signed(fields: &Fields) -> Result<Option<Signed<'_>>, Refusal> {
    let token = fields.get("x-amz-security-token");
    let Some(signature) = fields.get("x-amz-signature") else {
        if fields.get("signature").is_some() || fields.get("awsaccesskeyid").is_some() {
            let message =
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
            return Err(Refusal::access_denied(message, Cause::Credentials));
        }
        if fields.get("policy").is_some() || fields.get("x-amz-credential").is_some() {
            return Err(missing("X-Amz-Signature"));
        }
        return if token.is_some() { Err(credentials::invalid_token()) } else { Ok(None) };
    };
    let field = |name: &str, shown| fields.get(name).ok_or_else(|| missing(shown));
    let policy = field("policy", "policy")?;
    let algorithm = field("x-amz-algorithm", "X-Amz-Algorithm")?;
    let credential = field("x-amz-credential", "X-Amz-Credential")?;
    let date = field("x-amz-date", "X-Amz-Date")?;
    if algorithm != ALGORITHM {
        return Err(invalid("X-Amz-Algorithm", algorithm, "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let message = "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"";
    let parsed = AmzDate::parse(date).map_err(|_| invalid("X-Amz-Date", date, message))?;
    let message = "Error parsing the X-Amz-Credential parameter; it is ACCESS-KEY/DATE/REGION/s3/aws4_request";
    let credential = CredentialV4::parse(credential).map_err(|_| invalid("X-Amz-Credential", credential, message))?;
    Ok(Some(Signed { policy, signature, credential, date: parsed, token }))
}

impl Signed<'_> {
    /// Who signed it.
    pub async fn check(&self, judge: &Judge, now_ms: u64) -> Result<Who, Rejected> {
        self.scope(&judge.region)?;
        self.age(now_ms)?;
        let CredentialV4 { access_key_id, aws_region, aws_service, .. } = self.credential;
        let secret = Provider(judge.keyring.clone()).get_secret_key(access_key_id).await.map_err(Rejected::Key)?;
        let key = s3s_sigv4::derive_signing_key(secret.expose(), &self.date, aws_region, aws_service);
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length will do");
        mac.update(self.policy.as_bytes());
        // Compared in constant time.
        let good = hex::decode(self.signature).is_ok_and(|signature| mac.verify_slice(&signature).is_ok());
        if !good {
            return Err(self.mismatch().into());
        }
        judge.keyring.identify(access_key_id, self.token).await.map_err(Rejected::Key)
    }

    /// The day, the region and the service that the key was derived for.
    fn scope(&self, region: &str) -> Result<(), Refusal> {
        let wrong = |message: String| {
            Refusal::new(StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed", message, Cause::Credentials)
                .with("Region", region)
        };
        let found = &self.credential;
        if found.aws_service != "s3" {
            let message =
                format!("The credential is malformed; incorrect service \"{}\". This is S3.", found.aws_service);
            return Err(wrong(message));
        }
        if found.aws_region != region {
            let named = found.aws_region;
            return Err(wrong(format!(
                "The credential is malformed; the region '{named}' is wrong; expecting '{region}'"
            )));
        }
        if found.date != self.date.fmt_date().as_str() {
            return Err(self.mismatch());
        }
        Ok(())
    }

    fn age(&self, now_ms: u64) -> Result<(), Refusal> {
        let at = self.date.to_time().map_or(0, |time| u64::try_from(time.as_millisecond()).unwrap_or(0));
        if at > now_ms.saturating_add(AHEAD_MS) {
            let message = "The difference between the request time and the current time is too large.";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "RequestTimeTooSkewed", message, Cause::Credentials)
                .with("RequestTime", self.date.fmt_iso8601().as_str())
                .with("ServerTime", iso_8601(now_ms).unwrap_or_default())
                .with("MaxAllowedSkewMilliseconds", AHEAD_MS.to_string()));
        }
        if now_ms.saturating_sub(at) > OLDEST_MS {
            return Err(Refusal::access_denied("Invalid according to Policy: Policy expired.", Cause::Credentials));
        }
        Ok(())
    }

    /// 403 `SignatureDoesNotMatch`, with what was to be signed.
    fn mismatch(&self) -> Refusal {
        let message = "The request signature we calculated does not match the signature you provided. Check your key and \
                       signing method.";
        Refusal::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message, Cause::Credentials)
            .with("AWSAccessKeyId", self.credential.access_key_id)
            .with("StringToSign", self.policy)
            .with("SignatureProvided", self.signature)
    }
}
