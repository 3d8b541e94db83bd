//! The protocol's rules as named tests over any store; both adapters run them.
//!
//! Compiled for tests and the `conformance` feature only.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests, compiled into the library so that both adapters run them"
)]

use std::sync::Arc;
use std::time::Duration;

use bot_model::document::{BotInstance, Fields, Meeting, RecordingProgress};
use bot_model::ids::{CallKey, InstanceId, JobName, MeetingPath};
use bot_model::lifecycle::{Phase, Step};
use bot_model::meeting_url::MeetingUrl;
use bot_model::object_prefix::ObjectPrefix;
use bot_model::outcome::{Outcome, OutcomeKind};
use bot_model::schedule::StartWindow;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::claim::{Claimed, Claimer, claim_all, claim_all_for, launched, relaunch, release};
use super::enqueue::{Enqueued, enqueue};
use super::run::{Bind, Purpose, Renewal, bind, end_run, freeze, freeze_again, renew};
use super::settle::settle;
use super::slot::{Holder, Slot};
use super::{Advanced, InstanceRecord, Note, advance, cancel, claim, paths, slot};
use crate::{DocumentKey, Record, Store, Write};

mod places;
mod told;
mod twins;

pub use places::*;
pub use told::*;
pub use twins::*;

type Shared = Arc<dyn Store>;

/// Names the rules once, and hands each to a macro of the caller's: a suite makes a named test of every one.
macro_rules! rules {
    ($($name:ident),* $(,)?) => {
        /// Calls `$test!(name)` for every rule; each `name` is an `async fn(Arc<dyn Store>)` of this module that wants a
        /// fresh store and panics where the rule does not hold.
        #[macro_export]
        macro_rules! for_each_protocol_rule {
            ($test:ident) => { $($test!($name);)* };
        }
    };
}

rules![
    a_due_meeting_gets_one_queued_instance_and_a_link,
    a_meeting_before_its_window_waits,
    a_missed_meeting_says_so_once,
    every_new_phase_is_in_the_outbox_with_the_change,
    the_end_of_a_meeting_without_a_bot_is_in_the_outbox_once,
    a_hostile_address_is_refused_with_a_reason_and_nothing_is_created,
    two_documents_for_one_occurrence_share_a_bot_and_both_get_the_result,
    a_twin_that_comes_after_the_end_is_linked_and_gets_the_result,
    a_meeting_whose_link_was_cleared_is_armed_again,
    sixteen_controllers_claim_an_instance_once,
    a_stale_claim_is_taken_over_under_the_same_attempt,
    a_slow_controller_cannot_overwrite_the_new_owner,
    the_manager_may_bind_before_launched_is_written,
    a_second_run_of_the_same_attempt_is_fenced,
    a_relaunch_fences_the_old_run,
    a_meeting_edited_before_the_join_is_read_again,
    a_meeting_cancelled_before_the_join_is_not_joined,
    a_twin_that_still_wants_the_bot_keeps_it,
    answers_of_claims_keep_their_places,
    a_renewal_reports_a_cancellation,
    a_lost_compare_and_set_is_not_fenced,
    the_first_frozen_list_stands,
    a_frozen_list_is_replaced_only_by_who_saw_it,
    a_settled_instance_stays_settled,
    what_was_recorded_cannot_be_cancelled_away,
    what_a_bot_waits_for_stands_on_its_document_until_it_is_sent,
    a_deleted_meeting_is_not_resurrected_by_its_result,
    a_path_has_one_owner,
    a_call_has_one_bot_at_a_time,
    a_later_attempt_takes_its_own_slot_over,
    who_finds_its_call_taken_hands_its_meetings_to_the_holder,
    a_twin_of_what_was_handed_over_goes_to_the_holder,
    a_twin_of_what_was_cancelled_gets_a_bot_of_its_own,
    a_start_that_was_rounded_is_the_same_occurrence,
    a_holder_that_was_told_to_leave_is_waited_for,
    a_meeting_found_too_late_gets_the_recording_of_its_call,
    who_recorded_nothing_gives_its_meetings_to_who_recorded_the_call,
    who_comes_when_the_recorded_call_is_over_was_one_too_many,
    a_recording_of_an_earlier_call_on_a_link_is_nobody_else_s,
    a_recording_whose_files_are_not_made_yet_is_no_later_call_s_either,
    a_run_that_was_sent_to_the_call_and_comes_when_files_are_wanted_makes_files,
    a_missed_meeting_without_a_start_gets_the_recording_of_its_own_call_alone,
    what_was_recorded_is_claimed_although_it_was_cancelled,
    a_finalize_run_binds_without_joining,
    eight_controllers_take_no_more_places_than_there_are,
    a_place_is_free_once_its_holder_has_ended_whoever_finds_out,
    a_limit_that_is_set_at_noon_holds_for_the_morning_too,
];

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()
}

