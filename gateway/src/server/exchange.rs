//! One request and its response: request id, gate, guard, s3s, and what is put right on the way out.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::context::{self, Context, RequestTag, Trace};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::{Progress, Reply, Report, Upload};
use super::connection::{Active, Pulse};
use super::crossing::{crossing, preflight};
use super::details::{Details, Failed};
use super::last_chunk::LastChunk;
use super::{READY_PATH, Shared};
use crate::audit::{self, Record};
use crate::auth::explain::Signed;
use crate::auth::pass::Pass;
use crate::auth::{Origin, Slot, Who};
use crate::form::Rejected;
use crate::guard::hoisted::{self, Lifted};
use crate::guard::refusal::{Cause, Refusal};
use crate::guard::request_id::RequestId;
use crate::guard::table::Operation;
use crate::guard::{self, cors, document, error_xml, head, range};
use crate::limits::Permit;
use crate::s3::{ResponseDocument, ResponseStatus};
use crate::trace::Ended;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const XML: HeaderValue = HeaderValue::from_static("application/xml");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
const SOON: HeaderValue = HeaderValue::from_static("1");

/// What happens when a request is over, whichever way: it is counted, logged, and gives back its place.
pub struct Completion {
    shared: Arc<Shared>,
    id: RequestId,
    method: Method,
    uri: Uri,
    started: Instant,
    operation: Operation,
    status: StatusCode,
    first_byte: Duration,
    sent: u64,
    whole: bool,
    origin: Origin,
    slot: Slot,
    /// Its span and its parent's, if it is traced.
    trace: Option<(Trace, u64)>,
    /// Whether it asks to go past a retention.
    bypasses: bool,
    _permit: Option<Permit>,
    _active: Active,
}

impl Completion {
    fn new(shared: Arc<Shared>, pulse: &Arc<Pulse>, parts: &Parts) -> Self {
        shared.metrics.begun();
        let id = shared.ids.next();
        Self {
            id,
            trace: shared.sampling.trace(&parts.headers, shared.ids.seed(), id.number()),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            started: Instant::now(),
            operation: Operation::Unknown,
            // Stands if the client leaves before there is an answer.
            status: StatusCode::REQUEST_TIMEOUT,
            first_byte: Duration::ZERO,
            sent: 0,
            whole: false,
            origin: Origin::of(pulse.peer.ip(), shared.secure, &parts.headers, &shared.trusted_proxies),
            slot: Slot::default(),
            bypasses: parts.headers.contains_key("x-amz-bypass-governance-retention"),
            _permit: None,
            _active: pulse.begin(),
            shared,
        }
    }

    /// The path, which configuration of it, and of which version.
    fn resource(&self) -> String {
        let pairs = || guard::query::pairs(self.uri.query().unwrap_or_default());
        let version = pairs().find(|pair| pair.name == "versionId");
        let version = version.map(|pair| format!("versionId={}", pair.value));
        let selector = pairs().find(|pair| pair.name != "versionId").map(|pair| pair.name.into_owned());
        let selector = selector.filter(|_| self.operation.name().ends_with("Configuration"));
        let named: Vec<_> = selector.into_iter().chain(version).collect();
        match named.is_empty() {
            true => self.uri.path().to_owned(),
            false => format!("{}?{}", self.uri.path(), named.join("&")),
        }
    }

    /// Tells the audit log, where the request belongs into it.
    fn audit(&self) {
        let Some(sink) = &self.shared.audit.0 else { return };
        let found = self.slot.found();
        let who = found.who.as_ref().map_or_else(|| "unknown".to_owned(), Who::arn);
        let record = |resource: &str, status: StatusCode, why: Option<String>| {
            sink.record(&Record {
                time_ms: self.shared.clock.unix_millis(),
                interface: "s3",
                who: &who,
                access_key: found.who.as_ref().and_then(Who::access_key),
                what: self.operation.name(),
                resource,
                result: audit::result(status),
                status: status.as_u16(),
                why,
                source: Some(self.origin.address),
                request_id: self.id.as_str(),
            });
        };
        let keys = |keys: &[String], status: StatusCode| {
            let bucket = self.uri.path().trim_end_matches('/');
            keys.iter().for_each(|key| record(&format!("{bucket}/{key}"), status, None));
        };
        keys(&found.refused_keys, StatusCode::FORBIDDEN);
        keys(&found.bypassed_keys, self.status);
        if audit::concerns(self.operation, self.bypasses, self.status) {
            record(&self.resource(), self.status, audit::why(&found));
        }
    }

