//! The table: a state of the room, and the outcome that the bot has to end with.

use OutcomeKind as O;
use bot_model::meeting_url::Platform;
use bot_model::outcome::OutcomeKind;
use serde_json::{Value, json};

use crate::stage::{Case, Stage, admitted_then, on_every_platform, with};

/// What every platform has before the call.
fn before_the_call(platform: Platform) -> Vec<Case> {
    let asked = |action: &str| json!({"script": [{"since": "asked", "after_ms": 800, "do": action}]});
    let mut cases = vec![
        Case::new(
            "blocked",
            json!({"page": "blocked"}),
            if platform == Platform::Teams { O::Denied } else { O::BlockedByPlatform },
        ),
        Case::new("not_found", json!({"page": "not_found"}), O::MeetingNotFound),
        Case::new("sign_in", json!({"page": "sign_in"}), O::SignInRequired),
        Case::new("sign_in_elsewhere", json!({"page": "sign_in_elsewhere"}), O::SignInRequired),
        Case::new("captcha", json!({"page": "captcha"}), O::Captcha),
        Case::new("denied", asked("deny"), O::Denied),
        Case::new("ended_in_the_lobby", asked("end"), O::EndedBeforeAdmission),
        Case::new("nobody_admits", json!({}), O::LobbyTimeout).limited(|limits| limits.lobby_timeout_secs = 2),
        Case::new("host_never_comes", json!({"waiting_for_host": true}), O::HostNeverStarted)
            .limited(|limits| limits.host_timeout_secs = 2),
        Case::new("blank", json!({"page": "blank"}), O::PageUnresponsive).limited(|limits| limits.join_timeout_secs = 3),
        Case::new("stalled", json!({"page": "stalled"}), O::PageUnresponsive).limited(|limits| limits.join_timeout_secs = 3),
        // Zoom says in one sentence that it timed out or that the organisation forbids browsers.
        Case::new(
            "could_not_connect",
            json!({"page": "could_not_connect"}),
            if platform == Platform::Zoom { O::BlockedByPlatform } else { O::CouldNotConnect },
        ),
    ];
    match platform {
        Platform::Meet | Platform::Teams => cases.push(Case::new("request_timed_out", asked("time_out"), O::LobbyTimeout)),
        // Zoom never answers a request by itself.
        _ => {}
    }
    if platform != Platform::Meet {
        let needs = json!({"passcode": "sesame-1"});
        let mut wrong = Case::new("wrong_passcode", needs.clone(), O::WrongPasscode);
        wrong.passcode = Some("mellon-2");
        cases.extend([
            wrong,
            Case::new("no_passcode", needs, O::WrongPasscode),
            Case::new("registration", json!({"page": "registration"}), O::RegistrationRequired),
        ]);
    }
    cases
}

/// Ana is there, and is not a bot.
fn with_ana(rest: &[Value]) -> Value {
    json!({"people": ["Ana Lima"], "script": admitted_then(rest)})
}

fn in_the_call(platform: Platform) -> Vec<Case> {
    let ended = json!({"after_ms": 1500, "do": "end"});
    let short = |limits: &mut bot_model::session::SessionLimits| {
        (limits.everyone_left_secs, limits.no_one_joined_secs) = (1, 2);
    };
    let bots = json!({"people": ["Ana Lima", "Otter.ai", "Fireflies.ai Notetaker"]});
    let mut cases = vec![
        Case::new("host_ends", with_ana(std::slice::from_ref(&ended)), O::HostEnded),
        Case::new("removed", with_ana(&[json!({"after_ms": 1000, "do": "remove"})]), O::Removed),
        Case::new("everyone_leaves", with_ana(&[json!({"after_ms": 1000, "do": "leave", "who": "Ana Lima"})]), O::EveryoneLeft)
            .limited(short),
        Case::new(
            "only_bots_are_left",
            with(with_ana(&[json!({"after_ms": 1000, "do": "leave", "who": "Ana Lima"})]), &bots),
            O::EveryoneLeft,
        )
        .limited(short),
        silent(Case::new("silence", with_ana(&[]), O::Silence)).limited(|limits| {
            (limits.silence_secs, limits.silence_start_delay_secs) = (2, 1);
        }),
        silent(Case::new(
            "connection_lost",
            with_ana(&[json!({"after_ms": 500, "do": "outage", "for_ms": 60_000})]),
            O::ConnectionLost,
        ))
        .limited(|limits| limits.reconnect_secs = 2),
        Case::new("nobody_ever_comes", json!({"script": admitted_then(&[])}), O::NoOneJoined).limited(short),
        Case::new(
            "a_tile_vanishes_for_a_moment",
            with_ana(&[
                json!({"after_ms": 800, "do": "vanish", "who": "Ana Lima", "for_ms": 1200}),
                json!({"after_ms": 4500, "do": "end"}),
            ]),
            O::HostEnded,
        )
        .limited(short),
        Case::new(
            "outage",
            with_ana(&[json!({"after_ms": 600, "do": "outage", "for_ms": 2000}), json!({"after_ms": 4000, "do": "end"})]),
            O::HostEnded,
        ),
        Case::new("every_dialog", with(with_ana(&[json!({"after_ms": 4000, "do": "end"})]), &every_dialog()), O::HostEnded),
        Case::new("host_comes_late", with(host_comes_late(), &json!({"people": ["Ana Lima"]})), O::HostEnded),
        Case::new("too_long", with_ana(&[]), O::MaxDuration).limited(|limits| limits.max_recording_secs = 1),
        Case::new("goes_away", with_ana(&[json!({"after_ms": 500, "do": "trouble", "how": "away"})]), O::HostEnded),
    ];
    if platform != Platform::Meet {
        let mut case = Case::new("right_passcode", with(with_ana(&[ended]), &json!({"passcode": "sesame-1"})), O::HostEnded);
        case.passcode = Some("sesame-1");
        cases.push(case);
    }
    cases
}

fn silent(mut case: Case) -> Case {
    case.is_silent = true;
    case
}

fn every_dialog() -> Value {
    json!({"launcher": true, "device_prompt": true, "account_prompt": true, "device_warning": true, "tips": true, "recording_notice": true, "consent_dialog": true, "notes_question": true})
}

fn host_comes_late() -> Value {
    json!({"waiting_for_host": true, "script": [
        {"since": "asked", "after_ms": 800, "do": "host_comes"}, {"since": "asked", "after_ms": 1600, "do": "admit"},
        {"since": "admitted", "after_ms": 1200, "do": "end"},
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_before_the_call_ends_in_its_own_outcome() {
    on_every_platform(|platform, room| async move { Stage::set(platform, room).await.play_all(before_the_call(platform)).await })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_of_a_call_is_told_apart() {
    on_every_platform(|platform, room| async move { Stage::set(platform, room).await.play_all(in_the_call(platform)).await })
        .await;
}
