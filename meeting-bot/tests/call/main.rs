//! Whole calls: a real `meeting-bot`, a real browser, real ffmpeg; judged by the recording's content.

mod bot;
mod media;
mod replica;

use std::time::Duration;

use bot::Bot;
use bot_model::outcome::OutcomeKind;
use bot_model::segment::{PartEnd, PartInfo};
use bot_model::session::{SessionEventKind, SessionLimits, SessionPhase};
use replica::Replica;

const BRING_UP: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(20);

async fn in_call(replica: &Replica, code: &str, tone_hz: u32) -> Bot {
    replica.open(code, tone_hz);
    let bot = Bot::start(&replica.origin).await;
    assert_eq!(bot.join(code, SessionLimits::default()).await.status(), 201);
    bot.reaches(SessionPhase::WaitingRoom, BRING_UP).await;
    replica.set(code, "call", 1);
    bot.reaches(SessionPhase::Recording, SOON).await;
    bot
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
    replica.set("whole", "prank", 1);
    tokio::time::sleep(Duration::from_secs(2)).await; // the text alone must not end it: nothing to wait for
    assert_eq!(bot.state().await.phase, SessionPhase::Recording, "a text in the page alone ended the recording");
    replica.set("whole", "ended", 0);
    let state = bot.reaches(SessionPhase::Ended, SOON).await;
    assert_eq!(state.end.unwrap().kind, OutcomeKind::HostEnded, "{}", bot.log());

    let part = bot.part(0);
    let info: PartInfo = serde_json::from_slice(&std::fs::read(part.join("part.json")).unwrap()).unwrap();
    let end: PartEnd = serde_json::from_slice(&std::fs::read(part.join("part-end.json")).unwrap()).unwrap();
    assert_eq!(u64::from(end.segments), state.media.segments);
    let file = media::joined(&part);
    let pictures = media::pictures(&file);
    let sound = media::sound(&file);
    let in_call = (state.left_at.unwrap() - state.admitted_at.unwrap()).num_milliseconds() as f64 / 1_000.0;
    let recorded = pictures.brightness.len() as f64 / f64::from(info.frames_per_second);
    assert!((recorded - in_call).abs() < 1.0, "{recorded} s recorded of {in_call} s in the call");
    assert!((sound.len() as f64 / 8_000.0 - recorded).abs() < 0.5, "sound and picture differ in length");
    let lag = media::audio_lag_ms(&pictures.flashes(), &media::beeps(&sound));
    println!("audio lag {lag:.0} ms, {recorded:.2} s recorded of {in_call:.2} s, {} flashes", pictures.flashes().len());
    assert!(lag.abs() <= 80.0, "sound is {lag} ms late");

    let timeline = bot.timeline(0).await;
    assert!(timeline.iter().enumerate().all(|(index, event)| event.seq == index as u64 + 1), "gaps in {timeline:?}");
    assert!(timeline.iter().any(|event| event.kind == SessionEventKind::PartStarted { part: 0 }));
    assert_eq!(bot.timeline(3).await.first().unwrap().seq, 4, "Last-Event-ID is not honoured");
    assert!(!bot.log().contains("Recorder Zoë"), "the log names somebody");
    assert!(bot.descendants().is_empty(), "processes are left");
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
