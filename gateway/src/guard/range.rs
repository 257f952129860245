//! `Range` headers that s3s refuses with 400 (or, `bytes=-`, takes for a range of nothing) and S3 does not: one that
//! cannot be understood is ignored and the whole object is answered; a number beyond every object is just that.

use http::{HeaderMap, HeaderValue, header};

use super::table::Operation;

/// How a `Range` that s3s does not understand is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// As if it were not there.
    Nothing,
    /// As this one, which s3s takes.
    Range(HeaderValue),
}

/// What a read's `Range` means; `None` if there is none or s3s understands it as it is.
pub fn meant(operation: Operation, headers: &HeaderMap) -> Option<Meant> {
    if !matches!(operation, Operation::GetObject | Operation::HeadObject) {
        return None;
    }
    let value = headers.get(header::RANGE).filter(|value| !value.is_empty())?;
    let text = value.to_str().unwrap_or_default();
    match clamped(text) {
        Some(clamped) if clamped == text => None,
        Some(clamped) => Some(clamped.parse().map_or(Meant::Nothing, Meant::Range)),
        None => Some(Meant::Nothing),
    }
}

/// One range with its numbers cut to what fits; `None` unless it is one range, and not backwards.
fn clamped(text: &str) -> Option<String> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |digits: &str| {
        let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // Only overflow is left to fail.
        all_digits.then(|| digits.parse::<u128>().unwrap_or(u128::MAX))
    };
    let cut = |number: u128| number.min(i64::MAX as u128);
    match (number(first), number(last)) {
        (None, Some(length)) if first.is_empty() => Some(format!("bytes=-{}", cut(length))),
        (Some(first), None) if last.is_empty() => Some(format!("bytes={}-", cut(first))),
        (Some(first), Some(last)) if first <= last => Some(format!("bytes={}-{}", cut(first), cut(last))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Meant> {
        let headers = [(header::RANGE, text.parse().unwrap())].into_iter().collect();
        meant(Operation::GetObject, &headers)
    }

    #[test]
    fn a_sound_range_is_left_alone() {
        for text in ["bytes=0-0", "bytes=5-", "bytes=-5", "bytes=0-9223372036854775807", ""] {
            assert_eq!(of(text), None, "{text}");
            assert_eq!(s3s::dto::Range::parse(text).is_ok(), !text.is_empty(), "{text}");
        }
        assert_eq!(meant(Operation::GetObject, &HeaderMap::new()), None);
        let headers = [(header::RANGE, HeaderValue::from_static("nonsense"))].into_iter().collect();
        assert_eq!(meant(Operation::PutObject, &headers), None);
    }

    #[test]
    fn nonsense_means_nothing() {
        for text in [
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=2-1",
            "bytes=0-1,3-4",
            "bytes=1",
            "octets=0-1",
            "bytes=+1-2",
            "bytes= 1-2",
            "0-1",
            "bytes=1-2-3",
        ] {
            assert_eq!(of(text), Some(Meant::Nothing), "{text}");
        }
    }

    #[test]
    fn numbers_beyond_every_object_are_cut() {
        let huge = "9".repeat(60);
        let most = i64::MAX;
        for (text, expected) in [
            (format!("bytes=0-{huge}"), format!("bytes=0-{most}")),
            (format!("bytes={huge}-"), format!("bytes={most}-")),
            (format!("bytes=-{huge}"), format!("bytes=-{most}")),
            (format!("bytes={huge}-{huge}"), format!("bytes={most}-{most}")),
        ] {
            assert_eq!(of(&text), Some(Meant::Range(expected.parse().unwrap())), "{text}");
        }
    }
}
