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
    let (first, bound) = both_bound(store).await;
    let joined = slot::join_holder(store.as_ref(), &bound[1], &first, now()).await.expect("join");
    assert!(matches!(joined, Advanced::Applied(_)), "{joined:?}");
    (first, bound[1].instance.id.clone())
}

/// Two instances of one call under two ids, both bound.
async fn both_bound(store: &Shared) -> (InstanceId, Vec<InstanceRecord>) {
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
    (first, bound)
}

/// See its name: whether the other is at its files still or has ended, and whatever kept this one out.
pub async fn who_recorded_nothing_gives_its_meetings_to_who_recorded_the_call(store: Shared) {
    for (call, ends_first) in [("aaa-aaaa-aaa", true), ("bbb-bbbb-bbb", false)] {
        let (recorder, late) = recorded_and_late(&store, call).await;
        let recorder_id = recorder.instance.id.clone();
        if ends_first {
            done(&store, &recorder).await;
        }
        let outcome = Outcome::new(OutcomeKind::ManagerLost);
        let note = Note::new("controller", "settled");
        let settled = settle(store.as_ref(), &late, Step::Fail, outcome, Vec::new(), note, now()).await.expect("settle");
        let Advanced::Applied(late) = settled else { panic!("{settled:?}") };
        assert_eq!((late.instance.phase, &late.instance.facts.handed_to), (Phase::Failed, &Some(recorder_id.clone())));
        if !ends_first {
            done(&store, &instance(&store, &recorder_id).await).await;
        }
        let told = read(&store, &DocumentKey::Meeting(MeetingPath::parse(&format!("meetings/{call}-2")).expect("a path"))).await;
        assert_eq!(Meeting::link(&told.fields, store.naming()), Some(recorder_id));
        assert_eq!((&told.fields["bot_status"], &told.fields["bot_outcome"]["kind"]), (&json!("done"), &json!("host_ended")));
    }
}

/// Two instances of one call under two ids: one has recorded it and left, the other holds its slot since.
async fn recorded_and_late(store: &Shared, call: &str) -> (InstanceRecord, InstanceRecord) {
    let meetings = [format!("{call}-1"), format!("{call}-2")];
    let extra = |seconds| json!({"meeting_url": format!("https://meet.google.com/{call}"), "start_time": now() + chrono::Duration::seconds(seconds)});
    put_meeting(store, &meetings[0], extra(0)).await;
    put_meeting(store, &meetings[1], extra(30)).await;
    let (recorder, late) = (bound_for(store, &meetings[0]).await, bound_for(store, &meetings[1]).await);
    let key = recorder.instance.facts.call_key.clone().expect("a call key");
    let id = recorder.instance.id.clone();
    let holder = Holder { instance: id.clone(), attempt: 1, start_time: recorder.instance.facts.start_time };
    assert_eq!(slot::acquire(store.as_ref(), &key, &holder, now()).await.expect("slot"), Slot::Held);
    let ended = end_run(store.as_ref(), &recorder, Some(&progress(5)), now()).await.expect("end");
    let Renewal::Renewed(recorder) = ended else { panic!("fenced") };
    slot::release(store.as_ref(), &key, &id, 1).await.expect("release");
    // The one that comes too late holds the slot last: who held it before is not forgotten.
    let holder = Holder { instance: late.instance.id.clone(), attempt: 1, start_time: late.instance.facts.start_time };
    assert_eq!(slot::acquire(store.as_ref(), &key, &holder, now()).await.expect("slot"), Slot::Held);
    (recorder, late)
}

