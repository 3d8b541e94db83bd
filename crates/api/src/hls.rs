//! A recording as HLS while it is being made, and for as long as its raw segments are kept: a playlist of what the manager has carried
//! to the bucket, and those objects.
//!
//! Only reads. What a watched call costs the bucket: one short listing at most each [`LOOK_EVERY`], however many watch on this replica,
//! one small ranged read a segment (for its length), and each viewer's segments.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex as BriefMutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bot_model::document::{BotInstance, Facts, FrozenList, FrozenPart};
use bot_model::fragments::Fragments;
use bot_model::hls::{Ordered, Timed, in_order, of_file_name, playlist, without_tail};
use bot_model::lifecycle::Phase;
use bot_model::object_prefix::ObjectPrefix;
use bot_model::segment::{PartInfo, RawKind, RawName};
use bot_objects::Objects;
use bot_store::clock;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::access::Viewer;
use crate::problem::{Kind, Problem};
use crate::state::Api;

/// Half a segment: looking more often finds nothing more.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What a short listing cannot see, such as segments that an earlier run left, is looked for this often.
const LOOK_AT_ALL_EVERY: Duration = Duration::from_secs(300);
/// How much later than it was written an object may be listed: a new part is told of only after that, lest what was written before it
/// comes after it.
const LISTED_WITHIN: Duration = LOOK_EVERY;
/// A part that began this long ago needs not be watched for that long; generous, as it compares the bucket's clock with ours.
const LONG_AGO: TimeDelta = TimeDelta::seconds(30);
/// The boxes in front of a segment's media: 3 KiB at 15 frames a second (measured); a longer one is read whole.
const HEAD_BYTES: u64 = 16 * 1024;
/// Recordings remembered at most; some 100 KiB each after ten hours.
const MOST: usize = 64;
/// How much a segment's length may differ from its neighbours' before each is looked at.
const SAME_SECS: f64 = 0.001;

type Key = (u32, String, u32);
/// When it was last asked for, and what is known.
type Remembered = (Instant, Arc<Mutex<Known>>);

/// What is known of the recordings that are watched.
#[derive(Debug, Default)]
pub(crate) struct Watched(BriefMutex<HashMap<String, Remembered>>);

/// What is known of one recording.
#[derive(Debug, Default)]
struct Known {
    /// The document's words at the last look at everything: any other may mean another part.
    stand: Option<(u32, Option<String>, Option<u32>, Phase)>,
    looked: Option<Instant>,
    looked_at_all: Option<Instant>,
    /// When each object was written, by the bucket.
    written: BTreeMap<RawName, DateTime<Utc>>,
    /// First segments, and when they were first seen here.
    begun: BTreeMap<RawName, Instant>,
    heads: HashMap<Key, Head>,
}

/// What a part's own head says, and where some of its segments begin and end on its clock.
#[derive(Debug, Clone)]
struct Head {
    tracks: Fragments,
    started_at: Option<DateTime<Utc>>,
    spans: BTreeMap<u32, (f64, f64)>,
}

impl Watched {
    fn of(&self, id: &str) -> Arc<Mutex<Known>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(id) {
            let oldest = all.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| id.clone());
            oldest.and_then(|id| all.remove(&id));
        }
        let (used, known) = all.entry(id.to_owned()).or_insert_with(|| (Instant::now(), Arc::default()));
        *used = Instant::now();
        Arc::clone(known)
    }
}

/// Follow a recording as HLS
///
/// The playlist grows during the call (`EXT-X-PLAYLIST-TYPE:EVENT`), at its end alone, and ends with `EXT-X-ENDLIST` after it. Each part of the
/// recording begins with a discontinuity. What an earlier attempt carries out after a later one has begun is in `video.mp4`, and not here; a
/// remark before the end says how much that is. 404 before the first segment, for a recording that is no fragmented MP4, and once the raw segments are deleted:
/// `video.mp4` has it all.
#[utoipa::path(get, path = "/v1/bots/{id}/hls/playlist.m3u8", tag = "recordings", params(("id" = String, Path, description = "The bot")),
    responses((status = 200, body = String, content_type = "application/vnd.apple.mpegurl", description = "The playlist")))]
pub(crate) async fn list(State(api): State<Arc<Api>>, Viewer(who): Viewer, Path(id): Path<String>) -> Result<Response, Problem> {
    let bot = api.bot(&who.principal.scope, &id).await?.instance;
    let prefix = folder(&bot)?;
    let objects = api.objects().await?;
    let known = api.watched.of(bot.id.as_str());
    let mut known = known.lock().await;
    let is_over = bot.facts.frozen.is_some() || bot.phase.is_terminal();
    look(objects, prefix, &mut known, &bot).await?;
    let Ordered { parts, late } = known.ordered(&bot, is_over);
    let parts = if is_over { parts } else { without_tail(parts) };
    let mut timed = Vec::new();
    for part in parts {
        timed.extend(time(objects, prefix, &mut known.heads, part).await?);
    }
    if timed.iter().all(|part| part.secs.is_empty()) {
        return Err(Problem::new(Kind::NotFound, "nothing that could be played is in the bucket"));
    }
    let kind = [(header::CONTENT_TYPE, "application/vnd.apple.mpegurl")];
    Ok((kind, playlist(&timed, is_over, late)).into_response())
}