    /// Whose request it is, for all who have a part in it.
    fn context(&self) -> Context {
        Context { request: Some(RequestTag(self.id.number())), trace: self.trace.map(|(own, _)| own) }
    }

    /// Bytes of the response went out.
    pub fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// The response went out to its end.
    pub fn whole(&mut self) {
        self.whole = true;
    }

    /// The response broke off.
    pub fn failed(&mut self, error: &s3s::StdError) {
        tracing::warn!(id = %self.id, operation = self.operation.name(), %error, "a response broke off");
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.shared.metrics.ended(self.operation, self.status, took, self.sent, self.whole);
        if let Some((own, parent)) = self.trace {
            let (name, side, began) = (self.operation.name(), context::Side::Server, self.started);
            let (failed, status) = (self.status.is_server_error(), Some(self.status.as_u16()));
            let request = self.context().request;
            context::Ended { own, parent, name, side, began, failed, request, status, node: None }.tell();
        }
        self.shared.metrics.tap().tell(|| Ended {
            id: self.id.to_string(),
            method: self.method.clone(),
            path: self.uri.path().to_owned(),
            operation: self.operation,
            status: self.status,
            sent: self.sent,
            first_byte_micros: self.first_byte.as_micros() as u64,
            micros: took.as_micros() as u64,
            whole: self.whole,
        });
        // Neither the query (it may hold a signature) nor headers are logged.
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    target: "holdfast_gateway::access",
                    id = %self.id,
                    method = %self.method,
                    path = self.uri.path(),
                    operation = self.operation.name(),
                    status = self.status.as_u16(),
                    bytes = self.sent,
                    micros = took.as_micros() as u64,
                    whole = self.whole,
                    "request"
                )
            };
        }
        if self.shared.access_log.takes(self.status) { log!(info) } else { log!(debug) }
    }
}

/// Answers one request. Never fails: what goes wrong is answered too.
pub async fn answer(
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    let (mut parts, incoming) = request.into_parts();
    head::fold(&mut parts.headers);
    let mut completion = Completion::new(shared.clone(), &pulse, &parts);
    let chunked = parts.headers.contains_key(header::TRANSFER_ENCODING);
    let http1 = parts.version <= Version::HTTP_11;

    let mut report = None;
    let empty = incoming.is_end_stream();
    // hyper says `100 Continue` when a body is first read: never, when there is none.
    let uncalled = empty && parts.headers.contains_key(header::EXPECT);
    let answer = if parts.uri.path() == READY_PATH && matches!(parts.method, Method::GET | Method::HEAD) {
        completion.operation = Operation::Health;
        ready(&shared)
    } else if parts.method == Method::OPTIONS {
        completion.operation = Operation::Preflight;
        preflight(&shared, &parts, &completion).await
    } else {
        let crossing = cors::is_cross_origin(&parts.headers).then(|| crossing(&shared, &parts));
        let claim = admit(&shared, &mut parts, &mut completion).and_then(|()| match empty {
            true => document::nothing(completion.operation, &parts.headers).map(|()| None),
            false => document::claim(completion.operation, &parts.headers),
        });
        let answer = match claim {
            Ok(claim) => {
                let body = if empty {
                    s3s::Body::empty()
                } else {
                    let document = !completion.operation.streams();
                    let last = LastChunk::of(&parts.headers);
                    let (upload, told) =
                        Upload::new(incoming, document, claim, last, &shared.limits, shared.metrics.clone());
                    report = Some(told);
                    s3s::Body::http_body(upload)
                };
                dispatch(&shared, parts, body, &completion, report.as_ref()).await
            }
            Err(refusal) => {
                shared.metrics.refused(refusal.cause);
                refuse(&refusal, &completion)
            }
        };
        match crossing {
            Some(crossing) => crossing.allow(&shared, answer).await,
            None => answer,
        }
    };

    let mut response = finish(answer, &mut completion);
    let unread = !empty && report.is_none_or(|report| report.progress() != Progress::Ended);
    if http1 && unread {
        pulse.leave_unread();
    }
    // A chunked body may have carried a Content-Length too, which hyper drops: whatever a proxy makes of such a request,
    // nothing that follows it on this connection is taken for another one. And botocore, which reads a final status
    // where it waited for `100 Continue`, no longer finds the next one's on the same connection, and hangs.
    if http1 && (unread || chunked || uncalled) {
        response.headers_mut().insert(header::CONNECTION, CLOSE);
    }
    Ok(response.map(|body| match body {
        Content::Whole(bytes) => Reply::whole(bytes, completion),
        Content::Streamed(body) => Reply::streamed(body, completion),
    }))
}

