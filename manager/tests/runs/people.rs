//! Who was in the call, and why a call failed: carried out of the run, made into files, and never in the way of the recording.

use std::path::Path;

use bot_model::debug_bundle::FOLDER;
use bot_model::exit_code::ExitCode;
use bot_model::lifecycle::Phase;
use bot_model::object_prefix::ObjectName;
use bot_model::outcome::OutcomeKind;
use bot_model::people::{JOURNAL_FILE, Line, Noted, Role};
use bot_model::session::SessionPhase;
use bot_model::timeline::Timeline;
use chrono::{Duration, Utc};
use manager::record::{finalize_only, record as record_call};
use manager::retain::retain;

use crate::bench::{Bench, Capture, PART_SECS, close, epoch, never, record};
use crate::process::{Manager, until};
use crate::sidecar::Sidecar;

fn line(secs: i64, what: Noted) -> String {
    serde_json::to_string(&Line { at: epoch() + Duration::seconds(secs), what }).unwrap() + "\n"
}

fn joined(secs: i64, person: u32, name: &str) -> String {
    line(secs, Noted::Joined { person, key: name.to_lowercase(), name: name.into(), role: Role::Person })
}

fn write_journal(session: &Path, lines: &[String]) {
    std::fs::create_dir_all(session).unwrap();
    std::fs::write(session.join(JOURNAL_FILE), lines.concat()).unwrap();
}

fn timeline(bench: &Bench) -> Timeline {
    serde_json::from_slice(&std::fs::read(bench.file(ObjectName::Timeline)).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_s_people_are_in_the_timeline_that_another_run_makes() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    let lines = [
        line(0, Noted::Began { version: 1 }),
        joined(0, 1, "Ann"),
        joined(1, 2, "Bo"),
        line(2, Noted::Speaking { person: 2 }),
        line(4, Noted::Silent { person: 2 }),
        line(5, Noted::Chat { key: "k".into(), author: "Ann".into(), text: "hello".into(), cut: false }),
        "{\"at\":\"2027-01-1".to_owned(),
    ];
    write_journal(&bench.session(), &lines);
    bench.carry().await;
    bench.relaunch().await;
    let config = bench.config("r2").await;
    assert_eq!(finalize_only(&config, bench.store.as_ref(), never()).await.unwrap(), ExitCode::Settled);
    let timeline = timeline(&bench);
    let [ann, bo] = timeline.participants.as_slice() else { panic!("{timeline:?}") };
    assert_eq!((ann.name.as_str(), bo.name.as_str(), bo.speaking_secs), ("Ann", "Bo", 2.0));
    assert!(close(ann.present_secs, PART_SECS, 0.1), "what was left open ends with the last frame: {ann:?}");
    assert_eq!(ann.present[0].to_secs, timeline.duration_secs);
    let said: Vec<_> = timeline.chat.iter().map(|message| (message.secs, message.text.as_str(), message.participant)).collect();
    assert_eq!(said, [(5.0, "hello", Some(1))]);
    let (manifest, facts) = (bench.manifest(), bench.instance().await.instance.facts);
    let artifact = facts.artifacts.iter().find(|file| file.name == ObjectName::Timeline).unwrap();
    let bytes = std::fs::read(bench.file(ObjectName::Timeline)).unwrap();
    assert_eq!((artifact.bytes, artifact.crc32c.clone()), (bytes.len() as u64, format!("{:08x}", crc32c::crc32c(&bytes))));
    let people = manifest.people.unwrap();
    assert_eq!((people.timeline.as_str(), &people.timeline_crc32c), ("timeline.json", &artifact.crc32c));
    assert_eq!((people.participant_count, people.speaker_count, people.chat_messages), (2, 1, 1));

    // The journal's pieces go with the segments.
    let now = Utc::now() + Duration::hours(2);
    let objects = bench.objects().await;
    let retained = retain(bench.store.as_ref(), &objects, std::time::Duration::from_secs(3600), now).await.unwrap();
    assert_eq!((retained.objects, retained.unlisted), (6, 0));
    assert!(objects.list(&bench.prefix.raw_folder()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_in_the_bucket_while_the_call_goes_on() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut manager = Manager::start(&bench, "record", "r1", &[sidecar.variable()]).await;
    sidecar.is_started().await;
    sidecar.enter(SessionPhase::Recording);
    sidecar.close_segments(1);
    let session = bench.folder.path().join("r1/session");
    write_journal(&session, &[line(0, Noted::Began { version: 1 }), joined(0, 1, "Ann")]);
    let objects = bench.objects().await;
    let people = format!("{}a1-r1/people/", bench.prefix.raw_folder());
    until("a piece of the journal", async || !objects.list(&people).await.unwrap().is_empty()).await;
    sidecar.end(OutcomeKind::HostEnded);
    assert_eq!(manager.ended().await, Some(0), "{}", manager.told());
    assert_eq!(timeline(&bench).participants[0].name, "Ann");
    assert!(!manager.told().contains("Ann"), "the log names somebody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_a_call_that_was_never_entered_is_in_the_bucket_and_named_by_the_document() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let mut config = bench.config("r1").await;
    config.sidecar_url = sidecar.url.clone();
    let folder = config.scratch.join("session").join(FOLDER);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("page.txt"), "Someone denied your request").unwrap();
    let ending = async {
        sidecar.is_started().await;
        sidecar.end(OutcomeKind::Denied);
    };
    let (ended, ()) = tokio::join!(record_call(&config, bench.store.as_ref(), never()), ending);
    assert_eq!(ended.unwrap(), ExitCode::Settled);
    let instance = bench.instance().await.instance;
    assert_eq!((instance.phase, instance.facts.outcome.unwrap().kind), (Phase::Failed, OutcomeKind::Denied));
    let expected = format!("{}/{}", bench.bucket_url(), bench.prefix.debug_folder(1, "r1"));
    assert_eq!(instance.facts.debug, Some(expected));
    let names = bench.objects().await.list(&bench.prefix.debug_folder(1, "r1")).await.unwrap();
    assert_eq!(names, ["page.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_is_sent_by_one_session_of_an_instance_alone() {
    let bench = Bench::new().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let greeting = ("GREETING", "This call is recorded.".to_owned());
    let first = Manager::start(&bench, "record", "r1", &[sidecar.variable(), greeting.clone()]).await;
    sidecar.is_started().await;
    assert_eq!(sidecar.session().greeting.as_deref(), Some("This call is recorded."));
    sidecar.enter(SessionPhase::Recording);
    sidecar.has_greeted();
    until("the greeting to be noted", async || bench.instance().await.instance.facts.greeted_at.is_some()).await;
    drop(first);
    bench.relaunch().await;
    let sidecar = Sidecar::start(bench.folder.path()).await;
    let _second = Manager::start(&bench, "record", "r2", &[sidecar.variable(), greeting]).await;
    sidecar.is_started().await;
    assert_eq!(sidecar.session().greeting, None, "it would greet twice");
}