/// See its name: its document says so, and counts as no failure.
pub async fn who_comes_when_the_recorded_call_is_over_was_one_too_many(store: Shared) {
    for (call, kind, phase) in [
        ("ccc-cccc-ccc", OutcomeKind::EndedBeforeAdmission, Phase::Cancelled),
        ("ddd-dddd-ddd", OutcomeKind::BrowserCrashed, Phase::Failed),
    ] {
        let (recorder, late) = recorded_and_late(&store, call).await;
        done(&store, &recorder).await;
        // A manager gives the call back as soon as its bot is out of it.
        let key = late.instance.facts.call_key.clone().expect("a call key");
        slot::release(store.as_ref(), &key, &late.instance.id, 1).await.expect("release");
        let note = Note::new("manager", "settled");
        let settled =
            settle(store.as_ref(), &late, Step::Fail, Outcome::new(kind), Vec::new(), note, now()).await.expect("settle");
        let Advanced::Applied(late) = settled else { panic!("{settled:?}") };
        let outcome = late.instance.facts.outcome.expect("an outcome");
        assert_eq!((late.instance.phase, late.instance.facts.handed_to.as_ref()), (phase, Some(&recorder.instance.id)));
        if phase == Phase::Cancelled {
            let why = format!("Bot {} recorded this call.", recorder.instance.id);
            assert_eq!((outcome.kind, outcome.message), (OutcomeKind::Cancelled, why));
        } else {
            assert_eq!(outcome.kind, kind, "what failed stays a failure");
        }
    }
}

/// A meeting without a start, whose bot has recorded its call and left it now; with what another document on its link says.
async fn recorded_without_a_start(store: &Shared, call: &str) -> (serde_json::Value, InstanceRecord) {
    let extra = json!({"meeting_url": format!("https://meet.google.com/{call}")});
    put_meeting(store, &format!("{call}-1"), extra.clone()).await;
    let recorder = bound_for(store, &format!("{call}-1")).await;
    let key = recorder.instance.facts.call_key.clone().expect("a call key");
    let holder = Holder { instance: recorder.instance.id.clone(), attempt: 1, start_time: None };
    assert_eq!(slot::acquire(store.as_ref(), &key, &holder, now()).await.expect("slot"), Slot::Held);
    let left = RecordingProgress { ended_at: Some(now()), ..progress(5) };
    let ended = end_run(store.as_ref(), &recorder, Some(&left), now()).await.expect("end");
    let Renewal::Renewed(recorder) = ended else { panic!("fenced") };
    slot::release(store.as_ref(), &key, &holder.instance, 1).await.expect("release");
    (extra, recorder)
}

/// See its name: a link without starts serves for a call today and one tomorrow.
pub async fn a_recording_of_an_earlier_call_on_a_link_is_nobody_else_s(store: Shared) {
    for (call, hours, phase) in [("eee-eeee-eee", 0, Phase::Cancelled), ("fff-ffff-fff", 24, Phase::Failed)] {
        let (extra, recorder) = recorded_without_a_start(&store, call).await;
        let id = recorder.instance.id.clone();
        done(&store, &recorder).await;

        let later = now() + chrono::Duration::hours(hours);
        let meeting = put_meeting(&store, &format!("{call}-2"), extra).await;
        let enqueued = enqueue(store.as_ref(), &meeting, &StartWindow::default(), later).await.expect("enqueue");
        let Enqueued::Created(second) = enqueued else { panic!("{enqueued:?}") };
        let record = instance(&store, &second).await;
        claim_all(store.as_ref(), vec![record], &claimer("c"), later).await.remove(0).expect("claim").expect("claimed");
        let bound = bind(store.as_ref(), &second, (1, "r"), Purpose::Record, later).await.expect("bind");
        let Bind::Bound(record) = bound else { panic!("{bound:?}") };
        let (outcome, note) = (Outcome::new(OutcomeKind::EndedBeforeAdmission), Note::new("manager", "settled"));
        let settled = settle(store.as_ref(), &record, Step::Fail, outcome, Vec::new(), note, later).await.expect("settle");
        let Advanced::Applied(ended) = settled else { panic!("{settled:?}") };
        let handed_to = (phase == Phase::Cancelled).then_some(id);
        assert_eq!((ended.instance.phase, ended.instance.facts.handed_to), (phase, handed_to), "{hours} h later");
    }
}

