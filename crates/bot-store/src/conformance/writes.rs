//! Commits: conditions, atomicity, merging, versions, limits.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Shared, fields, get, instance, meeting, open, put};
use crate::{Commit, DocumentKey, StoreErrorKind, Version, Write};

/// See its name.
pub async fn a_created_document_reads_back_and_a_second_create_conflicts(url: String) {
    let store = open(&url).await;
    let key = instance("a");
    assert!(store.read(&key).await.expect("read").is_none());
    let value = json!({"status": "queued", "n": 7, "f": 0.5, "yes": true, "list": [1, "two", {"three": null}], "map": {"a": {}}});
    let version = put(&store, &key, value.clone()).await;
    let record = get(&open(&url).await, &key).await;
    assert_eq!((record.fields, record.version), (fields(value), version));
    let again = store.commit(vec![Write::create(key.clone(), fields(json!({"status": "other"})))]).await.expect("commit");
    assert_eq!(again, Commit::Conflict);
    assert_eq!(get(&store, &key).await.fields["status"], "queued");
}

/// See its name.
pub async fn an_update_needs_the_version_that_it_read(url: String) {
    let store = open(&url).await;
    let key = instance("a");
    let first = put(&store, &key, json!({"n": 1})).await;
    let update = |version: &Version, n: u32| vec![Write::update(key.clone(), version.clone(), fields(json!({"n": n})))];
    let Commit::Applied(versions) = store.commit(update(&first, 2)).await.expect("commit") else { panic!("conflict") };
    assert_eq!(get(&store, &key).await.version, versions[0], "the commit told another version than a read");
    assert_eq!(store.commit(update(&first, 3)).await.expect("commit"), Commit::Conflict);
    assert_eq!(store.commit(vec![Write::delete(key.clone(), first)]).await.expect("commit"), Commit::Conflict);
    assert_eq!(get(&store, &key).await.fields["n"], 2);
    assert!(store.commit(vec![Write::delete(key.clone(), versions[0].clone())]).await.expect("commit").is_applied());
    assert!(store.read(&key).await.expect("read").is_none());
}

/// See its name.
pub async fn a_missing_document_is_neither_changed_nor_created(url: String) {
    let store = open(&url).await;
    let key = instance("gone");
    let version = put(&store, &key, json!({"n": 1})).await;
    assert!(store.commit(vec![Write::delete(key.clone(), version.clone())]).await.expect("delete").is_applied());
    let late = [
        Write::merge_existing(key.clone(), fields(json!({"n": 2}))),
        Write::update(key.clone(), version.clone(), fields(json!({"n": 2}))),
        Write::delete(key.clone(), version),
    ];
    for write in late {
        assert_eq!(store.commit(vec![write.clone()]).await.expect("commit"), Commit::Conflict, "{write:?}");
        assert!(store.read(&key).await.expect("read").is_none(), "{write:?} resurrected it");
    }
}

/// See its name.
pub async fn sixteen_claimers_of_one_document_have_one_winner(url: String) {
    let store = open(&url).await;
    for round in 0..5 {
        let key = instance(&format!("contested{round}"));
        let version = put(&store, &key, json!({"status": "queued"})).await;
        let claim = |claimer: usize| {
            let changes = fields(json!({"status": "processing", "claimed_by": format!("c{claimer}")}));
            Write::update(key.clone(), version.clone(), changes)
        };
        let winners = race(&url, (0..16).map(claim).collect()).await;
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(get(&store, &key).await.fields["claimed_by"], format!("c{}", winners[0]));
    }
}

/// See its name.
pub async fn sixteen_creators_of_one_document_have_one_winner(url: String) {
    let key = instance("new");
    let writes = (0..16).map(|creator| Write::create(key.clone(), fields(json!({"by": creator})))).collect();
    let winners = race(&url, writes).await;
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(get(&open(&url).await, &key).await.fields["by"], json!(winners[0]));
}

/// See its name.
pub async fn an_update_and_a_delete_of_one_version_have_one_winner(url: String) {
    let store = open(&url).await;
    for round in 0..8 {
        let key = instance(&format!("r{round}"));
        let version = put(&store, &key, json!({"n": 0})).await;
        let update = Write::update(key.clone(), version.clone(), fields(json!({"n": 1})));
        let winners = race(&url, vec![update, Write::delete(key.clone(), version)]).await;
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(store.read(&key).await.expect("read").is_some(), winners == [0]);
    }
}