/// Fetch a segment
///
/// By the names that the playlist has. They never change.
#[utoipa::path(get, path = "/v1/bots/{id}/hls/{name}", tag = "recordings",
    params(("id" = String, Path, description = "The bot"), ("name" = String, Path, description = "As in the playlist")),
    responses((status = 200, content_type = "video/mp4", description = "An initialisation segment, or a segment")))]
pub(crate) async fn segment(
    State(api): State<Arc<Api>>,
    Viewer(who): Viewer,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let bot = api.bot(&who.principal.scope, &id).await?.instance;
    let missing = || Problem::new(Kind::NotFound, "there is no such segment; GET …/hls/playlist.m3u8 lists them");
    let name = of_file_name(&name).ok_or_else(missing)?;
    let object = folder(&bot)?.raw(&name);
    let bytes = Box::pin(api.objects().await?.get(&object)).await?.ok_or_else(missing)?;
    let headers = [
        (header::CONTENT_TYPE, "video/mp4".to_owned()),
        (header::CACHE_CONTROL, "private, max-age=86400, immutable".to_owned()),
        (header::ETAG, format!("\"{:08x}\"", name.crc32c)),
    ];
    Ok((headers, bytes).into_response())
}

/// Where the segments lie, or why there are none.
fn folder(bot: &BotInstance) -> Result<&ObjectPrefix, Problem> {
    let Facts { gcs_path, raw_deleted_at, .. } = &bot.facts;
    // Before it is about to join, its path is but a wish: it may be another bot's, of another organization.
    if !bot.may_be_recorded() {
        return Err(Problem::new(Kind::NotFound, "nothing is recorded yet"));
    }
    if raw_deleted_at.is_some() {
        return Err(Problem::new(
            Kind::NotFound,
            "the raw segments are deleted, their retention having passed: video.mp4 has it all",
        ));
    }
    gcs_path.as_ref().ok_or_else(|| Problem::new(Kind::NotFound, "nothing is recorded yet"))
}

impl Known {
    /// What may be told of what is known: of a list that is frozen, what is on it.
    fn ordered(&self, bot: &BotInstance, is_over: bool) -> Ordered {
        let now = clock::now();
        let is_seen = |first: &RawName| self.begun.get(first).is_some_and(|at| at.elapsed() >= LISTED_WITHIN);
        let is_told = |first: &RawName, at: DateTime<Utc>| is_over || is_seen(first) || now - at > LONG_AGO;
        match &bot.facts.frozen {
            Some(frozen) => {
                let at = |name: &RawName| self.written.get(name).copied().unwrap_or_default();
                let written = frozen.raw_names().into_iter().map(|name| (at(&name), name)).map(|(at, name)| (name, at)).collect();
                in_order(&written, true, is_told)
            }
            None => in_order(&self.written, is_over, is_told),
        }
    }
}

/// Brings what is known of a recording in progress up to date, if it is time.
async fn look(objects: &Objects, prefix: &ObjectPrefix, known: &mut Known, bot: &BotInstance) -> Result<(), Problem> {
    let facts = &bot.facts;
    let run = facts.run.as_ref().map(|run| run.pod_uid.clone());
    let stand = Some((facts.attempt, run, facts.recording.as_ref().map(|recording| recording.parts), bot.phase));
    let is_within = |looked: Option<Instant>, limit| looked.is_some_and(|at| at.elapsed() < limit);
    let is_same = known.stand == stand;
    if is_same && is_within(known.looked, LOOK_EVERY) {
        return Ok(());
    }
    if bot.facts.frozen.as_ref().is_some_and(|frozen| frozen.raw_names().iter().all(|name| known.written.contains_key(name))) {
        return Ok(());
    }
    let tail = without_tail(FrozenList::from_raw_names(known.written.keys().cloned()).parts).pop();
    let raw = prefix.raw_folder();
    match tail.filter(|_| is_same && is_within(known.looked_at_all, LOOK_AT_ALL_EVERY)) {
        Some(tail) => {
            let folder = format!("a{}-{}/p{}/", tail.attempt, tail.run, tail.part);
            // A hyphen follows the number, and sorts before every letter.
            let after = format!("{:06}-g", (tail.first_seq + tail.segments()).saturating_sub(1));
            let found = Box::pin(objects.list_dated(&format!("{raw}{folder}"), &after)).await?;
            known.written.extend(found.iter().filter_map(|(name, at)| Some((RawName::parse(&format!("{folder}{name}"))?, *at))));
        }
        None => {
            known.looked_at_all = Some(Instant::now());
            let found = Box::pin(objects.list_dated(&raw, "")).await?;
            known.written = found.iter().filter_map(|(name, at)| Some((RawName::parse(name)?, *at))).collect();
        }
    }
    let firsts = known.written.keys().filter(|name| name.kind == RawKind::Segment(0));
    let begun = firsts.map(|name| (name.clone(), known.begun.get(name).copied().unwrap_or_else(Instant::now))).collect();
    known.begun = begun;
    (known.looked, known.stand) = (Some(Instant::now()), stand);
    Ok(())
}

