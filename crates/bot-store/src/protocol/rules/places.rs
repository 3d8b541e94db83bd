//! Places: a limit over everybody who claims at once.

use bot_model::capacity::ledger::Refusal;
use bot_model::capacity::{Limits, OrganizationLimits};
use chrono::TimeDelta;

use super::*;
use crate::protocol::capacity::{self, claim_placed};

fn limits(active: u32) -> Limits {
    Limits { active: Some(active), ..Limits::default() }
}

async fn queued_directly(store: &Shared, id: &str) -> InstanceRecord {
    queued_for(store, id, "", now()).await
}

async fn queued_for(store: &Shared, id: &str, organization: &str, created_at: DateTime<Utc>) -> InstanceRecord {
    let mut fields = Fields::new();
    fields.insert("meeting_url".into(), json!("https://meet.google.com/abc-defg-hij"));
    fields.insert("status".into(), json!("queued"));
    fields.insert("created_at".into(), json!(created_at));
    fields.insert("creator_organization_id".into(), json!(organization));
    let id = InstanceId::parse(id).expect("an id");
    let write = Write::create(DocumentKey::Instance(id.clone()), fields);
    assert!(store.commit(vec![write]).await.expect("queue").is_applied());
    instance(store, &id).await
}

/// See its name.
pub async fn eight_controllers_take_no_more_places_than_there_are(store: Shared) {
    let mut records = Vec::new();
    for number in 0..12 {
        records.push(queued_directly(&store, &format!("b{number}")).await);
    }
    let tasks = (0..8).map(|number| {
        let (store, mut records) = (Arc::clone(&store), records.clone());
        records.rotate_left(number);
        tokio::spawn(async move {
            let claimer = claimer(&format!("c{number}"));
            claim_placed(store.as_ref(), records, 2, &claimer, &limits(5), now()).await
        })
    });
    let mut claimed = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        // Who is overtaken time and again gives up for now.
        let answer = task.await.expect("a claimer");
        claimed.extend(answer.map(|answer| answer.claimed).unwrap_or_default());
    }
    let mut ids: Vec<String> = claimed.iter().map(|claimed| claimed.record().instance.id.to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), claimed.len()), (5, 5));
    let places = capacity::read(store.as_ref()).await.expect("read").expect("it is counted");
    assert_eq!(places.ledger.holders.len(), 5);
    let left = records.into_iter().find(|record| !ids.contains(&record.instance.id.to_string())).expect("somebody waits");
    let answer = claim_placed(store.as_ref(), vec![left], 9, &claimer("late"), &limits(5), now()).await.expect("asked");
    assert_eq!(answer.turned_away.first().map(|(_, refusal)| *refusal), Some(Refusal::Capacity));
    // The versions of what was claimed are the stored ones: a launch is written on them.
    for claimed in &claimed {
        let job = JobName::for_instance(&claimed.record().instance.id);
        let launched = launched(store.as_ref(), claimed, &job, now()).await.expect("launched");
        assert!(matches!(launched, Advanced::Applied(_)), "{launched:?}");
    }
}

/// See its name.
pub async fn a_place_is_free_once_its_holder_has_ended_whoever_finds_out(store: Shared) {
    let (first, second) = (queued_directly(&store, "first").await, queued_directly(&store, "second").await);
    let take = async |record: &InstanceRecord| {
        let answer = claim_placed(store.as_ref(), vec![record.clone()], 1, &claimer("c"), &limits(1), now()).await;
        answer.expect("asked").claimed.len()
    };
    assert_eq!((take(&first).await, take(&second).await), (1, 0));
    let live = std::collections::BTreeMap::new();
    assert_eq!(capacity::settle_up(store.as_ref(), &live).await.expect("looked"), 0, "it lives, whatever was seen of it");
    fail(&store, &instance(&store, &first.instance.id).await).await;
    assert_eq!(capacity::settle_up(store.as_ref(), &live).await.expect("looked"), 1);
    assert_eq!(take(&second).await, 1);
    fail(&store, &instance(&store, &second.instance.id).await).await;
    assert_eq!(capacity::ended(store.as_ref(), std::slice::from_ref(&second.instance.id)).await.expect("told"), 1);
}

