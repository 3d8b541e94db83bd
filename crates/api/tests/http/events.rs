//! The feed.

use std::time::Duration;

use api::access::Role;
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::site::{Site, zoom};

/// The events of a stream as they come, as (id, event, data).
struct Listening {
    bytes: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Listening {
    async fn open(site: &Site, key: &str, query: &str, last: Option<&str>) -> Self {
        let mut request = site.ask("GET", &format!("/v1/events{query}"), key);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()),
            (200, "text/event-stream")
        );
        Self { bytes: response.bytes_stream().boxed(), text: String::new() }
    }

    async fn next(&mut self) -> (String, String, Value) {
        let wait = async {
            loop {
                if let Some((event, rest)) = self.text.split_once("\n\n") {
                    let (event, rest) = (event.to_owned(), rest.to_owned());
                    self.text = rest;
                    let field =
                        |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned());
                    if let Some(data) = field("data:") {
                        return (field("id:").unwrap(), field("event:").unwrap(), serde_json::from_str(&data).unwrap());
                    }
                    continue;
                }
                let chunk = self.bytes.next().await.expect("the stream ended").unwrap();
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("an event in time")
    }
}

async fn queue(site: &Site, key: &str, number: u32) -> String {
    let made = site.post("/v1/meetings", key, json!({"meeting_url": zoom(number)})).await;
    made.body["bot"]["id"].as_str().unwrap_or_else(|| panic!("{made:?}")).to_owned()
}

pub(crate) async fn a_stream_tells_what_happens_and_resumes_without_a_gap(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let mut live = Listening::open(&site, &key, "", None).await;
    let first = queue(&site, &key, 1).await;
    let (id, event, data) = live.next().await;
    assert_eq!(
        (event.as_str(), data["bot_id"].as_str(), data["id"].as_str()),
        ("queued", Some(first.as_str()), Some(id.as_str()))
    );
    drop(live);
    let missed = queue(&site, &key, 2).await;
    let mut resumed = Listening::open(&site, &key, "", Some(&id)).await;
    let (second_id, _, data) = resumed.next().await;
    assert_eq!(data["bot_id"], missed.as_str(), "what happened in between comes first");
    let third = queue(&site, &key, 3).await;
    assert_eq!(resumed.next().await.2["bot_id"], third.as_str(), "and then what happens, each once");
    assert!(second_id > id);
    let mut since =
        Listening::open(&site, &key, &format!("?bot={third}&since={}", data["occurred_at"].as_str().unwrap()), None).await;
    assert_eq!(since.next().await.2["bot_id"], third.as_str());
    for wrong in ["?since=2020-01-01T00:00:00Z", "?since=x", "?nonsense=1"] {
        assert_eq!(site.get(&format!("/v1/events{wrong}"), &key).await.problem(), "bad-parameter", "{wrong}");
    }
    // Where nothing happened for longer than a stream goes back, its listener has missed nothing.
    let quiet = format!("2020-01-01T00:00:00.000Z-{}", id.split_once("Z-").unwrap().1);
    assert_eq!(Listening::open(&site, &key, "", Some(&quiet)).await.next().await.2["bot_id"], first.as_str());
    let garbled = Site::send(site.ask("GET", "/v1/events", &key).header("last-event-id", "7")).await;
    assert_eq!(garbled.problem(), "bad-parameter");
}

/// A controller stamps what it writes with the beginning of its pass, which may last minutes.
pub(crate) async fn what_is_written_minutes_late_is_told_all_the_same(url: String) {
    let site = Site::new(&url).await;
    let key = site.key(Role::Operator, &["a"]).await;
    let before = queue(&site, &key, 1).await;
    let mut early = Listening::open(&site, &key, &format!("?since={}", crate::site::at(-600)), None).await;
    let (last, _, _) = early.next().await;
    let late = queue(&site, &key, 2).await;
    let bot = bot_model::ids::InstanceId::parse(&late).unwrap();
    let at = crate::site::at(-240);
    let line = json!({"occurred_at": at, "phase": "claimed", "event": "claimed", "actor": "c", "attempt": 1, "detail": "",
        "creator_organization_id": "a"});
    assert_eq!(early.next().await.2["bot_id"], late.as_str());
    site.put(bot_store::DocumentKey::Event(bot, format!("{at}-0")), line).await;
    let (_, event, data) = early.next().await;
    assert_eq!((event.as_str(), data["bot_id"].as_str()), ("claimed", Some(late.as_str())), "to who was there");
    let mut resumed = Listening::open(&site, &key, "", Some(&last)).await;
    let told = [resumed.next().await, resumed.next().await].map(|(_, event, data)| (event, data["bot_id"].clone()));
    assert_eq!(told, [("claimed".into(), json!(late)), ("queued".into(), json!(late))], "to who comes back; {before} is known");
}

pub(crate) async fn a_stream_is_confined_to_its_organization(url: String) {
    let site = Site::new(&url).await;
    let [ours, theirs] = [site.key(Role::Operator, &["a"]).await, site.key(Role::Operator, &["b"]).await];
    let mut live = Listening::open(&site, &ours, "", None).await;
    queue(&site, &theirs, 1).await;
    let own = queue(&site, &ours, 2).await;
    assert_eq!(live.next().await.2["bot_id"], own.as_str());
    let hour_ago = crate::site::at(-3600);
    let mut past = Listening::open(&site, &ours, &format!("?since={hour_ago}"), None).await;
    assert_eq!(past.next().await.2["bot_id"], own.as_str());
}
