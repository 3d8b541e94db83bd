//! Documents that share a call: twins, split ids, and who gets the result.

use super::*;

/// See its name.
pub async fn who_finds_its_call_taken_hands_its_meetings_to_the_holder(store: Shared) {
    let (first, second) = handed_over(&store).await;
    assert_eq!(instance(&store, &second).await.instance.phase, Phase::Cancelled);
    done(&store, &instance(&store, &first).await).await;
    let two = DocumentKey::Meeting(MeetingPath::parse("meetings/two").expect("a path"));
    let told = read(&store, &two).await;
    assert_eq!(Meeting::link(&told.fields, store.naming()), Some(first));
    assert_eq!((&told.fields["bot_status"], &told.fields["bot_outcome"]["kind"]), (&json!("done"), &json!("host_ended")));
}

/// See its name.
pub async fn a_start_that_was_rounded_is_the_same_occurrence(_: Shared) {
    let later = |minutes| Some(now() + chrono::Duration::minutes(minutes));
    assert!(!slot::is_later_occurrence(later(5), later(0)));
    assert!(!slot::is_later_occurrence(None, later(0)));
    assert!(!slot::is_later_occurrence(later(0), later(60)));
    assert!(slot::is_later_occurrence(later(60), later(0)));
}

/// See its name.
pub async fn a_twin_that_still_wants_the_bot_keeps_it(store: Shared) {
    let one = put_meeting(&store, "one", json!({"start_time": now()})).await;
    let two = put_meeting(&store, "two", json!({"start_time": now()})).await;
    let Enqueued::Created(id) = look(&store, &one).await else { panic!("not created") };
    assert_eq!(look(&store, &two).await, Enqueued::Twin(id.clone()));
    let record = instance(&store, &id).await;
    claim_all(store.as_ref(), vec![record], &claimer("c"), now()).await.remove(0).expect("claim").expect("claimed");
    for (meeting, joins) in [(&one, true), (&two, false)] {
        let mut edit = Fields::new();
        edit.insert("status".into(), json!("cancelled"));
        store.commit(vec![Write::merge_existing(meeting.key.clone(), edit)]).await.expect("edit");
        let answer = bind(store.as_ref(), &id, (1, "run1"), Purpose::Record, now()).await.expect("bind");
        assert_eq!(matches!(answer, Bind::Bound(_)), joins, "{answer:?}");
    }
}

/// Two instances of one call, both bound; the second has handed its meetings over to the first.
async fn handed_over(store: &Shared) -> (InstanceId, InstanceId) {
    let one = put_meeting(store, "one", json!({"start_time": now()})).await;
    let two = put_meeting(store, "two", json!({"start_time": now() + chrono::Duration::seconds(30)})).await;
    let (Enqueued::Created(first), Enqueued::Created(second)) = (look(store, &one).await, look(store, &two).await) else {
        panic!("a rounded start did not split the ids")
    };
    let mut bound = Vec::new();
    for id in [&first, &second] {
        let record = instance(store, id).await;
        claim_all(store.as_ref(), vec![record], &claimer("c"), now()).await.remove(0).expect("claim").expect("claimed");
        let answer = bind(store.as_ref(), id, (1, "r"), Purpose::Record, now()).await.expect("bind");
        let Bind::Bound(record) = answer else { panic!("{answer:?}") };
        bound.push(record);
    }
    let joined = slot::join_holder(store.as_ref(), &bound[1], &first, now()).await.expect("join");
    assert!(matches!(joined, Advanced::Applied(_)), "{joined:?}");
    (first, second)
}

/// See its name.
pub async fn a_twin_of_what_was_handed_over_goes_to_the_holder(store: Shared) {
    let (first, _) = handed_over(&store).await;
    let late = put_meeting(&store, "late", json!({"start_time": now() + chrono::Duration::seconds(30)})).await;
    assert_eq!(look(&store, &late).await, Enqueued::Twin(first.clone()));
    done(&store, &instance(&store, &first).await).await;
    assert_eq!(read(&store, &late.key).await.fields["bot_status"], "done");
    let later = put_meeting(&store, "later", json!({"start_time": now() + chrono::Duration::seconds(30)})).await;
    assert_eq!(look(&store, &later).await, Enqueued::Twin(first));
    assert_eq!(read(&store, &later.key).await.fields["bot_status"], "done", "also after its end");
}

/// See its name.
pub async fn a_twin_of_what_was_cancelled_gets_a_bot_of_its_own(store: Shared) {
    let one = put_meeting(&store, "one", json!({"start_time": now()})).await;
    let Enqueued::Created(first) = look(&store, &one).await else { panic!("not created") };
    let record = instance(&store, &first).await;
    let cancelled = cancel::cancel(store.as_ref(), &record, Note::new("controller", "cancel_requested"), now()).await;
    assert!(matches!(cancelled, Ok(Advanced::Applied(_))), "{cancelled:?}");
    let two = put_meeting(&store, "two", json!({"start_time": now()})).await;
    assert_eq!(look(&store, &two).await, Enqueued::Rearmed(first.generation(2)));
}
