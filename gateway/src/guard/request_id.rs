//! Request ids: unique, unguessable, made without a system call per request.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_wire::seam::Random;
use http::HeaderValue;

/// The id of one S3 request: 16 upper-case hexadecimal digits, as AWS has them. Handlers find it in the request's extensions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 16]);

impl RequestId {
    fn new(number: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        Self(std::array::from_fn(|place| DIGITS[(number >> (60 - 4 * place)) as usize & 15]))
    }

    /// The number that is written out.
    pub fn number(&self) -> u64 {
        u64::from_str_radix(self.as_str(), 16).expect("16 hexadecimal digits")
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are UTF-8")
    }

    /// The id as a header's value.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("hexadecimal digits may stand in a header")
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes the request ids of one gateway.
pub struct RequestIds {
    seed: u64,
    made: AtomicU64,
    host: HeaderValue,
    host_text: String,
}

impl RequestIds {
    /// Seeds a sequence; two gateways have different ones.
    pub fn new(random: &dyn Random) -> Self {
        let mut bytes = [0; 36];
        random.fill(&mut bytes);
        let host_text = STANDARD.encode(bytes);
        let host = HeaderValue::from_str(&host_text).expect("base64 may stand in a header");
        Self { seed: random.next_u64(), made: AtomicU64::new(0), host, host_text }
    }

    /// The next id. A bijection of a counter: it does not repeat within 2^64 requests.
    pub fn next(&self) -> RequestId {
        let count = self.made.fetch_add(1, Ordering::Relaxed);
        let mut x = self.seed.wrapping_add(count.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        RequestId::new(x ^ (x >> 31))
    }

    /// Which gateway answered: the value of `x-amz-id-2` and `HostId`.
    pub fn host(&self) -> &str {
        &self.host_text
    }

    /// What tells these ids from those of other gateways.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// [`RequestIds::host`] as a header's value.
    pub fn host_header(&self) -> HeaderValue {
        self.host.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    struct Fixed;
    impl Random for Fixed {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    #[test]
    fn ids_differ_and_look_like_those_of_aws() {
        let ids = RequestIds::new(&Fixed);
        let made: HashSet<String> = (0..10_000).map(|_| ids.next().to_string()).collect();
        assert_eq!(made.len(), 10_000);
        for id in &made {
            assert_eq!(id.len(), 16);
            assert!(id.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)), "{id}");
        }
        assert_eq!(ids.host().len(), 48);
    }

    #[test]
    fn the_number_is_written_out_in_full() {
        let id = RequestId::new(0x0123_4567_89AB_CDEF);
        assert_eq!((id.as_str(), id.number()), ("0123456789ABCDEF", 0x0123_4567_89AB_CDEF));
    }
}
