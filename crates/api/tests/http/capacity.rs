//! The queue, the places and the forecast.

use std::collections::BTreeMap;

use api::access::{Access, Role};
use api::shortfall::Turns;
use api::state::{Api, Settings};
use bot_model::capacity::{Limits, OrganizationLimits};
use bot_model::ids::InstanceId;
use bot_store::protocol::InstanceRecord;
use bot_store::protocol::capacity::{self, claim_placed};
use bot_store::protocol::claim::Claimer;
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::site::{Site, at, instance, zoom};

async fn site(url: &str, active: u32) -> Site {
    Site::limited(url, Access::Keys, Limits { active: Some(active), ..Limits::default() }).await
}

/// Takes places as a controller does.
async fn claims(site: &Site, id: &str, active: u32) -> bool {
    let id = InstanceId::parse(id).unwrap();
    let record = InstanceRecord::read(site.store.as_ref(), &id).await.unwrap().unwrap();
    let limits = Limits { active: Some(active), organizations: BTreeMap::new(), default: OrganizationLimits::default() };
    let claimer = Claimer { controller_id: "c".into(), ttl: std::time::Duration::from_secs(600) };
    let admitted = claim_placed(site.store.as_ref(), vec![record], 9, &claimer, &limits, Utc::now()).await.unwrap();
    admitted.claimed.len() == 1
}

pub(crate) async fn who_waits_is_told_place_and_time_and_who_does_not_want_to_is_refused(url: String) {
    let site = site(&url, 1).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let now = |number| json!({"meeting_url": zoom(number), "end_time": at(1_800)});
    let first = site.post("/v1/meetings", &key, now(1)).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert!(claims(&site, first.body["bot"]["id"].as_str().unwrap(), 1).await);
    let second = site.post("/v1/meetings", &key, now(2)).await;
    let queue = &second.body["bot"]["queue"];
    assert_eq!(
        (&queue["place"], &queue["tier"], &queue["waits_for"]),
        (&json!(1), &json!("normal"), &json!("capacity")),
        "{second:?}"
    );
    let start: DateTime<Utc> = queue["estimated_start_at"].as_str().unwrap().parse().unwrap();
    let minutes = (start - Utc::now()).num_minutes();
    assert!((28..=33).contains(&minutes), "the first one's end, and a little: {minutes} minutes");
    assert!(!claims(&site, second.body["bot"]["id"].as_str().unwrap(), 1).await, "there is one place");
    let mut urgent = now(3);
    urgent["priority"] = json!(900);
    let urgent = site.post("/v1/meetings", &key, urgent).await;
    assert_eq!((&urgent.body["bot"]["queue"]["place"], &urgent.body["bot"]["queue"]["tier"]), (&json!(1), &json!("urgent")));
    let listed = site.get("/v1/queue", &key).await.body;
    let order: Vec<_> = listed["entries"].as_array().unwrap().iter().map(|entry| entry["bot_id"].clone()).collect();
    assert_eq!(order, [urgent.body["bot"]["id"].clone(), second.body["bot"]["id"].clone()]);
    assert_eq!((&listed["length"], &listed["entries"][1]["place"]), (&json!(2), &json!(2)));
    let read = site.get(&format!("/v1/bots/{}", second.body["bot"]["id"].as_str().unwrap()), &key).await.body;
    assert_eq!(read["queue"]["place"], 2);
    let meeting = site.get(&format!("/v1/meetings/{}", second.body["meeting"]["id"].as_str().unwrap()), &key).await.body;
    assert_eq!(meeting["queue"]["place"], 2);

    let mut impatient = now(4);
    impatient["wait"] = json!(false);
    let refused = site.post("/v1/meetings", &key, impatient.clone()).await;
    assert_eq!((refused.status, refused.problem()), (503, "capacity-exhausted"), "{refused:?}");
    let after: i64 = refused.header("retry-after").parse().unwrap();
    let earliest: DateTime<Utc> = refused.body["earliest_start_at"].as_str().unwrap().parse().unwrap();
    assert!(after > 1_000 && ((earliest - Utc::now()).num_seconds() - after).abs() < 30, "{after} s, {earliest}");
    assert_eq!(
        site.get("/v1/meetings", &key).await.body["meetings"].as_array().unwrap().len(),
        3,
        "a refused one leaves nothing"
    );
    (impatient["start_time"], impatient["end_time"]) = (json!(at(7_200)), json!(at(9_000)));
    assert_eq!(site.post("/v1/meetings", &key, impatient).await.status, 201, "what is not due yet is scheduled");

    let other = site.key(Role::Viewer, &["b"]).await;
    assert_eq!(site.get("/v1/queue", &other).await.body["length"], 0);
    assert_eq!(site.get("/v1/queue?organization=a", &other).await.problem(), "forbidden");
}

