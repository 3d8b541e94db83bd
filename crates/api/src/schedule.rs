//! From a request to a meeting document, as a backend would write it, and to its bot where it is due at once.
//!
//! The document's id is derived from the occurrence (organisation, call, start): asking twice finds what the first request made.

use bot_model::display_name::LONGEST as LONGEST_NAME;
use bot_model::document::{BotInstance, Fields, Meeting};
use bot_model::ids::{CallKey, InstanceId, MeetingPath};
use bot_model::lifecycle::Phase;
use bot_model::meeting_url::MeetingUrl;
use bot_model::schedule::Due;
use bot_store::protocol::InstanceRecord;
use bot_store::protocol::enqueue::{Enqueued, enqueue};
use bot_store::{Commit, DocumentKey, Record, StoreErrorKind, Write, clock};
use chrono::{DateTime, SecondsFormat, SubsecRound as _, TimeDelta, Utc};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::access::Who;
use crate::audit::{self, Entry};
use crate::problem::{Kind, Problem, invalid};
use crate::queue::refuse_to_queue;
use crate::state::{Api, organization};
use crate::view::{BotView, MeetingView};

/// Documents of one occurrence at most: each cancel makes room for one more.
const MOST_GENERATIONS: u32 = 50;
/// A start further ahead than this is a mistake in the year.
const FURTHEST: TimeDelta = TimeDelta::days(366 * 2);
/// Priorities go this far from 0.
pub(crate) const MOST_PRIORITY: i64 = 1_000;
/// Characters of a title, an organisation or a user at most.
const LONGEST_TEXT: usize = 500;
/// A request that does not want to wait gives up after this long.
const AT_ONCE_SECS: u64 = 60;
/// Tries to have a bot made at once; after them the engine makes it.
const ENQUEUE_TRIES: u32 = 3;

/// A meeting to record.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMeeting {
    /// The call's address, as the platform gives it out.
    pub meeting_url: String,
    /// When it starts (RFC 3339 with its offset); absent is now.
    #[serde(default)]
    pub start_time: Option<DateTime<Utc>>,
    /// When it ends.
    #[serde(default)]
    pub end_time: Option<DateTime<Utc>>,
    /// For people.
    #[serde(default)]
    pub title: Option<String>,
    /// Name shown in the call.
    #[serde(default)]
    pub bot_name: Option<String>,
    /// Where the files shall lie in the bucket; absent is derived.
    #[serde(default)]
    pub gcs_path: Option<String>,
    /// The tenant; absent is the key's own.
    #[serde(default)]
    pub organization: Option<String>,
    /// The user.
    #[serde(default)]
    pub user: Option<String>,
    /// Higher first, -1000 to 1000.
    #[serde(default)]
    pub priority: Option<i64>,
    /// Gives up a bot that cannot be sent within so many seconds of its time, 1 to 86400; absent is as long as the meeting can be joined.
    #[serde(default)]
    pub queue_timeout_seconds: Option<u64>,
    /// `false` asks for a bot now or not at all: where it would have to wait, the answer is `capacity-exhausted` with `earliest_start_at`.
    /// Of a meeting that is not due yet it decides nothing.
    #[serde(default)]
    pub wait: Option<bool>,
}

/// What became of a request for a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScheduleResult {
    /// A bot will be sent shortly before the start.
    Scheduled,
    /// It is due: its bot is queued.
    Queued,
    /// This occurrence is scheduled or being recorded already: here it is.
    AlreadyThere,
}

/// The answer to a request for a bot.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Scheduled {
    /// What became of it.
    pub result: ScheduleResult,
    /// The meeting; absent where a bot is there without one.
    pub meeting: Option<MeetingView>,
    /// Its bot, once there is one.
    pub bot: Option<BotView>,
}

/// Seconds within which "now" is one occurrence: who asks twice in a row means one bot, also before it is in the call.
const NOW_LASTS: i64 = 10;

