//! The one thing of a certificate that the TLS library does not tell: from when until when it is valid (RFC 5280, 4.1).

use time::macros::format_description;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// First and last second of a certificate's validity, Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From.
    pub not_before: i64,
    /// Until.
    pub not_after: i64,
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The validity of a DER certificate; `None` if it is none.
pub fn validity(certificate: &[u8]) -> Option<Validity> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        (_, _, fields) = element(fields)?;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        (_, _, fields) = element(fields)?;
    }
    let (times, _) = expect(fields, SEQUENCE)?;
    let (tag, first, times) = element(times)?;
    let not_before = moment(tag, first)?;
    let (tag, last, _) = element(times)?;
    Some(Validity { not_before, not_after: moment(tag, last)? })
}

/// Tag, content and what follows of the first element.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let len = if first < 0x80 {
        usize::from(first)
    } else {
        let (digits, after) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
        rest = after;
        digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit))
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

fn expect(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(tag, ..)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

fn moment(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let year_digits = match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    };
    if text.len() != year_digits + 10 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |at: usize| text[at..at + 2].parse::<u8>().ok();
    let year = text[..year_digits].parse::<i32>().ok()?;
    let year = match (tag, year) {
        (UTC_TIME, 50..) => 1900 + year,
        (UTC_TIME, _) => 2000 + year,
        _ => year,
    };
    let at = year_digits;
    let date = Date::from_calendar_date(year, Month::try_from(number(at)?).ok()?, number(at + 2)?).ok()?;
    let time = Time::from_hms(number(at + 4)?, number(at + 6)?, number(at + 8)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}

/// A moment as people read it, `2026-11-20 14:56:37 UTC`.
pub fn date(unix: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let moment = OffsetDateTime::from_unix_timestamp(unix).ok().and_then(|moment| moment.format(&format).ok());
    moment.unwrap_or_else(|| format!("second {unix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_validity_of_real_certificates_is_found() {
        for (first, last) in
            [((2020, 1, 1), (2049, 12, 31)), ((1975, 6, 5), (2050, 1, 1)), ((2026, 2, 28), (4096, 1, 1))]
        {
            let mut params = rcgen::CertificateParams::new(vec!["n1".to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(first.0, first.1, first.2);
            params.not_after = rcgen::date_time_ymd(last.0, last.1, last.2);
            let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
            let found = validity(certificate.der()).unwrap();
            assert_eq!(found.not_before, params.not_before.unix_timestamp());
            assert_eq!(found.not_after, params.not_after.unix_timestamp());
            for cut in 0..certificate.der().len().min(200) {
                assert_eq!(validity(&certificate.der()[..cut]), None, "cut at {cut}");
            }
        }
        assert_eq!(date(1_795_186_597), "2026-11-20 14:56:37 UTC");
    }
}