/// See its name: its launch was answered by nothing, and made after all once nobody counted on it.
pub async fn a_run_that_was_sent_to_the_call_and_comes_when_files_are_wanted_makes_files(store: Shared) {
    let call = "kkk-kkkk-kkk";
    put_meeting(&store, call, json!({"meeting_url": format!("https://meet.google.com/{call}")})).await;
    let recorder = bound_for(&store, call).await;
    let ended = end_run(store.as_ref(), &recorder, Some(&progress(5)), now()).await.expect("end");
    let Renewal::Renewed(recorder) = ended else { panic!("fenced") };
    let again = relaunch(store.as_ref(), &recorder, &claimer("c"), "lost", now()).await.expect("relaunch").expect("claimed");
    release(store.as_ref(), &again, "no answer", now()).await.expect("release");
    let id = recorder.instance.id.clone();
    let queued = vec![instance(&store, &id).await];
    let claimed = claim_all_for(store.as_ref(), queued, &claimer("c"), Purpose::Finalize, now()).await.remove(0);
    assert!(claimed.expect("claim").is_some());
    let late = bind(store.as_ref(), &id, (2, "late"), Purpose::Record, now()).await.expect("bind");
    let Bind::Bound(bound) = late else { panic!("{late:?}") };
    assert_eq!(bound.instance.phase, Phase::Finalizing);
}

/// See its name: the bot that recorded the earlier call has left it, and is at its files still, as its bucket is away.
pub async fn a_recording_whose_files_are_not_made_yet_is_no_later_call_s_either(store: Shared) {
    for (call, hours, is_handed) in [("ggg-gggg-ggg", 0, true), ("hhh-hhhh-hhh", 1, false)] {
        let (extra, recorder) = recorded_without_a_start(&store, call).await;
        let id = recorder.instance.id.clone();
        step(&store, &recorder, Step::Finalize).await;

        let later = now() + chrono::Duration::hours(hours);
        let meeting = put_meeting(&store, &format!("{call}-2"), extra).await;
        let enqueued = enqueue(store.as_ref(), &meeting, &StartWindow::default(), later).await.expect("enqueue");
        let Enqueued::Created(second) = enqueued else { panic!("{enqueued:?}") };
        let (outcome, note) = (Outcome::new(OutcomeKind::NoCapacity), Note::new("controller", "settled"));
        let record = instance(&store, &second).await;
        let settled = settle(store.as_ref(), &record, Step::Fail, outcome, Vec::new(), note, later).await.expect("settle");
        let Advanced::Applied(ended) = settled else { panic!("{settled:?}") };
        assert_eq!(ended.instance.facts.handed_to, is_handed.then_some(id), "{hours} h later");
    }
}

/// See its name: what it says of its end is enough.
pub async fn a_missed_meeting_without_a_start_gets_the_recording_of_its_own_call_alone(store: Shared) {
    for (call, hours, is_linked) in [("iii-iiii-iii", 0, true), ("jjj-jjjj-jjj", 5, false)] {
        let end = now() + chrono::Duration::hours(hours);
        let (extra, recorder) = recorded_without_a_start(&store, call).await;
        done(&store, &recorder).await;

        let mut late = extra;
        late["end_time"] = json!(end);
        let meeting = put_meeting(&store, &format!("{call}-2"), late).await;
        let later = end + chrono::Duration::minutes(1);
        let found = enqueue(store.as_ref(), &meeting, &StartWindow::default(), later).await.expect("enqueue");
        assert_eq!(found == Enqueued::Missed, !is_linked, "{found:?}");
    }
}

/// See its name: and who comes later does not get its bot either.
pub async fn a_holder_that_was_told_to_leave_is_waited_for(store: Shared) {
    let (first, bound) = both_bound(&store).await;
    let holder = instance(&store, &first).await;
    let asked = cancel::cancel(store.as_ref(), &holder, Note::new("controller", "cancel"), now()).await.expect("cancel");
    assert!(matches!(&asked, Advanced::Applied(record) if record.instance.phase == Phase::Joining), "{asked:?}");
    let joined = slot::join_holder(store.as_ref(), &bound[1], &first, now()).await.expect("join");
    assert_eq!(joined, Advanced::Conflict);
    let twin = put_meeting(&store, "twin", json!({"start_time": now()})).await;
    assert_eq!(look(&store, &twin).await, Enqueued::Rearmed(first.generation(2)));
}

