//! A made-up round in which all went well, and what has to be found when any one thing of it did not.

use bot_model::document::{Artifact, FrozenList, RecordingProgress};
use bot_model::ids::{InstanceId, MeetingPath};
use bot_model::manifest::RecordingManifest;
use bot_model::meeting_url::MeetingUrl;
use bot_model::object_prefix::{ObjectName, ObjectPrefix};
use bot_model::outcome::{Outcome, OutcomeKind};
use chrono::{DateTime, Utc};

use super::*;
use crate::chaos::history::Files;

const CALL: &str = "practice/call-000";

fn at(second: f64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_800_000_000_000 + (second * 1_000.0) as i64).unwrap()
}

fn joins(second: f64, bot: &str, run: &str) -> Line {
    let (bot, run) = (bot.to_owned(), run.to_owned());
    Line { at: at(second), event: Event::Joined { call: CALL.into(), bot, run, instance: "b1".into(), attempt: 1 } }
}

fn captures(second: f64, run: &str, seq: u32) -> Line {
    let event = Event::Captured { instance: "b1".into(), run: run.into(), part: 0, seq, crc32c: seq + 10 };
    Line { at: at(second), event }
}

fn leaves(second: f64, bot: &str, died: bool) -> Line {
    Line { at: at(second), event: Event::Left { bot: bot.into(), died } }
}

fn breaks(second: f64, fault: &str, run: Option<&str>, secs: f64) -> Line {
    Line { at: at(second), event: Event::Injected { fault: fault.into(), run: run.map(str::to_owned), secs } }
}

fn raw(run: &str, seqs: std::ops::Range<u32>) -> Vec<RawName> {
    let name = |kind, crc32c| RawName { attempt: 1, run: run.into(), part: 0, kind, crc32c };
    let ends = [name(RawKind::Part, 1), name(RawKind::Init, 2)];
    ends.into_iter().chain(seqs.map(|seq| name(RawKind::Segment(seq), seq + 10))).collect()
}

/// Run `r1` recorded three segments, and all of them became files.
fn good() -> History {
    let lines = vec![
        joins(0.0, "one", "r1"),
        captures(2.0, "r1", 0),
        captures(4.0, "r1", 1),
        captures(6.0, "r1", 2),
        leaves(6.5, "one", false),
    ];
    let id = InstanceId::parse("b1").unwrap();
    let served = Served { instance: done(&id), seen: Vec::new(), events: Vec::new(), files: files() };
    let path = MeetingPath::parse("meetings/m").unwrap();
    let asked = Asked { path, call: CALL.into(), is_cancelled: false, instance: Some(id) };
    History { lines, meetings: vec![asked], instances: vec![served], jobs: None }
}

fn done(id: &InstanceId) -> bot_model::document::BotInstance {
    let url = MeetingUrl::parse("practice:meet/call-000").unwrap();
    let mut instance = bot_model::document::BotInstance::queued(id.clone(), url);
    instance.phase = Phase::Done;
    instance.facts.attempt = 1;
    instance.facts.gcs_path = Some(ObjectPrefix::parse("recordings/m").unwrap());
    let progress = RecordingProgress { started_at: at(0.0), ended_at: None, parts: 1, segments: 3, bytes: 9 };
    instance.facts.recording = Some(progress);
    instance.facts.frozen = Some(FrozenList::from_raw_names(raw("r1", 0..3)));
    let address = "gs://recordings/recordings/m/video.mp4".to_owned();
    instance.facts.artifacts = vec![Artifact {
        name: ObjectName::Video,
        object: address,
        bytes: 9,
        crc32c: "00000009".into(),
        duration_secs: Some(6.0),
        codecs: Vec::new(),
    }];
    instance
}