/// How long the segments of a part are; `None` where it is no fragmented MP4.
async fn time(
    objects: &Objects,
    prefix: &ObjectPrefix,
    heads: &mut HashMap<Key, Head>,
    part: FrozenPart,
) -> Result<Option<Timed>, Problem> {
    let key = (part.attempt, part.run.clone(), part.part);
    if !heads.contains_key(&key) {
        heads.insert(key.clone(), head(objects, prefix, &part).await?);
    }
    let Some(head) = heads.get_mut(&key).filter(|head| head.tracks.is_media()) else { return Ok(None) };
    let segments: Vec<RawName> = part.raw_names().into_iter().filter(|name| matches!(name.kind, RawKind::Segment(_))).collect();
    let Some(last) = segments.len().checked_sub(1) else { return Ok(None) };
    // Segments of equal length are told by the first and the last; where that does not come out, the middle is looked at.
    let mut between = vec![(0, last)];
    while let Some((from, to)) = between.pop() {
        let mut ends = [None; 2];
        for (end, index) in ends.iter_mut().zip([from, to]) {
            *end = match segments.get(index) {
                Some(name) => span(objects, prefix, head, part.first_seq + index as u32, name).await?,
                None => None,
            };
        }
        let [Some(first), Some(second)] = ends else { continue };
        let expected = first.0 + (first.1 - first.0) * (to - from) as f64;
        if to - from > 1 && (second.0 - expected).abs() > SAME_SECS * (to - from) as f64 {
            let middle = from.midpoint(to);
            between.extend([(from, middle), (middle, to)]);
        }
    }
    let secs = lengths(&head.spans, part.first_seq, part.segments());
    let started_at = head.started_at.filter(|_| part.first_seq == 0);
    Ok(Some(Timed { part, started_at, secs }))
}

/// The lengths of `count` segments from `first` on, by those whose place is known.
fn lengths(spans: &BTreeMap<u32, (f64, f64)>, first: u32, count: u32) -> Vec<f64> {
    let known: Vec<_> = spans.range(first..first.saturating_add(count)).collect();
    if known.first().is_none_or(|(seq, _)| **seq != first) {
        return Vec::new();
    }
    let mut secs = Vec::new();
    for pair in known.windows(2) {
        if let [(from, (begins, _)), (to, (next, _))] = pair {
            let each = (next - begins) / f64::from(*to - *from);
            secs.extend((**from..**to).map(|_| each.max(0.001)));
        }
    }
    secs.extend(known.last().map(|(_, (begins, ends))| (ends - begins).max(0.001)));
    secs
}

async fn head(objects: &Objects, prefix: &ObjectPrefix, part: &FrozenPart) -> Result<Head, Problem> {
    let (mut tracks, mut started_at) = (Fragments::default(), None);
    for name in part.raw_names() {
        match name.kind {
            RawKind::Init => tracks.read(&Box::pin(objects.get(&prefix.raw(&name))).await?.unwrap_or_default()),
            RawKind::Part => {
                let bytes = Box::pin(objects.get(&prefix.raw(&name))).await?.unwrap_or_default();
                started_at = serde_json::from_slice::<PartInfo>(&bytes).ok().map(|info| info.started_at);
            }
            RawKind::Segment(_) | RawKind::Quality(_) => break,
        }
    }
    Ok(Head { tracks, started_at, spans: BTreeMap::new() })
}

/// Where a segment begins and ends, by what stands in front of its media.
async fn span(
    objects: &Objects,
    prefix: &ObjectPrefix,
    head: &mut Head,
    seq: u32,
    name: &RawName,
) -> Result<Option<(f64, f64)>, Problem> {
    if let Some(span) = head.spans.get(&seq) {
        return Ok(Some(*span));
    }
    let object = prefix.raw(name);
    let told = |bytes: &[u8]| {
        let mut fragments = head.tracks.emptied();
        fragments.read(bytes);
        fragments.span()
    };
    let mut found = told(&front(objects, &object).await?);
    if found.is_none() {
        let whole: Bytes = Box::pin(objects.get(&object)).await?.unwrap_or_default();
        found = told(&whole);
    }
    head.spans.extend(found.map(|span| (seq, span)));
    Ok(found)
}

async fn front(objects: &Objects, object: &str) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = Box::pin(objects.read(object, 0..HEAD_BYTES)).await? {
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_between_known_places_are_even_and_the_last_is_its_own() {
        let spans = BTreeMap::from([(2, (8.0, 12.0)), (5, (20.0, 24.0)), (6, (24.0, 25.5)), (9, (40.0, 44.0))]);
        assert_eq!(lengths(&spans, 2, 5), [4.0, 4.0, 4.0, 4.0, 1.5]);
        assert_eq!((lengths(&spans, 3, 1), lengths(&spans, 3, 4)), (Vec::new(), Vec::new()));
    }
}
