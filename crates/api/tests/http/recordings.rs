//! Files out of the bucket.

use api::access::Role;
use bot_model::picture::stamped;
use serde_json::json;

use crate::site::{Site, at, bot, instance};

pub(crate) async fn the_live_picture_is_there_while_the_bot_waits_or_records(url: String) {
    let site = Site::new(&url).await;
    let (own, other) = (site.key(Role::Viewer, &["a"]).await, site.key(Role::Viewer, &["b"]).await);
    let stamp = |second: u32| format!("2027-01-15T09:00:{second:02}Z").parse().unwrap();
    for (id, phase) in [("queued", "queued"), ("recording", "recording"), ("done", "done"), ("blind", "waiting_room")] {
        let mut value = bot("a", phase, &at(0));
        value["gcs_path"] = json!(format!("x/{id}"));
        site.put(instance(id), value).await;
        let picture = if id == "blind" { b"no picture".to_vec() } else { stamped(&[0xff, 0xd8, 0xff, 0xd9], stamp(7)).unwrap() };
        site.file(&format!("x/{id}/live.jpg"), &picture);
    }
    let response = site.ask("GET", "/v1/bots/recording/picture", &own).send().await.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((response.status().as_u16(), header("content-type").as_str()), (200, "image/jpeg"));
    assert_eq!(
        (header("last-modified").as_str(), header("cache-control").as_str()),
        ("Fri, 15 Jan 2027 09:00:07 GMT", "no-store")
    );
    assert!(response.bytes().await.unwrap().starts_with(&[0xff, 0xd8]));
    for id in ["queued", "done", "blind", "none"] {
        assert_eq!(site.get(&format!("/v1/bots/{id}/picture"), &own).await.problem(), "not-found", "{id}");
    }
    for path in ["picture", "hls/playlist.m3u8", "hls/a1-r_p0_000000-00000000.m4s"] {
        assert_eq!(site.get(&format!("/v1/bots/recording/{path}"), &other).await.problem(), "not-found", "{path}");
        assert_eq!(site.get(&format!("/v1/bots/recording/{path}"), "").await.problem(), "unauthorized", "{path}");
    }
}

/// Anybody may ask for any path: only a bot that is about to join has it for itself.
pub(crate) async fn a_path_that_is_but_a_wish_opens_nobody_s_recording(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Viewer, &["a"]).await;
    site.file("theirs/raw/a1-r/p0/000000-00000000.m4s", b"");
    for (id, joining, status) in [("asks", 0, 404), ("joins", 1, 200)] {
        let mut value = bot("a", "launched", &at(0));
        value["gcs_path"] = json!("theirs");
        value["joining_attempt"] = json!(joining);
        site.put(instance(id), value).await;
        let answer = site.ask("GET", &format!("/v1/bots/{id}/hls/a1-r_p0_000000-00000000.m4s"), &key).send().await.unwrap();
        assert_eq!(answer.status(), status, "{id}");
    }
}

pub(crate) async fn a_link_opens_its_file_without_a_key_until_it_expires(url: String) {
    let site = Site::new(&url).await;
    let (own, other) = (site.key(Role::Viewer, &["a"]).await, site.key(Role::Viewer, &["b"]).await);
    let mut value = bot("a", "done", &at(0));
    let object = site.file("x/video.mp4", b"0123456789");
    value["artifacts"] = json!([{"name": "video", "object": object, "bytes": 10, "crc32c": "0badcafe"}]);
    site.put(instance("b"), value).await;
    let path = "/v1/bots/b/artifacts/video.mp4/link";
    let made = site.post(path, &own, json!({"expires_in_seconds": 60})).await;
    assert_eq!((made.status, &made.body["bytes"], &made.body["crc32c"]), (201, &json!(10), &json!("0badcafe")));
    let link = made.body["url"].as_str().unwrap().to_owned();
    let opened = site.ask("GET", &link, "").header("range", "bytes=2-4").send().await.unwrap();
    assert_eq!((opened.status().as_u16(), opened.bytes().await.unwrap().as_ref()), (206, b"234".as_slice()));
    let outside = Site::send(site.ask("GET", &link, "").header("range", "bytes=10-")).await;
    assert_eq!(outside.problem(), "range-not-satisfiable");
    for wrong in [link.replace("video.mp4", "audio.m4a"), link.replace("expires=", "expires=1"), format!("{link}x")] {
        assert_eq!(site.get(&wrong, "").await.problem(), "forbidden", "{wrong}");
    }
    let brief = site.post(path, &own, json!({"expires_in_seconds": 1})).await.body["url"].as_str().unwrap().to_owned();
    site.becomes(&brief, 403).await;
    for wrong in [json!({"expires_in_seconds": 0}), json!({"expires_in_seconds": 604_801}), json!({"for_ever": true})] {
        assert_eq!(site.post(path, &own, wrong).await.problem(), "invalid");
    }
    assert_eq!(site.post(path, &other, json!({})).await.problem(), "not-found");
    assert_eq!(site.post("/v1/bots/b/artifacts/audio.m4a/link", &own, json!({})).await.problem(), "not-found");
    let admin = site.key(Role::Admin, &[]).await;
    let audit = site.get("/v1/audit", &admin).await;
    let entries = audit.body["entries"].as_array().unwrap();
    assert_eq!(entries.iter().filter(|entry| entry["action"] == "artifact.link" && entry["target"] == "b").count(), 2);
}

