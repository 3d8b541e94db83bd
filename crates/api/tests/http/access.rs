//! Keys, roles, organisations, the audit log.

use api::access::{Access, Role};
use api::state::KEY_FRESH;
use serde_json::json;

use crate::site::{Site, ZOOM, at, bot, instance};

pub(crate) async fn nothing_is_answered_without_a_live_key_of_the_right_role(url: String) {
    let site = Site::new(&url).await;
    let viewer = site.key(Role::Viewer, &["a"]).await;
    let mut wrong = viewer.clone();
    wrong.replace_range(wrong.len() - 2.., "aa");
    let wrong = if wrong == viewer { viewer.replace("aa", "bb") } else { wrong };
    for key in ["", "mbk_x", &wrong, &"x".repeat(5_000)] {
        for path in ["/v1/meetings", "/v1/bots/none", "/v1/events", "/v1/audit", "/meetings/x/status"] {
            let answer = site.get(path, key).await;
            assert_eq!((answer.status, answer.problem()), (401, "unauthorized"), "{path} {key}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    assert_eq!(site.post("/v1/meetings", &viewer, json!({"meeting_url": ZOOM})).await.problem(), "forbidden");
    assert_eq!(site.get("/v1/audit", &site.key(Role::Operator, &[]).await).await.problem(), "forbidden");
    assert_eq!(site.get("/v1/keys", &site.key(Role::Admin, &["a"]).await).await.problem(), "forbidden");
    let by_header = Site::send(site.ask("GET", "/v1/meetings", "").header("x-api-key", &viewer)).await;
    assert_eq!(by_header.status, 200, "{by_header:?}");
    let keys = site.get("/v1/keys", &site.key(Role::Admin, &[]).await).await;
    let secret = viewer.rsplit('_').next().unwrap();
    assert!(keys.status == 200 && !keys.body.to_string().contains(secret) && !keys.body.to_string().contains("hash"), "{keys:?}");
    for open in ["/health", "/openapi.json", "/docs"] {
        assert_eq!(site.get(open, "").await.status, 200, "{open}");
    }
    let local = Site::with(&format!("{url}-open"), Access::DangerOpen).await;
    assert_eq!(local.get("/v1/meetings", "").await.status, 200);
    for (name, value) in [("host", "evil.example"), ("origin", "https://evil.example")] {
        let refused = Site::send(local.ask("GET", "/v1/meetings", "").header(name, value)).await;
        assert_eq!(refused.problem(), "forbidden", "{name}");
    }
}

pub(crate) async fn a_key_sees_and_changes_its_own_organization_alone(url: String) {
    let site = Site::new(&url).await;
    let [ours, theirs] = [site.key(Role::Operator, &["a"]).await, site.key(Role::Operator, &["b", "c"]).await];
    let made = site.post("/v1/meetings", &ours, json!({"meeting_url": ZOOM, "start_time": at(3600)})).await;
    assert_eq!((made.status, made.body["meeting"]["organization"].as_str()), (201, Some("a")), "{made:?}");
    let meeting = made.body["meeting"]["id"].as_str().unwrap().to_owned();
    site.put(instance("bot-of-a"), bot("a", "queued", &at(0))).await;
    for path in [
        format!("/v1/meetings/{meeting}"),
        "/v1/bots/bot-of-a".into(),
        "/v1/bots/bot-of-a/timeline".into(),
        "/v1/bots/bot-of-a/artifacts".into(),
        "/v1/bots/bot-of-a/artifacts/video.mp4".into(),
        format!("/meetings/{meeting}/status"),
        "/v1/meetings/api_keys%2Fx".into(),
    ] {
        assert_eq!(site.get(&path, &theirs).await.problem(), "not-found", "{path}");
    }
    for path in [
        format!("/v1/meetings/{meeting}/cancel"),
        "/v1/bots/bot-of-a/leave".into(),
        "/v1/bots/bot-of-a/retry".into(),
        format!("/meetings/{meeting}/leave"),
    ] {
        assert_eq!(site.post(&path, &theirs, json!({})).await.problem(), "not-found", "{path}");
    }
    for path in ["/v1/meetings", "/v1/bots", "/v1/statistics", "/v1/events"] {
        assert_eq!(site.get(&format!("{path}?organization=a"), &theirs).await.problem(), "forbidden", "{path}");
    }
    assert_eq!(site.get("/v1/bots", &theirs).await.body["bots"], json!([]));
    assert_eq!(site.get("/v1/bots", &ours).await.body["bots"].as_array().unwrap().len(), 1);
    assert_eq!(site.get("/v1/statistics", &theirs).await.body["bots_by_phase"]["queued"], 0);
    let foreign = json!({"meeting_url": ZOOM, "start_time": at(3600), "organization": "a"});
    assert_eq!(site.post("/v1/meetings", &theirs, foreign).await.problem(), "forbidden");
    assert_eq!(site.post("/v1/meetings", &theirs, json!({"meeting_url": ZOOM})).await.problem(), "invalid");
}

pub(crate) async fn a_revoked_key_works_no_longer_than_said(url: String) {
    let site = Site::new(&url).await;
    let (id, key) = site.new_key(Role::Viewer, &["a"]).await;
    assert_eq!(site.get("/v1/bots", &key).await.status, 200);
    let local = api::access::Principal::local();
    assert!(api::keys::revoke(site.store.as_ref(), &id, &local, chrono::Utc::now()).await.unwrap());
    assert!(!api::keys::revoke(site.store.as_ref(), "none", &local, chrono::Utc::now()).await.unwrap());
    let begun = std::time::Instant::now();
    while site.get("/v1/bots", &key).await.status == 200 {
        assert!(begun.elapsed() < KEY_FRESH + std::time::Duration::from_secs(3), "still answered");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

pub(crate) async fn every_change_is_in_the_audit_log(url: String) {
    let site = Site::new(&url).await;
    let (id, operator) = site.new_key(Role::Operator, &["a"]).await;
    let request = site.ask("POST", "/v1/meetings", &operator).header("x-request-id", "mine-1");
    let made = Site::send(request.json(&json!({"meeting_url": ZOOM, "start_time": at(0)}))).await;
    assert_eq!(made.status, 201, "{made:?}");
    let (meeting, bot) = (made.body["meeting"]["id"].as_str().unwrap(), made.body["bot"]["id"].as_str().unwrap());
    assert_eq!(site.post(&format!("/v1/bots/{bot}/leave"), &operator, json!({})).await.status, 200);
    assert_eq!(site.post(&format!("/v1/bots/{bot}/retry"), &operator, json!({})).await.status, 201);
    assert_eq!(site.post(&format!("/v1/meetings/{meeting}/cancel"), &operator, json!({})).await.status, 200);
    let log = site.get("/v1/audit", &site.key(Role::Admin, &["a"]).await).await;
    let entries = log.body["entries"].as_array().unwrap();
    let actions: Vec<&str> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["meeting.cancel", "bot.retry", "bot.leave", "meeting.create"]);
    assert!(entries.iter().all(|entry| entry["actor"] == id.as_str() && entry["organization"] == "a"), "{log:?}");
    assert_eq!(entries[3]["request_id"], "mine-1");
    assert!(!log.body.to_string().contains("CANARY"));
    let all = site.get("/v1/audit?limit=200", &site.key(Role::Admin, &[]).await).await;
    assert!(all.body.to_string().contains("key.create"));
}
