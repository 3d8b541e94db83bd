//! Bots: lists, statistics, leaving, another bot, priority.

use api::access::Role;
use serde_json::{Value, json};

use crate::site::{Site, ZOOM, at, bot, instance, zoom};

pub(crate) async fn bots_are_listed_read_and_counted(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Viewer, &[]).await;
    for (n, phase) in ["queued", "recording", "done", "failed", "done"].into_iter().enumerate() {
        let mut value = bot(if n == 0 { "a" } else { "" }, phase, &at(n as i64 - 100));
        if phase == "failed" {
            value["outcome"] = json!({"kind": "lobby_timeout", "attribution": "host", "message": "m"});
            value["outcome_kind"] = json!("lobby_timeout");
        }
        site.put(instance(&format!("i{n}")), value).await;
    }
    site.put(instance("poison"), json!({"created_at": at(0), "status": "queued", "meeting_url": 7})).await;
    let ids = async |query: &str| -> Vec<String> {
        let page = site.get(&format!("/v1/bots?{query}"), &key).await;
        assert_eq!(page.status, 200, "{query}: {page:?}");
        page.body["bots"].as_array().unwrap().iter().map(|bot| bot["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("").await, ["i4", "i3", "i2", "i1", "i0"]);
    assert_eq!(ids("phase=done&platform=zoom").await, ["i4", "i2"]);
    assert_eq!(ids("outcome=lobby_timeout").await, ["i3"]);
    assert_eq!(ids("status=queued&organization=a").await, ["i0"]);
    assert_eq!(ids(&format!("before={}&limit=1", at(-97))).await.len(), 1);
    for wrong in ["phase=paused", "outcome=luck"] {
        assert_eq!(site.get(&format!("/v1/bots?{wrong}"), &key).await.problem(), "bad-parameter");
    }
    let read = site.get("/v1/bots/i3", &key).await;
    assert_eq!((&read.body["outcome"]["class"], &read.body["platform"]), (&json!("not_admitted"), &json!("zoom")), "{read:?}");
    assert!(!read.body.to_string().contains("CANARY"));
    assert_eq!(site.get("/v1/bots/none", &key).await.problem(), "not-found");
    assert_eq!(site.get("/v1/bots/poison", &key).await.problem(), "conflict");
    let counted = site.get("/v1/statistics", &key).await.body;
    assert_eq!((&counted["bots_by_phase"]["done"], &counted["outcomes"]), (&json!(2), &json!({"lobby_timeout": 1})), "{counted}");
    assert_eq!(counted["slots"], json!({"total": 4, "used": 1, "free": 3}));
    assert_eq!(site.get("/v1/statistics?hours=0", &key).await.problem(), "bad-parameter");
}

pub(crate) async fn statistics_are_counted_once_for_everybody_who_may_see_the_same(url: String) {
    let site = Site::with_settings(&url, |settings| settings.statistics_kept = std::time::Duration::from_secs(3_600)).await;
    let (one, other) = (site.key(Role::Viewer, &[]).await, site.key(Role::Viewer, &[]).await);
    let theirs = site.key(Role::Viewer, &["a"]).await;
    site.put(instance("i0"), bot("a", "queued", &at(0))).await;
    let queued = async |path: &str, key: &str| site.get(path, key).await.body["bots_by_phase"]["queued"].clone();
    assert_eq!(queued("/v1/statistics", &one).await, 1);
    site.put(instance("i1"), bot("a", "queued", &at(0))).await;
    assert_eq!(queued("/v1/statistics", &other).await, 1, "it was counted already");
    for (path, key) in [("/v1/statistics", &theirs), ("/v1/statistics?hours=25", &one), ("/v1/statistics?organization=a", &one)] {
        assert_eq!(queued(path, key).await, 2, "{path} is another question");
    }
}

pub(crate) async fn a_bot_leaves_and_its_meeting_is_armed_again(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let made = site.post("/v1/meetings", &key, json!({"meeting_url": ZOOM, "start_time": at(0)})).await;
    let first = made.body["bot"]["id"].as_str().unwrap().to_owned();
    assert_eq!(site.post(&format!("/v1/bots/{first}/retry"), &key, json!({})).await.problem(), "conflict");
    let left = site.post(&format!("/v1/bots/{first}/leave"), &key, json!({})).await;
    assert_eq!((left.status, &left.body["phase"]), (200, &json!("cancelled")), "nothing ran yet: {left:?}");
    assert_eq!(site.post(&format!("/v1/bots/{first}/leave"), &key, json!({})).await.status, 200, "leaving twice is leaving once");
    let timeline = site.get(&format!("/v1/bots/{first}/timeline"), &key).await;
    let events: Vec<(Value, Value)> = timeline.body["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["event"].clone(), event["actor"].clone()))
        .collect();
    assert_eq!(events, [(json!("queued"), json!("controller")), (json!("leave_requested"), json!("api"))]);
    let again = site.post(&format!("/v1/bots/{first}/retry"), &key, json!({})).await;
    assert_eq!((again.status, &again.body["bot"]["phase"]), (201, &json!("queued")), "{again:?}");
    assert_ne!(again.body["bot"]["id"], first.as_str());
    assert_eq!(site.post(&format!("/v1/bots/{first}/retry"), &key, json!({})).await.problem(), "conflict", "it has another bot");
    // One that runs is asked, and goes by itself.
    site.put(instance("running"), {
        let mut running = bot("a", "recording", &at(0));
        running["status"] = json!("processing");
        running
    })
    .await;
    let asked = site.post("/v1/bots/running/leave", &key, json!({})).await;
    assert_eq!((asked.status, asked.body["cancel_requested_at"].is_string()), (202, true), "{asked:?}");
}

pub(crate) async fn priority_changes_in_the_queue_alone(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let made = site.post("/v1/meetings", &key, json!({"meeting_url": zoom(1)})).await;
    let path = format!("/v1/bots/{}", made.body["bot"]["id"].as_str().unwrap());
    let tag = made.body["bot"]["etag"].as_str().unwrap().to_owned();
    let patch = |path: &str, tag: &str, body: Value| {
        Site::send(site.ask("PATCH", path, &key).header("if-match", tag.to_owned()).json(&body))
    };
    let changed = patch(&path, &tag, json!({"priority": 7})).await;
    assert_eq!((changed.status, &changed.body["priority"]), (200, &json!(7)), "{changed:?}");
    assert_eq!(patch(&path, &tag, json!({"priority": 8})).await.problem(), "changed");
    assert_eq!(patch(&path, "*", json!({"priority": 1_001})).await.problem(), "invalid");
    assert_eq!(patch(&path, "*", json!({"phase": "done"})).await.problem(), "invalid");
    site.put(instance("ended"), bot("a", "done", &at(0))).await;
    assert_eq!(patch("/v1/bots/ended", "*", json!({"priority": 1})).await.problem(), "conflict");
}
