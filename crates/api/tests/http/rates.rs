//! Rate limits, the list of origins, and keys made over the API.

use api::access::Role;
use api::rate::RateSettings;
use serde_json::json;

use crate::site::Site;

pub(crate) async fn too_many_requests_are_told_when_to_come_back(url: String) {
    let rate = RateSettings { per_key: 60, per_address: 600, trusted_proxies: 1 };
    let site = Site::with_settings(&url, |settings| settings.rate = rate).await;
    let (one, other) = (site.key(Role::Viewer, &["a"]).await, site.key(Role::Viewer, &["a"]).await);
    let ask = async |key: &str, address: &str| {
        Site::send(site.ask("GET", "/v1/bots", key).header("x-forwarded-for", address.to_owned())).await
    };
    for _ in 0..10 {
        assert_eq!(ask(&one, "10.0.0.1").await.status, 200);
    }
    let refused = ask(&one, "10.0.0.1").await;
    assert_eq!((refused.status, refused.problem()), (429, "too-many-requests"));
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
    assert_eq!(ask(&other, "10.0.0.2").await.status, 200, "another key has a bucket of its own");
    // Wrong keys are told to wait; a right one of the same address is taken.
    let mut statuses = Vec::new();
    for _ in 0..60 {
        statuses.push(ask("mbk_wrong", "10.0.0.3").await.status);
    }
    assert_eq!((statuses[0], *statuses.last().unwrap()), (401, 429));
    assert_eq!(ask(&other, "10.0.0.3").await.status, 200);
    let mut statuses = Vec::new();
    for _ in 0..110 {
        statuses.push(ask("", "10.0.0.4").await.status);
    }
    assert!(statuses.contains(&429), "an address is limited whoever it is");
    assert_eq!(site.get("/health", "").await.status, 200, "health is nobody's business to limit");
}

pub(crate) async fn only_listed_origins_may_read_answers(url: String) {
    let site = Site::with_settings(&url, |settings| settings.cors_origins = vec!["https://app.example".into()]).await;
    let key = site.key(Role::Viewer, &["a"]).await;
    let preflight = async |origin: &str| {
        let request = site.ask("OPTIONS", "/v1/meetings", "").header("origin", origin.to_owned());
        let request = request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,if-match");
        Site::send(request).await
    };
    let listed = preflight("https://app.example").await;
    assert_eq!((listed.status, listed.header("access-control-allow-origin").as_str()), (200, "https://app.example"));
    assert!(listed.header("access-control-allow-headers").contains("if-match"), "{listed:?}");
    let methods = listed.header("access-control-allow-methods");
    assert!(["POST", "PUT", "PATCH", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
    assert_eq!(preflight("https://evil.example").await.header("access-control-allow-origin"), "");
    let read = Site::send(site.ask("GET", "/v1/bots", &key).header("origin", "https://app.example")).await;
    assert_eq!((read.status, read.header("access-control-allow-origin").as_str()), (200, "https://app.example"));
    assert!(read.header("access-control-expose-headers").contains("etag"), "{read:?}");
    let site = Site::new(&url).await;
    let none = Site::send(site.ask("GET", "/v1/bots", "").header("origin", "https://app.example")).await;
    assert_eq!(none.header("access-control-allow-origin"), "", "no list, nobody");
}

pub(crate) async fn keys_are_made_shown_once_and_revoked_by_admins_of_everything(url: String) {
    let site = Site::new(&url).await;
    let (admin, confined) = (site.key(Role::Admin, &[]).await, site.key(Role::Admin, &["a"]).await);
    let wanted = json!({"name": "ci", "role": "operator", "organizations": ["a"], "expires_in_days": 7});
    assert_eq!(site.post("/v1/keys", &confined, wanted.clone()).await.problem(), "forbidden");
    let made = site.post("/v1/keys", &admin, wanted.clone()).await;
    let (id, key) = (made.body["id"].as_str().unwrap().to_owned(), made.body["key"].as_str().unwrap().to_owned());
    assert_eq!((made.status, key.starts_with("mbk_")), (201, true));
    assert_eq!(site.get("/v1/bots", &key).await.status, 200);
    let list = site.get("/v1/keys", &admin).await;
    assert!(!list.body.to_string().contains(&key) && list.body.to_string().contains(&id));
    // An answer that is remembered would hold the key for a day.
    for path in ["/v1/keys", "/v1/webhooks", "/v1/webhooks/x/rotate"] {
        let repeated = Site::send(site.ask("POST", path, &admin).header("idempotency-key", "k").json(&wanted)).await;
        assert_eq!(repeated.problem(), "bad-parameter", "{path}");
    }
    for wrong in [
        json!({"name": "", "role": "viewer", "organizations": ["a"]}),
        json!({"name": "x", "role": "root", "organizations": ["a"]}),
        json!({"name": "x", "role": "viewer"}),
        json!({"name": "x", "role": "viewer", "organizations": ["a"], "all_organizations": true}),
        json!({"name": "x", "role": "viewer", "organizations": ["a"], "expires_in_days": 0}),
    ] {
        assert_eq!(site.post("/v1/keys", &admin, wrong.clone()).await.problem(), "invalid", "{wrong}");
    }
    let path = format!("/v1/keys/{id}");
    assert_eq!(Site::send(site.ask("DELETE", &path, &confined)).await.problem(), "forbidden");
    assert_eq!(Site::send(site.ask("DELETE", &path, &admin)).await.status, 204);
    assert_eq!(Site::send(site.ask("DELETE", &path, &admin)).await.status, 204, "revoked is revoked");
    assert_eq!(Site::send(site.ask("DELETE", "/v1/keys/none", &admin)).await.problem(), "not-found");
    let audit = site.get("/v1/audit", &admin).await;
    let entries = audit.body["entries"].as_array().unwrap();
    let by_admin = |action: &str| {
        entries.iter().any(|entry| entry["action"] == action && entry["target"] == id.as_str() && entry["actor"] != "test")
    };
    assert!(by_admin("key.create") && by_admin("key.revoke"), "{audit:?}");
}
