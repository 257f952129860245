//! STS's documents.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::auth::Who;
use crate::auth::session::{Claims, SessionKey};
use crate::guard::error_xml::element;
use crate::policy::Caller;
use crate::policy::principal::ACCOUNT;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// What is answered.
pub enum Answer {
    /// A key for a role.
    Role {
        /// The action.
        action: &'static str,
        /// Whose key, until when.
        claims: Claims,
        /// The key.
        key: SessionKey,
        /// Subject and audience of a web identity.
        subject: Option<(String, String)>,
    },
    /// Who asks.
    Caller(Who),
}

fn document(action: &str, request_id: &str, fill: impl FnOnce(&mut String)) -> String {
    let mut xml = format!("<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>");
    fill(&mut xml);
    xml += &format!("</{action}Result><ResponseMetadata>");
    element(&mut xml, "RequestId", request_id);
    xml + &format!("</ResponseMetadata></{action}Response>")
}

impl Answer {
    /// As XML.
    pub fn xml(&self, request_id: &str) -> String {
        match self {
            Self::Role { action, claims, key, subject } => document(action, request_id, |xml| {
                let Claims { role, session, expires_ms, .. } = claims;
                xml.push_str("<AssumedRoleUser>");
                element(xml, "AssumedRoleId", &format!("{role}:{session}"));
                let caller = Caller::Role { role, session };
                element(xml, "Arn", &caller.arn().unwrap_or_default());
                xml.push_str("</AssumedRoleUser><Credentials>");
                element(xml, "AccessKeyId", &key.access_key);
                element(xml, "SecretAccessKey", key.secret.expose());
                element(xml, "SessionToken", &key.token);
                let until = OffsetDateTime::from_unix_timestamp((expires_ms / 1000) as i64).ok();
                let until = until.and_then(|until| until.format(&Rfc3339).ok()).unwrap_or_default();
                element(xml, "Expiration", &until);
                xml.push_str("</Credentials>");
                if let Some((subject, audience)) = subject {
                    element(xml, "SubjectFromWebIdentityToken", subject);
                    element(xml, "Audience", audience);
                }
            }),
            Self::Caller(who) => document("GetCallerIdentity", request_id, |xml| {
                element(xml, "Arn", &who.arn());
                element(xml, "UserId", &who.owner().unwrap_or_default());
                element(xml, "Account", ACCOUNT);
            }),
        }
    }
}

/// The document of a refusal.
pub fn refusal(code: &str, message: &str, request_id: &str) -> String {
    let mut xml = format!("<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type>");
    element(&mut xml, "Code", code);
    element(&mut xml, "Message", message);
    xml.push_str("</Error>");
    element(&mut xml, "RequestId", request_id);
    xml + "</ErrorResponse>"
}