fn files() -> Files {
    let frozen = FrozenList::from_raw_names(raw("r1", 0..3));
    let manifest = RecordingManifest {
        schema_version: 1,
        bot_instance_id: InstanceId::parse("b1").unwrap(),
        platform: bot_model::meeting_url::Platform::Meet,
        started_at: at(0.0),
        ended_at: at(6.0),
        duration_secs: 6.0,
        outcome: None,
        parts: Vec::new(),
        gaps: Vec::new(),
        artifacts: Vec::new(),
        segments_sha256: frozen.sha256.clone(),
        quality: None,
        raw: frozen.raw_names().iter().map(RawName::path).collect(),
        people: None,
        debug: None,
        timeline: Vec::new(),
    };
    let objects = [("gs://recordings/recordings/m/video.mp4".to_owned(), (9, "00000009".to_owned()))];
    Files {
        objects: objects.into(),
        raw: manifest.raw.iter().cloned().collect(),
        manifest: Some(manifest),
        frames: 3 * template::FRAMES,
    }
}

/// The ids of what is found once `spoil` has been at work.
fn found(spoil: impl FnOnce(&mut History)) -> Vec<&'static str> {
    let mut history = good();
    spoil(&mut history);
    history.lines.sort_by_key(|line| line.at);
    judge(&history).violations.into_iter().map(|violation| violation.id).collect()
}

#[test]
fn where_all_went_well_nothing_is_found() {
    assert_eq!(found(|_| {}), Vec::<&str>::new());
    let judged = judge(&good());
    assert_eq!((judged.joins, judged.lost, judged.doubled, judged.media_lost), (1, 0, 0, Vec::new()));
}

#[test]
fn two_bots_in_a_call_are_found() {
    assert_eq!(found(|history| history.lines.extend([joins(5.0, "two", "r2"), leaves(9.0, "two", true)])), ["I1"]);
    assert_eq!(found(|history| history.lines.extend([joins(7.0, "two", "r2"), leaves(9.0, "two", true)])), [""; 0]);
}

#[test]
fn a_meeting_without_a_bot_or_without_a_recording_is_found() {
    assert_eq!(found(|history| history.meetings[0].instance = None), ["I2"]);
    let cancelled = |history: &mut History| {
        history.meetings[0].instance = None;
        history.meetings[0].is_cancelled = true;
    };
    assert_eq!(found(cancelled), [""; 0]);
    let failed = |history: &mut History| {
        history.lines.retain(|line| !matches!(line.event, Event::Captured { .. }));
        history.instances[0].instance.phase = Phase::Failed;
    };
    assert_eq!(found(failed), ["I2"]);
}

/// Our own instance ends as failed, with this outcome.
fn fails(history: &mut History, kind: OutcomeKind) {
    history.instances[0].instance.phase = Phase::Failed;
    history.instances[0].instance.facts.outcome = Some(Outcome::new(kind));
    history.instances[0].instance.facts.recording = None;
    history.instances[0].files = Files::default();
}

#[test]
fn a_recording_that_went_with_its_disk_has_to_be_told_as_ours_and_as_lost() {
    let lost = |kind, bucket_away: f64| {
        found(move |history| {
            fails(history, kind);
            history.lines.push(breaks(6.6, "run_kill_machine", Some("r1"), 0.0));
            history.lines.push(breaks(-1.0, "network_bucket_outage", None, bucket_away));
        })
    };
    assert_eq!(lost(OutcomeKind::NoRecording, 60.0), [""; 0]);
    assert_eq!(lost(OutcomeKind::EndedBeforeAdmission, 60.0), ["I2"]);
    let not_excused = found(|history| fails(history, OutcomeKind::NoRecording));
    assert_eq!(not_excused, ["I2", "I3", "I3", "I3"]);
}

#[test]
fn a_call_that_was_over_is_told_so_where_another_bot_had_it() {
    let late = |kind, is_there: bool| {
        found(move |history| {
            fails(history, kind);
            history.lines.retain(|line| !matches!(line.event, Event::Captured { .. }));
            let mut other = [joins(-9.0, "two", "r2"), captures(-8.0, "r2", 0), leaves(-7.0, "two", false)];
            for line in &mut other {
                if let Event::Joined { instance, .. } | Event::Captured { instance, .. } = &mut line.event {
                    *instance = "b2".into();
                }
            }
            let mut served = good().instances.remove(0);
            served.instance.id = InstanceId::parse("b2").unwrap();
            served.files.raw = raw("r2", 0..1).iter().map(RawName::path).collect();
            served.instance.phase = Phase::Cancelled;
            served.instance.facts.recording = None;
            if is_there {
                history.lines.extend(other);
                history.instances.push(served);
            }
        })
    };
    for kind in [OutcomeKind::EndedBeforeAdmission, OutcomeKind::NoRecording] {
        assert_eq!((late(kind, true), late(kind, false)), (vec![], vec!["I2"]));
    }
    assert_eq!(late(OutcomeKind::Denied, true), ["I2"]);
}

