//! Lists by time: order, pages, filters, windows, counts.

use bot_model::ids::InstanceId;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Shared, get, instance, meeting, open, put};
use crate::listing::{ListField, Listed, Listing};
use crate::{DocumentKey, StoreErrorKind};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("an instant")
}

async fn all(store: &Shared, listing: &Listing, limit: usize) -> Vec<String> {
    let (mut paths, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = store.list(listing, cursor.as_deref(), limit).await.expect("list");
        assert!(page.records.len() <= limit, "{} records in a page of {limit}", page.records.len());
        paths.extend(page.records.iter().map(|record| record.key.path()));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return paths,
        }
    }
}

/// See its name.
pub async fn keys_audit_entries_and_replays_read_back(url: String) {
    let store = open(&url).await;
    let keys = [
        DocumentKey::ApiKey("k".into()),
        DocumentKey::Audit("a".into()),
        DocumentKey::Replay("r".into()),
        DocumentKey::Outbox("o".into()),
        DocumentKey::Endpoint("e".into()),
        DocumentKey::Delivery("d".into()),
        DocumentKey::Pending("d".into()),
        DocumentKey::Organization("o".into()),
    ];
    let kinds = [
        Listed::ApiKeys,
        Listed::Audit,
        Listed::Replays,
        Listed::Outbox,
        Listed::Endpoints,
        Listed::Deliveries,
        Listed::Pending,
        Listed::Organizations,
    ];
    for key in &keys {
        let instants =
            ["created_at", "occurred_at", "expires_at", "due_at", "updated_at"].map(|name| (name.to_owned(), json!(at(0))));
        put(&store, key, serde_json::Value::Object(instants.into_iter().collect())).await;
        assert_eq!(&get(&store, key).await.key, key);
    }
    for (kind, key) in kinds.into_iter().zip(&keys) {
        assert_eq!(all(&store, &Listing::newest(kind), 10).await, [key.path()]);
    }
}

/// See its name.
pub async fn a_list_comes_in_the_order_of_its_instants_in_pages(url: String) {
    let store = open(&url).await;
    let mut expected = Vec::new();
    for n in 0..25_i64 {
        // Two of each instant, some with fractions: neither text nor id gives the order.
        let instant = at(n / 2) + chrono::Duration::microseconds(n % 3);
        let key = instance(&format!("i{:02}", (n * 7) % 25));
        put(&store, &key, json!({"created_at": instant})).await;
        expected.push((instant, key.path()));
    }
    put(&store, &meeting("meetings/m"), json!({"created_at": at(0), "start_time": at(0)})).await;
    expected.sort();
    let mut expected: Vec<String> = expected.into_iter().map(|(_, path)| path).collect();
    for limit in [1, 4, 25, 100] {
        assert_eq!(all(&store, &Listing::oldest(Listed::Instances), limit).await, expected, "pages of {limit}");
    }
    expected.reverse();
    assert_eq!(all(&store, &Listing::newest(Listed::Instances), 4).await, expected);
    assert_eq!(all(&store, &Listing::newest(Listed::Meetings), 4).await, ["meetings/m"]);
}

/// See its name.
pub async fn filters_and_window_hold_together_and_are_counted(url: String) {
    let store = open(&url).await;
    let value = |n: i64| -> Value {
        let (organization, phase) = (["a", "b", ""][n as usize % 3], ["done", "queued"][n as usize % 2]);
        json!({"created_at": at(n), "creator_organization_id": organization, "phase": phase, "status": phase, "platform": "zoom",
            "outcome_kind": if n % 4 == 0 { json!("denied") } else { Value::Null }})
    };
    for n in 0..24 {
        put(&store, &instance(&format!("i{n:02}")), value(n)).await;
    }
    let wanted = |test: &dyn Fn(i64) -> bool| -> Vec<String> {
        (0..24).filter(|n| test(*n)).map(|n| format!("bot_instances/i{n:02}")).collect()
    };
    let list = || Listing::oldest(Listed::Instances);
    let in_a = list().with(ListField::Organization, vec!["a".into()]);
    let done_in_a = in_a.clone().with(ListField::Phase, vec!["done".into()]);
    let cases: [(Listing, Vec<String>); 7] = [
        (in_a.clone(), wanted(&|n| n % 3 == 0)),
        (list().with(ListField::Organization, vec![String::new()]), wanted(&|n| n % 3 == 2)),
        (list().with(ListField::Organization, vec!["a".into(), "b".into()]), wanted(&|n| n % 3 != 2)),
        (done_in_a.clone(), wanted(&|n| n % 6 == 0)),
        (done_in_a.with(ListField::Platform, vec!["zoom".into()]), wanted(&|n| n % 6 == 0)),
        (list().with(ListField::Outcome, vec!["denied".into()]), wanted(&|n| n % 4 == 0)),
        (Listing { from: Some(at(5)), before: Some(at(9)), ..in_a }, wanted(&|n| n % 3 == 0 && (5..9).contains(&n))),
    ];
    for (listing, expected) in cases {
        assert_eq!(all(&store, &listing, 3).await, expected, "{listing:?}");
        assert_eq!(store.count(&listing).await.expect("count"), expected.len() as u64, "{listing:?}");
    }
}

/// See its name.
pub async fn what_has_no_instant_is_in_no_list(url: String) {
    let store = open(&url).await;
    put(&store, &instance("without"), json!({"status": "queued"})).await;
    put(&store, &instance("poison"), json!({"created_at": {"a": 1}})).await;
    put(&store, &instance("words"), json!({"created_at": "yesterday"})).await;
    put(&store, &instance("with"), json!({"created_at": at(0)})).await;
    assert_eq!(all(&store, &Listing::newest(Listed::Instances), 10).await, ["bot_instances/with"]);
    let mut later = bot_model::document::Fields::new();
    later.insert("created_at".into(), json!(at(1)));
    store.commit(vec![crate::Write::merge_existing(instance("without"), later)]).await.expect("commit");
    assert_eq!(all(&store, &Listing::newest(Listed::Instances), 10).await, ["bot_instances/without", "bot_instances/with"]);
}

/// See its name.
pub async fn a_feed_holds_the_timelines_of_every_instance(url: String) {
    let store = open(&url).await;
    let event = |of: &str, id: &str| DocumentKey::Event(InstanceId::parse(of).expect("an id"), id.into());
    for (n, of) in ["one", "two", "one"].into_iter().enumerate() {
        let value = json!({"occurred_at": at(n as i64), "creator_organization_id": of});
        put(&store, &event(of, &format!("e{n}")), value).await;
    }
    // The backend's own collection of this name.
    put(&store, &meeting("events/theirs"), json!({"occurred_at": at(1)})).await;
    let feed = Listing::oldest(Listed::Events);
    let paths = ["bot_instances/one/events/e0", "bot_instances/two/events/e1", "bot_instances/one/events/e2"];
    assert_eq!(all(&store, &feed, 2).await, paths);
    assert_eq!(all(&store, &feed.clone().with(ListField::Organization, vec!["one".into()]), 2).await, [paths[0], paths[2]]);
    assert_eq!(all(&store, &Listing { from: Some(at(1)), ..feed }, 9).await, paths[1..]);
}

/// See its name.
pub async fn a_cursor_that_no_list_made_is_refused(url: String) {
    let store = open(&url).await;
    for cursor in ["", "x", "bot_instances/a", "12 ", "12 a", "12 a//b", "x a/b"] {
        let error = store.list(&Listing::newest(Listed::Instances), Some(cursor), 2).await.expect_err(cursor);
        assert_eq!(error.kind, StoreErrorKind::Refused, "{cursor:?}: {error}");
    }
}
