//! Clients that have drifted away from what the packs know: what breaks, and how it is reported.

use bot_model::meeting_url::Platform;
use bot_model::outcome::OutcomeKind;
use serde_json::{Value, json};

use crate::stage::{Case, Stage, admitted_then, on_every_platform, with};

fn call(drift: &str) -> Value {
    let script = admitted_then(&[json!({"after_ms": 3500, "do": "end"})]);
    with(json!({"people": ["Ana Lima"], "script": script}), &json!({"drift": [drift]}))
}

/// What still works, and what is told apart from everything else as a page that nobody knows.
fn drifted(platform: Platform) -> Vec<Case> {
    // Teams and Zoom are joined by ids, which are the same in every language; Meet has none, so that its pack asks for English.
    let other_language = match platform {
        Platform::Meet => Case::new("other_language", call("other_language"), OutcomeKind::JoinPageNotRecognised)
            .limited(|limits| limits.join_timeout_secs = 8),
        _ => Case::new("other_language", call("other_language"), OutcomeKind::MaxDuration)
            .limited(|limits| limits.max_recording_secs = 2),
    };
    vec![
        other_language,
        Case::new("moved_buttons", call("moved_buttons"), OutcomeKind::HostEnded),
        Case::new("pop_ups", call("pop_ups"), OutcomeKind::HostEnded),
        Case::new("flicker", call("flicker"), OutcomeKind::HostEnded),
        Case::new("renamed_labels", call("renamed_labels"), OutcomeKind::JoinPageNotRecognised)
            .limited(|limits| limits.join_timeout_secs = 8),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_drifted_is_joined_all_the_same_or_reported_as_not_recognised() {
    on_every_platform(|platform, room| async move { Stage::set(platform, room).await.play_all(drifted(platform)).await }).await;
}
