//! Webhooks as an admin of an organization manages them. What a receiver sees of them is the suite of the crate `webhooks`.

use api::access::Role;
use bot_store::listing::{Listed, Listing};
use bot_store::{DocumentKey, Record};
use chrono::{TimeDelta, Utc};
use serde_json::json;
use webhooks::Safe;
use webhooks::delivery::{Delivery, Pending};
use webhooks::endpoint::Endpoint;
use webhooks::signature::Secret;

use crate::site::Site;

const URL: &str = "https://hooks.example.com/x?token=CANARY";

async fn pending(site: &Site) -> Vec<Record> {
    site.store.list(&Listing::oldest(Listed::Pending), None, 100).await.unwrap().records
}

pub(crate) async fn an_endpoint_is_made_changed_rotated_and_deleted(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Admin, &["a"]).await;
    let made = site
        .post("/v1/webhooks", &key, json!({"url": URL, "description": "Ours", "event_types": ["bot.failed", "bot.done"]}))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    let secret = made.body["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_") && secret.len() > 40);
    let id = made.body["webhook"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/v1/webhooks/{id}"));
    let path = format!("/v1/webhooks/{id}");
    let read = site.get(&path, &key).await;
    assert_eq!(
        (&read.body["url"], &read.body["organization"], &read.body["is_enabled"]),
        (&json!(URL), &json!("a"), &json!(true))
    );
    assert_eq!(read.body["event_types"], json!(["bot.done", "bot.failed"]));
    assert!(!read.body.to_string().contains("whsec_"), "it is shown once");
    // Who read an older version is told.
    let etag = read.header("etag");
    let change =
        |tag: &str| site.ask("PATCH", &path, &key).header("if-match", tag.to_owned()).json(&json!({"is_enabled": false}));
    let changed = Site::send(change(&etag)).await;
    assert_eq!((changed.status, &changed.body["is_enabled"]), (200, &json!(false)));
    assert!(changed.body["disabled_at"].is_string() && changed.body["disabled_reason"].is_null());
    assert_eq!(Site::send(change(&etag)).await.problem(), "changed");
    assert_eq!(site.post(&format!("{path}/test"), &key, json!({})).await.problem(), "conflict");
    let on = site.patch(&path, &key, json!({"is_enabled": true, "event_types": []})).await;
    assert_eq!(
        (&on.body["is_enabled"], &on.body["event_types"], &on.body["disabled_at"]),
        (&json!(true), &json!([]), &json!(null))
    );
    let rotated = site.post(&format!("{path}/rotate"), &key, json!({})).await;
    assert_ne!(rotated.body["secret"], json!(secret));
    let secrets = rotated.body["webhook"]["secrets"].as_array().unwrap();
    assert_eq!(secrets.len(), 2);
    let until: chrono::DateTime<Utc> = secrets[1]["expires_at"].as_str().unwrap().parse().unwrap();
    assert!((until - Utc::now() - TimeDelta::hours(24)).num_seconds().abs() < 60);
    for wrong in [
        json!({"url": "x"}),
        json!({"event_types": ["bot.exploded"]}),
        json!({"description": "x".repeat(201)}),
        json!({"secret": "x"}),
    ] {
        assert_eq!(site.patch(&path, &key, wrong.clone()).await.problem(), "invalid", "{wrong}");
    }
    assert_eq!(Site::send(site.ask("DELETE", &path, &key)).await.status, 204);
    assert_eq!(site.get(&path, &key).await.problem(), "not-found");
    let actions: Vec<String> = site.get("/v1/audit", &key).await.body["entries"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["webhook.create", "webhook.change", "webhook.change", "webhook.rotate", "webhook.delete"]);
}

pub(crate) async fn a_new_secret_is_shown_once_and_lies_sealed_in_the_store(url: String) {
    let safe = Safe::new(&["k".repeat(32).into()]).unwrap();
    let site = Site::with_settings(&url, |settings| settings.webhook_safe = safe.clone()).await;
    let key = site.key(Role::Admin, &["a"]).await;
    let made = site.post("/v1/webhooks", &key, json!({"url": URL})).await;
    let path = made.header("location");
    let rotated = site.post(&format!("{path}/rotate"), &key, json!({})).await;
    let shown = [&rotated, &made].map(|answer| answer.body["secret"].as_str().unwrap().to_owned());
    assert!(shown.iter().all(|secret| secret.starts_with("whsec_")) && shown[0] != shown[1], "{shown:?}");
    let id = made.body["webhook"]["id"].as_str().unwrap();
    let record = site.store.read(&DocumentKey::Endpoint(id.to_owned())).await.unwrap().unwrap();
    let stored = serde_json::to_string(&record.fields).unwrap();
    assert!(!stored.contains("whsec_") && !shown.iter().any(|secret| stored.contains(&secret["whsec_".len()..])), "{stored}");
    let signing = Endpoint::of(&record).unwrap().endpoint.signing(&safe, Utc::now()).unwrap();
    assert_eq!(signing.iter().map(Secret::reveal).collect::<Vec<_>>(), shown);
}

