//! Malformed and oversized requests, and the document.

use api::access::Role;
use serde_json::{Value, json};

use crate::site::{Site, ZOOM, at};

pub(crate) async fn what_is_malformed_is_refused_with_a_problem(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let post = async |kind: &str, body: String| {
        Site::send(site.ask("POST", "/v1/meetings", &key).header("content-type", kind.to_owned()).body(body)).await
    };
    let deep = format!("{{\"title\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (kind, body, expected) in [
        ("text/plain", "{}".to_owned(), "unsupported-media-type"),
        ("application/json", "{".into(), "malformed-body"),
        ("application/json", String::new(), "malformed-body"),
        ("application/json", "\u{0}".into(), "malformed-body"),
        // Its type is wrong before its depth matters.
        ("application/json", deep, "invalid"),
        ("application/json", "[]".into(), "invalid"),
        ("application/json", "{}".into(), "invalid"),
        ("application/json", format!("\"{}\"", "x".repeat(600_000)), "too-large"),
    ] {
        let answer = post(kind, body.clone()).await;
        assert_eq!(answer.problem(), expected, "{kind} {}", &body[..body.len().min(40)]);
    }
    for wrong in [
        json!({"meeting_url": "https://evil.example/CANARY"}),
        json!({"meeting_url": ZOOM, "start_time": "tomorrow"}),
        json!({"meeting_url": ZOOM, "start_time": "2027-01-15T09:00:00"}),
        json!({"meeting_url": ZOOM, "start_time": "2099-01-15T09:00:00Z"}),
        json!({"meeting_url": ZOOM, "start_time": at(60), "end_time": at(60)}),
        json!({"meeting_url": ZOOM, "bot_name": ""}),
        json!({"meeting_url": ZOOM, "bot_name": "x".repeat(65)}),
        json!({"meeting_url": ZOOM, "title": "x\u{0}"}),
        json!({"meeting_url": ZOOM, "title": "x".repeat(501)}),
        json!({"meeting_url": ZOOM, "gcs_path": "../up"}),
        json!({"meeting_url": ZOOM, "priority": 1.5}),
        json!({"meeting_url": ZOOM, "status": "done"}),
        json!({"meeting_url": 7}),
    ] {
        let answer = site.post("/v1/meetings", &key, wrong.clone()).await;
        assert_eq!((answer.status, answer.problem()), (422, "invalid"), "{wrong}");
        assert!(!answer.body.to_string().contains("CANARY"));
    }
    // The same instant in another zone, on the day that its clocks change, is the same occurrence.
    let zoned = |start: &str| json!({"meeting_url": ZOOM, "start_time": start});
    let start = "2027-10-31T02:30:00+02:00";
    assert_eq!(site.post("/v1/meetings", &key, zoned(start)).await.status, 201);
    assert_eq!(site.post("/v1/meetings", &key, zoned("2027-10-31T00:30:00Z")).await.status, 200);
    assert_eq!(site.post("/v1/meetings", &key, zoned("2027-10-31T02:30:00+01:00")).await.status, 201);
    assert_eq!(site.get("/nowhere", &key).await.problem(), "not-found");
    assert_eq!(Site::send(site.ask("DELETE", "/v1/meetings", &key)).await.problem(), "method-not-allowed");
    assert_eq!(site.get(&format!("/v1/meetings/{}", "x".repeat(5_000)), &key).await.problem(), "not-found");
}

pub(crate) async fn every_route_is_in_the_document_and_every_operation_of_it_answers(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Admin, &[]).await;
    let document = site.get("/openapi.json", "").await.body;
    assert_eq!(document, api::openapi());
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    // A route is made by `routes!`, which documents it; the document and its page describe themselves.
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    for file in std::fs::read_dir(source).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| line.contains(".route(")) {
            assert!(line.contains("/openapi.json") && line.contains("/docs"), "an undocumented route: {line}");
        }
    }
    let mut count = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            count += 1;
            assert!(operation["summary"].is_string() && operation["responses"].is_object(), "{method} {path} says nothing");
            for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "path") {
                let name = parameter["name"].as_str().unwrap();
                assert!(path.contains(&format!("{{{name}}}")), "{method} {path} has no {name} in its path");
            }
            let request = site.ask(&method.to_uppercase(), &path.replace(['{', '}'], ""), &key);
            let body = if method == "get" { request } else { request.json(&json!({})) };
            let response = body.send().await.unwrap();
            let status = response.status().as_u16();
            assert!(status != 405 && status < 500, "{method} {path}: {status}");
            if path != "/v1/events" && status == 404 {
                let problem: Value = response.json().await.unwrap();
                assert_ne!(problem["detail"], "no such address; GET /openapi.json lists them", "{method} {path}");
            }
        }
    }
    assert_eq!(count, 50, "a new operation belongs into docs/api.md");
    assert_references(&document, &document);
    let page = site.get("/docs", "").await;
    let text = page.body.as_str().unwrap();
    assert!(document["paths"].as_object().unwrap().keys().all(|path| text.contains(path.as_str())));
    assert!(!text.contains("<script") && !text.contains("http://") && !text.contains("https://"), "the page reaches out");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
}

/// Every `$ref` leads somewhere.
fn assert_references(document: &Value, within: &Value) {
    match within {
        Value::Object(fields) => {
            if let Some(Value::String(path)) = fields.get("$ref") {
                assert!(document.pointer(path.trim_start_matches('#')).is_some(), "{path} leads nowhere");
            }
            fields.values().for_each(|value| assert_references(document, value));
        }
        Value::Array(values) => values.iter().for_each(|value| assert_references(document, value)),
        _ => {}
    }
}
