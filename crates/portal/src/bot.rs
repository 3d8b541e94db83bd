//! One bot: what it does, the call as it sees it, what became of it and what to do.

use askama::Template;
use axum::extract::Path;
use axum::http::{Method, StatusCode};
use axum::response::Response;

use crate::bots::Row;
use crate::client::{Refusal, segment};
use crate::page::{Frame, refused_to, show as page_of};
use crate::people::{PeopleView, people};
use crate::shapes::{Artifact, Bot, People, Timeline, TimelineEvent};
use crate::visit::Visit;
use crate::words;
use crate::zone::{Stamp, Zone, length, size};

/// Lines of the log that a page shows.
const LOG_LINES: usize = 200;

/// How it ended, in plain words.
struct Verdict {
    message: String,
    class: &'static str,
    tone: &'static str,
    whose: &'static str,
    advice: &'static str,
}

struct EventRow {
    at: Option<Stamp>,
    phase: String,
    tone: &'static str,
    event: String,
    actor: String,
    detail: String,
    attempt: u32,
    lasted: String,
}

struct FileRow {
    name: String,
    size: String,
    length: String,
    codecs: String,
    crc32c: String,
}

/// What can be played.
#[derive(PartialEq)]
enum Player {
    Nothing,
    /// The call in progress, by its playlist.
    Live,
    /// The recording.
    Video,
}

#[derive(Template)]
#[template(path = "bot.html")]
struct BotPage {
    frame: Frame,
    bot: Bot,
    row: Row,
    verdict: Option<Verdict>,
    events: Vec<EventRow>,
    files: Vec<FileRow>,
    people: Option<PeopleView>,
    log: Option<String>,
    has_picture: bool,
    player: Player,
    start: Option<Stamp>,
    end: Option<Stamp>,
    created: Option<Stamp>,
    ended: Option<Stamp>,
    admitted: Option<Stamp>,
    is_over: bool,
    is_queued: bool,
    is_in_call: bool,
    meeting: String,
}

/// The page.
pub(crate) async fn show(visit: Visit, Path(id): Path<String>) -> Response {
    match page(&visit, &segment(&id)).await {
        Ok(page) => page_of(&visit, StatusCode::OK, &page),
        Err(refusal) => refused_to(&visit, &refusal, "/portal/bots"),
    }
}

async fn page(visit: &Visit, id: &str) -> Result<BotPage, Refusal> {
    let path = format!("/v1/bots/{id}");
    let bot: Bot = visit.client.get(&path).await?;
    let (is_over, is_queued) = (words::is_over(&bot.phase), bot.phase == "queued");
    let has_video = bot.artifacts.iter().any(|file| file.name == "video.mp4");
    let is_in_call = matches!(bot.phase.as_str(), "joining" | "waiting_room" | "recording");
    let is_playing = !has_video && bot.recording.is_some();
    let has_people = bot.artifacts.iter().any(|file| file.name == "timeline.json");
    let [of_timeline, of_people] = [format!("{path}/timeline"), format!("{path}/participants")];
    let of_log = format!("{path}/log?tail_lines={LOG_LINES}");
    let (timeline, people_of, log, has_picture, has_playlist, titles) = tokio::join!(
        visit.client.get::<Timeline>(&of_timeline),
        found(has_people, visit.client.find::<People>(&of_people)),
        visit.client.text(&of_log),
        is_there(is_in_call, visit, format!("{path}/picture")),
        is_there(is_playing, visit, format!("{path}/hls/playlist.m3u8")),
        visit.portal.titles.of(&visit.client, std::slice::from_ref(&bot)),
    );
    let zone = &visit.zone;
    let row = Row::of(&bot, titles.into_iter().next().unwrap_or_default(), zone);
    let player = match (has_video, has_playlist) {
        (true, _) => Player::Video,
        (_, true) => Player::Live,
        _ => Player::Nothing,
    };
    Ok(BotPage {
        frame: Frame::new(visit, "bots", format!("{}, {}", row.title, row.phase.to_lowercase()))
            .live(format!("/portal/live?bot={id}")),
        verdict: bot.outcome.as_ref().map(verdict),
        events: events(timeline?.events, zone),
        files: bot.artifacts.iter().map(file).collect(),
        people: people_of.map(|found| people(&found, zone)),
        log: log.filter(|log| !log.trim().is_empty()),
        has_picture,
        player,
        start: bot.start_time.map(|at| zone.minute(at)),
        end: bot.end_time.map(|at| zone.minute(at)),
        created: bot.created_at.map(|at| zone.stamp(at)),
        ended: bot.ended_at.map(|at| zone.stamp(at)),
        admitted: bot.recording.as_ref().and_then(|recording| recording.started_at).map(|at| zone.stamp(at)),
        meeting: bot.meeting_ids.first().map(|id| segment(id)).unwrap_or_default(),
        is_over,
        is_queued,
        is_in_call,
        row,
        bot,
    })
}

async fn found<T>(is_wanted: bool, asked: impl Future<Output = Result<Option<T>, Refusal>>) -> Option<T> {
    if is_wanted { asked.await.ok().flatten() } else { None }
}

async fn is_there(is_wanted: bool, visit: &Visit, path: String) -> bool {
    is_wanted && visit.client.raw(Method::GET, &path).await.status().is_success()
}

fn verdict(outcome: &crate::shapes::Outcome) -> Verdict {
    let kind = words::outcome(&outcome.kind);
    Verdict {
        message: outcome.message.clone(),
        class: kind.map_or("", |kind| words::class(kind.class())),
        tone: kind.map_or("calm", |kind| words::class_tone(kind.class())),
        whose: kind.map_or("", |kind| words::whose(kind.attribution())),
        advice: kind.map_or("", words::advice),
    }
}

fn events(events: Vec<TimelineEvent>, zone: &Zone) -> Vec<EventRow> {
    let instants: Vec<_> = events.iter().map(|event| event.occurred_at).collect();
    let lasted = |index: usize| {
        let (from, to) = (instants.get(index).copied().flatten()?, instants.get(index + 1).copied().flatten()?);
        let seconds = (to - from).as_seconds_f64();
        Some(if seconds < 60.0 { format!("{seconds:.1} s") } else { length(seconds) })
    };
    let row = |(index, event): (usize, TimelineEvent)| EventRow {
        at: event.occurred_at.map(|at| zone.stamp(at)),
        phase: words::phase(&event.phase).to_owned(),
        tone: words::tone(&event.phase),
        event: words::plain(&event.event),
        actor: event.actor,
        detail: event.detail,
        attempt: event.attempt,
        lasted: lasted(index).unwrap_or_default(),
    };
    events.into_iter().enumerate().map(row).collect()
}

fn file(file: &Artifact) -> FileRow {
    FileRow {
        name: file.name.clone(),
        size: size(file.bytes),
        length: file.duration_secs.map(length).unwrap_or_default(),
        codecs: file.codecs.join(" + "),
        crc32c: file.crc32c.clone(),
    }
}