/// Schedules one meeting, or finds what is there.
pub(crate) async fn schedule(api: &Api, who: &Who, new: NewMeeting) -> Result<Scheduled, Problem> {
    let now = clock::now();
    let owner = who.principal.owner(new.organization.as_deref())?;
    let start = new.start_time.unwrap_or(now).trunc_subsecs(0);
    let fields = checked(api, who, &new, &owner, start, now)?;
    let url = MeetingUrl::parse(&new.meeting_url).map_err(|error| invalid(vec![error.to_string()]))?;
    let occurrence = Occurrence { owner: &owner, url: &url, start };
    if new.start_time.is_none()
        && let Some(bot) = in_the_call(api, &occurrence).await?
    {
        return already_there(api, bot).await;
    }
    let probe = path(api, "probe")?;
    let first = InstanceId::derive(&owner, &url, Some(start), &probe);
    let starts = (0..=if new.start_time.is_none() { NOW_LASTS } else { 0 }).map(|ago| start - TimeDelta::seconds(ago));
    let known = starts.map(|start| InstanceId::derive(&owner, &url, Some(start), &probe));
    let known = try_join_all(known.map(|id| async move { InstanceRecord::read(api.store(), &id).await })).await?;
    if let Some(bot) = known.into_iter().flatten().find(|bot| is_serving(&bot.instance)) {
        return already_there(api, bot).await;
    }
    let is_due = api.settings.window.due(Some(start), new.end_time, now) == Due::Now;
    if is_due && new.wait == Some(false) {
        refuse_to_queue(api, &owner, new.priority.unwrap_or_default()).await?;
    }
    match create(api, who, &occurrence, &first, fields, now).await? {
        Created::New(record) => with_bot(api, record, now).await,
        Created::Found(record) => {
            let bot = api.bot_of(&record.fields).await?;
            let bot = bot.as_ref().map(|bot| BotView::of(api, bot));
            Ok(Scheduled { result: ScheduleResult::AlreadyThere, meeting: Some(MeetingView::of(api, &record)), bot })
        }
    }
}

struct Occurrence<'a> {
    owner: &'a str,
    url: &'a MeetingUrl,
    start: DateTime<Utc>,
}

enum Created {
    New(Record),
    Found(Record),
}

