//! A request of HTTP/1.1 as RFC 9112 has it, read strictly.

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path and query as they stand in the request line.
    pub target: String,
    /// Headers in order; names in lower case, values without spaces around them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The path, still encoded.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The query, still encoded.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The values of a header.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Adds a header.
    pub fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Its bytes, with the body's length in the head.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() || self.method == "PUT" || self.method == "POST" {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }

    /// Reads the first of the requests that the bytes are; `None` if they do not begin with one that has a body of told length.
    pub fn read(mut bytes: &[u8]) -> Option<Self> {
        // RFC 9112 §2.2: empty lines in front of a request are passed over.
        while let Some(rest) = bytes.strip_prefix(b"\r\n").or_else(|| bytes.strip_prefix(b"\n")) {
            bytes = rest;
        }
        // RFC 9112 §2.2: a line feed alone may be taken for the end of a line.
        let ends = |at: &usize| bytes[*at..].starts_with(b"\n\n") || bytes[*at..].starts_with(b"\n\r\n");
        let end = (0..bytes.len()).find(ends)?;
        let body = bytes[end + 1..].splitn(2, |byte| *byte == b'\n').nth(1)?;
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let line: Vec<&str> = lines.next()?.split(' ').collect();
        let [method, target, "HTTP/1.1" | "HTTP/1.0"] = line[..] else { return None };
        let mut request = Self { method: method.to_owned(), target: target.to_owned(), ..Self::default() };
        for line in lines {
            let (name, value) = line.split_once(':')?;
            request.add(&name.to_ascii_lowercase(), value.trim_matches([' ', '\t']));
        }
        let mut lengths = request.values("content-length");
        let length = lengths.next().map_or(Some(0), |text| text.parse().ok())?;
        let sound = lengths.next().is_none() && request.values("transfer-encoding").next().is_none();
        drop(lengths);
        request.body = body.get(..length).filter(|_| sound)?.to_vec();
        Some(request)
    }
}

/// Percent-decoded; what is no escape stays.
pub fn decoded(text: &str) -> Vec<u8> {
    let (mut rest, mut bytes) = (text.as_bytes(), Vec::new());
    while let Some((&first, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|byte| (*byte as char).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    bytes
}
