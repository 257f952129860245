//! Dates, ranges, entity tags and small documents, read plainly. RFC 9110 §5.6.7, §8.8.3, §13 and §14; XML 1.0.

use quick_xml::events::Event;

/// Unix seconds of a civil date and time, counted year by year and month by month.
pub fn unix(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> i64 {
    let leap = |year: i64| i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let mut days: i64 = (1970..year).map(|year| 365 + leap(year)).sum();
    days -= (year..1970).map(|year| 365 + leap(year)).sum::<i64>();
    let months = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += months[..(month - 1) as usize].iter().sum::<i64>() + day - 1;
    ((days * 24 + hour) * 60 + minute) * 60 + second
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Year, month, day, and seconds of the day.
fn civil(unix_s: i64) -> (i64, i64, i64, i64) {
    let mut year = 1970;
    while unix(year + 1, 1, 1, 0, 0, 0) <= unix_s {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && unix(year, month + 1, 1, 0, 0, 0) <= unix_s {
        month += 1;
    }
    (year, month, (unix_s - unix(year, month, 1, 0, 0, 0)) / 86_400 + 1, unix_s.rem_euclid(86_400))
}

/// `YYYYMMDDTHHMMSSZ`, as signatures have it.
pub fn stamp(unix_s: i64) -> String {
    let (year, month, day, of_day) = civil(unix_s);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// `YYYY-MM-DDTHH:MM:SSZ`, as policies of forms have it.
pub fn iso(unix_s: i64) -> String {
    let (year, month, day, of_day) = civil(unix_s);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// A date of HTTP, in the one form that may be made (RFC 9110 §5.6.7).
pub fn http_date(unix_s: i64) -> String {
    let days = unix_s.div_euclid(86_400);
    let name = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days.rem_euclid(7) as usize];
    let (year, month, day, of_day) = civil(unix_s);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{name}, {day:02} {} {year:04} {hour:02}:{minute:02}:{second:02} GMT", MONTHS[month as usize - 1])
}

/// What a range of an object of so many bytes comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranged {
    /// It means nothing: everything.
    All,
    /// First byte and count.
    Part(u64, u64),
    /// Nothing of the object lies in it.
    Beyond,
}

/// What a `Range` header means.
pub fn range(text: &str, size: u64) -> Ranged {
    let number = |digits: &str| {
        let sound = !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit());
        sound.then(|| {
            digits.chars().fold(0_u128, |sum, digit| sum.saturating_mul(10).saturating_add(digit as u128 - 48))
        })
    };
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|rest| rest.split_once('-')) else {
        return Ranged::All;
    };
    let size = u128::from(size);
    let part = |first: u128, last: u128| match first < size {
        true => Ranged::Part(first as u64, (last.min(size - 1) - first + 1) as u64),
        false => Ranged::Beyond,
    };
    match (number(first), number(last)) {
        (Some(first), None) if last.is_empty() => part(first, size.saturating_sub(1)),
        (Some(first), Some(last)) if first <= last => part(first, last),
        (None, Some(count)) if first.is_empty() && count > 0 => {
            part(size.saturating_sub(count), size.saturating_sub(1))
        }
        (None, Some(_)) if first.is_empty() => Ranged::Beyond,
        _ => Ranged::All,
    }
}

/// The texts of elements whose path of names ends so, and how often the path stands there; `None` if it is no document.
pub fn texts(xml: &[u8], path: &[&str]) -> Option<Vec<String>> {
    let mut reader = quick_xml::Reader::from_reader(xml);
    let (mut open, mut found, mut text) = (Vec::new(), Vec::new(), String::new());
    let name = |name: quick_xml::name::QName<'_>| String::from_utf8_lossy(name.local_name().as_ref()).into_owned();
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                open.push(name(start.name()));
                text.clear();
            }
            Event::Empty(empty) => {
                open.push(name(empty.name()));
                if open.iter().eq(path) {
                    found.push(String::new());
                }
                open.pop();
            }
            Event::End(_) => {
                if open.iter().eq(path) {
                    found.push(std::mem::take(&mut text));
                }
                open.pop();
                text.clear();
            }
            Event::Text(piece) => text += &piece.decode().ok()?,
            Event::CData(piece) => text += &String::from_utf8_lossy(&piece),
            Event::GeneralRef(entity) => match entity.resolve_char_ref().ok()? {
                Some(c) => text.push(c),
                None => text.push(match &*entity.decode().ok()? {
                    "lt" => '<',
                    "gt" => '>',
                    "amp" => '&',
                    "apos" => '\'',
                    "quot" => '"',
                    _ => return None,
                }),
            },
            Event::Eof => return open.is_empty().then_some(found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_rfc() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(
            (stamp(784_111_777), iso(951_782_400)),
            ("19941106T084937Z".to_owned(), "2000-02-29T00:00:00Z".to_owned())
        );
        assert_eq!(unix(1994, 11, 6, 8, 49, 37), 784_111_777);
    }

    #[test]
    fn ranges_are_those_of_the_rfc() {
        for (text, expected) in [
            ("bytes=0-0", Ranged::Part(0, 1)),
            ("bytes=4-99", Ranged::Part(4, 6)),
            ("bytes=-3", Ranged::Part(7, 3)),
            ("bytes=-99", Ranged::Part(0, 10)),
            ("bytes=-0", Ranged::Beyond),
            ("bytes=10-", Ranged::Beyond),
            ("bytes=3-2", Ranged::All),
            ("bytes=a-", Ranged::All),
            ("octets=1-2", Ranged::All),
        ] {
            assert_eq!(range(text, 10), expected, "{text}");
        }
    }

    #[test]
    fn texts_are_found_by_their_path() {
        let xml = b"<a><b>x&amp;y</b><c><b>no</b></c><b/><b><![CDATA[<]]></b></a>";
        assert_eq!(texts(xml, &["a", "b"]).unwrap(), ["x&y", "", "<"]);
        assert_eq!(texts(b"<a><b></a>", &["a"]), None);
    }
}