#[test]
fn an_instance_that_never_ends_is_found() {
    assert_eq!(found(|history| history.instances[0].instance.phase = Phase::Recording), ["I2"]);
}

#[test]
fn a_lost_segment_is_found_wherever_it_was_lost() {
    assert_eq!(found(|history| history.lines.push(captures(6.2, "r1", 3))), ["I3"]);
    let other_bytes = |history: &mut History| {
        let Event::Captured { crc32c, .. } = &mut history.lines[1].event else { panic!() };
        *crc32c += 1;
    };
    assert_eq!(found(other_bytes), ["I3"]);
}

/// `secs` after its last segment, which is lost, the run dies by `fault`.
fn dies(fault: &str, secs: f64, more: Option<Line>) -> Vec<&'static str> {
    found(|history| {
        history.lines.retain(|line| !matches!(line.event, Event::Left { .. }));
        history.lines.extend([captures(8.0, "r1", 3), breaks(8.0 + secs, fault, Some("r1"), 0.0)]);
        history.lines.push(leaves(8.0 + secs, "one", true));
        history.lines.extend(more);
    })
}

/// The same where the run is a pod.
fn dies_as_a_pod(fault: &str, secs: f64, more: Option<Line>) -> Vec<&'static str> {
    found(|history| {
        history.jobs = Some(Jobs::default());
        history.lines.retain(|line| !matches!(line.event, Event::Left { .. }));
        history.lines.extend([captures(8.0, "r1", 3), breaks(8.0 + secs, fault, Some("r1"), 0.0)]);
        history.lines.push(leaves(8.0 + secs, "one", true));
        history.lines.extend(more);
    })
}

#[test]
fn a_pod_s_disk_goes_with_it_when_it_is_killed_and_not_when_it_is_told_to_end() {
    for killed in ["run_kill_manager", "run_kill_whole", "run_kill_machine", "pod_deletebyforce"] {
        assert_eq!((dies_as_a_pod(killed, 5.0, None), dies_as_a_pod(killed, 7.0, None)), (vec![], vec!["I3"]), "{killed}");
    }
    let away = |secs| Some(breaks(7.0, "network_bucket_outage", None, secs));
    for told in ["pod_evict", "pod_preempt", "pod_delete", "pod_deletejob", "run_stop_manager"] {
        assert_eq!(dies_as_a_pod(told, 1.0, None), ["I3"], "{told}");
        // It carries out for three minutes, in which the bucket has to have been away throughout.
        assert_eq!(
            (dies_as_a_pod(told, 1.0, away(100.0)), dies_as_a_pod(told, 1.0, away(200.0))),
            (vec!["I3"], vec![]),
            "{told}"
        );
    }
    assert_eq!(dies_as_a_pod("run_kill_bot", 1.0, away(600.0)), ["I3"]);
}

#[test]
fn a_second_job_of_an_attempt_and_whatever_is_left_over_is_found() {
    let made = |attempts: &[&str]| attempts.iter().map(|attempt| ("bot-b1".to_owned(), (*attempt).to_owned())).collect();
    let jobs = |attempts: &[&str], left: &[&str]| {
        let left = left.iter().map(|what| (*what).to_owned()).collect();
        found(|history| history.jobs = Some(Jobs { made: made(attempts), left, ..Jobs::default() }))
    };
    assert_eq!(jobs(&["1", "2"], &[]), [""; 0]);
    assert_eq!(jobs(&["1", "1"], &[]), ["I1"]);
    assert_eq!(jobs(&["1"], &["pod bot-b1-x"]), ["I15"]);
    let deleted = |attempts: &[&str]| {
        let deleted = ["bot-b1".to_owned()].into();
        found(|history| history.jobs = Some(Jobs { made: made(attempts), deleted, ..Jobs::default() }))
    };
    assert_eq!((deleted(&["1", "1"]), deleted(&["1", "1", "1"])), (vec![], vec!["I1"]));
}

