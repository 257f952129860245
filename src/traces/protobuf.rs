//! An `ExportTraceServiceRequest` of OTLP 1 in protobuf's binary form: the few fields that are used, by hand.
//!
//! ```text
//! request        1 resource spans
//! resource spans 1 resource (1 attribute …) · 2 scope spans
//! scope spans    1 scope (1 name) · 2 span …
//! span           1 trace id (16 bytes) · 2 span id (8) · 4 parent (8) · 5 name · 6 kind · 7 start · 8 end (fixed64, ns)
//!                9 attribute … · 15 status (3 code)
//! attribute      1 key · 2 value (1 text, 3 number)
//! ```

use super::SpanRecord;
use crate::protobuf::{bytes, fixed64, message, varint_field};

const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const FAILED: u64 = 2;

/// The bytes of one request.
pub fn request(resource: &[(String, String)], spans: &[SpanRecord]) -> Vec<u8> {
    let described = message(|out| {
        for (key, value) in resource {
            bytes(out, 1, &attribute(key, |out| bytes(out, 1, value.as_bytes())));
        }
    });
    let scope = message(|out| bytes(out, 1, b"holdfast"));
    let spans = message(|out| {
        bytes(out, 1, &scope);
        spans.iter().for_each(|record| bytes(out, 2, &span(record)));
    });
    let all = message(|out| {
        bytes(out, 1, &described);
        bytes(out, 2, &spans);
    });
    message(|out| bytes(out, 1, &all))
}

fn span(record: &SpanRecord) -> Vec<u8> {
    let end = record.ended_ms * 1_000_000;
    let number = |key: &str, value: u64| attribute(key, |out| varint_field(out, 3, value));
    let text = |key: &str, value: &str| attribute(key, |out| bytes(out, 1, value.as_bytes()));
    message(|out| {
        bytes(out, 1, &record.trace.to_be_bytes());
        bytes(out, 2, &record.span.to_be_bytes());
        if record.parent != 0 {
            bytes(out, 4, &record.parent.to_be_bytes());
        }
        bytes(out, 5, record.name.as_bytes());
        varint_field(out, 6, if record.server { SERVER } else { CLIENT });
        fixed64(out, 7, end.saturating_sub(record.micros * 1000));
        fixed64(out, 8, end);
        if let Some(request) = record.request {
            bytes(out, 9, &text("aws.request_id", &format!("{request:016X}")));
        }
        if let Some(status) = record.status {
            bytes(out, 9, &number("http.response.status_code", status));
        }
        if let Some(node) = record.node {
            bytes(out, 9, &number("holdfast.node", node));
        }
        if record.failed {
            bytes(out, 15, &message(|out| varint_field(out, 3, FAILED)));
        }
    })
}

fn attribute(key: &str, value: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    message(|out| {
        bytes(out, 1, key.as_bytes());
        bytes(out, 2, &message(&value));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `protoc --encode=opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`, field by field.
    #[test]
    fn a_span_is_these_bytes() {
        let record = SpanRecord {
            trace: 1,
            span: 2,
            parent: 3,
            name: "n".to_owned(),
            server: true,
            ended_ms: 1,
            micros: 1000,
            failed: true,
            request: None,
            status: Some(503),
            node: None,
        };
        let hex: String = span(&record).iter().map(|byte| format!("{byte:02x}")).collect();
        let status = "4a200a19687474702e726573706f6e73652e7374617475735f636f6465120318f703";
        let expected = format!(
            "0a10{:032x}1208{:016x}2208{:016x}2a016e300239000000000000000041{}{status}7a021802",
            1, 2, 3, "40420f0000000000",
        );
        assert_eq!(hex, expected);
        let whole = request(&[("k".to_owned(), "v".to_owned())], &[]);
        assert_eq!(whole, b"\x0a\x1a\x0a\x0a\x0a\x08\x0a\x01k\x12\x03\x0a\x01v\x12\x0c\x0a\x0a\x0a\x08holdfast");
    }
}
