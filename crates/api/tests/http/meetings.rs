//! Meetings: schedule, duplicates, batch, lists, changes, repeated requests, the seeds' names.

use api::access::Role;
use bot_store::{DocumentKey, Write};
use serde_json::{Value, json};

use crate::site::{Site, ZOOM, at, fields, zoom};

pub(crate) async fn a_meeting_is_scheduled_read_changed_and_cancelled(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let new = json!({"meeting_url": ZOOM, "start_time": at(3600), "end_time": at(7200), "title": "Weekly", "priority": 3});
    let made = site.post("/v1/meetings", &key, new).await;
    assert_eq!(
        (made.status, made.body["result"].as_str(), made.body["bot"].is_null()),
        (201, Some("scheduled"), true),
        "{made:?}"
    );
    assert!(!made.body.to_string().contains("CANARY"), "the passcode is shown: {made:?}");
    let path = made.header("location");
    let read = site.get(&path, &key).await;
    assert_eq!((read.status, &read.body, read.header("etag")), (200, &made.body["meeting"], made.header("etag")));
    let change = |tag: &str, body: Value| site.ask("PATCH", &path, &key).header("if-match", tag.to_owned()).json(&body);
    assert_eq!(Site::send(site.ask("PATCH", &path, &key).json(&json!({"title": "x"}))).await.problem(), "needs-if-match");
    for wrong in
        [json!({}), json!({"end_time": at(60)}), json!({"priority": 5_000}), json!({"meeting_url": "https://x.example/"})]
    {
        assert_eq!(Site::send(change(&read.header("etag"), wrong.clone())).await.problem(), "invalid", "{wrong}");
    }
    let body = json!({"start_time": at(5400), "title": null});
    let moved = Site::send(change(&read.header("etag"), body)).await;
    assert_eq!((moved.status, moved.body["title"].is_null(), moved.body["priority"].as_i64()), (200, true, Some(3)), "{moved:?}");
    assert_ne!(moved.header("etag"), read.header("etag"));
    let cancel = format!("{path}/cancel");
    for _ in 0..2 {
        let cancelled = site.post(&cancel, &key, json!({})).await;
        assert_eq!((cancelled.status, cancelled.body["status"].as_str()), (200, Some("cancelled")), "{cancelled:?}");
    }
    assert_eq!(site.get("/v1/meetings/none", &key).await.problem(), "not-found");
}

pub(crate) async fn the_same_occurrence_is_already_there(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let start = at(3600);
    let ask = async |address: &str, start: &str| {
        site.post("/v1/meetings", &key, json!({"meeting_url": address, "start_time": start})).await
    };
    let first = ask(ZOOM, &start).await;
    let again = ask("https://us02web.zoom.us/wc/join/123456789", &start).await;
    assert_eq!((again.status, again.body["result"].as_str()), (200, Some("already_there")), "{again:?}");
    assert_eq!(again.body["meeting"]["id"], first.body["meeting"]["id"]);
    assert_eq!(ask(ZOOM, &at(90_000)).await.status, 201, "another occurrence is another meeting");
    let id = first.body["meeting"]["id"].as_str().unwrap();
    assert_eq!(site.post(&format!("/v1/meetings/{id}/cancel"), &key, json!({})).await.status, 200);
    let anew = ask(ZOOM, &start).await;
    assert_eq!(anew.status, 201, "a cancelled one makes room: {anew:?}");
    assert_ne!(anew.body["meeting"]["id"], first.body["meeting"]["id"]);
}

