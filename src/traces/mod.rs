//! Spans of traced requests on their way to a collector: OTLP over HTTP in protobuf, behind the standard `OTEL_…`
//! variables. Off unless an endpoint is named. What a collector does not take in time is dropped, and counted in the
//! log: nothing waits for it.

mod layer;
mod protobuf;
mod settings;

use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::seam::Net;
use holdfast_wire::transport::Complaints;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use layer::{SpanRecord, Spans};
pub use settings::{Settings, settings};

/// Of an answer of the collector's this much is read.
const ANSWER_MAX: usize = 64 << 10;
/// How long the last spans may take when the process stops.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// Sends spans. Its task.
pub struct Exporter {
    settings: Settings,
    queue: mpsc::Receiver<SpanRecord>,
    complaints: Complaints,
}

/// The listening and the sending half.
pub fn exporter(settings: Settings, clock: std::sync::Arc<dyn holdfast_wire::seam::Clock>) -> (Spans, Exporter) {
    let (sender, queue) = mpsc::channel(settings.queue);
    (Spans::new(sender, clock), Exporter { settings, queue, complaints: Complaints::default() })
}

impl Exporter {
    /// Sends what comes until `stop`, then what is left.
    pub async fn run(mut self, net: std::sync::Arc<dyn Net>, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            let room = self.settings.batch - batch.len();
            let more = tokio::select! {
                () = stop.cancelled() => false,
                received = self.queue.recv_many(&mut batch, room) => received > 0,
            };
            if more && batch.len() < self.settings.batch {
                // Others may come: one request is better than many.
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(self.settings.delay) => {}
                }
            }
            while batch.len() < self.settings.batch
                && let Ok(record) = self.queue.try_recv()
            {
                batch.push(record);
            }
            if !batch.is_empty() {
                let limit = if stop.is_cancelled() { FLUSH_WITHIN } else { self.settings.timeout };
                let sent = timeout(limit, self.send(&*net, &batch)).await;
                match sent.unwrap_or_else(|_| Err(format!("no answer within {limit:?}"))) {
                    Ok(()) => self.complaints.settle("collector"),
                    Err(why) if self.complaints.is_news("collector", &why) => {
                        tracing::warn!(endpoint = %self.settings.url, spans = batch.len(), why, "spans are lost");
                    }
                    Err(_) => {}
                }
                batch.clear();
            }
            if !more {
                return;
            }
        }
    }

    async fn send(&self, net: &dyn Net, batch: &[SpanRecord]) -> Result<(), String> {
        let body = protobuf::request(&self.settings.resource, batch);
        let stream = net.connect(&self.settings.address).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let mut request = Request::post(self.settings.url.path())
            .header(header::HOST, &self.settings.host)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::CONNECTION, "close");
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            // Read, so that the collector does not take it for an abort; what is in it helps nobody here.
            Limited::new(answer.into_body(), ANSWER_MAX).collect().await.ok();
            if status.is_success() { Ok(()) } else { Err(format!("the collector answers {status}")) }
        };
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            ended = connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(error.to_string()),
            },
        }
    }
}