pub(crate) async fn who_does_not_want_to_wait_is_sent_where_a_place_is_free(url: String) {
    let site = site(&url, 1).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let answer = site.post("/v1/meetings", &key, json!({"meeting_url": zoom(1), "wait": false})).await;
    assert_eq!((answer.status, &answer.body["result"]), (201, &json!("queued")), "{answer:?}");
    assert_eq!(answer.body["meeting"]["queue_timeout_seconds"], 60, "and gives up where another was faster");
    assert_eq!(answer.body["bot"]["queue"]["waits_for"], json!(null));
    let wrong = site.post("/v1/meetings", &key, json!({"meeting_url": zoom(2), "queue_timeout_seconds": 0})).await;
    assert_eq!(wrong.problem(), "invalid");
}

pub(crate) async fn an_organization_s_limits_are_read_and_set_by_those_who_may(url: String) {
    let site = site(&url, 5).await;
    let (admin, operator) = (site.key(Role::Admin, &["a"]).await, site.key(Role::Operator, &["a"]).await);
    let path = "/v1/organizations/a/limits";
    let first = site.get(path, &operator).await;
    assert_eq!((&first.body["is_own"], &first.body["time_zone"]), (&json!(false), &json!("UTC")), "{first:?}");
    let none_yet = first.body["etag"].as_str().unwrap().to_owned();
    assert_eq!(site.get("/v1/organizations", &operator).await.body["organizations"], json!([]));
    let put = |key: &str, body| Site::send(site.ask("PUT", path, key).json(&body));
    let wanted = json!({"time_zone": "America/Los_Angeles", "max_active_bots": 1, "max_bots_per_day": 1});
    assert_eq!(put(&operator, wanted.clone()).await.problem(), "forbidden");
    for wrong in [json!({"time_zone": "Mars"}), json!({"max_active_bots": 5_001}), json!({"max_bots_per_day": 1_000_001})] {
        assert_eq!(put(&admin, wrong.clone()).await.problem(), "invalid", "{wrong}");
    }
    // Of two who set them for the first time, the second is told.
    let begin = |body: &serde_json::Value| Site::send(site.ask("PUT", path, &admin).header("if-match", &none_yet).json(body));
    assert_eq!(begin(&json!({"max_active_bots": 3})).await.status, 200);
    let late = begin(&wanted).await;
    assert_eq!((late.problem(), late.body["updated_by"].is_string()), ("changed", true), "{late:?}");
    let set = put(&admin, wanted.clone()).await;
    assert_eq!((set.status, &set.body["is_own"], &set.body["max_bots_per_day"]), (200, &json!(true), &json!(1)), "{set:?}");
    let stale = site.ask("PUT", path, &admin).header("if-match", "\"0\"").json(&wanted);
    assert_eq!(Site::send(stale).await.problem(), "changed");
    assert_eq!(Site::send(site.ask("GET", "/v1/organizations/b/limits", &admin)).await.problem(), "not-found");
    // Listed for whoever sees it.
    let (all, other) = (site.key(Role::Viewer, &[]).await, site.key(Role::Viewer, &["b"]).await);
    for (key, seen) in [(&operator, 1), (&all, 1), (&other, 0)] {
        let page = site.get("/v1/organizations", key).await.body;
        let names: Vec<_> = page["organizations"].as_array().unwrap().iter().map(|one| one["organization"].clone()).collect();
        assert_eq!(names, vec![json!("a"); seen], "{page}");
    }
    assert_eq!(site.get("/v1/organizations?limit=0", &all).await.problem(), "bad-parameter");
    assert_eq!(site.get("/v1/audit", &admin).await.body["entries"][0]["action"], "organization.limits");
    assert!(capacity::read(site.store.as_ref()).await.unwrap().is_some(), "from now on everybody counts");

    let one = site.post("/v1/meetings", &operator, json!({"meeting_url": zoom(1), "end_time": at(600)})).await;
    let id = one.body["bot"]["id"].as_str().unwrap().to_owned();
    let limits = Limits {
        active: Some(5),
        organizations: BTreeMap::from([("a".into(), serde_json::from_value(wanted).unwrap())]),
        ..Limits::default()
    };
    let record = InstanceRecord::read(site.store.as_ref(), &InstanceId::parse(&id).unwrap()).await.unwrap().unwrap();
    let claimer = Claimer { controller_id: "c".into(), ttl: std::time::Duration::from_secs(600) };
    let admitted = claim_placed(site.store.as_ref(), vec![record], 9, &claimer, &limits, Utc::now()).await.unwrap();
    assert_eq!(admitted.claimed.len(), 1);
    let two = site.post("/v1/meetings", &operator, json!({"meeting_url": zoom(2)})).await.body;
    assert_eq!(two["bot"]["queue"]["waits_for"], "organization_at_once");
    let start: DateTime<Utc> = two["bot"]["queue"]["estimated_start_at"].as_str().unwrap().parse().unwrap();
    let capacity = site.get("/v1/capacity", &admin).await.body;
    let own = &capacity["organizations"][0];
    assert_eq!(
        (&own["organization"], &own["active"], &own["begun_today"], &own["waiting"]),
        (&json!("a"), &json!(1), &json!(1), &json!(1))
    );
    let tomorrow: DateTime<Utc> = own["next_day_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(start, tomorrow, "its day there has to begin first");
    assert_eq!(
        (&capacity["places"], &capacity["held"]),
        (&json!(4), &json!(null)),
        "a confined key does not see what others hold"
    );
    let all = site.key(Role::Viewer, &[]).await;
    let capacity = site.get("/v1/capacity", &all).await.body;
    assert_eq!((&capacity["held"], &capacity["free"], &capacity["is_exhausted"]), (&json!(1), &json!(3), &json!(false)));
}

pub(crate) async fn what_was_begun_before_a_limit_was_set_counts_and_its_limits_are_taken_back(url: String) {
    let site = site(&url, 4).await;
    let (admin, operator) = (site.key(Role::Admin, &["a"]).await, site.key(Role::Operator, &["a"]).await);
    let schedule = async |number| {
        let new = json!({"meeting_url": zoom(number), "end_time": at(1_800)});
        site.post("/v1/meetings", &operator, new).await.body["bot"].clone()
    };
    for number in 1..3 {
        assert!(claims(&site, schedule(number).await["id"].as_str().unwrap(), 4).await);
    }
    let path = "/v1/organizations/a/limits";
    let ask = |method: &str, tag: &str| match tag {
        "" => site.ask(method, path, &admin),
        tag => site.ask(method, path, &admin).header("if-match", tag.to_owned()),
    };
    // Where it is about noon now, so that no midnight comes in between.
    let ahead = 12 - i64::from(chrono::Timelike::hour(&Utc::now()));
    let zone = if ahead < 0 { format!("Etc/GMT+{}", -ahead) } else { format!("Etc/GMT-{ahead}") };
    let wanted = json!({"time_zone": zone, "max_bots_per_day": 2});
    let set = Site::send(ask("PUT", "").json(&wanted)).await;
    assert_eq!(set.status, 200, "{set:?}");
    assert_eq!(schedule(3).await["queue"]["waits_for"], "organization_per_day");
    let used = site.get("/v1/capacity", &admin).await.body["organizations"][0].clone();
    assert_eq!((&used["begun_today"], &used["active"]), (&json!(2), &json!(2)), "{used}");

    assert_eq!(Site::send(site.ask("DELETE", path, &operator)).await.problem(), "forbidden");
    let stale = Site::send(ask("DELETE", "\"0\"")).await;
    assert_eq!((stale.problem(), stale.body["updated_by"].is_string()), ("changed", true), "{stale:?}");
    let back = Site::send(ask("DELETE", &set.header("etag"))).await;
    assert_eq!(
        (back.status, &back.body["is_own"], &back.body["max_bots_per_day"]),
        (200, &json!(false), &json!(null)),
        "{back:?}"
    );
    assert_eq!((back.header("etag").as_str(), &back.body["time_zone"]), ("\"none\"", &json!("UTC")));
    assert_eq!(site.get("/v1/organizations", &admin).await.body["organizations"], json!([]));
    // Again: there is nothing to take back, and nothing to tell of, unless somebody means what is no longer there.
    for (tag, status) in [("", 200), ("\"none\"", 200), (set.header("etag").as_str(), 412)] {
        assert_eq!(Site::send(ask("DELETE", tag)).await.status, status, "{tag}");
    }
    assert_eq!(Site::send(site.ask("DELETE", "/v1/organizations/b/limits", &admin)).await.problem(), "not-found");
    let audit = site.get("/v1/audit", &admin).await.body;
    let told = audit["entries"].as_array().unwrap().iter().filter(|entry| entry["action"] == "organization.limits.delete");
    assert_eq!(told.map(|entry| entry["target"].clone()).collect::<Vec<_>>(), [json!("a")]);
    assert!(claims(&site, schedule(4).await["id"].as_str().unwrap(), 4).await, "and who waits is sent");
    // What was begun meanwhile is not forgotten.
    assert_eq!(Site::send(ask("PUT", "\"none\"").json(&wanted)).await.status, 200);
    let places = capacity::read(site.store.as_ref()).await.unwrap().unwrap();
    assert_eq!(places.ledger.days["a"].begun, 3);
}

pub(crate) async fn known_meetings_are_forecast_against_the_places(url: String) {
    let site = site(&url, 2).await;
    let key = site.key(Role::Operator, &["a"]).await;
    // Three at once in two hours, one of them known twice, and one without an end.
    let (start, end) = (at(7_200), at(9_000));
    for (number, end) in [(1, json!(end)), (2, json!(end)), (3, json!(null))] {
        let new = json!({"meeting_url": zoom(number), "start_time": start, "end_time": end});
        assert_eq!(site.post("/v1/meetings", &key, new).await.status, 201);
    }
    let twin = json!({"meeting_url": zoom(1), "status": "scheduled", "start_time": start, "end_time": end, "creator_organization_id": "a"});
    site.put(bot_store::DocumentKey::Meeting(bot_model::ids::MeetingPath::parse("meetings/twin").unwrap()), twin).await;
    let cancelled = json!({"meeting_url": zoom(9), "status": "cancelled", "start_time": start, "creator_organization_id": "a"});
    site.put(bot_store::DocumentKey::Meeting(bot_model::ids::MeetingPath::parse("meetings/off").unwrap()), cancelled).await;
    let found = site.get("/v1/forecast?hours=4&time_zone=Asia/Kathmandu", &key).await.body;
    assert_eq!((&found["places"], &found["most"], &found["shortfall"]), (&json!(2), &json!(3), &json!(1)), "{found}");
    assert!(found["meetings"] == 3 && found["assumed_ends"] == 1, "{found}");
    let buckets = found["buckets"].as_array().unwrap();
    assert_eq!(buckets.len(), 16);
    assert!(buckets.iter().all(|bucket| bucket["starts_at"].as_str().unwrap().ends_with("+05:45")), "{found}");
    let first: DateTime<Utc> = found["first_shortfall_at"].as_str().unwrap().parse().unwrap();
    assert!(
        (102..=118).contains(&(first - Utc::now()).num_minutes()),
        "the quarter of an hour that holds the second minute before the start: {first}"
    );
    assert_eq!(site.get("/v1/forecast?hours=0", &key).await.problem(), "bad-parameter");
    assert_eq!(site.get("/v1/forecast?time_zone=Nowhere", &key).await.problem(), "bad-parameter");
    let other = site.key(Role::Viewer, &["b"]).await;
    assert_eq!(site.get("/v1/forecast", &other).await.body["most"], 0);
    site.put(instance("unrelated"), json!({"meeting_url": zoom(5), "status": "done", "phase": "done", "created_at": at(0)}))
        .await;
}

pub(crate) async fn an_organization_s_own_places_are_forecast_before_it_has_a_bot(url: String) {
    let site = site(&url, 9).await;
    let admin = site.key(Role::Admin, &["a"]).await;
    let put = site.ask("PUT", "/v1/organizations/a/limits", &admin).header("if-match", "\"none\"");
    assert_eq!(Site::send(put.json(&json!({"max_active_bots": 1}))).await.status, 200);
    for number in 1..=2 {
        let new = json!({"meeting_url": zoom(number), "start_time": at(7_200), "end_time": at(9_000)});
        assert_eq!(site.post("/v1/meetings", &admin, new).await.status, 201);
    }
    let found = site.get("/v1/forecast?organization=a", &admin).await.body;
    assert_eq!((&found["places"], &found["shortfall"]), (&json!(1), &json!(1)), "{found}");
}

/// JavaScript's largest number, for "never".
pub(crate) async fn a_bot_that_waits_for_ever_is_in_the_queue(url: String) {
    let site = site(&url, 1).await;
    let key = site.key(Role::Viewer, &["a"]).await;
    let mut value = crate::site::bot("a", "queued", &at(-5));
    value["queue_timeout_seconds"] = json!(9_007_199_254_740_991_u64);
    site.put(instance("patient"), value).await;
    let queue = site.get("/v1/queue", &key).await;
    assert_eq!((queue.status, &queue.body["entries"][0]["times_out_at"]), (200, &json!(null)), "{queue:?}");
}

pub(crate) async fn the_forecast_of_one_replica_serves_the_others(url: String) {
    let site = site(&url, 2).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let replica = || {
        let settings = Settings { limits: Limits { active: Some(2), ..Limits::default() }, max_live: 9, ..Settings::default() };
        (Api::new(std::sync::Arc::clone(&site.store), settings, CancellationToken::new()), Turns::default())
    };
    let ((one, mut ones), (other, mut others)) = (replica(), replica());
    assert_eq!(ones.look(&one).await.unwrap(), Some(0));
    let document = bot_store::DocumentKey::Capacity("forecast".into());
    let measured = site.store.read(&document).await.unwrap().unwrap();
    for number in 0..5 {
        let new = json!({"meeting_url": zoom(number), "start_time": at(7_200), "end_time": at(9_000)});
        assert_eq!(site.post("/v1/meetings", &key, new).await.status, 201);
    }
    assert_eq!(
        (others.look(&other).await.unwrap(), ones.look(&one).await.unwrap()),
        (Some(0), Some(0)),
        "its turn is an hour away"
    );
    assert_eq!(site.store.read(&document).await.unwrap().unwrap().version, measured.version, "and nobody writes");
    let mut old = bot_model::document::Fields::new();
    old.insert("taken_at".into(), json!(at(-7_300)));
    site.store.commit(vec![bot_store::Write::merge_existing(document, old)]).await.unwrap();
    assert_eq!(others.look(&other).await.unwrap(), Some(3));
    assert_eq!(ones.look(&one).await.unwrap(), Some(3), "by the other one");
}

pub(crate) async fn who_waits_for_a_quota_is_told_so(url: String) {
    let site = site(&url, 9).await;
    let key = site.key(Role::Viewer, &[]).await;
    let waits_for = json!({"limit": "cluster", "since": at(-60)});
    let queued =
        json!({"meeting_url": zoom(1), "status": "queued", "phase": "queued", "created_at": at(-90), "waits_for": waits_for});
    site.put(instance("held"), queued).await;
    let bot = site.get("/v1/bots/held", &key).await.body;
    assert_eq!(bot["queue"]["waits_for"], "cluster", "{bot}");
}