/// Commits each write from its own task, over four connections; the indices of those that were applied.
async fn race(url: &str, writes: Vec<Write>) -> Vec<usize> {
    let stores = [open(url).await, open(url).await, open(url).await, open(url).await];
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(writes.len()));
    let tasks: Vec<_> = writes
        .into_iter()
        .enumerate()
        .map(|(index, write)| {
            let (store, barrier) = (Shared::clone(&stores[index % stores.len()]), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                store.commit(vec![write]).await.expect("commit").is_applied()
            })
        })
        .collect();
    let mut winners = Vec::new();
    for (index, task) in tasks.into_iter().enumerate() {
        winners.extend(task.await.expect("a racer").then_some(index));
    }
    winners
}

/// See its name.
pub async fn a_commit_applies_all_of_its_writes_or_none(url: String) {
    let store = open(&url).await;
    let (present, slot, event) = (instance("a"), DocumentKey::Controller("c".into()), event("a", "1"));
    let version = put(&store, &present, json!({"n": 1})).await;
    let group = |version: &Version| {
        vec![
            Write::create(event.clone(), fields(json!({"event": "x"}))),
            Write::create(slot.clone(), fields(json!({"n": 1}))),
            Write::update(present.clone(), version.clone(), fields(json!({"n": 2}))),
        ]
    };
    let stale = Version::from_adapter("1.000001000");
    assert_eq!(store.commit(group(&stale)).await.expect("commit"), Commit::Conflict);
    assert!(store.read(&event).await.expect("read").is_none() && store.read(&slot).await.expect("read").is_none());
    assert_eq!(get(&store, &present).await.version, version);
    let Commit::Applied(versions) = store.commit(group(&version)).await.expect("commit") else { panic!("conflict") };
    assert_eq!(versions.len(), 3);
    for (key, version) in [&event, &slot, &present].into_iter().zip(versions) {
        assert_eq!(get(&store, key).await.version, version, "{key:?}");
    }
}

fn event(instance: &str, id: &str) -> DocumentKey {
    DocumentKey::Event(bot_model::ids::InstanceId::parse(instance).expect("an id"), id.into())
}

/// See its name.
pub async fn a_merge_sets_and_clears_what_it_names_and_leaves_the_rest(url: String) {
    let store = open(&url).await;
    let key = meeting("meetings/m");
    put(&store, &key, json!({"status": "scheduled", "theirs": {"deep": [1, {"x": null}]}, "old": 1, "map": {"a": 1, "b": 2}}))
        .await;
    let changes = json!({"bot_status": "queued", "old": null, "never_there": null, "map": {"c": null}});
    assert!(store.commit(vec![Write::merge_existing(key.clone(), fields(changes))]).await.expect("commit").is_applied());
    let expected =
        json!({"status": "scheduled", "theirs": {"deep": [1, {"x": null}]}, "bot_status": "queued", "map": {"c": null}});
    assert_eq!(get(&store, &key).await.fields, fields(expected));
    let created = meeting("meetings/nulls");
    put(&store, &created, json!({"kept": 1, "cleared": null})).await;
    assert_eq!(get(&store, &created).await.fields, fields(json!({"kept": 1})));
}

/// See its name.
pub async fn versions_change_with_every_change_and_never_repeat(url: String) {
    let store = open(&url).await;
    let key = instance("a");
    let mut seen = BTreeSet::new();
    for round in 0..4 {
        let mut version = put(&store, &key, json!({"n": 0})).await;
        for step in 0..3 {
            assert!(seen.insert(version.clone()), "{version:?} came twice, round {round}");
            let write = Write::update(key.clone(), version, fields(json!({"n": step + 1})));
            let Commit::Applied(versions) = store.commit(vec![write]).await.expect("commit") else { panic!("conflict") };
            version = versions[0].clone();
        }
        assert!(seen.insert(version.clone()), "{version:?} came twice, round {round}");
        assert!(store.commit(vec![Write::delete(key.clone(), version)]).await.expect("delete").is_applied());
    }
}