/// The fields of the document, or every reason against it.
fn checked(
    api: &Api,
    who: &Who,
    new: &NewMeeting,
    owner: &str,
    start: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Fields, Problem> {
    let naming = api.store().naming();
    let mut fields = Fields::new();
    let instant = |at: DateTime<Utc>| json!(at.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    fields.insert("meeting_url".into(), json!(new.meeting_url.trim()));
    fields.insert(naming.meeting_status_field.clone(), json!(naming.meeting_status_values.first()));
    fields.insert("start_time".into(), instant(start));
    fields.insert("end_time".into(), new.end_time.map_or(Value::Null, instant));
    let texts = [("title", &new.title), ("bot_name", &new.bot_name), ("gcs_path", &new.gcs_path), ("creator_user_id", &new.user)];
    for (name, value) in texts {
        fields.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    fields.insert("creator_organization_id".into(), json!(owner));
    fields.extend(new.priority.map(|priority| ("priority".to_owned(), json!(priority))));
    // Who does not want to wait does not wait for ever where another request was faster.
    let at_once = (new.wait == Some(false)).then_some(AT_ONCE_SECS);
    let timeout = new.queue_timeout_seconds.or(at_once);
    fields.extend(timeout.map(|secs| ("queue_timeout_seconds".to_owned(), json!(secs))));
    fields.insert("created_at".into(), json!(now));
    fields.insert("updated_at".into(), json!(now));
    fields.insert("updated_by".into(), json!(who.principal.name));
    // Tells our own write from a twin's in the same batch, where a commit's answer was lost.
    fields.insert("api_write_id".into(), json!(clock::random_id().to_string()));
    let mut reasons = reasons_against(new, owner, start, now);
    if let Err(problem) = Meeting::decode(&path(api, "probe")?, &fields, naming) {
        reasons.extend(problem.reasons);
    }
    if reasons.is_empty() && api.settings.window.due(Some(start), new.end_time, now) == Due::Missed {
        reasons.push("the meeting's time has passed".into());
    }
    if reasons.is_empty() { Ok(fields) } else { Err(invalid(reasons)) }
}

fn reasons_against(new: &NewMeeting, owner: &str, start: DateTime<Utc>, now: DateTime<Utc>) -> Vec<String> {
    let mut reasons = Vec::new();
    if new.end_time.is_some_and(|end| end <= start) {
        reasons.push("end_time must be after start_time".into());
    }
    if start - now > FURTHEST {
        reasons.push("start_time is more than two years ahead".into());
    }
    reasons.extend(reason_of_texts(&[
        ("title", new.title.as_deref()),
        ("organization", Some(owner)),
        ("user", new.user.as_deref()),
    ]));
    reasons.extend(reason_of_name(new.bot_name.as_deref()));
    reasons.extend(reason_of_priority(new.priority));
    reasons
}

pub(crate) fn reason_of_texts(texts: &[(&str, Option<&str>)]) -> Vec<String> {
    let is_fit = |text: &str| text.chars().count() <= LONGEST_TEXT && !text.chars().any(char::is_control);
    let unfit = texts.iter().filter(|(_, text)| text.is_some_and(|text| !is_fit(text)));
    unfit.map(|(name, _)| format!("{name} wants at most {LONGEST_TEXT} printable characters")).collect()
}

pub(crate) fn reason_of_name(name: Option<&str>) -> Option<String> {
    let is_fit = |name: &str| (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    name.is_some_and(|name| !is_fit(name)).then(|| format!("bot_name wants 1 to {LONGEST_NAME} printable characters"))
}

pub(crate) fn reason_of_priority(priority: Option<i64>) -> Option<String> {
    let is_fit = |priority: i64| (-MOST_PRIORITY..=MOST_PRIORITY).contains(&priority);
    priority.is_some_and(|priority| !is_fit(priority)).then(|| format!("priority wants -{MOST_PRIORITY} to {MOST_PRIORITY}"))
}

fn path(api: &Api, id: &str) -> Result<MeetingPath, Problem> {
    api.meeting_path(id).ok_or_else(|| Problem::new(Kind::Internal, "the configured collection takes no documents"))
}

/// True for a bot that records, or will record, for whoever asks for the same occurrence.
fn is_serving(instance: &BotInstance) -> bool {
    !instance.phase.is_terminal() && instance.facts.cancel_requested_at.is_none()
}

/// The bot that is in this call at this moment, or on its way, by the live-call slot.
async fn in_the_call(api: &Api, occurrence: &Occurrence<'_>) -> Result<Option<InstanceRecord>, Problem> {
    let slot = DocumentKey::Slot(CallKey::derive(occurrence.owner, occurrence.url));
    let Some(slot) = api.store().read(&slot).await? else { return Ok(None) };
    let holder = slot.fields.get("bot_instance_id").and_then(Value::as_str).and_then(InstanceId::parse);
    let Some(holder) = holder else { return Ok(None) };
    let found = InstanceRecord::read(api.store(), &holder).await?;
    Ok(found.filter(|found| is_serving(&found.instance) && found.instance.phase != Phase::Finalizing))
}

async fn already_there(api: &Api, bot: InstanceRecord) -> Result<Scheduled, Problem> {
    let meeting = match bot.instance.facts.linked_meetings.first() {
        Some(linked) => api.store().read(&DocumentKey::Meeting(linked.path.clone())).await?,
        None => None,
    };
    let meeting = meeting.map(|record| MeetingView::of(api, &record));
    Ok(Scheduled { result: ScheduleResult::AlreadyThere, meeting, bot: Some(BotView::of(api, &bot)) })
}

async fn create(
    api: &Api,
    who: &Who,
    occurrence: &Occurrence<'_>,
    first: &InstanceId,
    fields: Fields,
    now: DateTime<Utc>,
) -> Result<Created, Problem> {
    let mut generation = 1;
    while generation <= MOST_GENERATIONS {
        let key = DocumentKey::Meeting(path(api, first.generation(generation).as_str())?);
        if let Some(record) = api.store().read(&key).await? {
            let is_ours = record.fields.get("api_write_id") == fields.get("api_write_id");
            if is_same(api, &record, occurrence) {
                return Ok(if is_ours && !has_link(api, &record) { Created::New(record) } else { Created::Found(record) });
            }
            generation += 1;
            continue;
        }
        let id = first.generation(generation);
        let entry =
            Entry { action: "meeting.create", target: id.as_str(), organization: occurrence.owner, request_id: &who.request_id };
        let writes = vec![Write::create(key.clone(), fields.clone()), audit::write(&who.principal, &entry, now)];
        match api.store().commit(writes).await {
            Ok(Commit::Applied(versions)) => {
                let version = versions.into_iter().next().ok_or_else(|| Problem::new(Kind::Internal, "no version"))?;
                let fields = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
                return Ok(Created::New(Record { key, fields, version }));
            }
            // Somebody was faster, or the answer was lost: the next look finds what there is.
            Ok(Commit::Conflict) => {}
            Err(error) if error.kind == StoreErrorKind::Unknown => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::new(Kind::Conflict, "this occurrence was cancelled too often; give another start_time"))
}

fn has_link(api: &Api, record: &Record) -> bool {
    Meeting::link(&record.fields, api.store().naming()).is_some()
}

/// A document of this id that was cancelled, or moved to another time or call, is none of this occurrence.
fn is_same(api: &Api, record: &Record, occurrence: &Occurrence<'_>) -> bool {
    let naming = api.store().naming();
    let DocumentKey::Meeting(path) = &record.key else { return false };
    let Ok(meeting) = Meeting::decode(path, &record.fields, naming) else { return false };
    let call = |url: &MeetingUrl| (url.platform(), url.native_id());
    !naming.meeting_cancel_values.contains(&meeting.status)
        && call(&meeting.url) == call(occurrence.url)
        && meeting.start_time == Some(occurrence.start)
        && organization(&record.fields) == occurrence.owner
}

/// Has the bot made at once where the meeting is due.
pub(crate) async fn with_bot(api: &Api, mut record: Record, now: DateTime<Utc>) -> Result<Scheduled, Problem> {
    let mut result = ScheduleResult::Scheduled;
    for _ in 0..ENQUEUE_TRIES {
        let found = enqueue(api.store(), &record, &api.settings.window, now).await?;
        let again = api.store().read(&record.key).await?;
        record = again.ok_or_else(|| Problem::new(Kind::Conflict, "the meeting was deleted meanwhile"))?;
        result = match found {
            Enqueued::Early | Enqueued::Missed | Enqueued::Rejected(_) => ScheduleResult::Scheduled,
            Enqueued::Created(_) | Enqueued::Rearmed(_) | Enqueued::AlreadyLinked(_) => ScheduleResult::Queued,
            Enqueued::Twin(_) => ScheduleResult::AlreadyThere,
            Enqueued::Lost => continue,
        };
        break;
    }
    let mut bot = api.bot_of(&record.fields).await?.map(|bot| BotView::of(api, &bot));
    if let Some(found) = bot.take() {
        bot = Some(api.with_place(found).await?);
    }
    let mut meeting = MeetingView::of(api, &record);
    meeting.queue = bot.as_ref().and_then(|bot| bot.queue.clone());
    Ok(Scheduled { result, meeting: Some(meeting), bot })
}
