//! A request that is refused before s3s sees it: the S3 error it gets, and why, for the counters.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;

use super::error_xml;

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $label:literal),* $(,)?) => {
        /// Why something was refused; a metric's label.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Cause { $($(#[$doc])* $name),* }

        impl Cause {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Cause] = &[$(Cause::$name),*];

            /// The label.
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label),* }
            }
        }
    };
}

causes! {
    /// Too many connections.
    Connections = "connections",
    /// Too many requests under way.
    InFlight = "in_flight",
    /// Too many bytes of bodies under way.
    InFlightBytes = "in_flight_bytes",
    /// A malformed or oversized head.
    Head = "head",
    /// A query that names nothing we have, or too much.
    Query = "query",
    /// Credentials that are given twice, badly, or of a kind that we do not take.
    Credentials = "credentials",
    /// A form upload that is malformed, or breaks its policy.
    Form = "form",
    /// A cross-origin request without a rule.
    Cors = "cors",
    /// The fault API has closed this gateway.
    Fault = "fault",
    /// A head that came too slowly.
    SlowHead = "slow_head",
    /// A request body that came too slowly.
    SlowBody = "slow_body",
    /// A response that was read too slowly.
    SlowRead = "slow_read",
    /// A request body that broke off or was framed wrongly.
    BrokenBody = "broken_body",
}

/// The S3 error that a refused request gets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The S3 error code.
    pub code: &'static str,
    /// The message.
    pub message: Cow<'static, str>,
    /// Further elements of the error document, in order.
    pub details: Vec<(&'static str, String)>,
    /// Why, for the counters.
    pub cause: Cause,
}

impl Refusal {
    /// Any error.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>, cause: Cause) -> Self {
        Self { status, code, message: message.into(), details: Vec::new(), cause }
    }

    /// 400 `InvalidArgument`.
    pub fn invalid_argument(message: impl Into<Cow<'static, str>>, cause: Cause) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidArgument", message, cause)
    }

    /// 400 `InvalidRequest`.
    pub fn invalid_request(message: impl Into<Cow<'static, str>>, cause: Cause) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", message, cause)
    }

    /// 403 `AccessDenied`.
    pub fn access_denied(message: impl Into<Cow<'static, str>>, cause: Cause) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", message, cause)
    }

    /// 405 `MethodNotAllowed`.
    pub fn method_not_allowed(cause: Cause) -> Self {
        let message = "The specified method is not allowed against this resource.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message, cause)
    }

    /// 501 `NotImplemented`.
    pub fn not_implemented(cause: Cause) -> Self {
        let message = "A header or query you provided implies functionality that is not implemented.";
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message, cause)
    }

    /// 503 `SlowDown`.
    pub fn slow_down(cause: Cause) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "Please reduce your request rate.", cause)
    }

    /// 400 `RequestTimeout`: the client was too slow.
    pub fn request_timeout(cause: Cause) -> Self {
        let message = "Your socket connection to the server was not read from or written to within the timeout period. \
                       Idle connections will be closed.";
        Self::new(StatusCode::BAD_REQUEST, "RequestTimeout", message, cause)
    }

    /// Adds an element to the error document.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// The error document.
    pub fn xml(&self, resource: &str, request_id: &str, host_id: &str) -> Bytes {
        let mut xml = String::with_capacity(384 + self.message.len());
        xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
        error_xml::element(&mut xml, "Code", self.code);
        error_xml::element(&mut xml, "Message", &self.message);
        for (name, value) in &self.details {
            error_xml::element(&mut xml, name, value);
        }
        error_xml::element(&mut xml, "Resource", resource);
        error_xml::element(&mut xml, "RequestId", request_id);
        error_xml::element(&mut xml, "HostId", host_id);
        xml.push_str("</Error>");
        xml.into()
    }
}