/// A response's body before it knows its request.
pub(super) enum Content {
    Whole(Bytes),
    Streamed(s3s::Body),
}

fn ready(shared: &Shared) -> Response<Content> {
    let state = if shared.stop.is_cancelled() { Err("stopping".to_owned()) } else { (shared.readiness)() };
    let (status, text) = match state {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    };
    let mut response = Response::new(Content::Whole(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Everything that is decided before s3s sees the request.
fn admit(shared: &Shared, parts: &mut Parts, completion: &mut Completion) -> Result<(), Refusal> {
    if shared.closed.load(Ordering::SeqCst) {
        let message = "The node is crashed by order of the fault API.";
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message, Cause::Fault));
    }
    hoisted::lift(parts)?;
    let inspected = guard::inspect(parts, &shared.domains, &shared.limits)?;
    completion.operation = inspected.operation;
    completion._permit = Some(shared.gate.admit(head::length(&parts.headers))?);
    Ok(())
}

async fn dispatch(
    shared: &Shared,
    mut parts: Parts,
    body: s3s::Body,
    completion: &Completion,
    report: Option<&Report>,
) -> Response<Content> {
    let signed = Signed::of(&parts);
    parts.extensions.insert(completion.id);
    parts.extensions.insert(completion.origin);
    parts.extensions.insert(completion.slot.clone());
    let body = match judged(shared, &mut parts, body, completion).await {
        Ok(body) => body,
        Err(answer) => return explained(answer, &signed, completion, report),
    };
    let meant = if report.is_none() { range::meant(completion.operation, &parts.headers) } else { None };
    let pass = meant.as_ref().map(|_| Pass::default());
    if let Some(pass) = &pass {
        parts.extensions.insert(pass.clone());
    }
    let whose = completion.context();
    let lifted = parts.extensions.get::<Lifted>().cloned().unwrap_or_default();
    let call = hoisted::within(lifted, shared.protocol.call(Request::from_parts(parts, body)));
    let mut called = context::within(whose, call).await;
    // The range stands under the signature: s3s checks that first, and then refuses what it cannot read.
    if let (Some(meant), Some(pass)) = (meant, pass.filter(Pass::is_earned)) {
        let mut again = signed.unsigned(match meant {
            range::Meant::Nothing => None,
            range::Meant::Range(range) => Some(range),
        });
        again.extensions_mut().insert(completion.id);
        again.extensions_mut().insert(pass);
        let call = shared.protocol.call(again.map(|()| s3s::Body::empty()));
        called = context::within(whose, call).await;
    }
    let mut response = match called {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(id = %completion.id, %error, "s3s could not answer");
            let message = "We encountered an internal error. Please try again.";
            let cause = Cause::Head;
            return refuse(
                &Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message, cause),
                completion,
            );
        }
    };
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        let chosen = response.extensions().get::<ResponseStatus>().copied();
        let document = response.extensions_mut().remove::<ResponseDocument>();
        let mut response = response.map(Content::Streamed);
        if let Some(ResponseDocument(document)) = document {
            response.headers_mut().remove(header::CONTENT_LENGTH);
            *response.body_mut() = Content::Whole(document);
        }
        if let Some(ResponseStatus(status)) = chosen {
            *response.status_mut() = status;
        }
        return response;
    }
    explained(Failure::Error(Box::new(response)), &signed, completion, report)
}

/// Why a request failed.
enum Failure {
    /// It was refused here.
    Refusal(Refusal),
    /// It was answered with an error.
    Error(Box<Response<s3s::Body>>),
}

/// A form's body is judged here, and s3s gets what remains of it.
async fn judged(
    shared: &Shared,
    parts: &mut Parts,
    body: s3s::Body,
    completion: &Completion,
) -> Result<s3s::Body, Failure> {
    if completion.operation != Operation::PostObject {
        return Ok(body);
    }
    let bucket = guard::bucket(parts, &shared.domains).unwrap_or_default();
    // Boxed: only forms need the room.
    match Box::pin(shared.forms.admit(&bucket, parts, body)).await {
        Ok(body) => Ok(body),
        Err(Rejected::Refused(refusal)) => Err(Failure::Refusal(refusal)),
        Err(Rejected::Key(error)) => match error.to_http_response() {
            Ok(response) => Err(Failure::Error(Box::new(response))),
            Err(error) => {
                tracing::error!(id = %completion.id, %error, "an error could not be written");
                Err(Failure::Refusal(Refusal::access_denied("Access Denied", Cause::Credentials)))
            }
        },
    }
}

