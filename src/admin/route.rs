//! One resource of the admin API: how it is asked for, what it answers, and who answers.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Response};
use percent_encoding::percent_decode_str;
use schemars::{Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use super::Context;
use crate::http::Content;

/// Makes the JSON schema of a type: `SchemaGenerator::subschema_for::<T>`.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;
/// Answers a request.
pub type Handle = fn(Arc<Context>, Ask) -> BoxFuture<'static, Response<Content>>;

/// One resource and method.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; a segment in braces is a parameter, as in OpenAPI.
    pub path: &'static str,
    /// One line for the documentation.
    pub about: &'static str,
    /// The command that uses it, without `holdfast`.
    pub command: &'static str,
    /// Parameters of the query: name and what it does. All may be left out.
    pub query: &'static [(&'static str, &'static str)],
    /// The schema of the request's body.
    pub body: Option<SchemaOf>,
    /// What comes back with 200.
    pub answer: Answer,
    /// Answers it.
    pub handle: Handle,
}

/// What a route answers with 200.
pub enum Answer {
    /// JSON of this schema.
    Json(SchemaOf),
    /// `{}`.
    Nothing,
    /// A stream of this content type.
    Stream(&'static str),
}

impl Route {
    /// The values of the path's parameters, in order, if `path` is this route's.
    pub fn matches(&self, path: &str) -> Option<Vec<String>> {
        let mut found = Vec::new();
        let (mut wanted, mut given) = (self.path.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return Some(found),
                (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {
                    found.push(percent_decode_str(given).decode_utf8().ok()?.into_owned());
                }
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => return None,
            }
        }
    }
}

/// A request to a route.
pub struct Ask {
    parameters: Vec<String>,
    query: String,
    body: Bytes,
}

impl Ask {
    /// Of its parts; `query` as it stands in the URL.
    pub fn new(parameters: Vec<String>, query: String, body: Bytes) -> Self {
        Self { parameters, query, body }
    }

    /// The path's parameter number `at`, from 0.
    pub fn parameter(&self, at: usize) -> &str {
        self.parameters.get(at).map_or("", String::as_str)
    }

    /// A parameter of the query.
    pub fn query(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
            (found == name).then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
        })
    }

    /// The body, read strictly.
    ///
    /// # Errors
    /// What is wrong with it, in words, for a 400.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.body).map_err(|problem| problem.to_string())
    }
}
