//! The API from the outside: who may ask, what is answered, and that its description is whole.

use super::*;
use crate::cluster::tests::{access, cluster};
use crate::status::tests::healthy;

fn admin(token: Option<&str>) -> Admin {
    Admin::new(cluster(Some(healthy())), access(cluster(Some(healthy()))), token.map(Secret::new))
}

async fn ask(
    admin: &Admin,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, serde_json::Value) {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost:9001");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = admin.handle(request.body(Bytes::from(body.to_owned())).unwrap()).await;
    (response.status().as_u16(), serde_json::from_slice(response.body().whole()).unwrap())
}

#[tokio::test]
async fn the_status_is_json() {
    let (status, body) = ask(&admin(None), "GET", "/v1/cluster", &[], "").await;
    assert_eq!((status, &body["health"]), (200, &"ok".into()));
    assert_eq!(body["nodes"][1]["name"], "n2");
    let silent = Admin::new(cluster(None), access(cluster(None)), None);
    assert_eq!(ask(&silent, "GET", "/v1/cluster", &[], "").await.0, 503);
}

#[tokio::test]
async fn a_token_is_asked_for_if_there_is_one() {
    let guarded = admin(Some("sixteen-letters!"));
    for headers in [&[][..], &[("authorization", "Bearer sixteen-letters?")], &[("authorization", "sixteen-letters!")]]
    {
        assert_eq!(ask(&guarded, "GET", "/v1/cluster", headers, "").await.0, 401);
    }
    let right = [("authorization", "bearer sixteen-letters!")];
    assert_eq!(ask(&guarded, "GET", "/v1/cluster", &right, "").await.0, 200);
}

#[tokio::test]
async fn without_a_token_web_pages_are_refused() {
    let open = admin(None);
    assert_eq!(ask(&open, "GET", "/v1/cluster", &[("origin", "http://evil.example")], "").await.0, 403);
    let rebound = Request::get("/v1/cluster").header("host", "evil.example:9001").body(Bytes::new()).unwrap();
    assert_eq!(open.handle(rebound).await.status(), 403);
    let nameless = Request::get("/v1/cluster").body(Bytes::new()).unwrap();
    assert_eq!(open.handle(nameless).await.status(), 403);
}

#[tokio::test]
async fn operations_are_parsed_strictly_and_answered_in_words() {
    let open = admin(None);
    let transfer = "/v1/cluster/transfer-leader";
    assert_eq!(ask(&open, "POST", transfer, &[], r#"{"group":1,"node":"n2"}"#).await.0, 200);
    assert_eq!(ask(&open, "POST", transfer, &[], r#"{"group":9,"node":"n2"}"#).await.0, 404);
    assert_eq!(ask(&open, "POST", transfer, &[], r#"{"group":1,"node":"n2","x":1}"#).await.0, 400);
    assert_eq!(ask(&open, "POST", transfer, &[], "").await.0, 400);
    assert_eq!(ask(&open, "GET", transfer, &[], "").await.0, 405);
    assert_eq!(ask(&open, "GET", "/v1/nothing", &[], "").await.0, 404);
    let (status, body) = ask(&open, "POST", "/v1/cluster/remove-node", &[], r#"{"node":"n9"}"#).await;
    assert_eq!((status, body["error"].as_str().unwrap()), (404, "there is no node n9"));
}

#[tokio::test]
async fn every_route_is_described_and_belongs_to_a_command() {
    let (status, document) = ask(&admin(None), "GET", "/v1/openapi.json", &[], "").await;
    assert_eq!((status, &document["openapi"]), (200, &"3.1.0".into()));
    let mut seen = std::collections::BTreeSet::new();
    for route in routes() {
        let method = route.method.as_str().to_lowercase();
        assert!(seen.insert((route.path, method.clone())), "{method} {} stands twice", route.path);
        let described = &document["paths"][route.path][&method];
        assert_eq!(described["summary"], route.about, "{method} {}", route.path);
        assert_eq!(described["requestBody"].is_null(), route.body.is_none(), "{method} {}", route.path);
        let mut command = crate::cli::command();
        for word in route.command.split(' ') {
            command = match command.find_subcommand(word) {
                Some(found) => found.clone(),
                None => panic!("{method} {}: there is no command `holdfast {}`", route.path, route.command),
            };
        }
    }
    let references = serde_json::to_string(&document).unwrap();
    for (at, _) in references.match_indices("\"#/components/schemas/") {
        let name = references[at..].split('/').nth(3).unwrap().split('"').next().unwrap();
        assert!(!document["components"]["schemas"][name].is_null(), "the schema {name} is missing");
    }
}

#[test]
fn a_path_matches_by_segments() {
    let route = Route { path: "/v1/things/{thing}/parts", ..cluster_route() };
    assert_eq!(route.matches("/v1/things/a%2Fb/parts"), Some(vec!["a/b".to_owned()]));
    for other in ["/v1/things//parts", "/v1/things/a", "/v1/things/a/parts/b", "/v1/things/a/part", "v1"] {
        assert_eq!(route.matches(other), None, "{other}");
    }
}

#[test]
fn a_query_is_decoded() {
    let ask = Ask::new(vec![], "a=1&b=x%20y&c".to_owned(), Bytes::new());
    assert_eq!(ask.query("b").as_deref(), Some("x y"));
    assert_eq!((ask.query("c").as_deref(), ask.query("d")), (Some(""), None));
}

fn cluster_route() -> Route {
    Route {
        method: http::Method::GET,
        path: "",
        about: "",
        command: "",
        query: &[],
        body: None,
        answer: route::Answer::Nothing,
        handle: |_, _| futures::future::ready(error(StatusCode::NOT_FOUND, "")).boxed(),
    }
}
