//! A longer recording: sound and picture stay together, and the meter that watches them says so.

use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::SessionPhase;

use crate::replica::Replica;
use crate::{SOON, in_call, media};

/// Long enough for the drift meter's first figures; `STEADY_SECS` makes it longer.
const SECS: u64 = 100;

/// A machine that stalls moves flashes and beeps alike; a second call of two tells a drifting clock from a bad moment.
#[tokio::test(flavor = "multi_thread")]
async fn sound_and_picture_stay_together_and_the_drift_meter_says_so() {
    let (moved, metered) = moved_by().await;
    if moved.abs() > 40.0 || (metered - moved).abs() > 100.0 {
        let (again, metered_again) = moved_by().await;
        assert!(again.abs() <= 40.0, "the sound moved by {moved} ms, and by {again} ms in a second call");
        // The meter reads delays, which the machine's load lengthens; see `capture::drift`.
        assert!((metered_again - again).abs() <= 100.0, "the meter says {metered_again} ms of {again}");
    }
}

/// How far the sound moved against the picture over a call, in ms, and what the meter says of it.
async fn moved_by() -> (f64, f64) {
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
    (last - first, drift_ms as f64)
}