/// See its name.
pub async fn groups_of_writes_succeed_and_fail_independently(url: String) {
    let store = open(&url).await;
    let version = put(&store, &instance("taken"), json!({"n": 0})).await;
    let put_one = |id: &str| Write::create(instance(id), fields(json!({"n": 1})));
    let bump = |n: u32| Write::update(instance("taken"), version.clone(), fields(json!({"n": n})));
    let big = Write::create(instance("big"), fields(json!({"text": "x".repeat(1_200_000)})));
    let groups = vec![
        vec![put_one("one")],
        vec![put_one("taken")],
        vec![put_one("two"), put_one("three")],
        vec![put_one("four"), put_one("taken")],
        vec![bump(1)],
        vec![bump(2)],
        vec![big],
        vec![put_one("five")],
    ];
    let answers = store.commit_each(groups).await;
    let applied: Vec<Option<bool>> = answers.iter().map(|answer| answer.as_ref().ok().map(Commit::is_applied)).collect();
    assert_eq!(applied[..4], [Some(true), Some(false), Some(true), Some(false)]);
    assert_eq!([applied[4], applied[5]].iter().filter(|one| **one == Some(true)).count(), 1, "{applied:?}");
    assert_eq!(applied[6..], [None, Some(true)]);
    for (id, there) in [("one", true), ("two", true), ("three", true), ("four", false), ("five", true), ("big", false)] {
        assert_eq!(store.read(&instance(id)).await.expect("read").is_some(), there, "{id}");
    }
    for (answer, id) in [(&answers[0], "one"), (&answers[7], "five")] {
        let Ok(Commit::Applied(versions)) = answer else { panic!("{answer:?}") };
        assert_eq!(versions, &[get(&store, &instance(id)).await.version]);
    }
    assert!(store.commit_each(Vec::new()).await.is_empty());
}

/// See its name.
pub async fn an_oversized_document_is_refused_without_harm(url: String) {
    let store = open(&url).await;
    let key = instance("a");
    let version = put(&store, &key, json!({"text": "x".repeat(900_000)})).await;
    for bytes in [200_000, 1_200_000, 5_000_000] {
        let growth = Write::merge_existing(key.clone(), fields(json!({"more": "y".repeat(bytes)})));
        let harmless = Write::create(instance("b"), fields(json!({"n": 1})));
        let error = store.commit(vec![harmless, growth]).await.expect_err("an oversized document was accepted");
        assert_eq!(error.kind, StoreErrorKind::Refused, "{error}");
    }
    assert_eq!(get(&store, &key).await.version, version);
    assert!(store.read(&instance("b")).await.expect("read").is_none());
}

/// See its name.
pub async fn five_hundred_writes_fit_into_a_commit_and_one_more_is_refused(url: String) {
    let store = open(&url).await;
    let writes = |count: usize| -> Vec<Write> {
        (0..count).map(|n| Write::create(instance(&format!("i{n}")), fields(json!({"n": n})))).collect()
    };
    let error = store.commit(writes(501)).await.expect_err("501 writes were accepted");
    assert_eq!(error.kind, StoreErrorKind::Refused, "{error}");
    let Commit::Applied(versions) = store.commit(writes(500)).await.expect("commit") else { panic!("conflict") };
    assert_eq!(versions.len(), 500);
    assert!(store.commit(Vec::new()).await.expect("nothing").is_applied());
}

/// See its name.
pub async fn instants_keep_their_moment_and_other_strings_their_text(url: String) {
    let store = open(&url).await;
    let key = meeting("meetings/m");
    let texts = json!({"start_time": "2027-01-15T09:00:00+01:00", "end_time": "2027-01-15T08:00:00.123456Z",
        "claim": {"claimed_at": "2027-01-15T08:00:00.5Z"}, "odd_at": "half past nine", "title": "2027-01-15T09:00:00+01:00"});
    put(&store, &key, texts.clone()).await;
    let read = get(&store, &key).await.fields;
    let instant =
        |value: &serde_json::Value| chrono::DateTime::parse_from_rfc3339(value.as_str().expect("a string")).expect("an instant");
    for pointer in ["/start_time", "/end_time", "/claim/claimed_at"] {
        let read = serde_json::Value::Object(read.clone());
        let (read, written) = (read.pointer(pointer).expect("a value"), texts.pointer(pointer).expect("a value"));
        assert_eq!(instant(read), instant(written), "{pointer}");
    }
    assert_eq!((&read["odd_at"], &read["title"]), (&texts["odd_at"], &texts["title"]));
}

/// See its name.
pub async fn odd_field_names_are_written_and_cleared(url: String) {
    let store = open(&url).await;
    let key = instance("a");
    let odd = json!({"with.dot": 1, "with space": 2, "0digit": 3, "back`tick": 4, "Größe": 5, "a\\b": 6});
    put(&store, &key, odd.clone()).await;
    assert_eq!(get(&store, &key).await.fields, fields(odd.clone()));
    let cleared = fields(odd).into_iter().map(|(name, _)| (name, serde_json::Value::Null)).collect();
    store.commit(vec![Write::merge_existing(key.clone(), cleared)]).await.expect("commit");
    assert!(get(&store, &key).await.fields.is_empty());
}
