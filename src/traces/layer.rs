//! Where spans come from: events of one target, which every part of the process tells when a span has ended.

use std::fmt;
use std::sync::Arc;

use holdfast_wire::seam::Clock;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// A span that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanRecord {
    /// The trace's id.
    pub trace: u128,
    /// Its own id.
    pub span: u64,
    /// Its parent's; 0: none.
    pub parent: u64,
    /// Its name.
    pub name: String,
    /// Whether it answers; else it asks.
    pub server: bool,
    /// When it ended, Unix milliseconds.
    pub ended_ms: u64,
    /// How long it took.
    pub micros: u64,
    /// Whether it failed.
    pub failed: bool,
    /// The S3 request's id.
    pub request: Option<u64>,
    /// The HTTP status of the answer.
    pub status: Option<u64>,
    /// The node that was asked.
    pub node: Option<u64>,
}

/// Listens for spans.
pub struct Spans {
    queue: mpsc::Sender<SpanRecord>,
    clock: Arc<dyn Clock>,
}

impl Spans {
    /// Puts them into `queue`, as long as there is room.
    pub fn new(queue: mpsc::Sender<SpanRecord>, clock: Arc<dyn Clock>) -> Self {
        Self { queue, clock }
    }
}

impl<S: Subscriber> Layer<S> for Spans {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut record = SpanRecord { ended_ms: self.clock.unix_millis(), ..SpanRecord::default() };
        event.record(&mut record);
        // A collector that does not keep up loses some: requests do not wait for it.
        let _ = self.queue.try_send(record);
    }
}

impl Visit for SpanRecord {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "span" => self.span = value,
            "parent" => self.parent = value,
            "micros" => self.micros = value,
            "request" => self.request = Some(value),
            "status" => self.status = Some(value),
            "node" => self.node = Some(value),
            _ => {}
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        if field.name() == "trace" {
            self.trace = value;
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "server" => self.server = value,
            "failed" => self.failed = value,
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "name" {
            value.clone_into(&mut self.name);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use holdfast_wire::context::{Ended, RequestTag, SPANS, Side, Trace};
    use holdfast_wire::seam::SystemClock;
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[tokio::test]
    async fn an_ended_span_arrives_and_other_events_do_not() {
        let (sender, mut queue) = mpsc::channel(1);
        let spans = Spans::new(sender, Arc::new(SystemClock));
        let only = Targets::new().with_target(SPANS, tracing::Level::INFO);
        let subscriber = tracing_subscriber::registry().with(spans.with_filter(only));
        let ended = Ended {
            own: Trace { id: 1 << 100, span: 2 },
            parent: 3,
            name: "GetObject",
            side: Side::Server,
            began: tokio::time::Instant::now(),
            failed: true,
            request: Some(RequestTag(4)),
            status: Some(503),
            node: None,
        };
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(span = 9, "something else");
            ended.tell();
            // One too many: lost, and nobody waits.
            ended.tell();
        });
        let got = queue.recv().await.unwrap();
        let expected = SpanRecord {
            trace: 1 << 100,
            span: 2,
            parent: 3,
            name: "GetObject".to_owned(),
            server: true,
            failed: true,
            request: Some(4),
            status: Some(503),
            ended_ms: got.ended_ms,
            micros: got.micros,
            node: None,
        };
        assert_eq!(got, expected);
        assert!(queue.try_recv().is_err());
    }
}
