//! What only Firestore has: real Timestamps, values that JSON lacks, exact hints.

use std::time::Duration;

use bot_model::configuration::Naming;
use bot_store::{DocumentKey, Hint, InstanceQuery, MeetingQuery, Store, StoreErrorKind, Write};
use chrono::DateTime;
use firestore::gcloud_sdk::google::firestore::v1::value::ValueType;
use firestore::gcloud_sdk::google::firestore::v1::{CommitRequest, Document, Value, Write as RawWrite, write::Operation};
use firestore::gcloud_sdk::google::r#type::LatLng;
use firestore::gcloud_sdk::prost_types::Timestamp;
use firestore::{FirestoreDb, FirestoreDbOptions};
use futures::StreamExt as _;
use serde_json::json;

use super::{Case, fresh_store};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        ("foreign_value_types_are_read_without_a_panic", Box::pin(foreign_value_types_are_read_without_a_panic())),
        ("instants_are_stored_as_timestamps", Box::pin(instants_are_stored_as_timestamps())),
        ("a_start_time_that_is_a_string_is_in_no_window", Box::pin(a_start_time_that_is_a_string_is_in_no_window())),
        ("a_hint_names_the_meeting_that_changed", Box::pin(a_hint_names_the_meeting_that_changed())),
        ("a_store_that_does_not_answer_is_unavailable", Box::pin(a_store_that_does_not_answer_is_unavailable())),
        ("thirty_one_statuses_are_refused", Box::pin(thirty_one_statuses_are_refused())),
    ]
}

struct Raw(FirestoreDb);

impl Raw {
    async fn open(url: &str) -> Self {
        let project = url.trim_start_matches("firestore:").to_owned();
        Self(FirestoreDb::with_options(FirestoreDbOptions::new(project)).await.unwrap())
    }

    async fn put(&self, path: &str, fields: Vec<(&str, ValueType)>) {
        let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), Value { value_type: Some(value) })).collect();
        let name = format!("{}/{path}", self.0.get_documents_path());
        let document = Document { name, fields, create_time: None, update_time: None };
        let write = RawWrite { operation: Some(Operation::Update(document)), ..RawWrite::default() };
        let request =
            CommitRequest { database: self.0.get_database_path().clone(), writes: vec![write], ..CommitRequest::default() };
        self.0.client().get().commit(request).await.unwrap();
    }
}

fn meeting(path: &str) -> DocumentKey {
    DocumentKey::Meeting(bot_model::ids::MeetingPath::parse(path).unwrap())
}

async fn open(url: &str) -> std::sync::Arc<dyn Store> {
    bot_store::connect::open(url, Naming::default()).await.unwrap()
}

async fn foreign_value_types_are_read_without_a_panic() {
    let url = fresh_store();
    let (store, raw) = (open(&url).await, Raw::open(&url).await);
    let reference = format!("{}/a/b", raw.0.get_documents_path());
    raw.put(
        "meetings/odd",
        vec![
            ("status", ValueType::StringValue("scheduled".into())),
            ("nan", ValueType::DoubleValue(f64::NAN)),
            ("bytes", ValueType::BytesValue(vec![0, 255])),
            ("place", ValueType::GeoPointValue(LatLng { latitude: 1.0, longitude: 2.0 })),
            ("reference", ValueType::ReferenceValue(reference)),
        ],
    )
    .await;
    let query = MeetingQuery::WithStatus(vec!["scheduled".into()]);
    let page = store.meetings(&query, None, 10).await.unwrap();
    for key in ["nan", "bytes", "place", "reference"] {
        assert!(page.records[0].fields[key].is_object(), "{key}");
    }
    // A merge leaves them as they are.
    let write = Write::merge_existing(meeting("meetings/odd"), json!({"bot_status": "x"}).as_object().unwrap().clone());
    assert!(store.commit(vec![write]).await.unwrap().is_applied());
    let kept = raw.0.fluent().select().by_id_in("meetings").one("odd").await.unwrap().unwrap();
    assert_eq!(kept.fields["bytes"].value_type, Some(ValueType::BytesValue(vec![0, 255])));
}

async fn instants_are_stored_as_timestamps() {
    let url = fresh_store();
    let (store, raw) = (open(&url).await, Raw::open(&url).await);
    let fields = json!({"start_time": "2027-01-15T09:00:00+01:00"}).as_object().unwrap().clone();
    store.commit(vec![Write::create(meeting("meetings/m"), fields)]).await.unwrap();
    let stored = raw.0.fluent().select().by_id_in("meetings").one("m").await.unwrap().unwrap();
    let expected = ValueType::TimestampValue(Timestamp { seconds: 1_800_000_000, nanos: 0 });
    assert_eq!(stored.fields["start_time"].value_type, Some(expected));
}