#[test]
fn only_a_machine_s_death_excuses_a_lost_segment_and_only_within_the_limit() {
    assert_eq!(dies("run_kill_machine", 5.0, None), [""; 0]);
    assert_eq!(dies("run_kill_machine", 7.0, None), ["I3"]);
    assert_eq!(dies("run_kill_whole", 1.0, None), ["I3"]);
    let outage = breaks(9.0, "network_bucket_outage", None, 20.0);
    assert_eq!(dies("run_kill_machine", 20.0, Some(outage.clone())), [""; 0]);
    assert_eq!(dies("run_kill_machine", 50.0, Some(outage)), ["I3"]);
}

#[test]
fn files_that_are_not_what_the_document_says_are_found() {
    assert_eq!(found(|history| history.instances[0].files.objects.clear()), ["I4"]);
    assert_eq!(found(|history| history.instances[0].instance.facts.artifacts[0].crc32c = "00000008".into()), ["I4"]);
    assert_eq!(found(|history| history.instances[0].files.frames -= 1), ["I4"]);
    assert_eq!(found(|history| history.instances[0].instance.facts.artifacts[0].duration_secs = Some(4.0)), ["I4"]);
    assert_eq!(found(|history| history.instances[0].instance.facts.frozen = None), ["I4"]);
    assert!(found(|history| history.instances[0].instance.facts.artifacts.clear()).contains(&"I3"));
}

#[test]
fn an_end_that_was_not_the_end_is_found() {
    let ended_before = |history: &mut History| {
        let mut seen = history.instances[0].instance.clone();
        seen.phase = Phase::Failed;
        history.instances[0].seen.push(seen);
    };
    assert_eq!(found(ended_before), ["I5"]);
    let timeline = |history: &mut History| {
        let event = serde_json::json!({"occurred_at": at(3.0), "phase": "missed", "event": "missed", "actor": "controller", "attempt": 1});
        history.instances[0].events.push(serde_json::from_value(event).unwrap());
    };
    assert_eq!(found(timeline), ["I5"]);
}

#[test]
fn an_attempt_that_falls_is_found() {
    let falls = |history: &mut History| {
        let mut seen = history.instances[0].instance.clone();
        (seen.phase, seen.facts.attempt) = (Phase::Recording, 2);
        history.instances[0].seen.push(seen);
    };
    assert_eq!(found(falls), ["I6"]);
}

#[test]
fn a_bot_that_outlives_its_manager_is_found() {
    let stays_on = |history: &mut History| {
        history.lines.retain(|line| !matches!(line.event, Event::Left { .. }));
        history.lines.extend([breaks(7.0, "run_kill_manager", Some("r1"), 0.0), leaves(68.0, "one", false)]);
    };
    assert_eq!(found(stays_on), ["I9"]);
}

#[test]
fn a_bot_that_joins_for_a_cancelled_meeting_is_found() {
    let late = |store_away: Option<Line>| {
        found(move |history| {
            history.meetings[0].is_cancelled = true;
            let cancelled = Line { at: at(-40.0), event: Event::Cancelled { call: CALL.into() } };
            history.lines.extend([cancelled].into_iter().chain(store_away));
        })
    };
    assert_eq!(late(None), ["I10"]);
    assert_eq!(late(Some(breaks(-39.0, "network_store_outage", None, 20.0))), [""; 0]);
}

#[test]
fn what_a_death_cost_is_told() {
    let mut history = good();
    history.lines.retain(|line| !matches!(line.event, Event::Left { .. }));
    history.lines.extend([leaves(7.5, "one", true), joins(10.0, "two", "r2"), leaves(11.0, "two", false)]);
    let judged = judge(&history);
    assert_eq!((judged.media_lost, judged.recovery), (vec![1.5], vec![2.5]));
}
