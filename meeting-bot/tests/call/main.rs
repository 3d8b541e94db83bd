//! Whole calls: a real `meeting-bot`, a real browser, real ffmpeg; judged by the recording's content.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // a test fails by panicking

mod bot;
mod bundle;
mod disk;
mod drift;
mod identity;
mod legacy;
mod media;
mod people;
mod remedies;
mod replica;

use std::time::Duration;

use bot::Bot;
use bot_model::outcome::OutcomeKind;
use bot_model::session::{SessionEventKind, SessionLimits, SessionPhase};
use chrono::{DateTime, Utc};
use replica::Replica;

pub(crate) const BRING_UP: Duration = Duration::from_secs(90);
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn in_call(replica: &Replica, code: &str, tone_hz: u32) -> Bot {
    in_call_with(replica, code, tone_hz, &[]).await
}

async fn in_call_with(replica: &Replica, code: &str, tone_hz: u32, variables: &[(&str, &str)]) -> Bot {
    replica.open(code, tone_hz);
    let bot = Bot::start_with(&replica.origin, variables).await;
    assert_eq!(bot.join(code, SessionLimits::default()).await.status(), 201);
    bot.reaches(SessionPhase::WaitingRoom, BRING_UP).await;
    replica.set(code, "call", 1);
    bot.reaches(SessionPhase::Recording, SOON).await;
    bot
}

fn secs(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_milliseconds() as f64 / 1_000.0
}