fn claimer(id: &str) -> Claimer {
    Claimer { controller_id: id.into(), ttl: Duration::from_secs(600) }
}

async fn put_meeting(store: &Shared, id: &str, extra: Value) -> Record {
    let mut fields = Fields::new();
    fields.insert("meeting_url".into(), json!("https://meet.google.com/abc-defg-hij"));
    fields.insert("status".into(), json!("scheduled"));
    fields.insert("creator_organization_id".into(), json!("org"));
    fields.extend(extra.as_object().cloned().unwrap_or_default());
    let key = DocumentKey::Meeting(MeetingPath::parse(&format!("meetings/{id}")).expect("a path"));
    assert!(store.commit(vec![Write::create(key.clone(), fields)]).await.expect("create a meeting").is_applied());
    read(store, &key).await
}

async fn read(store: &Shared, key: &DocumentKey) -> Record {
    store.read(key).await.expect("read").expect("the document exists")
}

async fn look(store: &Shared, meeting: &Record) -> Enqueued {
    let meeting = read(store, &meeting.key).await;
    enqueue(store.as_ref(), &meeting, &StartWindow::default(), now()).await.expect("enqueue")
}

async fn instance(store: &Shared, id: &InstanceId) -> InstanceRecord {
    InstanceRecord::read(store.as_ref(), id).await.expect("read").expect("the instance exists")
}

async fn queued(store: &Shared) -> InstanceRecord {
    let meeting = put_meeting(store, "m", json!({})).await;
    match look(store, &meeting).await {
        Enqueued::Created(id) => instance(store, &id).await,
        other => panic!("not created: {other:?}"),
    }
}

async fn claimed(store: &Shared) -> Claimed {
    let record = queued(store).await;
    let mut answers = claim_all(store.as_ref(), vec![record], &claimer("c"), now()).await;
    answers.remove(0).expect("claim").expect("claimed")
}

async fn bound(store: &Shared) -> InstanceRecord {
    let claimed = claimed(store).await;
    match bind(store.as_ref(), &claimed.record().instance.id, (1, "run1"), Purpose::Record, now()).await.expect("bind") {
        Bind::Bound(record) => record,
        other => panic!("not bound: {other:?}"),
    }
}

async fn step(store: &Shared, record: &InstanceRecord, step: Step) -> InstanceRecord {
    match advance(store.as_ref(), record, step, Note::new("manager", "step"), now(), |_| {}).await.expect("advance") {
        Advanced::Applied(record) => record,
        other => panic!("{step:?}: {other:?}"),
    }
}

fn progress(segments: u64) -> RecordingProgress {
    RecordingProgress { started_at: now(), ended_at: None, parts: 1, segments, bytes: 10 }
}

async fn done(store: &Shared, record: &InstanceRecord) -> InstanceRecord {
    let record = step(store, record, Step::Finalize).await;
    let outcome = Outcome::new(OutcomeKind::HostEnded);
    let note = Note::new("manager", "done");
    match settle(store.as_ref(), &record, Step::Complete, outcome, Vec::new(), note, now()).await.expect("settle") {
        Advanced::Applied(record) => record,
        other => panic!("not settled: {other:?}"),
    }
}

