//! What breaks between a call and its recording, and what the bot does about it.

use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::quality::{Figures, Happening, Quality, Reason, Stretch, Verdict};
use bot_model::segment::quality_file;
use bot_model::session::{SessionEventKind, SessionLimits, SessionPhase, SessionState};

use crate::bot::Bot;
use crate::replica::Replica;
use crate::{BRING_UP, SOON, in_call, media};

/// For a watchdog to see it, and a remedy to help.
const MENDED: Duration = Duration::from_secs(60);

/// What a part's stretches say, one after the other.
fn stretches(bot: &Bot, part: u32) -> Vec<Stretch> {
    let read = |seq| std::fs::read(bot.part(part).join(quality_file(seq))).ok();
    (0..).map_while(read).map(|text| serde_json::from_slice(&text).unwrap()).collect()
}

/// The watchdog's signals and the remedies, in order.
async fn happenings(bot: &Bot) -> Vec<String> {
    let told = |kind| match kind {
        SessionEventKind::Watchdog { signal, raised } => Some(format!("{signal} {}", if raised { "raised" } else { "cleared" })),
        SessionEventKind::Remedy { remedy, signal } => Some(format!("{remedy} for {signal}")),
        _ => None,
    };
    bot.timeline(0).await.into_iter().filter_map(|event| told(event.kind)).collect()
}

async fn ends(bot: &Bot, replica: &Replica, code: &str) -> SessionState {
    replica.set(code, "ended", 0);
    let state = bot.reaches(SessionPhase::Ended, SOON).await;
    assert_eq!(state.end.clone().unwrap().kind, OutcomeKind::HostEnded, "{}", bot.log());
    state
}

