//! A signal pack played against a practice room: which of its states and steps occur, and whether each call ends as it should.
//!
//! Owns the plays and their report. Records nothing; the room is told by its control API what to show.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use bot_model::outcome::OutcomeKind;
use bot_model::session::SessionLimits;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::browser::{Browser, BrowserError, CdpError, LaunchOptions};
use crate::display::{Display, DisplayError};
use crate::platform::decide::Decision;
use crate::platform::engine::Engine;
use crate::platform::pack::{Meaning, Pack};
use crate::scratch::Scratch;
use crate::sink::{Sink, SinkError};

/// No play takes longer.
const PLAY: Duration = Duration::from_secs(60);
const CONTROL: Duration = Duration::from_secs(5);
const PASSCODE: &str = "sesame-1";

/// Why nothing could be played.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The room is named wrongly.
    #[error("--room is {0:?}, wants a practice room's origin and a code, such as http://127.0.0.1:8400/check")]
    Room(String),
    /// No such call.
    #[error("--only names {0:?}; the calls are {1}")]
    Unknown(String, String),
    /// The practice room does not answer, or refuses.
    #[error("the practice room does not do as it is told: {0}")]
    Control(String),
    /// No folder.
    #[error("cannot make a folder: {0}")]
    Scratch(#[from] std::io::Error),
    /// No display.
    #[error(transparent)]
    Display(#[from] DisplayError),
    /// No sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// No browser.
    #[error(transparent)]
    Browser(#[from] BrowserError),
    /// The browser does not answer.
    #[error(transparent)]
    Page(#[from] CdpError),
}

/// A practice room's origin and the beginning of the codes to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    origin: String,
    code: String,
}

impl Room {
    /// Reads `ORIGIN/CODE`.
    pub fn parse(text: &str) -> Result<Self, RehearsalError> {
        let bad = || RehearsalError::Room(text.to_owned());
        let (origin, code) = text.rsplit_once('/').ok_or_else(bad)?;
        let origin = crate::config::practice_origin(origin).map_err(|_| bad())?;
        let fits =
            (1..=16).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits { Ok(Self { origin, code: code.to_owned() }) } else { Err(bad()) }
    }
}

/// One call: what the room shall show and do, what the bot knows, and how it should end.
struct Play {
    name: &'static str,
    settings: Value,
    passcode: Option<&'static str>,
    ends: &'static [OutcomeKind],
}

/// How one call went.
#[derive(Debug)]
pub struct Played {
    name: &'static str,
    ended: Option<OutcomeKind>,
    wanted: &'static [OutcomeKind],
    states: BTreeSet<Meaning>,
    steps: BTreeSet<String>,
    people: usize,
    speakers: usize,
    messages: usize,
    foreign_frames: u32,
}

impl Played {
    /// It ended as it should.
    pub fn is_right(&self) -> bool {
        self.ended.is_some_and(|kind| self.wanted.contains(&kind))
    }
}

fn plays() -> Vec<Play> {
    use OutcomeKind as O;
    let asked = |action: &str| json!([{ "since": "asked", "after_ms": 1000, "do": action }]);
    let wall = |name, ends| Play { name, settings: json!({ "page": name }), passcode: None, ends };
    let play = |name, settings, ends| Play { name, settings, passcode: None, ends };
    let everything = json!({
        "launcher": true, "cookie_banner": true, "device_prompt": true, "account_prompt": true, "device_warning": true, "tips": true,
        "recording_notice": true, "consent_dialog": true, "notes_question": true, "passcode": PASSCODE, "people": ["Ana Lima"],
        "script": [
            { "since": "asked", "after_ms": 1500, "do": "admit" },
            { "since": "admitted", "after_ms": 4000, "do": "chat", "who": "Ana Lima", "text": "The meeting has ended" },
            { "since": "admitted", "after_ms": 4000, "do": "speak", "who": "Ana Lima", "for_ms": 3000 },
            { "since": "admitted", "after_ms": 8000, "do": "outage", "for_ms": 2000 },
            { "since": "admitted", "after_ms": 11_000, "do": "leave", "who": "Ana Lima" },
            { "since": "admitted", "after_ms": 13_000, "do": "end" },
        ],
    });
    let late_host = json!({ "waiting_for_host": true, "people": ["Ana Lima"], "script": [
        { "since": "asked", "after_ms": 1200, "do": "host_comes" }, { "since": "asked", "after_ms": 2400, "do": "admit" },
        { "since": "admitted", "after_ms": 3000, "do": "remove" },
    ] });
    vec![
        Play { name: "every_prompt_and_a_call", settings: everything, passcode: Some(PASSCODE), ends: &[O::HostEnded] },
        play("a_late_host_who_removes_the_bot", late_host, &[O::Removed]),
        Play {
            name: "left_by_the_bot",
            settings: json!({ "lobby": false, "people": ["Ana Lima"] }),
            passcode: None,
            ends: &[O::AskedToLeave],
        },
        play("denied", json!({ "script": asked("deny") }), &[O::Denied]),
        play("request_timed_out", json!({ "script": asked("time_out") }), &[O::LobbyTimeout]),
        Play {
            name: "wrong_passcode",
            settings: json!({ "passcode": PASSCODE }),
            passcode: Some("mellon-2"),
            ends: &[O::WrongPasscode],
        },
        wall("blocked", &[O::BlockedByPlatform, O::Denied]),
        wall("not_found", &[O::MeetingNotFound]),
        wall("sign_in", &[O::SignInRequired]),
        wall("registration", &[O::RegistrationRequired]),
        wall("captcha", &[O::Captcha]),
        wall("could_not_connect", &[O::CouldNotConnect, O::BlockedByPlatform]),
    ]
}

/// The calls that fit the pack, and of them those that were asked for.
fn chosen(pack: &Pack, only: &[String]) -> Result<Vec<Play>, RehearsalError> {
    // Meet's client asks for no passcode.
    let has_passcode = pack.state.iter().any(|state| state.means == Meaning::PasscodePrompt);
    let mut fitting: Vec<Play> = plays().into_iter().filter(|play| has_passcode || play.name != "wrong_passcode").collect();
    if let Some(unknown) = only.iter().find(|name| !fitting.iter().any(|play| play.name == **name)) {
        let names: Vec<&str> = fitting.iter().map(|play| play.name).collect();
        return Err(RehearsalError::Unknown(unknown.clone(), names.join(", ")));
    }
    fitting.retain(|play| only.is_empty() || only.iter().any(|name| name == play.name));
    for play in fitting.iter_mut().filter(|_| !has_passcode) {
        if let Some(settings) = play.settings.as_object_mut() {
            settings.remove("passcode");
        }
    }
    Ok(fitting)
}

/// Plays the calls, one after another, in one browser; all of them where `only` is empty.
///
/// # Errors
/// When the room or the browser cannot be used, or `only` names a call that there is not. A call that ends otherwise than it should
/// is no error.
pub async fn rehearse(
    pack: &Pack,
    room: &Room,
    only: &[String],
    browser: PathBuf,
    is_sandboxed: bool,
) -> Result<Vec<Played>, RehearsalError> {
    let plays = chosen(pack, only)?;
    let scratch = Scratch::create(None)?;
    let (display, sink) = tokio::join!(Display::start(&scratch, 1_280, 720), Sink::start(&scratch));
    let (display, sink) = (display?, sink?);
    let options = LaunchOptions { program: browser, width: 1_280, height: 720, practice: true, is_sandboxed };
    let browser = Browser::start(&scratch, &display, &sink, &options).await?;
    browser.deny_devices(&room.origin).await?;
    browser.keep_to_one_page().await?;
    let mut played = Vec::new();
    for play in plays {
        let result = one(pack, room, &browser, play).await;
        match result {
            Ok(result) => played.push(result),
            Err(error) => {
                tokio::join!(browser.stop(), sink.stop(), display.stop());
                return Err(error);
            }
        }
    }
    tokio::join!(browser.stop(), sink.stop(), display.stop());
    Ok(played)
}

async fn one(pack: &Pack, room: &Room, browser: &Browser, play: Play) -> Result<Played, RehearsalError> {
    let code = format!("{}-{}-{}", room.code, pack.platform, play.name.replace('_', "-"));
    open_room(&room.origin, &code, &play.settings).await?;
    let query: String = pack.query.iter().map(|(name, value)| format!("&{name}={value}")).collect();
    browser.page().navigate(&format!("{}/{}/{code}?{}", room.origin, pack.platform, query.trim_start_matches('&'))).await?;
    let limits =
        SessionLimits { join_timeout_secs: 40, lobby_timeout_secs: 30, host_timeout_secs: 30, ..SessionLimits::default() };
    let host = room.origin.split_once("://").map(|(_, host)| host.to_owned());
    let mut engine = Engine::new(browser.page().clone(), pack.clone(), host, limits, "Rehearsal");
    engine.with_passcode(play.passcode.map(str::to_owned));
    engine.read_chat();
    let mut played = Played {
        name: play.name,
        ended: None,
        wanted: play.ends,
        states: BTreeSet::new(),
        steps: BTreeSet::new(),
        people: 0,
        speakers: 0,
        messages: 0,
        foreign_frames: 0,
    };
    let (begun, mut ticks, mut in_call) = (Instant::now(), interval(Duration::from_millis(250)), 0);
    while begun.elapsed() < PLAY && played.ended.is_none() {
        ticks.tick().await;
        let Ok(tick) = engine.tick(Duration::ZERO).await else { continue };
        played.note(&engine, tick.step);
        in_call += usize::from(tick.decision == Decision::Record);
        played.ended = match tick.decision {
            Decision::End(kind, _) => Some(kind),
            Decision::Record if in_call > 12 && play.ends.contains(&OutcomeKind::AskedToLeave) => {
                let left = engine.leave(Duration::from_secs(3)).await;
                played.steps.extend(engine.done_steps());
                let _ = engine.tick(Duration::ZERO).await;
                played.note(&engine, None);
                left.then_some(OutcomeKind::AskedToLeave)
            }
            _ => None,
        };
    }
    Ok(played)
}

impl Played {
    fn note(&mut self, engine: &Engine, step: Option<String>) {
        let seen = engine.last_look();
        self.states.extend(seen.meanings.iter().copied());
        self.steps.extend(step);
        self.people = self.people.max(seen.people.as_ref().map_or(0, Vec::len));
        self.speakers = self.speakers.max(seen.speaking.len());
        self.messages = self.messages.max(seen.chat.len());
        self.foreign_frames = self.foreign_frames.max(seen.foreign_frames);
    }
}

async fn open_room(origin: &str, code: &str, settings: &Value) -> Result<(), RehearsalError> {
    let failed = |error: reqwest::Error| RehearsalError::Control(error.without_url().to_string());
    let http = reqwest::Client::builder().timeout(CONTROL).build().map_err(failed)?;
    let answer = http.put(format!("{origin}/control/rooms/{code}")).json(settings).send().await.map_err(failed)?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(RehearsalError::Control(format!("{status}: {}", answer.text().await.unwrap_or_default()))),
    }
}

/// The report: each call, and what of the pack never occurred.
pub fn report(pack: &Pack, played: &[Played]) -> String {
    let mut text = String::new();
    let names = |states: &BTreeSet<Meaning>| states.iter().map(|means| means.as_str()).collect::<Vec<_>>().join(" ");
    for one in played {
        let mark = if one.is_right() { "ok  " } else { "FAIL" };
        let ended = one.ended.map_or("it did not end".to_owned(), |kind| format!("ended as {kind}"));
        let _ = writeln!(text, "  {mark} {:32} {ended}; showed: {}", one.name, names(&one.states));
        if !one.is_right() {
            let wanted: Vec<&str> = one.wanted.iter().map(|kind| kind.as_str()).collect();
            let _ = writeln!(text, "       should end as {}; steps done: {:?}", wanted.join(" or "), one.steps);
        }
        if one.foreign_frames > 0 && !one.is_right() {
            let _ = writeln!(text, "       the page holds a large frame of another origin, which cannot be looked into");
        }
    }
    let shown: BTreeSet<Meaning> = played.iter().flat_map(|one| one.states.iter().copied()).collect();
    let never: BTreeSet<Meaning> = pack.state.iter().map(|state| state.means).filter(|means| !shown.contains(means)).collect();
    let undone: Vec<&str> = pack
        .step
        .iter()
        .map(|step| step.name.as_str())
        .filter(|name| !played.iter().any(|one| one.steps.contains(*name)))
        .collect();
    let most = |of: fn(&Played) -> usize| played.iter().map(of).max().unwrap_or_default();
    let _ = writeln!(
        text,
        "  people listed: {}, marked as speaking: {}, messages read: {}",
        most(|one| one.people),
        most(|one| one.speakers),
        most(|one| one.messages)
    );
    let _ = writeln!(text, "  states that never showed: {}", if never.is_empty() { "none".to_owned() } else { names(&never) });
    let _ =
        writeln!(text, "  steps that were never done: {}", if undone.is_empty() { "none".to_owned() } else { undone.join(" ") });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_an_origin_and_a_code() {
        let room = Room::parse("http://127.0.0.1:8400/check").unwrap();
        assert_eq!((room.origin.as_str(), room.code.as_str()), ("http://127.0.0.1:8400", "check"));
        for bad in ["check", "http://127.0.0.1:8400", "http://127.0.0.1:8400/", "file:///check", "http://h/a/b", "http://h/A"] {
            assert!(Room::parse(bad).is_err(), "{bad}");
        }
    }
}