/// See its name.
pub async fn a_due_meeting_gets_one_queued_instance_and_a_link(store: Shared) {
    let meeting = put_meeting(&store, "m", json!({"start_time": now(), "bot_name": "Notes", "gcs_path": "org/x"})).await;
    let Enqueued::Created(id) = look(&store, &meeting).await else { panic!("not created") };
    assert_eq!(look(&store, &meeting).await, Enqueued::AlreadyLinked(id.clone()));
    let record = instance(&store, &id).await;
    assert_eq!((record.instance.phase, record.instance.facts.attempt), (Phase::Queued, 0));
    assert_eq!(record.instance.facts.bot_name.as_deref(), Some("Notes"));
    let meeting = read(&store, &meeting.key).await;
    assert_eq!(meeting.fields["bot_status"], "queued");
    assert_eq!(Meeting::link(&meeting.fields, store.naming()), Some(id.clone()));
    assert_eq!(store.events(&id).await.expect("events").len(), 1);
}

/// See its name.
pub async fn a_meeting_before_its_window_waits(store: Shared) {
    let meeting = put_meeting(&store, "m", json!({"start_time": now() + chrono::Duration::hours(2)})).await;
    assert_eq!(look(&store, &meeting).await, Enqueued::Early);
}

/// See its name.
pub async fn a_missed_meeting_says_so_once(store: Shared) {
    let meeting = put_meeting(&store, "m", json!({"start_time": now() - chrono::Duration::hours(2)})).await;
    assert_eq!(look(&store, &meeting).await, Enqueued::Missed);
    let told = read(&store, &meeting.key).await;
    assert_eq!(told.fields["bot_status"], "missed");
    assert_eq!(look(&store, &meeting).await, Enqueued::Missed);
    assert_eq!(read(&store, &meeting.key).await.version, told.version, "written again");
}

/// See its name.
pub async fn a_hostile_address_is_refused_with_a_reason_and_nothing_is_created(store: Shared) {
    let meeting = put_meeting(&store, "m", json!({"meeting_url": "https://meet.google.com.evil.example/abc-defg-hij"})).await;
    assert!(matches!(look(&store, &meeting).await, Enqueued::Rejected(_)));
    let told = read(&store, &meeting.key).await;
    assert_eq!(told.fields["bot_outcome"]["kind"], "invalid_document");
    assert!(Meeting::link(&told.fields, store.naming()).is_none());
    let page = store.instances(&crate::InstanceQuery::WithStatus(vec!["queued".into()]), None, 10).await.expect("query");
    assert!(page.records.is_empty());
}

/// See its name.
pub async fn two_documents_for_one_occurrence_share_a_bot_and_both_get_the_result(store: Shared) {
    let one = put_meeting(&store, "one", json!({"start_time": now()})).await;
    let two = put_meeting(&store, "two", json!({"start_time": now(), "gcs_path": "elsewhere/two"})).await;
    let Enqueued::Created(id) = look(&store, &one).await else { panic!("not created") };
    assert_eq!(look(&store, &two).await, Enqueued::Twin(id.clone()));
    let record = instance(&store, &id).await;
    let mut answers = claim_all(store.as_ref(), vec![record], &claimer("c"), now()).await;
    answers.remove(0).expect("claim").expect("claimed");
    let Bind::Bound(record) = bind(store.as_ref(), &id, (1, "r"), Purpose::Record, now()).await.expect("bind") else {
        panic!("not bound")
    };
    done(&store, &record).await;
    for meeting in [one, two] {
        let meeting = read(&store, &meeting.key).await;
        assert_eq!(
            (&meeting.fields["bot_status"], &meeting.fields["bot_outcome"]["kind"]),
            (&json!("done"), &json!("host_ended"))
        );
    }
}

