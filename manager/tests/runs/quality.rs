//! How picture and sound were, from beside the segments to `recording.json`.

use bot_model::quality::{Figures, Happening, Noted, Reason, Stretch, Verdict};
use bot_model::segment::quality_file;
use chrono::Duration;

use crate::bench::{Bench, Capture, PART_FRAMES, decoded, epoch, record};
use bot_model::object_prefix::ObjectName;

fn lay(bench: &Bench, part: u32, seq: u32, figures: Figures, events: Vec<Noted>) {
    let stretch = Stretch { from: epoch(), figures, events };
    let file = bench.session().join(format!("p{part:03}")).join(quality_file(seq));
    std::fs::write(file, serde_json::to_vec(&stretch).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bot_noted_before_it_was_killed_is_in_recording_json_and_the_same_for_every_finalizer() {
    let bench = Bench::new().await;
    let seen = Figures { watched_secs: 3.0, frames: 45, speaking_secs: 3.0, sound_lag_ms: Some(30), ..Figures::default() };
    let unheard = Figures { speaking_secs: 9.0, unheard_secs: 9.0, ..seen };
    let noted = Noted { at: epoch(), what: Happening::Remedy { remedy: "reload".into(), signal: "audio_missing".into() } };
    for part in 0..2 {
        record(&bench.session(), part, &Capture::starting(epoch() + Duration::seconds(8 * i64::from(part))));
        lay(&bench, part, 0, seen, vec![]);
    }
    lay(&bench, 0, 1, unheard, vec![noted.clone()]);
    // As a SIGKILL leaves it.
    std::fs::write(bench.session().join("p001/quality-000001.tmp"), b"half").unwrap();
    bench.carry().await;
    let files = bench.finalized("one").await.unwrap();
    let manifest = bench.manifest();
    let quality = manifest.quality.clone().unwrap();
    assert_eq!((quality.parts.len(), quality.whole.frames, quality.parts[0].unheard_secs), (2, 135, 9.0));
    assert_eq!((quality.sound_while_speaking, quality.events.as_slice()), (Some(0.4), [noted].as_slice()));
    assert_eq!((quality.verdict, quality.gaps), (Verdict::Bad, 1));
    assert_eq!(quality.reasons, [Reason::SpeechMissing, Reason::Gaps]);
    assert_eq!(manifest.raw.iter().filter(|name| name.contains("/quality")).count(), 3, "retention deletes what is listed");
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (2 * PART_FRAMES, String::new()), "facts are no media");
    assert_eq!(bench.finalized("two").await.unwrap(), files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_that_cannot_be_read_costs_the_recording_nothing() {
    let bench = Bench::new().await;
    record(&bench.session(), 0, &Capture::starting(epoch()));
    std::fs::write(bench.session().join("p000").join(quality_file(0)), b"not json").unwrap();
    bench.carry().await;
    bench.finalized("one").await.unwrap();
    assert_eq!(bench.manifest().quality, None);
    assert_eq!(decoded(&bench.file(ObjectName::Video)), (PART_FRAMES, String::new()));
}