pub(crate) async fn files_come_whole_and_in_ranges(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Viewer, &["a"]).await;
    let video: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let people = br#"{"participants":[{"name":"Ada"}]}"#;
    let mut value = bot("a", "done", &at(0));
    let artifact =
        |name: &str, object: String, bytes: usize| json!({"name": name, "object": object, "bytes": bytes, "crc32c": "0badcafe"});
    value["artifacts"] = json!([
        artifact("video", site.file("x/video.mp4", &video), video.len()),
        artifact("timeline", site.file("x/timeline.json", people), people.len()),
        artifact("audio", "gs://elsewhere/x/audio.m4a".into(), 5),
        artifact("manifest", format!("file://{}/x/gone.json", site.bucket.path().display()), 5),
    ]);
    site.put(instance("b"), value).await;
    let list = site.get("/v1/bots/b/artifacts", &key).await;
    let path = list.body["artifacts"][0]["href"].as_str().unwrap().to_owned();
    assert_eq!((list.status, list.body["artifacts"].as_array().unwrap().len()), (200, 4));
    let fetch = async |headers: &[(&'static str, &str)]| {
        let request =
            headers.iter().fold(site.ask("GET", &path, &key), |request, (name, value)| request.header(*name, value.to_string()));
        let response = request.send().await.unwrap();
        let header =
            |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        (response.status().as_u16(), header("content-range"), header("etag"), response.bytes().await.unwrap())
    };
    let whole = fetch(&[]).await;
    assert_eq!((whole.0, whole.3.as_ref() == video, whole.2.as_str()), (200, true, "\"0badcafe\""));
    for (range, expected) in [
        ("bytes=10-19", 10..20),
        ("bytes=299990-", 299_990..300_000),
        ("bytes=-5", 299_995..300_000),
        ("bytes=0-9999999", 0..300_000),
    ] {
        let (status, content_range, _, bytes) = fetch(&[("range", range)]).await;
        assert_eq!((status, bytes.as_ref()), (206, &video[expected.clone()]), "{range}");
        assert_eq!(content_range, format!("bytes {}-{}/300000", expected.start, expected.end - 1));
    }
    assert_eq!(fetch(&[("range", "bytes=1-2"), ("if-range", "\"other\"")]).await.3.len(), video.len());
    assert_eq!(fetch(&[("range", "bytes=1-2"), ("if-range", "\"0badcafe\"")]).await.0, 206);
    assert_eq!(fetch(&[("if-none-match", "\"0badcafe\"")]).await.0, 304);
    let outside = Site::send(site.ask("GET", &path, &key).header("range", "bytes=300000-")).await;
    assert_eq!((outside.problem(), &outside.body["bytes"]), ("range-not-satisfiable", &json!(300_000)));
    let head = site.ask("HEAD", &path, &key).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "300000"));
    assert_eq!(site.get("/v1/bots/b/participants", &key).await.body["participants"][0]["name"], "Ada");
    for missing in
        ["/v1/bots/b/artifacts/audio.m4a", "/v1/bots/b/artifacts/..%2Fx", "/v1/bots/b/artifacts/none", "/v1/bots/b/recording"]
    {
        assert_eq!(site.get(missing, &key).await.problem(), "not-found", "{missing}");
    }
}
