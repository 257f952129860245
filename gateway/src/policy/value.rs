//! Numbers, dates, addresses and ARNs as conditions compare them.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv6Addr};

use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, macros::format_description};

/// A number: exact where it is whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Whole.
    Whole(i128),
    /// With a fraction or an exponent.
    Real(f64),
}

impl Number {
    /// Reads a decimal number.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(whole) = text.parse() {
            return Some(Self::Whole(whole));
        }
        let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
        let real = text.chars().all(plain).then(|| text.parse::<f64>().ok()).flatten();
        real.filter(|number| number.is_finite()).map(Self::Real)
    }

    /// How it compares.
    pub fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(one), Self::Whole(two)) => Some(one.cmp(&two)),
            (one, two) => one.real().partial_cmp(&two.real()),
        }
    }

    fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}

/// Nanoseconds since 1970 of an ISO 8601 date or time, or of seconds since 1970.
pub fn date(text: &str) -> Option<i128> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(time.unix_timestamp_nanos());
    }
    let day = format_description!("[year]-[month]-[day]");
    if let Ok(date) = Date::parse(text, day) {
        return Some(date.midnight().assume_utc().unix_timestamp_nanos());
    }
    text.parse::<i64>().ok().map(|seconds| i128::from(seconds) * 1_000_000_000)
}

/// `true` or `false`, in any case.
pub fn truth(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    text.eq_ignore_ascii_case("false").then_some(false)
}

/// A range of addresses, or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// As version 6; version 4 stands in `::ffff:0:0/96`.
    base: u128,
    /// Bits that count, of 128.
    prefix: u8,
}

/// `::ffff:0:0/96`.
const VERSION_4: u128 = 0xffff << 32;

impl Network {
    /// Reads `ADDRESS` or `ADDRESS/BITS`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if bits.bytes().all(|b| b.is_ascii_digit()) => {
                (address, Some(bits.parse::<u8>().ok()?))
            }
            Some(_) => return None,
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then(|| {
            let prefix = bits + (128 - width);
            Self { base: number(address) & mask(prefix), prefix }
        })
    }

    /// Whether it holds an address.
    pub fn contains(&self, address: IpAddr) -> bool {
        number(address) & mask(self.prefix) == self.base
    }

    /// Whether it is too wide to count as a restriction: wider than `/8` of version 4, however that is written, or `/32`
    /// of version 6.
    pub fn is_wide(&self) -> bool {
        let common = mask(self.prefix.min(96));
        let has_version_4 = self.base & common == VERSION_4 & common;
        self.prefix < if has_version_4 { 96 + 8 } else { 32 }
    }
}

fn number(address: IpAddr) -> u128 {
    let six: Ipv6Addr = match address {
        IpAddr::V4(four) => four.to_ipv6_mapped(),
        IpAddr::V6(six) => six,
    };
    six.to_bits()
}

fn mask(prefix: u8) -> u128 {
    if prefix == 0 { 0 } else { u128::MAX << (128 - u32::from(prefix)) }
}

/// The six parts of an ARN.
pub fn arn(text: &str) -> Option<[&str; 6]> {
    let mut parts = text.splitn(6, ':');
    let parts = [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    (parts[0] == "arn").then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_where_they_are_whole() {
        let order = |a, b| Number::parse(a).unwrap().order(Number::parse(b).unwrap()).unwrap();
        assert_eq!(order("9007199254740993", "9007199254740992"), Ordering::Greater);
        assert_eq!(order("1.5", "2"), Ordering::Less);
        assert_eq!(order("1.0", "1"), Ordering::Equal);
        for bad in ["", "x", "NaN", "inf", "1e999", "0x10", " 1"] {
            assert_eq!(Number::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_are_iso_8601_or_seconds() {
        assert_eq!(date("1970-01-02"), Some(86_400_000_000_000));
        assert_eq!(date("1970-01-01T00:00:01Z"), Some(1_000_000_000));
        assert_eq!(date("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(date("2"), Some(2_000_000_000));
        assert_eq!(date("yesterday"), None);
    }

    #[test]
    fn networks_hold_addresses_of_both_versions() {
        let holds = |network: &str, address: &str| Network::parse(network).unwrap().contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.1.2.3") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("10.0.0.1", "10.0.0.1") && !holds("10.0.0.1", "10.0.0.2"));
        assert!(holds("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "1.2.3.4") && holds("2001:db8::/32", "2001:db8::1"));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "x", "::/129"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
        for (network, wide) in [
            ("0.0.0.0/0", true),
            ("10.0.0.0/7", true),
            ("10.0.0.0/8", false),
            ("::ffff:0:0/96", true),
            ("::ffff:10.0.0.0/103", true),
            ("::ffff:10.0.0.0/104", false),
            ("::/64", true),
            ("::1/128", false),
            ("2001:db8::/31", true),
            ("2001:db8::/32", false),
        ] {
            assert_eq!(Network::parse(network).unwrap().is_wide(), wide, "{network}");
        }
    }
}
