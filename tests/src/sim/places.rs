//! Judges the queue: nobody waits beside a free place, and nobody is overtaken by who stands behind.

use std::time::Duration;

use bot_model::capacity::queue::{Order, waiting_since};
use bot_model::document::BotInstance;
use bot_model::invariants::Violation;
use bot_model::lifecycle::Phase;
use bot_model::outcome::OutcomeKind;
use bot_store::protocol::capacity::holds_a_place;
use chrono::{DateTime, TimeDelta, Utc};

use super::beginning;
use super::plan::{MOST_SKEW, Plan};
use super::store::Move;

/// Beside a place that is free for so long, somebody who was due is sent. From the end of a run it takes a look of the reaper (20 s), a
/// pass of the claims (10 s), and tries of either through bad weather.
const HEARD_OF: TimeDelta = TimeDelta::seconds(180);
/// Who was in the queue for so long was seen by every controller.
const SEEN: TimeDelta = TimeDelta::seconds(60);
/// The defaults.
const LEAD: Duration = Duration::from_secs(120);
const AGEING: Duration = Duration::from_secs(300);

/// Seconds from a place to the first segment.
const TO_THE_FIRST_SEGMENT: u64 = 60;

/// True for one that had no place before its call was over, or about to be.
pub fn found_none(instance: &BotInstance, moves: &[Move], plan: &Plan) -> bool {
    use OutcomeKind::{EndedBeforeAdmission, ManagerLost, Missed, NoCapacity, OrganizationLimit};
    let kind = instance.facts.outcome.as_ref().map(|outcome| outcome.kind);
    if instance.is_recorded() || plan.places.is_none() {
        return false;
    }
    let call = instance.facts.meeting_url.native_id();
    let call = call.rsplit('-').next().and_then(|number| number.parse::<usize>().ok()).unwrap_or_default();
    let over_at = plan.calls.get(call).map_or(0, |call| call.over_at);
    // By a wrong clock the meeting's end may come first.
    let ends_at =
        instance.facts.end_time.filter(|_| plan.is_skewed()).map_or(over_at, |end| second(end).saturating_sub(MOST_SKEW));
    let over_at = over_at.min(ends_at);
    // A launch that failed gives its place back, also that of a bot on its way back: what counts is what came after it.
    let mine = moves.iter().filter(|moved| moved.id == instance.id);
    let last_queued = mine.clone().rfind(|moved| moved.phase == Phase::Queued).map(|moved| moved.at);
    let is_sent = |moved: &&Move| matches!(moved.phase, Phase::Launched | Phase::Joining) && Some(moved.at) >= last_queued;
    let launched = mine.clone().find(is_sent);
    match launched.map(|moved| moved.at) {
        None => matches!(kind, Some(Missed | NoCapacity | OrganizationLimit)),
        // Where it was sent for a call that was over, it makes no difference that its run was lost, too.
        Some(sent) => {
            matches!(kind, Some(EndedBeforeAdmission | NoCapacity | ManagerLost))
                && second(sent) + TO_THE_FIRST_SEGMENT + plan.store_away(second(sent), over_at) >= over_at
        }
    }
}

/// When it first got a place.
fn sent(instance: &BotInstance, moves: &[Move]) -> Option<DateTime<Utc>> {
    moves.iter().find(|moved| moved.id == instance.id && moved.phase == Phase::Claimed).map(|moved| moved.at)
}

/// I19, over the whole history.
pub fn judge(instances: &[BotInstance], moves: &[Move], plan: &Plan) -> Result<(), Violation> {
    let Some(places) = plan.places else { return Ok(()) };
    // By a wrong clock it may not be due.
    if plan.is_skewed() {
        return Ok(());
    }
    for instance in instances.iter().filter(|instance| found_none(instance, moves, plan)) {
        nobody_waits_beside_a_free_place(instance, instances, moves, (plan, places))?;
    }
    if plan.is_calm() && plan.places_each.is_none() {
        nobody_is_overtaken(instances, moves)?;
    }
    Ok(())
}

