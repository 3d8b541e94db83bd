//! What a lost segment is excused by: a disk that died with its run, and a bucket that could not be reached for as long.

use std::collections::BTreeSet;

use bot_model::outcome::{Attribution, OutcomeKind};
use chrono::{DateTime, TimeDelta, Utc};

use crate::chaos::history::{Asked, History, Served};
use crate::chaos::truth::{Event, Line};

/// Of what was captured, a disk that dies with its run may cost so much.
const RPO: TimeDelta = TimeDelta::seconds(6);
/// After the bucket is back, until the next try: the longest pause between two.
const NEXT_TRY: TimeDelta = TimeDelta::seconds(10);
/// A pod's manager carries out for so long after SIGTERM at least, of the 300 s that the pod has by default.
const PODS_DRAIN: TimeDelta = TimeDelta::seconds(180);

/// True where a segment that was captured then may be lost.
pub(super) fn is_excused(history: &History, run: &str, captured: DateTime<Utc>) -> bool {
    let lines = &history.lines;
    let mut died = lines.iter().filter_map(|line| disk_lost_at(line, run, history.jobs.is_some()));
    died.any(|died| {
        let still: TimeDelta = lines.iter().filter(|line| is_pause_of(line, run)).map(|line| overlap(line, captured, died)).sum();
        died - captured <= RPO + still + trouble(lines, "network_bucket", captured, died)
    })
}

/// True where an instance says of itself what was: that the call was over before it could come, or that it was there in vain by our fault, when
/// it captured nothing and others all that there was; or that we lost it, when everything that it captured may be lost.
pub(super) fn failed_truthfully(served: &Served, history: &History) -> bool {
    let id = served.instance.id.as_str();
    let Some(kind) = served.instance.facts.outcome.as_ref().map(|outcome| outcome.kind) else { return false };
    let captured = |of: &str| {
        let own = |line: &&Line| matches!(&line.event, Event::Captured { instance, .. } if instance == of);
        history.lines.iter().filter(own).collect::<Vec<_>>()
    };
    let own = captured(id);
    if own.is_empty() {
        let was_served = others_in_its_calls(id, history).iter().any(|other| !captured(other).is_empty());
        let joined = |line: &Line| matches!(&line.event, Event::Joined { instance, .. } if instance == id);
        let was_there = kind.attribution() == Attribution::Ours && history.lines.iter().any(joined);
        return (kind == OutcomeKind::EndedBeforeAdmission || was_there) && was_served;
    }
    let may_be_lost = |line: &&Line| matches!(&line.event, Event::Captured { run, .. } if is_excused(history, run, line.at));
    kind.attribution() == Attribution::Ours && own.iter().all(may_be_lost)
}

/// Whoever else was in a call that an instance was to serve.
fn others_in_its_calls(id: &str, history: &History) -> BTreeSet<String> {
    let serves = |asked: &&Asked| asked.instance.as_ref().is_some_and(|instance| instance.as_str() == id);
    let calls: BTreeSet<&str> = history.meetings.iter().filter(serves).map(|asked| asked.call.as_str()).collect();
    let joined = history.lines.iter().filter_map(|line| match &line.event {
        Event::Joined { call, instance, .. } if calls.contains(call.as_str()) && instance != id => Some(instance.clone()),
        _ => None,
    });
    joined.collect()
}

/// When a fault cost a run its disk, at the earliest. A process that dies leaves it to the next on this machine; a pod's goes with the pod.
fn disk_lost_at(line: &Line, run: &str, is_pod: bool) -> Option<DateTime<Utc>> {
    let Event::Injected { fault, run: Some(hit), secs } = &line.event else { return None };
    if hit != run {
        return None;
    }
    match (fault.as_str(), is_pod) {
        ("run_kill_machine", _) | ("run_kill_whole" | "run_kill_manager", true) => Some(line.at),
        ("pod_deletebyforce", true) => Some(line.at + seconds(*secs)),
        ("run_stop_manager" | "pod_evict" | "pod_preempt" | "pod_delete" | "pod_deletejob", true) => Some(line.at + PODS_DRAIN),
        _ => None,
    }
}

fn is_pause_of(line: &Line, run: &str) -> bool {
    matches!(&line.event, Event::Injected { fault, run: Some(hit), .. } if fault == "run_pause_manager" && hit == run)
}

/// How long store or bucket were in trouble within a span of time, with the pause until the next try.
pub(super) fn trouble(lines: &[Line], fault: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> TimeDelta {
    let of = |line: &&Line| matches!(&line.event, Event::Injected { fault: name, .. } if name.starts_with(fault));
    lines.iter().filter(of).map(|line| overlap(line, from, to)).sum()
}

fn overlap(line: &Line, from: DateTime<Utc>, to: DateTime<Utc>) -> TimeDelta {
    let Event::Injected { secs, .. } = &line.event else { return TimeDelta::zero() };
    let lasted = seconds(*secs) + NEXT_TRY;
    ((line.at + lasted).min(to) - line.at.max(from)).max(TimeDelta::zero())
}

fn seconds(secs: f64) -> TimeDelta {
    TimeDelta::milliseconds((secs * 1_000.0) as i64)
}
