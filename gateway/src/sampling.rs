//! Which requests are traced, and under which ids: the client's, if it sends a `traceparent` (W3C Trace Context).

use holdfast_wire::context::Trace;
use http::HeaderMap;

/// Which requests are traced. By default none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampling {
    /// The part of those without a parent, 0 to 1.
    pub ratio: f64,
    /// Whether the parent decides where there is one; otherwise the ratio counts for all.
    pub by_parent: bool,
}

impl Sampling {
    /// The request's own span and its parent's (0: none), if it is traced. `seed` and `number` make its ids.
    pub fn trace(&self, headers: &HeaderMap, seed: u64, number: u64) -> Option<(Trace, u64)> {
        if self.ratio <= 0.0 && !self.by_parent {
            return None;
        }
        let parent = headers.get("traceparent").and_then(|value| parse(value.to_str().ok()?));
        let id = parent.map_or((u128::from(seed) << 64 | u128::from(number)).max(1), |(trace, _)| trace.id);
        let sampled = match parent {
            Some((_, sampled)) if self.by_parent => sampled,
            // By the id alone, so that all who see it decide alike.
            _ => (id as u64 >> 8) as f64 / ((1_u64 << 56) as f64) < self.ratio,
        };
        let above = parent.map_or(0, |(trace, _)| trace.span);
        sampled.then(|| (Trace { id, span: above }.child("s3", number), above))
    }
}

/// `00-TRACE-SPAN-FLAGS`: the place, and whether it is sampled. Later versions may have more behind.
fn parse(text: &str) -> Option<(Trace, bool)> {
    let mut parts = text.trim().split('-');
    let hex = |part: Option<&str>, len: usize| -> Option<u128> {
        let part =
            part.filter(|part| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))?;
        u128::from_str_radix(part, 16).ok()
    };
    let version = hex(parts.next(), 2).filter(|version| *version != 0xff)?;
    let (id, span) = (hex(parts.next(), 32)?, hex(parts.next(), 16)? as u64);
    let flags = hex(parts.next(), 2)?;
    let sound = id != 0 && span != 0 && (version > 0 || parts.next().is_none());
    sound.then_some((Trace { id, span }, flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_a_sound_traceparent_is_taken() {
        let (trace, sampled) = parse(PARENT).unwrap();
        assert_eq!((trace.id, trace.span), (0x0af7651916cd43dd8448eb211c80319c, 0xb7ad6b7169203331));
        assert!(sampled && !parse(&PARENT.replace("-01", "-00")).unwrap().1);
        assert!(parse(&format!("{}-more", PARENT.replacen("00", "01", 1))).is_some());
        for bad in
            ["", "00", "00-0-1-01", &PARENT.to_uppercase(), &format!("{PARENT}-more"), &PARENT.replacen("00", "ff", 1)]
        {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn parent_and_ratio_decide() {
        let mut headers = HeaderMap::new();
        let all = Sampling { ratio: 1.0, by_parent: true };
        let (own, parent) = all.trace(&headers, 1, 2).unwrap();
        assert_eq!((own.id, parent), (1 << 64 | 2, 0));
        assert_eq!(Sampling::default().trace(&headers, 1, 2), None);
        let half = Sampling { ratio: 0.5, by_parent: true };
        let numbers = (0..1000_u64).map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let taken = numbers.filter(|number| half.trace(&headers, 1, *number).is_some()).count();
        assert!((400..600).contains(&taken), "{taken} of 1000");
        headers.insert("traceparent", PARENT.parse().unwrap());
        let (own, parent) = Sampling { ratio: 0.0, by_parent: true }.trace(&headers, 1, 2).unwrap();
        assert_eq!((own.id, parent), (0x0af7651916cd43dd8448eb211c80319c, 0xb7ad6b7169203331));
        headers.insert("traceparent", PARENT.replace("-01", "-00").parse().unwrap());
        assert_eq!(all.trace(&headers, 1, 2), None);
        assert!(Sampling { ratio: 1.0, by_parent: false }.trace(&headers, 1, 2).is_some());
    }
}
