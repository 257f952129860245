//! What stands in a form before its file, and the file behind it.

use std::collections::BTreeMap;
use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header;
use http::request::Parts;
use s3s::StdError;
use s3s_multipart::{Boundary, Error, FinalPartDataStream, Multipart, parse_content_disposition};

use super::{bad, invalid, malformed};
use crate::guard::head;
use crate::guard::refusal::{Cause, Refusal};

/// Bytes of all fields together, and of all their heads. Amazon's limit is 20 KB; tokens of sessions are long.
pub const FIELDS_MAX: usize = 256 << 10;
/// Bytes of one field, and of one part's head.
pub const FIELD_MAX: usize = 64 << 10;
/// Parts of one form.
pub const PARTS_MAX: usize = 100;
/// What follows the file's last byte besides the boundary: `\r\n--` before it and `--\r\n` after it.
const AROUND_LAST_BOUNDARY: u64 = 8;

/// The body that a form is read from.
pub type Source = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send + Sync>>;

/// The fields: names in lower case, each once; what stands there twice is a list, as in the conditions of policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(BTreeMap<String, String>);

impl Fields {
    /// The value of a field, whose name is given in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn add(&mut self, name: &str, value: String) {
        let name = name.to_ascii_lowercase();
        match self.0.get_mut(&name) {
            Some(known) => {
                known.push(',');
                known.push_str(&value);
            }
            None => {
                self.0.insert(name, value);
            }
        }
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Fields {
    fn from(pairs: [(&str, &str); N]) -> Self {
        let mut fields = Self::default();
        pairs.into_iter().for_each(|(name, value)| fields.add(name, value.to_owned()));
        fields
    }
}

/// A file's bytes.
pub type FileStream = FinalPartDataStream<Source>;

/// A form's file.
pub struct File {
    /// Its bytes; an error where the form does not end behind it.
    pub stream: FileStream,
    /// How many there are, as the request's length has it.
    pub len: u64,
}

/// Reads a form up to its file.
pub async fn read(parts: &Parts, body: s3s::Body) -> Result<(Fields, File), Refusal> {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = kind.and_then(boundary).ok_or_else(malformed)?;
    let boundary = Boundary::new(boundary.as_bytes()).map_err(|_| malformed())?;
    let length = head::length(&parts.headers).ok_or_else(malformed)?;
    let source: Source = Box::pin(body.map(|piece: Result<Bytes, StdError>| piece.map_err(Error::stream_read_failed)));
    let mut parser = Multipart::new(source, &boundary, FIELD_MAX);
    let mut fields = Fields::default();
    let (mut size, mut count) = (0, 0);
    while let Some(mut part) = parser.next_part().await.map_err(broken)? {
        count += 1;
        let (mut name, mut file_name) = (None, None);
        while let Some(line) = part.next_header().await.map_err(broken)? {
            size += line.name.len() + line.value.len();
            if line.name.eq_ignore_ascii_case("content-disposition") {
                let found = parse_content_disposition(line.value).ok_or_else(malformed)?;
                name = found.name.map(text).transpose()?;
                file_name = found.file_name.map(text).transpose()?;
            }
        }
        let name = name.ok_or_else(malformed)?;
        if count > PARTS_MAX || size > FIELDS_MAX {
            return Err(too_large());
        }
        if name.eq_ignore_ascii_case("file") {
            let stream = part.take_data_stream().map_err(broken)?.into_final();
            let behind = AROUND_LAST_BOUNDARY + boundary.len() as u64;
            let len = length.checked_sub(stream.multipart_consumed()).and_then(|rest| rest.checked_sub(behind));
            let len = len.ok_or_else(malformed)?;
            name_file(&mut fields, &file_name.unwrap_or_default());
            return Ok((fields, File { stream, len }));
        }
        let mut value = Vec::new();
        while let Some(piece) = part.next_data().await.map_err(broken)? {
            size += piece.len();
            if value.len() + piece.len() > FIELD_MAX || size > FIELDS_MAX {
                return Err(too_large());
            }
            value.extend_from_slice(&piece);
        }
        fields.add(&name, text(&value)?);
    }
    Err(invalid("file", "0", "POST requires exactly one file upload per request."))
}

/// The key may name the file, wherever it wants to: before the policy sees it.
fn name_file(fields: &mut Fields, file_name: &str) {
    if let Some(key) = fields.0.get_mut("key").filter(|key| key.contains("${filename}")) {
        // Browsers once sent whole paths.
        let last = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
        *key = key.replace("${filename}", last);
    }
}

fn text(bytes: &[u8]) -> Result<String, Refusal> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| malformed())
}

/// The parameter `boundary` of a content type.
fn boundary(kind: &str) -> Option<&str> {
    let parameters = kind.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let mut named = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    let (_, value) = named.next()?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    Some(value).filter(|value| !value.is_empty())
}

fn too_large() -> Refusal {
    bad("MaxPostPreDataLengthExceededError", "Your POST request fields preceding the upload file were too large.")
}

fn broken(error: Error) -> Refusal {
    match error {
        Error::StreamReadFailed(_) => Refusal::new(
            http::StatusCode::BAD_REQUEST,
            "IncompleteBody",
            "You did not provide the number of bytes specified by the Content-Length HTTP header.",
            Cause::BrokenBody,
        ),
        Error::HeaderSizeExceeded { .. } => too_large(),
        _ => malformed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_may_be_quoted_and_stand_anywhere() {
        assert_eq!(boundary("multipart/form-data; boundary=edge"), Some("edge"));
        assert_eq!(boundary("multipart/form-data; charset=utf-8; BOUNDARY=\"ed ge\""), Some("ed ge"));
        assert_eq!(boundary("multipart/form-data; boundary="), None);
        assert_eq!(boundary("multipart/form-data"), None);
    }

    #[test]
    fn names_are_lower_case_and_twice_is_a_list() {
        let fields = Fields::from([("Key", "a"), ("KEY", "b"), ("x-amz-meta-A", "1")]);
        assert_eq!(fields.iter().collect::<Vec<_>>(), [("key", "a,b"), ("x-amz-meta-a", "1")]);
    }

    #[test]
    fn a_key_may_name_the_file() {
        let mut fields = Fields::from([("key", "up/${filename}/${filename}")]);
        name_file(&mut fields, "C:\\docs\\one.txt");
        assert_eq!(fields.get("key"), Some("up/one.txt/one.txt"));
    }
}
