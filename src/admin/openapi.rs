//! The API's own description, made of the table of routes.

use futures::FutureExt;
use http::{Method, StatusCode};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::route::{Answer, Route};

/// What there is.
pub const ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/v1/openapi.json",
    about: "This API as an OpenAPI 3.1 document",
    command: "openapi",
    query: &[],
    body: None,
    answer: Answer::Json(SchemaGenerator::subschema_for::<Map<String, Value>>),
    handle: |_, _| async { crate::http::json(StatusCode::OK, &document(super::routes())) }.boxed(),
}];

/// What every refusal looks like.
#[derive(Serialize, JsonSchema)]
struct Error {
    /// One line that says what is wrong.
    error: String,
}

/// The document. Within version 1 of the API nothing is removed or renamed; fields and routes are added.
pub fn document<'a>(routes: impl Iterator<Item = &'a Route>) -> Value {
    // The schemas of OpenAPI 3.1 are those of JSON Schema 2020-12.
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let refusal = generator.subschema_for::<Error>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let mut parameters: Vec<_> = path
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        parameters.extend(route.query.iter().map(|(name, about)| {
            json!({ "name": name, "in": "query", "description": about, "schema": { "type": "string" } })
        }));
        let answer = match &route.answer {
            Answer::Json(schema) => json!({ "application/json": { "schema": schema(&mut generator) } }),
            Answer::Nothing => json!({ "application/json": { "schema": { "type": "object" } } }),
            Answer::Stream(kind) => json!({ *kind: { "schema": { "type": "string", "format": "binary" } } }),
        };
        let mut operation = json!({
            "summary": route.about,
            "description": format!("`holdfast {}`", route.command),
            "operationId": format!("{} {}", route.method.as_str().to_lowercase(), route.path),
            "parameters": parameters,
            "responses": {
                "200": { "description": "done", "content": answer },
                "default": {
                    "description": "refused or failed",
                    "content": { "application/json": { "schema": refusal } },
                },
            },
        });
        if let Some(schema) = route.body {
            let content = json!({ "application/json": { "schema": schema(&mut generator) } });
            operation["requestBody"] = json!({ "required": true, "content": content });
        }
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "token": [] }],
    })
}