async fn a_start_time_that_is_a_string_is_in_no_window() {
    let url = fresh_store();
    let (store, raw) = (open(&url).await, Raw::open(&url).await);
    let status = || ("status", ValueType::StringValue("scheduled".into()));
    raw.put("meetings/s", vec![status(), ("start_time", ValueType::StringValue("2027-01-15T08:00:00Z".into()))]).await;
    let stamp = Timestamp { seconds: 1_800_000_000, nanos: 0 };
    raw.put("meetings/t", vec![status(), ("start_time", ValueType::TimestampValue(stamp))]).await;
    let instant = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let window = MeetingQuery::StartingWithin { statuses: vec!["scheduled".into()], from: instant, to: instant };
    let page = store.meetings(&window, None, 10).await.unwrap();
    assert_eq!(page.records.iter().map(|record| record.key.path()).collect::<Vec<_>>(), ["meetings/t"]);
    let all = store.meetings(&MeetingQuery::WithStatus(vec!["scheduled".into()]), None, 10).await.unwrap();
    assert_eq!(all.records.len(), 2, "the full sweep sees both");
    assert!(all.records.iter().all(|record| record.fields["start_time"] == "2027-01-15T08:00:00Z"));
}

async fn a_hint_names_the_meeting_that_changed() {
    let url = fresh_store();
    let store = open(&url).await;
    let put = |path: &str| Write::create(meeting(path), json!({"status": "scheduled"}).as_object().unwrap().clone());
    store.commit(vec![put("meetings/before")]).await.unwrap();
    let mut hints = store.watch().await.unwrap();
    assert_eq!(next(&mut hints).await, Hint::Anything, "what was there before is one reason to look");
    store.commit(vec![put("meetings/m")]).await.unwrap();
    let DocumentKey::Meeting(path) = meeting("meetings/m") else { unreachable!() };
    assert_eq!(next(&mut hints).await, Hint::Meeting(path.clone()));
    let cancelled = json!({"status": "cancelled"}).as_object().unwrap().clone();
    store.commit(vec![Write::merge_existing(meeting("meetings/m"), cancelled)]).await.unwrap();
    assert_eq!(next(&mut hints).await, Hint::Meeting(path), "a cancelled meeting leaves");
    let instance = DocumentKey::Instance(bot_model::ids::InstanceId::parse("i").unwrap());
    store.commit(vec![Write::create(instance, json!({"status": "queued"}).as_object().unwrap().clone())]).await.unwrap();
    assert_eq!(next(&mut hints).await, Hint::Instances);
    let told = bot_store::outbox::Event::new("bot.done", "", DateTime::UNIX_EPOCH, json!({}));
    let told = bot_store::outbox::write(told);
    store.commit(vec![told.clone()]).await.unwrap();
    assert_eq!(next(&mut hints).await, Hint::Outbox);
    let found = store.read(&told.key).await.unwrap().unwrap();
    let other = DocumentKey::Instance(bot_model::ids::InstanceId::parse("j").unwrap());
    let put = Write::create(other, json!({"status": "queued"}).as_object().unwrap().clone());
    store.commit(vec![Write::delete(told.key, found.version), put]).await.unwrap();
    assert_eq!(next(&mut hints).await, Hint::Instances, "what left the outbox is no reason to look");
}

async fn next(hints: &mut bot_store::HintStream) -> Hint {
    tokio::time::timeout(Duration::from_secs(10), hints.next()).await.expect("no hint in time").unwrap()
}

async fn a_store_that_does_not_answer_is_unavailable() {
    // A port that was free a moment ago: nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "wire::dead_store", "--ignored"])
        .env("FIRESTORE_EMULATOR_HOST", format!("127.0.0.1:{port}"))
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by a_store_that_does_not_answer_is_unavailable"]
async fn dead_store() {
    let error = bot_store::connect::open("firestore:p", Naming::default()).await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
}

async fn thirty_one_statuses_are_refused() {
    let store = open(&fresh_store()).await;
    let statuses = (0..31).map(|n| format!("s{n}")).collect();
    let error = store.instances(&InstanceQuery::WithStatus(statuses), None, 10).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Refused, "{error}");
}