/// See its name.
pub async fn a_meeting_found_too_late_gets_the_recording_of_its_call(store: Shared) {
    put_meeting(&store, "one", json!({"start_time": now()})).await;
    let recorder = bound_for(&store, "one").await;
    let key = recorder.instance.facts.call_key.clone().expect("a call key");
    let holder = Holder { instance: recorder.instance.id.clone(), attempt: 1, start_time: recorder.instance.facts.start_time };
    assert_eq!(slot::acquire(store.as_ref(), &key, &holder, now()).await.expect("slot"), Slot::Held);
    let Renewal::Renewed(recorder) = end_run(store.as_ref(), &recorder, Some(&progress(5)), now()).await.expect("end") else {
        panic!("fenced")
    };
    slot::release(store.as_ref(), &key, &recorder.instance.id, 1).await.expect("release");
    done(&store, &recorder).await;
    let hour = chrono::Duration::hours(1);
    let extra = |start: DateTime<Utc>| json!({"start_time": start, "end_time": start + hour});
    let late = async |meeting: &Record| enqueue(store.as_ref(), meeting, &StartWindow::default(), now() + hour * 6).await;
    let same = put_meeting(&store, "same", extra(now() + chrono::Duration::seconds(30))).await;
    assert_eq!(late(&same).await.expect("enqueue"), Enqueued::Twin(recorder.instance.id));
    assert_eq!(read(&store, &same.key).await.fields["bot_status"], "done");
    let other = put_meeting(&store, "other", extra(now() + hour * 2)).await;
    assert_eq!(late(&other).await.expect("enqueue"), Enqueued::Missed);
    assert_eq!(read(&store, &other.key).await.fields["bot_status"], "missed", "another occurrence");
}

async fn bound_for(store: &Shared, meeting: &str) -> InstanceRecord {
    let meeting = read(store, &DocumentKey::Meeting(MeetingPath::parse(&format!("meetings/{meeting}")).expect("a path"))).await;
    let Enqueued::Created(id) = look(store, &meeting).await else { panic!("not created") };
    let record = instance(store, &id).await;
    claim_all(store.as_ref(), vec![record], &claimer("c"), now()).await.remove(0).expect("claim").expect("claimed");
    match bind(store.as_ref(), &id, (1, "r"), Purpose::Record, now()).await.expect("bind") {
        Bind::Bound(record) => record,
        other => panic!("not bound: {other:?}"),
    }
}

/// See its name: the launch that was to finish it failed, and it is back in the queue.
pub async fn what_was_recorded_is_claimed_although_it_was_cancelled(store: Shared) {
    let record = bound(&store).await;
    let Renewal::Renewed(record) = end_run(store.as_ref(), &record, Some(&progress(5)), now()).await.expect("end") else {
        panic!("fenced")
    };
    let cancelled = cancel::cancel(store.as_ref(), &record, Note::new("controller", "cancel"), now()).await.expect("cancel");
    let Advanced::Applied(record) = cancelled else { panic!("{cancelled:?}") };
    let claimed = relaunch(store.as_ref(), &record, &claimer("c"), "raw_saved", now()).await.expect("relaunch").expect("won");
    let released = claim::release(store.as_ref(), &claimed, "the launch failed", now()).await.expect("release");
    let Advanced::Applied(record) = released else { panic!("{released:?}") };
    assert_eq!(record.instance.phase, Phase::Queued);
    assert!(claim::is_claimable(&record, false));
    let again = cancel::cancel(store.as_ref(), &record, Note::new("cli", "cancel"), now()).await.expect("cancel");
    assert!(matches!(&again, Advanced::Applied(record) if record.instance.phase == Phase::Queued), "{again:?}");
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