pub(crate) async fn an_endpoint_is_seen_by_its_own_organization_s_admins_alone(url: String) {
    let site = Site::new(&url).await;
    let (a, b, both, all) = (
        site.key(Role::Admin, &["a"]).await,
        site.key(Role::Admin, &["b"]).await,
        site.key(Role::Admin, &["a", "b"]).await,
        site.key(Role::Admin, &[]).await,
    );
    let operator = site.key(Role::Operator, &["a"]).await;
    assert_eq!(site.post("/v1/webhooks", &operator, json!({"url": URL})).await.problem(), "forbidden");
    assert_eq!(site.get("/v1/webhooks", &operator).await.problem(), "forbidden");
    let id =
        |answer: &crate::site::Answer| answer.body["webhook"]["id"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
    let of_a = id(&site.post("/v1/webhooks", &a, json!({"url": URL})).await);
    let of_b = id(&site.post("/v1/webhooks", &both, json!({"url": URL, "organization": "b"})).await);
    assert_eq!(site.post("/v1/webhooks", &both, json!({"url": URL})).await.problem(), "invalid");
    assert_eq!(site.post("/v1/webhooks", &a, json!({"url": URL, "organization": "b"})).await.problem(), "forbidden");
    let global = site.post("/v1/webhooks", &all, json!({"url": URL})).await;
    assert_eq!(
        (&global.body["webhook"]["all_organizations"], &global.body["webhook"]["organization"]),
        (&json!(true), &json!(null))
    );
    let ids = async |key: &str| -> Vec<String> {
        let list = site.get("/v1/webhooks", key).await;
        list.body["webhooks"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((ids(&a).await, ids(&b).await), (vec![of_a.clone()], vec![of_b.clone()]));
    assert_eq!((ids(&both).await.len(), ids(&all).await.len()), (2, 3));
    let global = id(&global);
    for (key, foreign) in [(&a, &of_b), (&a, &global), (&both, &global)] {
        let path = format!("/v1/webhooks/{foreign}");
        assert_eq!(site.get(&path, key).await.problem(), "not-found");
        assert_eq!(site.patch(&path, key, json!({"is_enabled": false})).await.problem(), "not-found");
        assert_eq!(Site::send(site.ask("DELETE", &path, key)).await.problem(), "not-found");
        assert_eq!(site.get(&format!("{path}/deliveries"), key).await.problem(), "not-found");
        for verb in ["rotate", "test", "deliveries/x/replay"] {
            assert_eq!(site.post(&format!("{path}/{verb}"), key, json!({})).await.problem(), "not-found");
        }
    }
}

pub(crate) async fn an_address_that_leads_inside_is_refused(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Admin, &["a"]).await;
    for wrong in [
        "http://hooks.example.com/",
        "https://127.0.0.1/CANARY",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://[::ffff:169.254.169.254]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://user:CANARY@hooks.example.com/",
        "file:///etc/passwd",
        "",
        "CANARY",
    ] {
        let answer = site.post("/v1/webhooks", &key, json!({"url": wrong})).await;
        assert_eq!((answer.status, answer.problem()), (422, "invalid"), "{wrong}");
        assert!(!answer.body.to_string().contains("CANARY"), "{answer:?}");
    }
    for n in 0..20 {
        let made = site.post("/v1/webhooks", &key, json!({"url": format!("https://hooks.example.com/{n}")})).await;
        assert_eq!(made.status, 201);
    }
    assert_eq!(site.post("/v1/webhooks", &key, json!({"url": URL})).await.problem(), "conflict");
}

pub(crate) async fn a_test_and_a_replay_are_delivered_once_each(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Admin, &["a"]).await;
    let made = site.post("/v1/webhooks", &key, json!({"url": URL, "event_types": ["bot.done"]})).await;
    let path = format!("/v1/webhooks/{}", made.body["webhook"]["id"].as_str().unwrap());
    let tested = site.post(&format!("{path}/test"), &key, json!({})).await;
    assert_eq!(
        (tested.status, &tested.body["event_type"], &tested.body["state"]),
        (202, &json!("webhook.test"), &json!("pending"))
    );
    let waiting = pending(&site).await;
    let (id, _, version) = Pending::of(&waiting[0]).unwrap();
    assert_eq!((waiting.len(), tested.body["id"].as_str()), (1, Some(id.as_str())));
    let replay = format!("{path}/deliveries/{id}/replay");
    assert_eq!(site.post(&replay, &key, json!({})).await.problem(), "conflict", "it is not over");
    // As the deliverer ends it.
    let record = site.store.read(&DocumentKey::Delivery(id.clone())).await.unwrap().unwrap();
    let (mut delivery, delivery_version) = Delivery::of(&record).unwrap();
    delivery.end(Some("nothing was accepted"), Utc::now());
    let writes = vec![delivery.update(delivery_version), bot_store::Write::delete(DocumentKey::Pending(id.clone()), version)];
    assert!(site.store.commit(writes).await.unwrap().is_applied());
    let listed = site.get(&format!("{path}/deliveries"), &key).await;
    assert_eq!(
        (&listed.body["deliveries"][0]["state"], &listed.body["deliveries"][0]["reason"]),
        (&json!("failed"), &json!("nothing was accepted"))
    );
    let replayed = site.post(&replay, &key, json!({})).await;
    assert_eq!(
        (replayed.status, &replayed.body["state"], &replayed.body["event_id"]),
        (202, &json!("pending"), &json!(delivery.event_id))
    );
    assert_eq!(site.post(&replay, &key, json!({})).await.problem(), "conflict");
    assert_eq!(pending(&site).await.len(), 1);
    for wrong in ["x", "ep_x~evt_x", "~", "%2e%2e", &format!("{}~nothing", id.split('~').next().unwrap())] {
        assert_eq!(
            site.post(&format!("{path}/deliveries/{wrong}/replay"), &key, json!({})).await.problem(),
            "not-found",
            "{wrong}"
        );
    }
    let page = site.get(&format!("{path}/deliveries?limit=0"), &key).await;
    assert_eq!(page.problem(), "bad-parameter");
}