/// See its name.
pub async fn a_twin_that_comes_after_the_end_is_linked_and_gets_the_result(store: Shared) {
    let one = put_meeting(&store, "one", json!({"start_time": now()})).await;
    let Enqueued::Created(id) = look(&store, &one).await else { panic!("not created") };
    fail(&store, &instance(&store, &id).await).await;
    let late = put_meeting(&store, "late", json!({"start_time": now()})).await;
    assert_eq!(look(&store, &late).await, Enqueued::Twin(id));
    assert_eq!(read(&store, &late.key).await.fields["bot_status"], "failed");
    let ends = told::told(&store).await.into_iter().filter(|event| event.event_type == "bot.failed");
    let named: Vec<String> = ends.map(|event| event.data["meeting_ids"].to_string()).collect();
    assert_eq!(named, [r#"["one"]"#, r#"["one","late"]"#], "the late one's backend hears of the end too");
}

async fn fail(store: &Shared, record: &InstanceRecord) {
    let outcome = Outcome::new(OutcomeKind::LaunchFailed);
    let settled = settle(store.as_ref(), record, Step::Fail, outcome, Vec::new(), Note::new("controller", "failed"), now()).await;
    assert!(matches!(settled, Ok(Advanced::Applied(_))), "{settled:?}");
}

/// See its name.
pub async fn a_meeting_whose_link_was_cleared_is_armed_again(store: Shared) {
    let meeting = put_meeting(&store, "m", json!({"start_time": now()})).await;
    let Enqueued::Created(first) = look(&store, &meeting).await else { panic!("not created") };
    fail(&store, &instance(&store, &first).await).await;
    let mut cleared = Fields::new();
    cleared.insert("bot_instance_id".into(), Value::Null);
    store.commit(vec![Write::merge_existing(meeting.key.clone(), cleared)]).await.expect("clear the link");
    let Enqueued::Rearmed(second) = look(&store, &meeting).await else { panic!("not armed again") };
    assert_eq!(second, first.generation(2));
    assert_eq!(instance(&store, &second).await.instance.phase, Phase::Queued);
    assert_eq!(instance(&store, &first).await.instance.phase, Phase::Failed);
}

/// See its name.
pub async fn sixteen_controllers_claim_an_instance_once(store: Shared) {
    let record = queued(&store).await;
    let tasks = (0..16).map(|number| {
        let (store, record) = (Arc::clone(&store), record.clone());
        tokio::spawn(async move { claim_all(store.as_ref(), vec![record], &claimer(&format!("c{number}")), now()).await })
    });
    let mut won = 0;
    for task in tasks.collect::<Vec<_>>() {
        for answer in task.await.expect("a claimer") {
            won += usize::from(matches!(answer, Ok(Some(_))));
        }
    }
    assert_eq!(won, 1);
    assert_eq!(instance(&store, &record.instance.id).await.instance.phase, Phase::Claimed);
}

/// See its name.
pub async fn a_stale_claim_is_taken_over_under_the_same_attempt(store: Shared) {
    let first = claimed(&store).await;
    let record = instance(&store, &first.record().instance.id).await;
    let mut answers = claim_all(store.as_ref(), vec![record], &claimer("other"), now()).await;
    let second = answers.remove(0).expect("claim").expect("taken over");
    assert_eq!(second.record().instance.facts.attempt, 1);
    assert_eq!(second.record().instance.facts.claim.claimed_by.as_deref(), Some("other"));
}

/// See its name.
pub async fn a_slow_controller_cannot_overwrite_the_new_owner(store: Shared) {
    let slow = claimed(&store).await;
    let record = instance(&store, &slow.record().instance.id).await;
    let mut answers = claim_all(store.as_ref(), vec![record], &claimer("other"), now()).await;
    answers.remove(0).expect("claim").expect("taken over");
    let job = JobName::for_instance(&slow.record().instance.id);
    assert_eq!(launched(store.as_ref(), &slow, &job, now()).await.expect("launched"), Advanced::Conflict);
    assert_eq!(instance(&store, &slow.record().instance.id).await.instance.facts.claim.claimed_by.as_deref(), Some("other"));
}

/// See its name.
pub async fn the_manager_may_bind_before_launched_is_written(store: Shared) {
    let claimed = claimed(&store).await;
    let id = claimed.record().instance.id.clone();
    let answer = bind(store.as_ref(), &id, (1, "run1"), Purpose::Record, now()).await.expect("bind");
    assert!(matches!(answer, Bind::Bound(_)), "{answer:?}");
    let late = launched(store.as_ref(), &claimed, &JobName::for_instance(&id), now()).await.expect("launched");
    assert_eq!(late, Advanced::Conflict);
    assert_eq!(instance(&store, &id).await.instance.phase, Phase::Joining);
}

/// See its name.
pub async fn a_second_run_of_the_same_attempt_is_fenced(store: Shared) {
    let record = bound(&store).await;
    let answer = bind(store.as_ref(), &record.instance.id, (1, "run2"), Purpose::Record, now()).await.expect("bind");
    assert!(matches!(answer, Bind::Fenced(_)), "{answer:?}");
    let again = bind(store.as_ref(), &record.instance.id, (1, "run1"), Purpose::Record, now()).await.expect("bind");
    assert!(matches!(again, Bind::Bound(_)), "the same run may bind again: {again:?}");
}

/// See its name.
pub async fn a_relaunch_fences_the_old_run(store: Shared) {
    let old = bound(&store).await;
    let new =
        relaunch(store.as_ref(), &old, &claimer("c"), "the old run ended", now()).await.expect("relaunch").expect("relaunched");
    assert_eq!((new.record().instance.phase, new.record().instance.facts.attempt), (Phase::Claimed, 2));
    assert!(matches!(renew(store.as_ref(), &old, None, now()).await.expect("renew"), Renewal::Fenced(_)));
    let late = bind(store.as_ref(), &old.instance.id, (1, "run1"), Purpose::Record, now()).await.expect("bind");
    assert!(matches!(late, Bind::Fenced(_)), "{late:?}");
}

/// See its name.
pub async fn a_meeting_edited_before_the_join_is_read_again(store: Shared) {
    let claimed = claimed(&store).await;
    let key = DocumentKey::Meeting(MeetingPath::parse("meetings/m").expect("a path"));
    let mut edit = Fields::new();
    edit.insert("meeting_url".into(), json!("https://zoom.us/j/123456789"));
    store.commit(vec![Write::merge_existing(key, edit)]).await.expect("edit");
    let answer = bind(store.as_ref(), &claimed.record().instance.id, (1, "run1"), Purpose::Record, now()).await.expect("bind");
    let Bind::Bound(record) = answer else { panic!("{answer:?}") };
    assert_eq!(record.instance.facts.meeting_url, MeetingUrl::parse("https://zoom.us/j/123456789").expect("an address"));
}

/// See its name.
pub async fn a_meeting_cancelled_before_the_join_is_not_joined(store: Shared) {
    let claimed = claimed(&store).await;
    let key = DocumentKey::Meeting(MeetingPath::parse("meetings/m").expect("a path"));
    let mut edit = Fields::new();
    edit.insert("status".into(), json!("cancelled"));
    store.commit(vec![Write::merge_existing(key, edit)]).await.expect("edit");
    let answer = bind(store.as_ref(), &claimed.record().instance.id, (1, "run1"), Purpose::Record, now()).await.expect("bind");
    assert!(matches!(answer, Bind::Cancelled(_)), "{answer:?}");
}

/// See its name.
pub async fn a_renewal_reports_a_cancellation(store: Shared) {
    let record = bound(&store).await;
    let note = Note::new("controller", "cancel_requested");
    cancel::cancel(store.as_ref(), &instance(&store, &record.instance.id).await, note, now()).await.expect("cancel");
    let Renewal::Renewed(record) = renew(store.as_ref(), &record, None, now()).await.expect("renew") else { panic!("fenced") };
    assert_eq!(record.instance.facts.cancel_requested_at, Some(now()));
}

/// See its name.
pub async fn a_lost_compare_and_set_is_not_fenced(store: Shared) {
    let old = bound(&store).await;
    let newer = step(&store, &old, Step::Record).await;
    let Renewal::Renewed(record) = renew(store.as_ref(), &old, Some(&progress(3)), now()).await.expect("renew") else {
        panic!("fenced by its own write")
    };
    assert_eq!(record.instance.phase, newer.instance.phase);
    assert_eq!(record.instance.facts.recording, Some(progress(3)));
}

/// See its name.
pub async fn the_first_frozen_list_stands(store: Shared) {
    let record = bound(&store).await;
    let list = |hash: &str| bot_model::document::FrozenList { sha256: hash.into(), parts: Vec::new() };
    let Renewal::Renewed(one) = freeze(store.as_ref(), &record, &list("one")).await.expect("freeze") else { panic!("fenced") };
    let Renewal::Renewed(two) = freeze(store.as_ref(), &record, &list("two")).await.expect("freeze") else { panic!("fenced") };
    assert_eq!((one.instance.facts.frozen, two.instance.facts.frozen), (Some(list("one")), Some(list("one"))));
}

/// See its name.
pub async fn a_frozen_list_is_replaced_only_by_who_saw_it(store: Shared) {
    let record = bound(&store).await;
    let list = |hash: &str| bot_model::document::FrozenList { sha256: hash.into(), parts: Vec::new() };
    freeze(store.as_ref(), &record, &list("one")).await.expect("freeze");
    for (saw, longer, stands) in [("none", "two", "one"), ("one", "three", "three"), ("one", "four", "three")] {
        let again = freeze_again(store.as_ref(), &record, saw, &list(longer)).await.expect("freeze again");
        let Renewal::Renewed(found) = again else { panic!("fenced") };
        assert_eq!(found.instance.facts.frozen, Some(list(stands)), "{saw} by {longer}");
    }
    let ended = done(&store, &instance(&store, &record.instance.id).await).await;
    let late = freeze_again(store.as_ref(), &ended, "three", &list("five")).await.expect("freeze again");
    assert!(matches!(late, Renewal::Fenced(_)), "the list of an instance that has ended was replaced");
}

/// See its name.
pub async fn a_settled_instance_stays_settled(store: Shared) {
    let record = bound(&store).await;
    let ended = done(&store, &record).await;
    let late = settle(
        store.as_ref(),
        &ended,
        Step::Fail,
        Outcome::new(OutcomeKind::ManagerLost),
        Vec::new(),
        Note::new("controller", "late"),
        now(),
    )
    .await
    .expect("settle");
    assert!(matches!(late, Advanced::Illegal(_)), "{late:?}");
    assert!(matches!(renew(store.as_ref(), &record, None, now()).await.expect("renew"), Renewal::Fenced(_)));
}

/// See its name.
pub async fn what_was_recorded_cannot_be_cancelled_away(store: Shared) {
    let record = bound(&store).await;
    let Renewal::Renewed(record) = end_run(store.as_ref(), &record, Some(&progress(5)), now()).await.expect("end") else {
        panic!("fenced")
    };
    let outcome = Outcome::new(OutcomeKind::Cancelled);
    let answer = settle(store.as_ref(), &record, Step::Cancel, outcome, Vec::new(), Note::new("cli", "cancel"), now()).await;
    assert!(matches!(answer, Ok(Advanced::Illegal(_))), "{answer:?}");
}

/// See its name.
pub async fn a_deleted_meeting_is_not_resurrected_by_its_result(store: Shared) {
    let record = bound(&store).await;
    let meeting = DocumentKey::Meeting(MeetingPath::parse("meetings/m").expect("a path"));
    let version = read(&store, &meeting).await.version;
    store.commit(vec![Write::delete(meeting.clone(), version)]).await.expect("delete");
    done(&store, &record).await;
    assert!(store.read(&meeting).await.expect("read").is_none());
}

/// See its name.
pub async fn a_path_has_one_owner(store: Shared) {
    let call = MeetingUrl::parse("https://meet.google.com/abc-defg-hij").expect("an address");
    let one = BotInstance::queued(InstanceId::parse("one").expect("an id"), call.clone());
    let two = BotInstance::queued(InstanceId::parse("two").expect("an id"), call);
    let wanted = ObjectPrefix::parse("org/weekly").expect("a prefix");
    assert_eq!(paths::reserve(store.as_ref(), &one, &wanted).await.expect("reserve"), wanted);
    assert_eq!(paths::reserve(store.as_ref(), &two, &wanted).await.expect("reserve").as_str(), "org/weekly/two");
    assert_eq!(paths::reserve(store.as_ref(), &one, &wanted).await.expect("reserve"), wanted, "asking again changed the answer");
}

/// See its name.
pub async fn a_call_has_one_bot_at_a_time(store: Shared) {
    let record = bound(&store).await;
    let key = CallKey::derive("org", &record.instance.facts.meeting_url);
    let one = Holder { instance: record.instance.id.clone(), attempt: 1, start_time: None };
    let two = Holder { instance: InstanceId::parse("other").expect("an id"), attempt: 1, start_time: None };
    assert_eq!(slot::acquire(store.as_ref(), &key, &one, now()).await.expect("slot"), Slot::Held);
    assert_eq!(slot::acquire(store.as_ref(), &key, &one, now()).await.expect("slot"), Slot::Held, "asking again");
    let taken = slot::acquire(store.as_ref(), &key, &two, now()).await.expect("slot");
    assert!(matches!(&taken, Slot::Taken { holder, .. } if *holder == one.instance), "{taken:?}");
    assert!(slot::somebody_waits(store.as_ref(), &key, &one.instance).await.expect("waits"));
    slot::release(store.as_ref(), &key, &two.instance, 1).await.expect("release");
    assert!(
        matches!(slot::acquire(store.as_ref(), &key, &two, now()).await.expect("slot"), Slot::Taken { .. }),
        "freed by a stranger"
    );
    slot::release(store.as_ref(), &key, &one.instance, 1).await.expect("release");
    assert_eq!(slot::acquire(store.as_ref(), &key, &two, now()).await.expect("slot"), Slot::Held);
}

/// See its name.
pub async fn a_later_attempt_takes_its_own_slot_over(store: Shared) {
    let record = bound(&store).await;
    let key = CallKey::derive("org", &record.instance.facts.meeting_url);
    let attempt = |attempt| Holder { instance: record.instance.id.clone(), attempt, start_time: None };
    assert_eq!(slot::acquire(store.as_ref(), &key, &attempt(1), now()).await.expect("slot"), Slot::Held);
    assert_eq!(slot::acquire(store.as_ref(), &key, &attempt(2), now()).await.expect("slot"), Slot::Held);
    assert!(
        matches!(slot::acquire(store.as_ref(), &key, &attempt(1), now()).await.expect("slot"), Slot::Taken { .. }),
        "went back"
    );
    let (key, id) = (&key, &record.instance.id);
    let other = Holder { instance: InstanceId::parse("other").expect("an id"), attempt: 1, start_time: None };
    slot::release(store.as_ref(), key, id, 1).await.expect("release");
    let taken = slot::acquire(store.as_ref(), key, &other, now()).await.expect("slot");
    assert!(matches!(taken, Slot::Taken { .. }), "the attempt that was overtaken freed the slot: {taken:?}");
    slot::release(store.as_ref(), key, id, 2).await.expect("release");
    assert_eq!(slot::acquire(store.as_ref(), key, &other, now()).await.expect("slot"), Slot::Held);
}

/// See its name.
pub async fn a_finalize_run_binds_without_joining(store: Shared) {
    let old = bound(&store).await;
    let old = step(&store, &old, Step::Record).await;
    relaunch(store.as_ref(), &old, &claimer("c"), "the old run ended", now()).await.expect("relaunch").expect("relaunched");
    let answer = bind(store.as_ref(), &old.instance.id, (2, "run2"), Purpose::Finalize, now()).await.expect("bind");
    let Bind::Bound(record) = answer else { panic!("{answer:?}") };
    assert_eq!(record.instance.phase, Phase::Finalizing);
}

/// See its name.
pub async fn answers_of_claims_keep_their_places(store: Shared) {
    let running = bound(&store).await;
    let other = put_meeting(&store, "other", json!({})).await;
    let Enqueued::Created(id) = look(&store, &other).await else { panic!("not created") };
    let records = vec![running, instance(&store, &id).await];
    let answers = claim_all(store.as_ref(), records, &claimer("c"), now()).await;
    let ids: Vec<_> =
        answers.into_iter().map(|answer| answer.expect("claim").map(|claimed| claimed.record().instance.id.clone())).collect();
    assert_eq!(ids, [None, Some(id)]);
}
