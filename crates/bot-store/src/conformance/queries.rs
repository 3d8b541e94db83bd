//! Queries: pages, names, query modes, the start window, timelines.

use bot_model::configuration::{Naming, QueryMode};
use bot_model::ids::InstanceId;
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use super::{Shared, all_meetings, fields, instance, meeting, open, open_as, put};
use crate::{DocumentKey, InstanceQuery, MeetingQuery, Write};

fn with_status(statuses: &[&str]) -> MeetingQuery {
    MeetingQuery::WithStatus(statuses.iter().map(|status| (*status).to_owned()).collect())
}

async fn put_all(store: &Shared, documents: Vec<(DocumentKey, Value)>) {
    let writes = documents.into_iter().map(|(key, value)| Write::create(key, fields(value))).collect();
    assert!(store.commit(writes).await.expect("commit").is_applied());
}

/// See its name.
pub async fn documents_come_in_pages_and_poison_delays_nobody(url: String) {
    let store = open(&url).await;
    let mut expected = Vec::new();
    let mut documents = Vec::new();
    for n in 0..130 {
        let path = format!("meetings/m{:03}", (n * 37) % 130);
        let poison = [
            json!({"status": "scheduled", "meeting_url": 7, "start_time": {"a": 1}}),
            json!({"status": "scheduled", "start_time": "soon", "bot_status": [7, {}]}),
            json!({"status": "scheduled", "meeting_url": "x".repeat(100_000)}),
        ];
        let value = if n % 13 == 0 { poison[n % 3].clone() } else { json!({"status": "scheduled", "n": n}) };
        documents.push((meeting(&path), value));
        expected.push(path);
    }
    put_all(&store, documents).await;
    expected.sort();
    for limit in [7, 50, 200] {
        let (paths, pages) = all_meetings(&store, &with_status(&["scheduled"]), limit).await;
        assert_eq!(paths, expected, "pages of {limit}");
        assert_eq!(pages, 130_usize.div_ceil(limit));
    }
}

/// See its name.
pub async fn the_last_full_page_has_no_cursor(url: String) {
    let store = open(&url).await;
    put_all(&store, (0..4).map(|n| (meeting(&format!("meetings/m{n}")), json!({"status": "scheduled"}))).collect()).await;
    assert_eq!(all_meetings(&store, &with_status(&["scheduled"]), 2).await.1, 2);
    assert_eq!(all_meetings(&store, &with_status(&["none"]), 2).await, (Vec::new(), 1));
}

/// See its name.
pub async fn several_statuses_are_found_and_others_are_not(url: String) {
    let store = open(&url).await;
    let values = [json!("scheduled"), json!("confirmed"), json!("cancelled"), json!(1), json!(null), json!(["scheduled"])];
    let documents =
        values.into_iter().enumerate().map(|(n, status)| (meeting(&format!("meetings/m{n}")), json!({"status": status})));
    put_all(&store, documents.collect()).await;
    put(&store, &instance("i"), json!({"status": "scheduled"})).await;
    let (paths, _) = all_meetings(&store, &with_status(&["scheduled", "confirmed", "1"]), 10).await;
    assert_eq!(paths, ["meetings/m0", "meetings/m1"]);
    let thirty: Vec<String> = (0..29).map(|n| format!("s{n}")).chain(["confirmed".to_owned()]).collect();
    let (paths, _) = all_meetings(&store, &MeetingQuery::WithStatus(thirty), 10).await;
    assert_eq!(paths, ["meetings/m1"]);
}

/// See its name.
pub async fn custom_names_and_values_are_honoured(url: String) {
    let naming = Naming {
        meetings_collection: "calls".into(),
        meeting_status_field: "call_state".into(),
        instance_status_field: "bot_state".into(),
        ..Naming::default()
    };
    let store = open_as(&url, naming).await;
    put(&store, &meeting("calls/a"), json!({"call_state": "ready to go", "status": "no"})).await;
    put(&store, &meeting("calls/b"), json!({"call_state": "no", "status": "ready to go"})).await;
    put(&store, &meeting("meetings/c"), json!({"call_state": "ready to go"})).await;
    assert_eq!(all_meetings(&store, &with_status(&["ready to go"]), 10).await.0, ["calls/a"]);
    put(&store, &instance("i"), json!({"bot_state": "wartend"})).await;
    put(&store, &instance("j"), json!({"status": "wartend"})).await;
    assert_eq!(instance_ids(&store, "wartend", 10).await, ["bot_instances/i"]);
}