/// See its name: whether an organization's document says it, or the environment, and whoever claims first.
pub async fn a_limit_that_is_set_at_noon_holds_for_the_morning_too(store: Shared) {
    let day = |most| OrganizationLimits { max_bots_per_day: Some(most), ..OrganizationLimits::default() };
    let (unlimited, limited) = (limits(100), Limits { default: day(3), ..limits(100) });
    let claims = async |id: &str, organization: &str, hours: i64, limits: &Limits| {
        let at = now() + TimeDelta::hours(hours);
        let record = queued_for(&store, id, organization, at).await;
        let answer = claim_placed(store.as_ref(), vec![record], 9, &claimer("c"), limits, at).await.expect("asked");
        answer.turned_away.first().map(|(_, refusal)| *refusal)
    };
    let begun = async |organization: &str| {
        let places = capacity::read(store.as_ref()).await.expect("read").expect("it is counted");
        places.ledger.days.get(organization).map(|day| day.begun)
    };
    // now() is 8 in the morning; 9 hours before it was the day before.
    for organization in ["a", "b"] {
        for (number, hours) in [-9, -2, -1].into_iter().enumerate() {
            assert_eq!(claims(&format!("{organization}{number}"), organization, hours, &unlimited).await, None);
        }
    }
    queued_for(&store, "a-waits", "a", now()).await;
    assert_eq!((begun("a").await, begun("b").await), (None, None), "nobody asked for it");
    // By its own document, as the API has it.
    capacity::count_day(store.as_ref(), "a", &day(3), now()).await.expect("counted");
    capacity::count_day(store.as_ref(), "a", &day(3), now()).await.expect("and asked for again");
    assert_eq!((begun("a").await, begun("b").await), (Some(2), None));
    for organization in ["a", "b"] {
        assert_eq!(claims(&format!("{organization}-third"), organization, 0, &limited).await, None);
        let fourth = claims(&format!("{organization}-fourth"), organization, 0, &limited).await;
        assert_eq!((fourth, begun(organization).await), (Some(Refusal::OrganizationPerDay), Some(3)), "{organization}");
    }
    // A limit that is used up already is counted once, though nobody is claimed.
    let none = Limits { default: day(0), ..limits(100) };
    assert_eq!(claims("c1", "c", 0, &none).await, Some(Refusal::OrganizationPerDay));
    assert_eq!(begun("c").await, Some(0));
    assert_eq!(claims("c2", "c", 16, &limited).await, None, "another day");
}

/// See its name: over a claim and a launch that was taken back, until it is really launched.
pub async fn what_a_bot_waits_for_stands_on_its_document_until_it_is_sent(store: Shared) {
    let meeting = put_meeting(&store, "m", json!({"start_time": now()})).await;
    let Enqueued::Created(id) = look(&store, &meeting).await else { panic!("not created") };
    let waits = async || instance(&store, &id).await.instance.facts.waits_for;
    let take = async || {
        let record = instance(&store, &id).await;
        claim_all(store.as_ref(), vec![record], &claimer("c"), now()).await.remove(0).expect("claim").expect("claimed")
    };
    let job = JobName::for_instance(&id);
    claim::put_back(store.as_ref(), &take().await, Refusal::Cluster, "no room", now()).await.expect("put back");
    let first = waits().await.expect("it waits");
    assert_eq!(first.limit, Refusal::Cluster);
    let claimed = take().await;
    assert_eq!(waits().await.as_ref(), Some(&first), "a claim is no place yet");
    launched(store.as_ref(), &claimed, &job, now()).await.expect("launched");
    assert_eq!(waits().await, None);
    let record = instance(&store, &id).await;
    let withdrawn = claim::withdraw(store.as_ref(), &record, Refusal::Cluster, "no pod", now()).await.expect("withdraw");
    let Advanced::Applied(record) = withdrawn else { panic!("{withdrawn:?}") };
    assert_eq!((record.instance.phase, record.instance.facts.attempt), (Phase::Queued, 1));
    assert!(waits().await.is_some());
    // A manager that came to its call after all is left alone.
    launched(store.as_ref(), &take().await, &job, now()).await.expect("launched");
    let before = instance(&store, &id).await;
    let bound = bind(store.as_ref(), &id, (1, "r"), Purpose::Record, now()).await.expect("bind");
    assert!(matches!(bound, Bind::Bound(_)), "{bound:?}");
    let too_late = claim::withdraw(store.as_ref(), &before, Refusal::Cluster, "no pod", now()).await.expect("withdraw");
    assert_eq!(too_late, Advanced::Conflict);
}