/// The answer to a request that failed.
fn explained(failure: Failure, signed: &Signed, completion: &Completion, report: Option<&Report>) -> Response<Content> {
    let status = match &failure {
        Failure::Refusal(refusal) => refusal.status,
        Failure::Error(response) => response.status(),
    };
    let refusal = match (report.and_then(|report| blame(status, report, signed)), failure) {
        (Some(blamed), _) => blamed,
        (None, Failure::Refusal(refusal)) => refusal,
        (None, Failure::Error(response)) => return complete(*response, signed, completion, report),
    };
    completion.shared.metrics.refused(refusal.cause);
    refuse(&refusal, completion)
}

/// What the client did to its body explains an error better than what the handler made of it.
fn blame(status: StatusCode, report: &Report, signed: &Signed) -> Option<Refusal> {
    let bad = |code, message: Cow<'static, str>| {
        Some(Refusal::new(StatusCode::BAD_REQUEST, code, message, Cause::BrokenBody))
    };
    match report.progress() {
        Progress::Ended
            if status.is_server_error()
                && let Some(mismatch) = report.mismatch() =>
        {
            bad("BadDigest", mismatch.to_string().into())
        }
        Progress::TooSlow => Some(Refusal::request_timeout(Cause::SlowBody)),
        Progress::TooLarge => Some(head::document_too_large()),
        Progress::Broken if status.is_server_error() => bad(
            "IncompleteBody",
            "You did not provide the number of bytes specified by the Content-Length HTTP header.".into(),
        ),
        // s3s reads documents itself and calls a wrong hash an internal error.
        Progress::Ended if status == StatusCode::INTERNAL_SERVER_ERROR => {
            let declared = signed.payload_hash().filter(|hash| hash.len() == 64)?;
            let differs = report.document_hash().is_some_and(|hash| hash != declared);
            let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
            if differs { bad("XAmzContentSHA256Mismatch", message.into()) } else { None }
        }
        Progress::Broken | Progress::Unread | Progress::Ended => None,
    }
}

/// Completes the error document that s3s wrote.
fn complete(
    response: Response<s3s::Body>,
    signed: &Signed,
    completion: &Completion,
    report: Option<&Report>,
) -> Response<Content> {
    // Whoever may not list a bucket does not learn from an error which keys it has.
    if response.status() == StatusCode::NOT_FOUND && completion.slot.found().hides_missing {
        return refuse(&Refusal::access_denied("Access Denied", Cause::Credentials), completion);
    }
    let (mut parts, body) = response.into_parts();
    let Some(text) = body.bytes().filter(|text| error_xml::is_error(text)) else {
        return Response::from_parts(parts, Content::Streamed(body));
    };
    let host = completion.shared.ids.host();
    let mut elements =
        vec![("Resource", completion.uri.path()), ("RequestId", completion.id.as_str()), ("HostId", host)];
    let (code, message) = (error_xml::code(&text).unwrap_or_default(), error_xml::message(&text).unwrap_or_default());
    let (shared, answer) = (&completion.shared, &parts.headers);
    let failed = Failed { code, message, answer, signed, domains: &shared.domains };
    let Details { message, elements: details } =
        failed.details(|| report.and_then(Report::document), shared.clock.unix_millis());
    elements.extend(details.iter().map(|(name, value)| (*name, value.as_str())));
    let Some(xml) = error_xml::complete(&text, message.as_deref(), &elements) else {
        return Response::from_parts(parts, Content::Streamed(body));
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, XML);
    Response::from_parts(parts, Content::Whole(xml.into()))
}

pub(super) fn refuse(refusal: &Refusal, completion: &Completion) -> Response<Content> {
    let xml = match completion.method {
        Method::HEAD => Bytes::new(),
        _ => refusal.xml(completion.uri.path(), completion.id.as_str(), completion.shared.ids.host()),
    };
    let mut response = Response::new(Content::Whole(xml));
    *response.status_mut() = refusal.status;
    response.headers_mut().insert(header::CONTENT_TYPE, XML);
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE, OPTIONS");
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// What every response carries.
fn finish(mut response: Response<Content>, completion: &mut Completion) -> Response<Content> {
    completion.status = response.status();
    completion.audit();
    completion.first_byte = completion.started.elapsed();
    completion.shared.metrics.answered(completion.operation, completion.first_byte);
    let busy = response.status() == StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, completion.id.header());
    headers.insert(HOST_ID, completion.shared.ids.host_header());
    if busy && !headers.contains_key(header::RETRY_AFTER) {
        headers.insert(header::RETRY_AFTER, SOON);
    }
    response
}
