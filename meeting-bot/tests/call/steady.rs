//! A longer recording: sound and picture stay together, and the meter that watches them says so.

use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::SessionPhase;

use crate::replica::Replica;
use crate::{SOON, in_call, media};

/// Long enough for the drift meter's first figures; `STEADY_SECS` makes it longer.
const SECS: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_picture_stay_together_and_the_drift_meter_says_so() {
    let secs = std::env::var("STEADY_SECS").map_or(SECS, |text| text.parse().unwrap());
    let replica = Replica::start().await;
    let bot = in_call(&replica, "steady", 1_000).await;
    let limit = Duration::from_secs(secs + 60);
    let state = bot.satisfies("a long recording", limit, |state| state.media.segments * 2 >= secs).await;
    assert_eq!(state.media.part, Some(0), "it was interrupted: {}", bot.log());
    let drift_ms = state.media.drift_ms.expect("no drift was measured");
    replica.set("steady", "ended", 0);
    let end = bot.reaches(SessionPhase::Ended, SOON).await.end.unwrap();
    assert_eq!(end.kind, OutcomeKind::HostEnded);
    let file = media::joined(&bot.part(0));
    let (flashes, beeps) = (media::pictures(&file).flashes(), media::beeps(&media::sound(&file)));
    let lag_of = |third: usize| {
        let within = flashes.len() / 3;
        media::audio_lag_ms(&flashes[third * within..(third + 1) * within], &beeps)
    };
    let (first, last) = (lag_of(0), lag_of(2));
    println!("{secs} s: lag {first:.0} ms in the first third, {last:.0} ms in the last; the meter says {drift_ms} ms");
    assert!((last - first).abs() <= 40.0, "the sound moved from {first} to {last} ms");
    // The meter reads delays, which the machine's load lengthens; see `capture::drift`.
    assert!((drift_ms as f64 - (last - first)).abs() <= 100.0, "the meter says {drift_ms} ms of {}", last - first);
}
