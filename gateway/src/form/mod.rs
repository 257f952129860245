//! Form uploads (POST Object, "Browser-based uploads using POST" in the S3 user guide): a form is read as far as its
//! file, and its signature and policy are judged here, with the errors that S3 gives. What goes on to s3s is another
//! form that holds nothing but the object, under a boundary of ours, and [`Signatory`] says who sent it.
//!
//! ```text
//!  body ─▶ fields ─▶ signature ─▶ policy ─▶ plain form ─▶ s3s ─▶ access check ─▶ handler
//! ```

pub mod fields;
pub mod plain;
pub mod policy;
pub mod signature;

use std::sync::Arc;

use holdfast_wire::seam::{Clock, Random};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use s3s::S3Error;

use self::fields::Fields;
use crate::auth::{Keyring, Slot, Who};
use crate::guard::refusal::{Cause, Refusal};

/// An extension of a form's request: who signed it, and all its fields as they came. Nothing on the wire becomes an
/// extension, so only the server can hand one in.
#[derive(Clone, Debug)]
pub struct Signatory {
    /// Who signed it.
    pub who: Who,
    /// What it says.
    pub fields: Arc<Fields>,
}

/// Why a form goes no further.
#[derive(Debug)]
pub enum Rejected {
    /// What is wrong with it.
    Refused(Refusal),
    /// What is wrong with its key.
    Key(S3Error),
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What judging a form takes.
pub struct Judge {
    /// Whose keys there are.
    pub keyring: Arc<Keyring>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Draws boundaries.
    pub random: Arc<dyn Random>,
    /// The region that signatures must name.
    pub region: String,
}

impl Judge {
    /// Reads and judges the form of a request to `bucket`; on success its head and the returned body are those of the
    /// plain form.
    pub async fn admit(&self, bucket: &str, parts: &mut Parts, body: s3s::Body) -> Result<s3s::Body, Rejected> {
        let (fields, file) = fields::read(parts, body).await?;
        let now_ms = self.clock.unix_millis();
        let who = match signature::signed(&fields)? {
            Some(signed) => {
                let who = signed.check(self, now_ms).await?;
                if let Some(slot) = parts.extensions.get::<Slot>() {
                    slot.note(|found| found.who = Some(who.clone()));
                }
                policy::Policy::parse(signed.policy)?.judge(&fields, bucket, file.len, now_ms)?;
                who
            }
            None => Who::Anonymous,
        };
        let plain = plain::Plain::of(&fields, file.len, self.random.as_ref())?;
        let text = |text: String| HeaderValue::try_from(text).map_err(|_| malformed());
        parts.headers.insert(header::CONTENT_TYPE, text(plain.content_type())?);
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(plain.length()));
        // What a form says of its body stands in its fields.
        for name in ["x-amz-trailer", "x-amz-sdk-checksum-algorithm", "content-encoding"] {
            parts.headers.remove(name);
        }
        if let Some(algorithm) = fields.get("x-amz-sdk-checksum-algorithm").or(fields.get("x-amz-checksum-algorithm")) {
            let name = HeaderName::from_static("x-amz-sdk-checksum-algorithm");
            parts.headers.insert(name, text(algorithm.to_owned())?);
        }
        parts.extensions.insert(Signatory { who, fields: Arc::new(fields) });
        Ok(plain.body(file.stream))
    }
}

fn bad(code: &'static str, message: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, code, message, Cause::Form)
}

/// 400 `MalformedPOSTRequest`
fn malformed() -> Refusal {
    bad("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
}

/// 400 `InvalidArgument`: a field that has to be there is not.
fn missing(field: &'static str) -> Refusal {
    let message = format!(
        "Bucket POST must contain a field named '{field}'.  If it is specified, please check the order of the fields."
    );
    Refusal::invalid_argument(message, Cause::Form).with("ArgumentName", field).with("ArgumentValue", "")
}

/// 400 `InvalidArgument`: a field's value makes no sense.
fn invalid(field: &'static str, value: &str, message: &'static str) -> Refusal {
    Refusal::invalid_argument(message, Cause::Form).with("ArgumentName", field).with("ArgumentValue", value)
}

#[cfg(test)]
mod tests;