/// See its name.
pub async fn equal_ids_under_different_parents_are_different_meetings(url: String) {
    let naming = Naming { query_mode: QueryMode::CollectionGroup, ..Naming::default() };
    let store = open_as(&url, naming).await;
    let paths = [
        "meetings/same",
        "orgs/a/meetings/same",
        "orgs/b/meetings/other",
        "orgs/b/meetings/same",
        "orgs/b/teams/t/meetings/same",
    ];
    put_all(&store, paths.iter().map(|path| (meeting(path), json!({"status": "scheduled", "path": path}))).collect()).await;
    put(&store, &meeting("orgs/a/archive/same"), json!({"status": "scheduled"})).await;
    for limit in [1, 2, 10] {
        assert_eq!(all_meetings(&store, &with_status(&["scheduled"]), limit).await.0, paths, "pages of {limit}");
    }
    for path in paths {
        assert_eq!(super::get(&store, &meeting(path)).await.fields["path"], path);
    }
}

/// See its name.
pub async fn a_nested_collection_holds_only_its_own_meetings(url: String) {
    let store = open_as(&url, Naming { meetings_collection: "orgs/a/meetings".into(), ..Naming::default() }).await;
    for path in ["orgs/a/meetings/m", "orgs/b/meetings/m", "meetings/m", "orgs/a/meetings/m/meetings/deeper"] {
        put(&store, &meeting(path), json!({"status": "scheduled"})).await;
    }
    assert_eq!(all_meetings(&store, &with_status(&["scheduled"]), 10).await.0, ["orgs/a/meetings/m"]);
}

/// See its name.
pub async fn a_start_window_includes_its_bounds_and_comes_in_pages(url: String) {
    let store = open(&url).await;
    let from = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
    let to = from + Duration::minutes(30);
    let at = |instant: DateTime<Utc>| json!({"status": "scheduled", "start_time": instant.to_rfc3339()});
    let offset = chrono::FixedOffset::east_opt(5 * 3600 + 1800).expect("an offset");
    let mut documents = vec![
        (meeting("meetings/first"), at(from)),
        (meeting("meetings/last"), at(to)),
        (
            meeting("meetings/offset"),
            json!({"status": "scheduled", "start_time": (from + Duration::minutes(1)).with_timezone(&offset)}),
        ),
        (meeting("meetings/early"), at(from - Duration::seconds(2))),
        (meeting("meetings/late"), at(to + Duration::seconds(2))),
        (meeting("meetings/none"), json!({"status": "scheduled"})),
        (meeting("meetings/number"), json!({"status": "scheduled", "start_time": 1_800_000_000})),
        (meeting("meetings/other"), json!({"status": "cancelled", "start_time": from})),
    ];
    documents.extend((0..5).map(|n| (meeting(&format!("meetings/same{n}")), at(from + Duration::minutes(7)))));
    put_all(&store, documents).await;
    let query = MeetingQuery::StartingWithin { statuses: vec!["scheduled".into()], from, to };
    let expected = ["first", "last", "offset", "same0", "same1", "same2", "same3", "same4"].map(|id| format!("meetings/{id}"));
    for limit in [2, 3, 100] {
        let (mut paths, pages) = all_meetings(&store, &query, limit).await;
        paths.sort();
        assert_eq!(paths, expected, "pages of {limit}");
        assert_eq!(pages, expected.len().div_ceil(limit));
    }
}

/// See its name.
pub async fn events_come_in_the_order_of_their_ids_and_of_their_instance_alone(url: String) {
    let store = open(&url).await;
    let id = InstanceId::parse("i").expect("an id");
    let other = InstanceId::parse("i2").expect("an id");
    let event = |id: &InstanceId, n: usize| DocumentKey::Event(id.clone(), format!("2027-01-15T08:00:00.{:03}Z-x", (n * 7) % 20));
    put_all(&store, (0..20).map(|n| (event(&id, n), json!({"n": n}))).collect()).await;
    put(&store, &event(&other, 1), json!({"n": 0})).await;
    let events = store.events(&id).await.expect("events");
    assert_eq!(events.len(), 20);
    assert!(events.windows(2).all(|pair| pair[0].key.path() < pair[1].key.path()), "not in order");
    assert_eq!(store.events(&other).await.expect("events").len(), 1);
    assert!(store.events(&InstanceId::parse("none").expect("an id")).await.expect("events").is_empty());
}

/// See its name.
pub async fn instances_come_in_pages_by_status(url: String) {
    let store = open(&url).await;
    let status = |n: usize| if n.is_multiple_of(3) { "done" } else { "queued" };
    put_all(&store, (0..30).map(|n| (instance(&format!("i{n:02}")), json!({"status": status(n)}))).collect()).await;
    put(&store, &meeting("meetings/m"), json!({"status": "queued"})).await;
    let expected: Vec<String> = (0..30).filter(|n| n % 3 != 0).map(|n| format!("bot_instances/i{n:02}")).collect();
    assert_eq!(instance_ids(&store, "queued", 6).await, expected);
}

async fn instance_ids(store: &Shared, status: &str, limit: usize) -> Vec<String> {
    let query = InstanceQuery::WithStatus(vec![status.to_owned()]);
    let (mut paths, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = store.instances(&query, cursor.as_deref(), limit).await.expect("query");
        paths.extend(page.records.iter().map(|record| record.key.path()));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return paths,
        }
    }
}