/// Beeps come each 610 ms; the recording's last part must end with them.
fn sounds_at_its_end(bot: &Bot, part: u32) {
    let sound = media::sound(&media::joined(&bot.part(part)));
    let (beeps, secs) = (media::beeps(&sound), sound.len() as f64 / 8_000.0);
    let last: Vec<&f64> = beeps.iter().filter(|beep| **beep > secs - 4.0).collect();
    println!("part {part}: {} beeps in {secs:.1} s, {} in the last 4", beeps.len(), last.len());
    assert!(last.len() >= 4, "no sound at the end of part {part}: {beeps:?} of {secs} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_play_to_another_sink_are_moved_back_and_heard_again() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "moved", 1_000).await;
    bot.satisfies("two segments", SOON, |state| state.media.segments >= 2).await;
    bot.pactl(&["load-module", "module-null-sink", "sink_name=elsewhere"]);
    let streams = bot.pactl(&["list", "short", "sink-inputs"]);
    for stream in streams.lines().filter_map(|line| line.split('\t').next()) {
        bot.pactl(&["move-sink-input", stream, "elsewhere"]);
    }
    bot.satisfies("the wrong sink", SOON, |state| !state.media.sink_is_right).await;
    let mended = bot.satisfies("the right sink again", MENDED, |state| state.media.sink_is_right).await;
    let part = mended.media.part.unwrap();
    let more = mended.media.segments + 4;
    bot.satisfies("more segments", MENDED, |state| state.media.segments >= more).await;
    ends(&bot, &replica, "moved").await;
    sounds_at_its_end(&bot, part);
    let told = happenings(&bot).await;
    assert!(told.contains(&"rebind for wrong_sink".to_owned()), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_gone_is_made_again_and_heard() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "unloaded", 1_000).await;
    bot.satisfies("two segments", SOON, |state| state.media.segments >= 2).await;
    bot.pactl(&["unload-module", "module-null-sink"]);
    let state = bot.satisfies("a second part", MENDED, |state| state.media.part == Some(1)).await;
    let more = state.media.segments + 4;
    bot.satisfies("more segments", MENDED, |state| state.media.segments >= more && state.media.sink_lost_secs <= 0.0).await;
    ends(&bot, &replica, "unloaded").await;
    sounds_at_its_end(&bot, 1);
    let told = happenings(&bot).await;
    assert!(told.iter().any(|event| event.starts_with("rebind for")), "{told:?}");
    let events: Vec<Happening> =
        stretches(&bot, 0).into_iter().flat_map(|stretch| stretch.events).map(|noted| noted.what).collect();
    assert!(events.iter().any(|event| matches!(event, Happening::Remedy { .. })), "the remedy is not written down: {events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sound_server_is_started_again_and_the_recording_holds_sound_again() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "pulse", 1_000).await;
    bot.satisfies("two segments", SOON, |state| state.media.segments >= 2).await;
    bot.kill_child("pulseaudio");
    let state = bot.satisfies("a second part", MENDED, |state| state.media.part >= Some(1)).await;
    let more = state.media.segments + 8;
    let state = bot.satisfies("more segments", MENDED, |state| state.media.segments >= more).await;
    ends(&bot, &replica, "pulse").await;
    println!("{:?}", happenings(&bot).await);
    sounds_at_its_end(&bot, state.media.part.unwrap());
    let figures = Figures::sum(&stretches(&bot, 0).into_iter().map(|stretch| stretch.figures).collect::<Vec<_>>());
    println!("{figures:?}");
    assert!(figures.watched_secs > 3.0 && figures.frames > 45);
}

/// The whole ladder: nothing helps until the page was opened for the third time, in the second browser.
#[tokio::test(flavor = "multi_thread")]
async fn speech_that_is_not_recorded_is_mended_by_rebind_reload_and_rejoin_in_turn_and_never_by_two_bots() {
    let replica = Replica::start().await;
    replica.open("unheard", 1_000);
    replica.change("unheard", |room| (room.mute_openings, room.speaks, room.stage) = (2, true, "call"));
    let bot = Bot::start(&replica.origin).await;
    assert_eq!(bot.join("unheard", SessionLimits::default()).await.status(), 201);
    bot.reaches(SessionPhase::Recording, BRING_UP).await;
    bot.satisfies("the missing sound", SOON, |state| state.media.unheard_secs >= 8.0).await;
    let limit = Duration::from_secs(180);
    let state = bot.satisfies("a fourth part", limit, |state| state.media.part == Some(3)).await;
    let more = state.media.segments + 4;
    bot.satisfies("sound", MENDED, |state| state.media.segments >= more && state.media.unheard_secs <= 0.0).await;
    ends(&bot, &replica, "unheard").await;
    let told: Vec<String> = happenings(&bot).await.into_iter().filter(|event| event.contains(" for ")).collect();
    assert_eq!(told, ["rebind for audio_missing", "reload for audio_missing", "rejoin for audio_missing"]);
    // The last stay was ended by the host.
    assert_eq!(replica.log("unheard"), ["joined", "left", "joined", "left", "joined"]);
    sounds_at_its_end(&bot, 3);
    for part in 0..4 {
        assert!(!media::pictures(&media::joined(&bot.part(part))).brightness.is_empty(), "part {part} does not play");
    }
    let parts: Vec<Vec<Stretch>> = (0..4).map(|part| stretches(&bot, part)).collect();
    let quality = Quality::of(&parts, &[3.0, 5.0], 100.0).unwrap();
    println!("{quality:?}");
    assert!(quality.reasons.contains(&Reason::SpeechMissing), "{quality:?}");
    assert_eq!(quality.verdict, Verdict::Bad);
}

/// The page lives on, and no look at it alone would tell: only the comparison with the recording does.
#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_stands_still_while_the_page_does_not_is_seen_and_mended() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "covered", 1_000).await;
    bot.satisfies("two segments", SOON, |state| state.media.segments >= 2).await;
    let mut cover = bot.cover_its_display();
    let limit = Duration::from_secs(120);
    bot.satisfies("another picture than the page's", limit, |state| state.media.picture_differs).await;
    let state = bot.satisfies("a third part", MENDED, |state| state.media.part == Some(2)).await;
    let more = state.media.segments + 6;
    bot.satisfies("a picture that moves", MENDED, |state| state.media.segments >= more && state.media.frozen_secs < 1.0).await;
    let _ = cover.kill();
    cover.wait().unwrap();
    ends(&bot, &replica, "covered").await;
    let told: Vec<String> = happenings(&bot).await.into_iter().filter(|event| event.contains(" for ")).collect();
    // A page that is opened again raises the browser's window over what covered it.
    assert_eq!(told, ["rebind for picture_frozen", "reload for picture_frozen"]);
    let flashes = media::pictures(&media::joined(&bot.part(2))).flashes();
    assert!(flashes.len() > 5, "the call is not to be seen again");
    let frozen: f64 = (0..3).flat_map(|part| stretches(&bot, part)).map(|stretch| stretch.figures.frozen_secs).sum();
    assert!(frozen > 1.0, "nothing says that the picture was frozen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_display_is_a_typed_outcome_and_what_was_recorded_is_kept() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "display", 1_000).await;
    bot.satisfies("two segments", SOON, |state| state.media.segments >= 2).await;
    bot.kill_child("Xvfb");
    let state = bot.reaches(SessionPhase::Ended, SOON).await;
    let kind = state.end.unwrap().kind;
    // Of these the manager makes a fresh bot that joins again.
    assert!(matches!(kind, OutcomeKind::BrowserCrashed | OutcomeKind::CaptureFailed), "{kind}");
    assert!(media::pictures(&media::joined(&bot.part(0))).brightness.len() >= 4 * 15);
    bot.leaves_no_process().await;
}

/// Nothing mends what the call itself is like: it is told, and weighed.
#[tokio::test(flavor = "multi_thread")]
async fn a_black_picture_and_a_sound_above_full_scale_are_told_and_weighed() {
    let replica = Replica::start().await;
    let bot = in_call(&replica, "dark", 1_000).await;
    bot.satisfies("a segment", SOON, |state| state.media.segments >= 1).await;
    replica.set("dark", "dark", 1);
    bot.satisfies("a black picture", MENDED, |state| state.media.black_secs >= 20.0).await;
    replica.set("dark", "call", 1);
    bot.satisfies("a picture", MENDED, |state| state.media.black_secs < 1.0).await;
    let state = ends(&bot, &replica, "dark").await;
    assert_eq!(state.media.part, Some(0), "there was nothing to mend");
    let told = happenings(&bot).await;
    for signal in ["picture_black raised", "picture_black cleared", "audio_clipping raised"] {
        assert!(told.contains(&signal.to_owned()), "no {signal}: {told:?}");
    }
    let part = stretches(&bot, 0);
    let figures = Figures::sum(&part.iter().map(|stretch| stretch.figures).collect::<Vec<_>>());
    let quality = Quality::of(&[part], &[figures.watched_secs], 100.0).unwrap();
    println!("{figures:?} {quality:?}");
    assert!(figures.black_secs > 15.0 && figures.clipped_secs > 10.0, "{figures:?}");
    assert!(quality.reasons.contains(&Reason::Black) && quality.reasons.contains(&Reason::Clipping), "{quality:?}");
}
