//! The OpenAPI document, and the page that shows it without reaching out to anywhere and without a script.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use serde_json::{Map, Value, json};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};

use crate::problem::{Kind, TYPE_PREFIX};

const ABOUT: &str = "Schedule meetings, follow and steer their bots, fetch their recordings. Every error is a problem document (RFC 9457). Send the key as \
                     Authorization: Bearer mbk_… (or X-API-Key). A change with an Idempotency-Key can be repeated: it gets the first answer again.";
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    code,pre{font:13px/1.4 ui-monospace,monospace}pre{overflow:auto;padding:.6rem;border:1px solid #8886;border-radius:4px}\
    summary{cursor:pointer;padding:.3rem 0}.m{display:inline-block;min-width:4rem;font-weight:700}td,th{text-align:left;padding:.1rem .8rem .1rem 0;vertical-align:top}\
    :root{color-scheme:light dark}";
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Says that the server answers; `GET /readyz` says whether it can work.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = String, content_type = "text/plain", description = "OK")))]
pub(crate) async fn health() -> &'static str {
    "OK"
}

/// The document without its paths.
pub(crate) fn about() -> OpenApi {
    let info = InfoBuilder::new().title("Meeting recorder").version("1").description(Some(ABOUT)).build();
    OpenApiBuilder::new().info(info).build()
}

/// The document with what all operations share: keys, problems, headers.
pub(crate) fn finished(openapi: &OpenApi) -> Value {
    let mut document = serde_json::to_value(openapi).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({
        "bearer": {"type": "http", "scheme": "bearer", "description": "mbk_…, by controller keys create or POST /v1/keys; or a token of the configured OpenID Connect issuer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    });
    document["components"]["responses"]["Problem"] = json!({
        "description": format!("A problem. Its type is {TYPE_PREFIX} and one of: {}", Kind::ALL.iter().map(|kind| kind.slug()).collect::<Vec<_>>().join(", ")),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for (path, item) in paths.into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            finish(path, method, operation);
        }
    }
    document
}

fn finish(path: &str, method: &str, operation: &mut Value) {
    if path == "/health" {
        operation["security"] = json!([]);
        return;
    }
    let is_open = path.starts_with("/v1/links/");
    operation["security"] = if is_open { json!([]) } else { json!([{"bearer": []}, {"header": []}]) };
    let mut statuses = vec![400, 401, 403, 404, 429, 503];
    if method != "get" {
        statuses.extend([409, 412, 413, 415, 422, 428]);
    }
    if path.ends_with("/artifacts/{name}") || path.starts_with("/v1/links/") {
        statuses.push(416);
    }
    for status in statuses {
        operation["responses"][status.to_string()] = json!({"$ref": "#/components/responses/Problem"});
    }
    operation["responses"]["default"] = json!({"$ref": "#/components/responses/Problem"});
    if method != "get" {
        let key = json!({"name": "Idempotency-Key", "in": "header", "required": false, "schema": {"type": "string", "maxLength": 255},
            "description": "The first answer under this key is given again for 24 hours"});
        match operation.get_mut("parameters").and_then(Value::as_array_mut) {
            Some(parameters) => parameters.push(key),
            None => operation["parameters"] = json!([key]),
        }
    }
}

/// `/openapi.json` and `/docs`.
pub(crate) fn pages<S: Clone + Send + Sync + 'static>(document: &Value) -> Router<S> {
    let text: Arc<str> = document.to_string().into();
    let page: Arc<str> = page(document).into();
    let json = move || {
        let text = text.to_string();
        async move { ([(header::CONTENT_TYPE, "application/json")], text).into_response() }
    };
    let docs = move || {
        let page = page.to_string();
        async move { ([(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)], Html(page)).into_response() }
    };
    Router::new().route("/openapi.json", get(json)).route("/docs", get(docs))
}

fn page(document: &Value) -> String {
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Meeting recorder API</title>\
         <style>{STYLE}</style><h1>Meeting recorder API</h1><p>{}</p><p><a href=/openapi.json>openapi.json</a></p>",
        escaped(ABOUT)
    );
    let empty = Map::new();
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let mut tag = String::new();
    let mut operations: Vec<(String, String, String, Value)> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap_or(&empty) {
        for (method, operation) in item.as_object().unwrap_or(&empty) {
            let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
            operations.push((tag, path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    operations.sort_by(|one, two| (rank(&one.0), &one.1, &one.2).cmp(&(rank(&two.0), &two.1, &two.2)));
    for (of, path, method, operation) in operations {
        if of != tag {
            let _ = write!(html, "<h2>{}</h2>", escaped(&of));
            tag = of;
        }
        let text = |name: &str| escaped(operation[name].as_str().unwrap_or_default());
        let _ = write!(
            html,
            "<details><summary><span class=m>{method}</span> <code>{}</code> {}</summary><p>{}</p>",
            escaped(&path),
            text("summary"),
            text("description")
        );
        parameters(&mut html, &operation);
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        if body.is_object() {
            let _ = write!(html, "<p>Body: {}</p>", kind(body));
        }
        for (status, response) in
            object(&operation["responses"]).into_iter().filter(|(_, response)| response.get("$ref").is_none())
        {
            let schema =
                object(&response["content"]).into_iter().map(|(_, content)| kind(&content["schema"])).collect::<String>();
            let _ = write!(
                html,
                "<p><b>{}</b> {} {schema}</p>",
                escaped(&status),
                escaped(response["description"].as_str().unwrap_or_default())
            );
        }
        html += "</details>";
    }
    html += "<h2>shapes</h2>";
    for (name, schema) in document["components"]["schemas"].as_object().unwrap_or(&empty) {
        let pretty = serde_json::to_string_pretty(schema).unwrap_or_default();
        let _ = write!(
            html,
            "<details id='{0}'><summary><code>{0}</code></summary><pre>{1}</pre></details>",
            escaped(name),
            escaped(&pretty)
        );
    }
    html += "<h2>problems</h2><table><tr><th>type<th>status<th>title";
    for problem in Kind::ALL {
        let _ = write!(
            html,
            "<tr><td><code>{TYPE_PREFIX}{}</code><td>{}<td>{}",
            problem.slug(),
            problem.status().as_u16(),
            escaped(problem.title())
        );
    }
    html + "</table></html>"
}

fn rank(tag: &str) -> usize {
    let order = ["meetings", "bots", "recordings", "events", "statistics", "admin", "aliases"];
    order.iter().position(|known| *known == tag).unwrap_or(order.len())
}

fn parameters(html: &mut String, operation: &Value) {
    let Some(parameters) = operation["parameters"].as_array().filter(|parameters| !parameters.is_empty()) else { return };
    *html += "<table>";
    for parameter in parameters {
        let text = |name: &str| escaped(parameter[name].as_str().unwrap_or_default());
        let needed = if parameter["required"] == true { "needed" } else { "" };
        let _ = write!(html, "<tr><td><code>{}</code><td>{}<td>{needed}<td>{}", text("name"), text("in"), text("description"));
    }
    *html += "</table>";
}

/// A link to a shape.
fn kind(schema: &Value) -> String {
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    if name.is_empty() { String::new() } else { format!("<a href='#{0}'><code>{0}</code></a>", escaped(name)) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