fn nobody_waits_beside_a_free_place(
    instance: &BotInstance,
    instances: &[BotInstance],
    moves: &[Move],
    (plan, places): (&Plan, u32),
) -> Result<(), Violation> {
    let mine: Vec<&Move> = moves.iter().filter(|moved| moved.id == instance.id).collect();
    let (Some(queued), Some(last)) = (mine.first(), mine.last()) else { return Ok(()) };
    let ended = sent(instance, moves).unwrap_or(last.at);
    let due = waiting_since(instance, LEAD, queued.at).max(queued.at);
    let mut free_since = is_free_for(instance, instances, moves, due, (plan, places)).then_some(due);
    let changes = moves.iter().map(|moved| moved.at).filter(|at| *at > due && *at < ended).chain([ended]);
    for at in changes {
        if let Some(since) = free_since.filter(|since| at - *since >= HEARD_OF)
            && !plan.is_unattended_within(second(since + SEEN), second(at))
        {
            let what = format!("{} waited in vain, and a place was free from {since} to {at}", instance.id);
            return Err(Violation { id: "I19", what });
        }
        let is_free = is_free_for(instance, instances, moves, at, (plan, places));
        free_since = if is_free { free_since.or(Some(at)) } else { None };
    }
    Ok(())
}

fn is_free_for(
    instance: &BotInstance,
    instances: &[BotInstance],
    moves: &[Move],
    at: DateTime<Utc>,
    (plan, places): (&Plan, u32),
) -> bool {
    let phase =
        |other: &&BotInstance| moves.iter().rfind(|moved| moved.id == other.id && moved.at <= at).map(|moved| moved.phase);
    let live: Vec<&BotInstance> = instances.iter().filter(|other| phase(other).is_some_and(holds_a_place)).collect();
    let organization = |other: &BotInstance| other.facts.creator_organization_id.clone();
    let own = live.iter().filter(|other| organization(other) == organization(instance)).count();
    live.len() < places as usize && plan.places_each.is_none_or(|most| own < most as usize)
}

/// Where nothing breaks.
fn nobody_is_overtaken(instances: &[BotInstance], moves: &[Move]) -> Result<(), Violation> {
    let find = |id| instances.iter().find(|instance| instance.id == id);
    let first = |instance: &BotInstance, phase: Phase| {
        moves.iter().find(|moved| moved.id == instance.id && moved.phase == phase).map(|moved| moved.at)
    };
    for claimed in moves.iter().filter(|moved| moved.phase == Phase::Claimed) {
        let Some(one) = find(claimed.id.clone()).filter(|one| first(one, Phase::Claimed) == Some(claimed.at)) else { continue };
        let order =
            |instance: &BotInstance| Order::new(waiting_since(instance, LEAD, claimed.at), instance.facts.priority, AGEING);
        let waits = |other: &&BotInstance| {
            let seen = first(other, Phase::Queued).is_some_and(|queued| queued + SEEN < claimed.at);
            let ends = moves.iter().find(|moved| moved.id == other.id && moved.phase != Phase::Queued).map(|moved| moved.at);
            let is_due = waiting_since(other, LEAD, claimed.at) + SEEN < claimed.at;
            seen && is_due && ends.is_none_or(|ends| ends > claimed.at) && other.facts.cancel_requested_at.is_none()
        };
        if let Some(other) = instances.iter().filter(waits).find(|other| order(other) < order(one)) {
            let what = format!("{} was sent at {}, and {} stood before it", one.id, claimed.at, other.id);
            return Err(Violation { id: "I19", what });
        }
    }
    Ok(())
}

fn second(at: DateTime<Utc>) -> u64 {
    u64::try_from((at - beginning()).num_seconds()).unwrap_or_default()
}