/// From its start to its end the one part holds everything.
pub(crate) fn assert_whole(bot: &Bot) {
    let (info, end) = bot.span(0);
    let lasted = secs(info.started_at, end.ended_at);
    let frames = media::pictures(&media::joined(&bot.part(0))).brightness.len();
    let recorded = frames as f64 / f64::from(info.frames_per_second);
    assert!((recorded - lasted).abs() < 1.0, "{recorded} s recorded of {lasted} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_recorded_from_admission_to_the_hosts_end() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "whole", 1_000).await;
    let seen = replica.seen("whole");
    assert_eq!(seen["name"], "Recorder Zoë");
    assert_eq!(seen["microphone"], "off");
    assert_eq!(seen["trusted"], true, "the click was not a real one");
    assert_eq!(seen["webdriver"], false);
    assert_eq!(seen["language"], "en-US");
    let again = bot.join("whole", SessionLimits::default()).await;
    assert_eq!(again.status(), 200, "the same session started twice");
    replica.open("other", 1);
    assert_eq!(bot.join("other", SessionLimits::default()).await.status(), 409);

    bot.satisfies("six segments", Duration::from_secs(40), |state| state.media.segments >= 6).await;
    let picture = bot.get("/v1/session/screenshot").await.bytes().await.unwrap();
    assert!(picture.starts_with(b"\x89PNG"), "no screenshot");
    let glance = bot.get("/v1/session/picture").await.bytes().await.unwrap();
    assert!(glance.starts_with(&[0xff, 0xd8]) && glance.len() < 100_000, "no small picture: {} bytes", glance.len());
    replica.set("whole", "prank", 1);
    tokio::time::sleep(Duration::from_secs(2)).await; // the text alone must not end it: nothing to wait for
    assert_eq!(bot.state().await.phase, SessionPhase::Recording, "a text in the page alone ended the recording");
    replica.set("whole", "ended", 0);
    let state = bot.reaches(SessionPhase::Ended, SOON).await;
    assert_eq!(state.end.unwrap().kind, OutcomeKind::HostEnded, "{}", bot.log());

    let part = bot.part(0);
    let (info, end) = bot.span(0);
    assert_eq!(u64::from(end.segments), state.media.segments);
    let file = media::joined(&part);
    let pictures = media::pictures(&file);
    let sound = media::sound(&file);
    let (begins_late, lasted) = (secs(state.admitted_at.unwrap(), info.started_at), secs(info.started_at, end.ended_at));
    assert!((-0.5..3.0).contains(&begins_late), "the recording begins {begins_late} s after the admission");
    let recorded = pictures.brightness.len() as f64 / f64::from(info.frames_per_second);
    assert!((recorded - lasted).abs() < 1.0, "{recorded} s recorded of {lasted} s");
    let ends_early = secs(end.ended_at, state.left_at.unwrap());
    assert!(ends_early < 8.0, "the recording ends {ends_early} s before the call is left"); // closing it, at its limit, and the browser
    assert!((sound.len() as f64 / 8_000.0 - recorded).abs() < 0.5, "sound and picture differ in length");
    let lag = media::audio_lag_ms(&pictures.flashes(), &media::beeps(&sound));
    println!("audio lag {lag:.0} ms, {recorded:.2} s recorded of {lasted:.2} s, {} flashes", pictures.flashes().len());
    // A flash waits for the next frame, up to 67 ms at 15 a second, which this reading cannot take off.
    assert!(lag.abs() <= 80.0, "sound is {lag} ms late");

    let timeline = bot.timeline(0).await;
    assert!(timeline.iter().enumerate().all(|(index, event)| event.seq == index as u64 + 1), "gaps in {timeline:?}");
    assert!(timeline.iter().any(|event| event.kind == SessionEventKind::PartStarted { part: 0 }));
    assert_eq!(bot.timeline(3).await.first().unwrap().seq, 4, "Last-Event-ID is not honoured");
    assert!(!bot.log().contains("Recorder Zoë"), "the log names somebody");
    bot.leaves_no_process().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bots_at_once_each_record_their_own_sound_alone() {
    let replica = Replica::start().await;
    let (low, high) = tokio::join!(in_call(&replica, "low", 440), in_call(&replica, "high", 1_200));
    for bot in [&low, &high] {
        bot.satisfies("three segments", Duration::from_secs(40), |state| state.media.segments >= 3).await;
        assert!(bot.state().await.media.sink_is_right);
    }
    replica.set("low", "ended", 0);
    replica.set("high", "ended", 0);
    for (bot, own, foreign) in [(&low, 440.0, 1_200.0), (&high, 1_200.0, 440.0)] {
        bot.reaches(SessionPhase::Ended, SOON).await;
        let sound = media::sound(&media::joined(&bot.part(0)));
        let (own, foreign) = (media::share_of(&sound, own), media::share_of(&sound, foreign));
        println!("own tone {own:.3}, foreign tone {foreign:.5}");
        assert!(own > 0.5 && foreign < 0.01, "own tone {own}, the other bot's tone {foreign}");
    }
}

/// The negative control of the test above: were sounds ever to cross, both the recording and the watchdog would show it.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_sound_in_the_sink_is_heard_and_raises_the_watchdog() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "crossed", 440).await;
    bot.satisfies("a segment", Duration::from_secs(30), |state| state.media.segments >= 1).await;
    let mut intruder = bot.play_into_its_sink(1_200);
    bot.satisfies("wrong sink", SOON, |state| !state.media.sink_is_right).await;
    let before = bot.state().await.media.segments;
    bot.satisfies("two more segments", SOON, |state| state.media.segments >= before + 2).await;
    intruder.kill().unwrap();
    intruder.wait().unwrap();
    bot.satisfies("the right sink again", SOON, |state| state.media.sink_is_right).await;
    replica.set("crossed", "ended", 0);
    bot.reaches(SessionPhase::Ended, SOON).await;
    let raised: Vec<bool> = bot
        .timeline(0)
        .await
        .into_iter()
        .filter_map(|event| match event.kind {
            SessionEventKind::Watchdog { signal, raised } if signal == "wrong_sink" => Some(raised),
            _ => None,
        })
        .collect();
    assert_eq!(raised, [true, false]);
    let foreign = media::share_of(&media::sound(&media::joined(&bot.part(0))), 1_200.0);
    assert!(foreign > 0.05, "the foreign tone is not in the recording: {foreign}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_call_leaves_it_and_closes_the_last_segment_within_ten_seconds() {
    let replica = Replica::start().await;
    let mut bot = in_call(&replica, "drained", 1_000).await;
    bot.satisfies("two segments", Duration::from_secs(30), |state| state.media.segments >= 2).await;
    let began = std::time::Instant::now();
    bot.terminate();
    let status = bot.exits(Duration::from_secs(10)).await;
    println!("exited after {:?}", began.elapsed());
    assert_eq!(status.code(), Some(143), "{}", bot.log());
    assert_eq!(replica.seen("drained")["left"], true, "the leave button was not pressed");
    assert_whole(&bot);
    bot.leaves_no_process().await;
    assert_eq!(std::fs::read_dir(bot.scratch()).unwrap().count(), 0, "private folders are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_bot_leaves_no_process_behind_and_its_closed_segments_stay() {
    let replica = Replica::start().await;
    let mut bot = in_call(&replica, "killed", 1_000).await;
    bot.satisfies("six segments", Duration::from_secs(40), |state| state.media.segments >= 6).await;
    bot.process.kill().unwrap();
    bot.leaves_no_process().await;
    assert!(media::pictures(&media::joined(&bot.part(0))).brightness.len() >= 12 * 15);
    let stretch = std::fs::read(bot.part(0).join(bot_model::segment::quality_file(0))).expect("nothing says how it was");
    let figures = serde_json::from_slice::<bot_model::quality::Stretch>(&stretch).unwrap().figures;
    assert!((10.0..16.0).contains(&figures.watched_secs) && figures.frames > 5 * 15, "{figures:?}");
    assert!(figures.silent_secs < 2.0 && figures.black_secs < 1.0 && figures.sound_lag_ms.is_some(), "{figures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_ffmpeg_is_followed_by_a_new_part() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "parts", 1_000).await;
    bot.satisfies("two segments", Duration::from_secs(30), |state| state.media.segments >= 2).await;
    bot.kill_child("ffmpeg");
    bot.satisfies("a second part with segments", SOON, |state| state.media.part == Some(1) && state.media.segments >= 5).await;
    replica.set("parts", "removed", 0);
    let state = bot.reaches(SessionPhase::Ended, SOON).await;
    assert_eq!(state.end.unwrap().kind, OutcomeKind::Removed);
    for part in 0..2 {
        assert!(!media::pictures(&media::joined(&bot.part(part))).brightness.is_empty(), "part {part} does not play");
        assert!(bot.part(part).join("part-end.json").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_ffmpeg_is_noticed_and_followed_by_a_new_part() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "hanging", 1_000).await;
    bot.satisfies("two segments", Duration::from_secs(30), |state| state.media.segments >= 2).await;
    bot.freeze_child("ffmpeg");
    let limit = Duration::from_secs(45);
    bot.satisfies("a second part with a segment", limit, |state| state.media.part == Some(1) && state.media.segments >= 4).await;
    // The sound stops coming before a segment is overdue.
    let stalled = |kind: &SessionEventKind| matches!(kind, SessionEventKind::Watchdog { signal, raised: true } if signal == "sound_stalled");
    bot.post("/v1/session/leave", serde_json::json!({ "reason": "asked_to_leave" })).await;
    bot.reaches(SessionPhase::Ended, SOON).await;
    assert!(bot.timeline(0).await.iter().any(|event| stalled(&event.kind)), "the stall was not told");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_is_obeyed_in_time_even_when_the_browser_hangs() {
    let replica = Replica::start().await;
    let mut bot = in_call(&replica, "frozen", 1_000).await;
    bot.satisfies("two segments", Duration::from_secs(30), |state| state.media.segments >= 2).await;
    bot.freeze_child("chromium");
    bot.terminate();
    assert_eq!(bot.exits(Duration::from_secs(10)).await.code(), Some(143));
    assert!(bot.part(0).join("part-end.json").exists());
    bot.leaves_no_process().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_browser_is_a_typed_outcome_and_what_was_recorded_is_kept() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "crash", 1_000).await;
    bot.satisfies("two segments", Duration::from_secs(30), |state| state.media.segments >= 2).await;
    bot.kill_child("chromium");
    let state = bot.reaches(SessionPhase::Ended, SOON).await;
    assert_eq!(state.end.unwrap().kind, OutcomeKind::BrowserCrashed);
    assert!(media::pictures(&media::joined(&bot.part(0))).brightness.len() >= 4 * 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_bot_has_recorded_nothing_and_answers_until_shut_down() {
    let replica = Replica::start().await;
    replica.open("denied", 1_000);
    let mut bot = Bot::start(&replica.origin).await;
    bot.join("denied", SessionLimits::default()).await;
    bot.reaches(SessionPhase::WaitingRoom, BRING_UP).await;
    replica.set("denied", "denied", 1);
    let state = bot.reaches(SessionPhase::Ended, SOON).await;
    assert_eq!(state.end.unwrap().kind, OutcomeKind::Denied);
    assert!(!bot.part(0).exists(), "recorded before being admitted");
    assert!(bot.get("/v1/session/screenshot").await.status().is_success(), "no picture of the refusal");
    assert_eq!(bot.post("/shutdown", serde_json::Value::Null).await, 200);
    assert_eq!(bot.exits(Duration::from_secs(5)).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_leave_the_bot_leaves_and_says_so() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "asked", 1_000).await;
    let reason = serde_json::json!({ "reason": "asked_to_leave" });
    assert_eq!(bot.post("/v1/session/leave", reason.clone()).await, 202);
    assert_eq!(bot.post("/v1/session/leave", reason).await, 202);
    let state = bot.reaches(SessionPhase::Ended, Duration::from_secs(10)).await;
    assert_eq!(state.end.unwrap().kind, OutcomeKind::AskedToLeave);
    assert!(state.media.segments >= 1, "even a short call is recorded");
    assert_eq!(replica.seen("asked")["left"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_is_posted_once_in_the_call() {
    let replica = Replica::start().await;
    replica.open("greeted", 1_000);
    let bot = Bot::start(&replica.origin).await;
    assert_eq!(bot.join_greeting("greeted", "This call is recorded – Zoë").await.status(), 201);
    bot.reaches(SessionPhase::WaitingRoom, BRING_UP).await;
    replica.set("greeted", "call", 1);
    let said = bot::until("the greeting", SOON, async || {
        bot.state().await;
        replica.seen("greeted").remove("chat")
    });
    assert_eq!(said.await, serde_json::json!(["This call is recorded – Zoë"]));
    bot.satisfies("three segments", SOON, |state| state.media.segments >= 3).await;
    assert_eq!(replica.seen("greeted")["chat"].as_array().unwrap().len(), 1, "posted again");
    assert!(!bot.log().contains("Zoë"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_everybody_has_left_leaves_too() {
    let replica = Replica::start().await;
    replica.open("alone", 1_000);
    let bot = Bot::start(&replica.origin).await;
    let limits = SessionLimits { everyone_left_secs: 3, ..SessionLimits::default() };
    bot.join("alone", limits).await;
    bot.reaches(SessionPhase::WaitingRoom, BRING_UP).await;
    replica.set("alone", "call", 2);
    bot.satisfies("two others", SOON, |state| state.others_in_call == Some(2)).await;
    replica.set("alone", "call", 0);
    let state = bot.reaches(SessionPhase::Ended, SOON).await;
    assert_eq!(state.end.unwrap().kind, OutcomeKind::EveryoneLeft);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_no_manager_polls_leaves_after_45_seconds_and_ends() {
    let replica = Replica::start().await;
    let mut bot = in_call(&replica, "forgotten", 1_000).await;
    // The one clock that cannot be hurried: nothing may poll meanwhile.
    bot::until("the leaving", Duration::from_secs(60), async || replica.seen("forgotten").contains_key("left").then_some(()))
        .await;
    let state = bot.reaches(SessionPhase::Ended, SOON).await;
    assert_eq!(state.end.unwrap().kind, OutcomeKind::ManagerLost);
    assert_eq!(bot.exits(Duration::from_secs(60)).await.code(), Some(0), "an ended bot that nobody polls must end");
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_requests_are_refused_without_repeating_them() {
    let replica = Replica::start().await;
    let bot = Bot::start(&replica.origin).await;
    let http = reqwest::Client::new();
    let post = |body: serde_json::Value| http.post(format!("{}/v1/session", bot.base)).json(&body).send();
    let base = serde_json::json!({ "session_id": "s", "meeting": "https://zoom.us.evil.example/j/123456789?pwd=CANARY",
        "display_name": "x", "output_dir": bot.output, "limits": SessionLimits::default(),
        "capture": bot_model::session::CaptureSettings::default() });
    let mut climbing = base.clone();
    climbing["meeting"] = "practice:meet/room".into();
    climbing["output_dir"] = "/nowhere/CANARY".into();
    let mut preset = base.clone();
    preset["meeting"] = "practice:meet/room".into();
    preset["capture"]["preset"] = "CANARY -f null".into();
    for body in [base, climbing, preset, serde_json::json!({ "session_id": "CANARY" })] {
        let answer = post(body).await.unwrap();
        assert_eq!(answer.status(), 400);
        let text = answer.text().await.unwrap();
        assert!(text.contains("error") && !text.contains("CANARY"), "{text}");
    }
    assert_eq!(bot.state().await.phase, SessionPhase::Idle);
    let from_a_page =
        http.post(format!("{}/shutdown", bot.base)).header("origin", "https://meet.google.com").send().await.unwrap();
    assert_eq!(from_a_page.status(), 403);
}