pub(crate) async fn now_asked_for_twice_in_a_row_is_one_bot(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let ask = async || site.post("/v1/meetings", &key, json!({"meeting_url": ZOOM})).await;
    let first = ask().await;
    let asked_at = chrono::Utc::now().timestamp();
    while chrono::Utc::now().timestamp() <= asked_at {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let again = ask().await;
    assert_eq!((again.status, &again.body["bot"]["id"]), (200, &first.body["bot"]["id"]), "{again:?}");
}

pub(crate) async fn a_meeting_that_is_due_has_its_bot_at_once(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let start = at(0);
    let made = site.post("/v1/meetings", &key, json!({"meeting_url": ZOOM, "start_time": start, "bot_name": "Notes"})).await;
    assert_eq!((made.status, made.body["result"].as_str()), (201, Some("queued")), "{made:?}");
    assert_eq!((&made.body["bot"]["phase"], &made.body["bot"]["bot_name"]), (&json!("queued"), &json!("Notes")));
    let again = site.post("/v1/meetings", &key, json!({"meeting_url": ZOOM, "start_time": start})).await;
    assert_eq!((again.status, &again.body["bot"]["id"]), (200, &made.body["bot"]["id"]), "{again:?}");
    let path = made.header("location");
    let patch = |body: Value| Site::send(site.ask("PATCH", &path, &key).header("if-match", "*").json(&body));
    assert_eq!(patch(json!({"start_time": at(3600)})).await.problem(), "conflict");
    assert_eq!(patch(json!({"bot_name": "Other"})).await.status, 200);
    let late = site.post("/v1/meetings", &key, json!({"meeting_url": ZOOM, "start_time": at(-2000)})).await;
    assert_eq!(late.problem(), "invalid", "{late:?}");
}

pub(crate) async fn two_operators_at_once_have_one_winner_and_the_other_is_told(url: String) {
    let site = Site::new(&url).await;
    let [one, two] = [site.key(Role::Operator, &["a"]).await, site.key(Role::Operator, &["a", "b"]).await];
    let made = site.post("/v1/meetings", &one, json!({"meeting_url": ZOOM, "start_time": at(3600)})).await;
    let (path, tag) = (made.header("location"), made.header("etag"));
    let change = |key: &str, title: &str| {
        Site::send(site.ask("PATCH", &path, key).header("if-match", tag.clone()).json(&json!({"title": title})))
    };
    let answers = tokio::join!(change(&one, "one"), change(&two, "two"));
    let (won, lost) = if answers.0.status == 200 { answers } else { (answers.1, answers.0) };
    assert_eq!((won.status, lost.problem()), (200, "changed"), "{won:?} {lost:?}");
    assert_eq!((lost.status, &lost.body["updated_by"]), (412, &won.body["updated_by"]));
    assert_eq!(lost.body["current_etag"], won.header("etag"));
    assert!(lost.body["detail"].as_str().unwrap().contains("operator of"), "{lost:?}");
}

pub(crate) async fn a_batch_judges_each_meeting_by_itself(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let (start, many) = (at(3600), 100);
    let meeting = |n: u32| json!({"meeting_url": zoom(n), "start_time": start});
    let mut meetings: Vec<Value> = (0..many).map(meeting).collect();
    meetings[7] = json!({"meeting_url": "https://evil.example/CANARY"});
    meetings[8] = json!({"nonsense": 1});
    meetings[9] = meeting(3);
    let answer = site.post("/v1/meetings:batch", &key, json!({"meetings": meetings})).await;
    let results = answer.body["results"].as_array().unwrap();
    let statuses: Vec<u64> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!((answer.status, results.len()), (200, 100));
    assert_eq!((statuses[7], statuses[8]), (422, 422), "{:?}", results[7]);
    // Which of the two came first is chance.
    assert_eq!((statuses[3] + statuses[9], statuses.iter().filter(|status| **status == 201).count()), (401, 97));
    assert!(!answer.body.to_string().contains("CANARY"));
    for refused in [json!({"meetings": []}), json!({"meetings": (0..=many).map(meeting).collect::<Vec<_>>()}), json!([])] {
        assert_eq!(site.post("/v1/meetings:batch", &key, refused).await.problem(), "invalid");
    }
}

pub(crate) async fn lists_come_in_pages_and_by_filters(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a", "b"]).await;
    for n in 0..9_u32 {
        let organization = if n % 3 == 0 { "b" } else { "a" };
        let new = json!({"meeting_url": zoom(n), "start_time": at(3600 + i64::from(n) * 60), "organization": organization});
        assert_eq!(site.post("/v1/meetings", &key, new).await.status, 201);
    }
    let theirs = DocumentKey::Meeting(bot_model::ids::MeetingPath::parse("meetings/theirs").unwrap());
    site.put(theirs, json!({"meeting_url": ZOOM, "status": "scheduled", "start_time": at(0), "creator_organization_id": "c"}))
        .await;
    let starts = |page: &Value| -> Vec<String> {
        page["meetings"].as_array().unwrap().iter().map(|meeting| meeting["start_time"].as_str().unwrap().to_owned()).collect()
    };
    let (mut all, mut path) = (Vec::new(), "/v1/meetings?limit=4".to_owned());
    loop {
        let page = site.get(&path, &key).await;
        assert_eq!(page.status, 200, "{page:?}");
        all.extend(starts(&page.body));
        match page.body["next_cursor"].as_str() {
            Some(next) => path = format!("/v1/meetings?limit=4&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(all.len(), 9);
    assert!(all.windows(2).all(|pair| pair[0] > pair[1]), "{all:?}");
    let count =
        async |query: &str| site.get(&format!("/v1/meetings?{query}"), &key).await.body["meetings"].as_array().map(Vec::len);
    assert_eq!(count("organization=b").await, Some(3));
    assert_eq!(count("organization=b&status=cancelled").await, Some(0));
    assert_eq!(count(&format!("status=scheduled&from={}&before={}", all[4], all[1])).await, Some(3));
    for wrong in ["limit=0", "limit=201", "limit=x", "from=soon", "nonsense=1"] {
        assert_eq!(site.get(&format!("/v1/meetings?{wrong}"), &key).await.problem(), "bad-parameter", "{wrong}");
    }
    for wrong in ["x", "Li4v", "MTIgYQ"] {
        assert_eq!(site.get(&format!("/v1/meetings?cursor={wrong}"), &key).await.problem(), "bad-cursor", "{wrong}");
    }
}

pub(crate) async fn a_repeated_request_gets_the_first_answer_again(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let post = async |key: &str, once: &str, body: &Value| {
        Site::send(site.ask("POST", "/v1/meetings", key).header("idempotency-key", once.to_owned()).json(body)).await
    };
    let body = json!({"meeting_url": ZOOM, "start_time": at(3600)});
    let first = post(&key, "k1", &body).await;
    let again = post(&key, "k1", &body).await;
    assert_eq!((again.status, &again.body, again.header("etag")), (201, &first.body, first.header("etag")), "{again:?}");
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), (String::new(), "true".into()));
    assert_eq!(post(&key, "k1", &json!({"meeting_url": zoom(2)})).await.problem(), "idempotency-key-reused");
    assert_eq!(post(&key, "k2", &body).await.status, 200, "another key is another request");
    assert_eq!(
        post(&site.key(Role::Operator, &["a"]).await, "k1", &json!({"meeting_url": zoom(3)})).await.status,
        201,
        "keys are the caller's own"
    );
    let refused = post(&key, "k3", &json!({"meeting_url": "x"})).await;
    let again = post(&key, "k3", &json!({"meeting_url": "x"})).await;
    assert_eq!((refused.status, again.status, &again.body["detail"]), (422, 422, &refused.body["detail"]));
    assert_eq!(post(&key, &"x".repeat(300), &body).await.problem(), "bad-parameter");

    // Each kind of change: the version that it was made on has gone by the time of the repetition.
    let path = format!("/v1/meetings/{}", first.body["meeting"]["id"].as_str().unwrap());
    let change = async |method: &str, title: &str| {
        let request = site.ask(method, &path, &key).header("idempotency-key", "k4").header("if-match", first.header("etag"));
        Site::send(request.json(&json!({"title": title}))).await
    };
    let (changed, again) = (change("PATCH", "Planning").await, change("PATCH", "Planning").await);
    assert_eq!((changed.status, again.status, &again.body), (200, 200, &changed.body), "{again:?}");
    assert_eq!(change("PATCH", "Other").await.problem(), "idempotency-key-reused");
    // Who was told that somebody was faster reads again, and changes that, under the same key.
    let on = async |version: &str| {
        let request = site.ask("PATCH", &path, &key).header("idempotency-key", "k5").header("if-match", version.to_owned());
        Site::send(request.json(&json!({"title": "Review"}))).await
    };
    assert_eq!(on(&first.header("etag")).await.problem(), "changed");
    let newer = on(&changed.header("etag")).await;
    assert_eq!((newer.status, &newer.body["title"]), (200, &json!("Review")), "{newer:?}");
    assert_eq!(on(&first.header("etag")).await.problem(), "idempotency-key-reused");
    let admin = site.key(Role::Admin, &["a"]).await;
    let delete = async |path: &str| Site::send(site.ask("DELETE", path, &admin).header("idempotency-key", "d")).await;
    let made = site.post("/v1/webhooks", &admin, json!({"url": "https://hooks.example.com/x"})).await;
    let hook = format!("/v1/webhooks/{}", made.body["webhook"]["id"].as_str().unwrap());
    let (gone, again) = (delete(&hook).await, delete(&hook).await);
    assert_eq!((gone.status, again.status, again.header("idempotency-replayed").as_str()), (204, 204, "true"), "{again:?}");
    let get = Site::send(site.ask("GET", &path, &key).header("idempotency-key", "k4")).await;
    assert_eq!((get.status, get.header("idempotency-replayed")), (200, String::new()), "a look is never remembered");
}

pub(crate) async fn sixteen_at_once_under_one_key_make_one_meeting(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let body = json!({"meeting_url": ZOOM});
    let sent = (0..16).map(|_| Site::send(site.ask("POST", "/v1/meetings", &key).header("idempotency-key", "k").json(&body)));
    let answers = futures::future::join_all(sent).await;
    let made: Vec<_> =
        answers.iter().filter(|answer| answer.status == 201).map(|answer| answer.body["meeting"]["id"].clone()).collect();
    assert!(!made.is_empty() && made.iter().all(|id| *id == made[0]), "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 409)), "{answers:?}");
    let listed = site.get("/v1/meetings", &key).await;
    assert_eq!(listed.body["meetings"].as_array().unwrap().len(), 1);
}

pub(crate) async fn the_seeds_names_work(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let called = site.post("/botcall", &key, json!({"url": ZOOM, "time": at(3600)})).await;
    assert_eq!((called.status, &called.body["status"]), (201, &json!("scheduled")), "{called:?}");
    let id = called.body["meeting_id"].as_str().unwrap().to_owned();
    let left = site.post(&format!("/meetings/{id}/leave"), &key, json!({})).await;
    assert_eq!((left.status, &left.body["status"]), (200, &json!("cancelled")), "{left:?}");
    let joined = site.post("/meetings/join", &key, json!({"meeting_url": zoom(1), "bot_name": "Notes"})).await;
    assert_eq!((joined.status, &joined.body["status"]), (201, &json!("queued")), "{joined:?}");
    let id = joined.body["meeting_id"].as_str().unwrap().to_owned();
    let status = site.get(&format!("/meetings/{id}/status"), &key).await;
    assert_eq!((status.status, &status.body["bot_id"]), (200, &joined.body["bot_id"]));
    let left = site.post(&format!("/meetings/{id}/leave"), &key, json!({})).await;
    assert_eq!((left.status, &left.body["outcome"]["kind"]), (200, &json!("cancelled")), "{left:?}");
    // A backend's own edit between two reads changes the tag, too.
    let meeting = DocumentKey::Meeting(bot_model::ids::MeetingPath::parse(&format!("meetings/{id}")).unwrap());
    let before = site.get(&format!("/v1/meetings/{id}"), &key).await.header("etag");
    site.store.commit(vec![Write::merge_existing(meeting, fields(json!({"theirs": 1})))]).await.unwrap();
    assert_ne!(site.get(&format!("/v1/meetings/{id}"), &key).await.header("etag"), before);
}
